"""Cursors come back as they went out, and nothing else is one."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.errors import InvalidError
from app.paging import PageRequest, Position, cut, decode, decode_keys, encode, encode_keys

ZONES = st.just(UTC) | st.just(timezone(timedelta(hours=-7)))


@given(st.datetimes(timezones=ZONES), st.uuids())
def test_a_cursor_comes_back(at: datetime, id_: UUID) -> None:
    """Every position survives, to the microsecond."""
    assume(1 < at.year < 9999)
    assert decode(encode(Position(at, id_))) == Position(at, id_)


@given(st.text(max_size=60))
def test_other_texts_are_refused(text: str) -> None:
    """As invalid input, never as a defect."""
    with pytest.raises(InvalidError):
        decode(text)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-21T00:00:00"])
def test_forged_times_are_refused(at: str) -> None:
    """In the shape of ours, but beyond the calendar, or of no zone: the database could not be asked for them."""
    forged = base64.urlsafe_b64encode(json.dumps([at, str(UUID(int=1))]).encode()).decode().rstrip("=")
    with pytest.raises(InvalidError):
        decode(forged)


def test_a_page_is_cut_where_the_next_begins() -> None:
    """One row more than asked for means there is a next page; it starts after the last row shown."""
    rows = [Position(datetime(2026, 1, day, tzinfo=UTC), UUID(int=day)) for day in (3, 2, 1)]
    kept, cursor = cut(rows, PageRequest(limit=2), lambda row: row)
    assert kept == rows[:2]
    assert cursor is not None
    assert decode(cursor) == rows[1]
    assert cut(rows, PageRequest(limit=3), lambda row: row) == (rows, None)
    assert cut([], PageRequest(limit=3), lambda row: row) == ([], None)


# --- Lists ordered by several keys ------------------------------------------------------------------------------------

KEYS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**31) + 1, 2**31 - 1)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (datetime, st.datetimes(timezones=st.just(UTC))),
    (UUID, st.uuids()),
]
PLACES = st.lists(st.one_of(*(st.tuples(st.just(kind), values) for kind, values in KEYS)), max_size=6)


@given(st.text(), PLACES)
def test_a_place_comes_back(question: str, place: list[tuple[Any, Any]]) -> None:
    """Every key survives as it was, in its own kind."""
    kinds, keys = [kind for kind, _ in place], tuple(key for _, key in place)
    found = decode_keys(question, encode_keys(question, keys), kinds)
    assert found == keys
    assert [type(key) for key in found] == kinds


@given(st.text(), st.text())
def test_a_place_is_good_for_one_question(question: str, other: str) -> None:
    """Asked anything else it is refused, by a code of its own."""
    assume(question != other)
    with pytest.raises(InvalidError) as refused:
        decode_keys(other, encode_keys(question, (1,)), (int,))
    assert [fault.code for fault in refused.value.faults] == ["cursor_of_another_list"]


@given(st.text(max_size=80), st.lists(st.sampled_from((int, float, datetime, UUID)), max_size=4))
def test_other_texts_are_no_places(text: str, kinds: list[Any]) -> None:
    """Refused as invalid input, never as a defect."""
    with pytest.raises(InvalidError):
        decode_keys("q", text, kinds)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (int, "true"),
        (int, "1.0"),
        (int, '"1"'),
        (int, "2147483648"),
        (int, "-99999999999999999999"),
        (float, "1"),
        (float, "NaN"),
        (float, "Infinity"),
        (float, "1e999"),
        (datetime, "1e15"),
        (datetime, "99999999999999999999"),
        (datetime, '"2026-01-01T00:00:00Z"'),
        (UUID, '"no id"'),
        (UUID, "7"),
        (UUID, "null"),
    ],
)
def test_keys_of_another_kind_are_refused(kind: Any, written: str) -> None:
    """A forged cursor reaches no query: not by type, not by size."""
    digest = json.loads(base64.urlsafe_b64decode(encode_keys("q", ()) + "=="))[0]
    forged = base64.urlsafe_b64encode(f'["{digest}",{written}]'.encode()).rstrip(b"=").decode()
    with pytest.raises(InvalidError) as refused:
        decode_keys("q", forged, (kind,))
    assert [fault.code for fault in refused.value.faults] == ["not_a_cursor"]
