"""Cursors come back as they went out, and nothing else is one."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidError
from app.paging import PageRequest, Position, cut, decode, encode


@given(st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-7)))), st.uuids())
def test_a_cursor_comes_back(at: datetime, id_: UUID) -> None:
    """Every position survives, to the microsecond."""
    assert decode(encode(Position(at, id_))) == Position(at, id_)


@given(st.text(max_size=60))
def test_other_texts_are_refused(text: str) -> None:
    """As invalid input, never as a defect."""
    with pytest.raises(InvalidError):
        decode(text)


def test_a_page_is_cut_where_the_next_begins() -> None:
    """One row more than asked for means there is a next page; it starts after the last row shown."""
    rows = [Position(datetime(2026, 1, day, tzinfo=UTC), UUID(int=day)) for day in (3, 2, 1)]
    kept, cursor = cut(rows, PageRequest(limit=2), lambda row: row)
    assert kept == rows[:2]
    assert cursor is not None
    assert decode(cursor) == rows[1]
    assert cut(rows, PageRequest(limit=3), lambda row: row) == (rows, None)
    assert cut([], PageRequest(limit=3), lambda row: row) == ([], None)
