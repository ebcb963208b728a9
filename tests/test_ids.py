"""Ids are version 7 and time-ordered."""

import time
from uuid import RFC_4122

from app.ids import new_id


def test_ids_say_what_they_are() -> None:
    """Version and variant of RFC 9562, and the time they were made."""
    before = time.time_ns() // 1_000_000
    made = new_id()
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == RFC_4122
    assert before <= made.int >> 80 <= after


def test_ids_do_not_repeat() -> None:
    """Seventy-four random bits in each millisecond."""
    assert len({new_id() for _ in range(10_000)}) == 10_000
