"""What two parsers could read differently, or Postgres could not store, is refused."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import MalformedError
from app.strict_json import MAX_DEPTH, MAX_GROUPS, MAX_VALUES, parse

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@given(VALUES, st.booleans())
def test_everything_sound_reads_back_equal(value: object, escaped: bool) -> None:
    """Whatever JSON can say within the depth comes back as it was, escaped or not."""
    assert parse(json.dumps(value, ensure_ascii=escaped).encode()) == value


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"a": 1, "a": 2}', "duplicate_key"),
        (b'{"a": {"b": 1, "b": 1}}', "duplicate_key"),
        (b"[NaN]", "not_a_number"),
        (b"[Infinity]", "not_a_number"),
        (b"[-Infinity]", "not_a_number"),
        (b"[1e400]", "number_too_large"),
        (b'["\\u0000"]', "unstorable_text"),
        (b'{"\\u0000": 1}', "unstorable_text"),
        (b'["\\ud800"]', "unstorable_text"),
        (b'{"a": ["\\udfff x"]}', "unstorable_text"),
        (b'["\x00"]', "not_json"),
        (b'["\xff"]', "not_utf8"),
        (b'["\xed\xa0\x80"]', "not_utf8"),
        ('{"a": 1}'.encode("utf-16"), "not_utf8"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b"", "not_json"),
        (b"{} {}", "not_json"),
        (b"{'a': 1}", "not_json"),
        (b"[1,]", "not_json"),
        (b"[01]", "not_json"),
        (b"[" + b"9" * 5_000 + b"]", "not_json"),
        (b"[" * 500 + b"]" * 500, "too_deep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "too_deep"),
        (b"[" * 100_000, "too_deep"),
        (b"[" + b"0," * 50_000 + b"0]", "too_many_values"),
        (b"[" + b"[]," * 5_000 + b"{}]", "too_many_values"),
        (b"{" + b'"a":0,' * 50_000 + b'"b":0}', "too_many_values"),
    ],
)
def test_unsound_bodies_are_refused(body: bytes, code: str) -> None:
    """Each with a code of its own, and never with the input in the message."""
    with pytest.raises(MalformedError) as refusal:
        parse(body)
    assert refusal.value.faults[0].code == code


def test_the_depth_allowed_is_the_depth_refused_less_one() -> None:
    """Brackets in strings do not count."""
    deepest = b"[" * MAX_DEPTH + b'"[[[[[[[[[[[[[[[\\"[["' + b"]" * MAX_DEPTH
    assert parse(deepest) is not None
    with pytest.raises(MalformedError):
        parse(b"[" + deepest + b"]")


def test_as_many_values_as_allowed_are_read() -> None:
    """Commas in strings do not count."""
    body = b"[" + b"0," * (MAX_VALUES - 1) + b'"' + b"," * 1_000 + b'"]'
    assert len(parse(body)) == MAX_VALUES
    groups = b"[" + b"{}," * (MAX_GROUPS - 2) + b'["' + b"[" * 1_000 + b'"]]'
    assert len(parse(groups)) == MAX_GROUPS - 1


def test_hostile_bodies_cost_little() -> None:
    """64 KiB of anything is refused or read in time that grows with its length alone."""
    bodies = [b"[" * 65_000, b'"' * 65_000, b'["' + b"\\" * 65_000, b"{" * 30_000 + b'"' * 30_000, b'["\\u0041' * 8_000]
    spent = time.process_time()
    for body in bodies:
        with pytest.raises(MalformedError):
            parse(body)
    assert time.process_time() - spent < 2  # seconds; a quadratic scan takes minutes
