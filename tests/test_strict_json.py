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


# What RFC 8259 does not allow, by where it goes wrong: structure, numbers, strings, words, space.
NO_JSON = [
    *(
        b"[1 true]",
        b'{"a" 1}',
        b"{1: 1}",
        b"{a: 1}",
        b'{"a": 1,}',
        b'{"a":}',
        b"[,1]",
        b"[1,,2]",
        b"[",
        b"{",
        b"]",
        b"[}",
    ),
    *(b'["a":1]', b'{"a", 1}', b'{"a":1}}', b"[1]x", b"[] []", b"/* x */ []", b"[1] // x", b"[1] # x", b"<x/>"),
    *(b"[-]", b"[+1]", b"[1.]", b"[.5]", b"[-.5]", b"[1e]", b"[1e+]", b"[1.e1]", b"[-01]", b"[0x1f]", b"[1_000]"),
    *(b"[0e]", b"[1 000]", b"[--1]", b"[1a]", b"[0b1]", b"[1eE2]", "[\uff11]".encode(), "[\u0661]".encode()),
    *(
        b"['a']",
        b'["a',
        b'["\\"]',
        b'["\\x41"]',
        b'["\\u12"]',
        b'["\\u12G4"]',
        b'["\\ "]',
        b'["\\U00000041"]',
        b"[\\n]",
    ),
    *(b'["\t"]', b'["\n"]', b'["\x1f"]', b'[""a]', b'["a" "b"]', "[\u201ca\u201d]".encode()),
    *(b"[nul]", b"[True]", b"[NULL]", b"[tru]", b"[undefined]", b"[None]", b"nulll", b"[inf]", b"[nan]"),
    *(b"\x0c[]", b"\x0b[]", "\u00a0[]".encode(), "\u2060[]".encode(), "\u2028[]".encode(), b"\0[]", b"[]\0", b" "),
]
# What it allows, with what it means.
JSON = {
    b" \t\r\n[ 1 ,\n2 ] ": [1, 2],
    b"-0": 0,
    b"-0.0": 0.0,
    b"[1E+2, 1e-2, 0e1, 20.5e0]": [100.0, 0.01, 0.0, 20.5],
    b"1e-400": 0.0,
    b"123456789012345678901234567890": 123456789012345678901234567890,
    b'"\\ud83d\\ude00 \\/ \\b\\f\\u0041"': "\U0001f600 / \b\fA",
    '"\u2028\u2029\x7f\ufdd0\U0010ffff"'.encode(): "\u2028\u2029\x7f\ufdd0\U0010ffff",
    b'{"": {"a": null}, " ": []}': {"": {"a": None}, " ": []},
    b'{"a": 1, "A": 2, "\\u00e9": 3, "e\\u0301": 4}': {"a": 1, "A": 2, "\u00e9": 3, "e\u0301": 4},
    b"null": None,
    b'"\\\\u0000"': "\\u0000",
}


@pytest.mark.parametrize("body", NO_JSON, ids=ascii)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Also what lenient parsers let pass."""
    with pytest.raises(MalformedError):
        parse(body)


@pytest.mark.parametrize(("body", "value"), JSON.items(), ids=ascii)
def test_what_is_json_is_read_as_it_is_meant(body: bytes, value: object) -> None:
    """To the letter: other forms of the same character, or keys that look alike, are not made one."""
    assert parse(body) == value


@pytest.mark.parametrize(
    "body",
    [
        *(b'["\xe0\xff"]', b'["\x81"]', b'["\xf4\xbf\xbf\xbf"]', b'["\xfc\x80\x80\x80\x80\x80"]', b'["\xe6\x97"]'),
        *(
            b'["\\udc00\\ud800"]',
            b'["\\ud800\\u0041"]',
            b'["\\ud800\\\\"]',
            b'{"\\udfff": 1}',
            b'{"a": 1, "\\u0061": 2}',
        ),
        *(b"\xff\xfe[\x00]\x00", b"\x00[\x00]", b"[123123e100000]", b"[-1e9999]", b'["\\u0000 \\ud83d\\ude00"]'),
    ],
    ids=ascii,
)
def test_where_parsers_may_choose_the_answer_is_no(body: bytes) -> None:
    """What one reads and another does not, or differently, is refused."""
    with pytest.raises(MalformedError):
        parse(body)


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
