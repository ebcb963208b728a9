"""JSON read strictly: what two parsers could read differently, or Postgres could not store, is refused.

Refused: duplicate keys, NaN and Infinity, numbers that overflow, NUL, lone surrogates, deep nesting, too many values,
other encodings than UTF-8. Messages never repeat the input.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

from app.errors import Fault, MalformedError

MAX_DEPTH: Final = 12  # levels; the deepest body of the API has 4
MAX_VALUES: Final = 50_000  # a full batch of the longest questionnaire has a third of them
MAX_GROUPS: Final = 5_000  # lists and objects; likewise
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def parse(body: bytes) -> Any:
    """The value of a JSON text. Raises MalformedError."""
    _refuse_deep(body)
    _refuse_many(body)
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
        )
    except UnicodeDecodeError:
        _refuse("not_utf8", "The body is not UTF-8.")
    except (ValueError, RecursionError):
        _refuse("not_json", "The body is not valid JSON.")
    if b"\\u" in body:
        _refuse_unstorable(value)
    return value


def _refuse(code: str, message: str) -> NoReturn:
    raise MalformedError(message, faults=(Fault("", code, message),)) from None


def _refuse_deep(body: bytes) -> None:
    """And bushy: each list and object costs fifty times what a number does. The cheap count first: most pass it."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = groups = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NO_BRACKETS):
        if bracket in b"]}":
            depth -= 1
            continue
        depth, groups = depth + 1, groups + 1
        if depth > MAX_DEPTH:
            _refuse("too_deep", f"The body nests deeper than {MAX_DEPTH} levels.")
        if groups > MAX_GROUPS:
            _refuse("too_many_values", f"The body holds more than {MAX_GROUPS} lists and objects.")


def _refuse_many(body: bytes) -> None:
    """Each value but the first of its list or object stands behind a comma."""
    if body.count(b",") >= MAX_VALUES and _STRINGS.sub(b"", body).count(b",") >= MAX_VALUES:
        _refuse("too_many_values", f"The body holds more than {MAX_VALUES} values.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        _refuse("duplicate_key", "An object of the body has the same key twice.")
    return value


def _refuse_constant(_: str) -> NoReturn:
    _refuse("not_a_number", "NaN and Infinity are not JSON.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse("number_too_large", "A number of the body is too large.")
    return value


def _refuse_unstorable(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            _refuse("unstorable_text", "A text of the body has a NUL or half a surrogate pair.")
    elif isinstance(value, list):
        for element in value:
            _refuse_unstorable(element)
    elif isinstance(value, dict):
        for key, element in value.items():
            _refuse_unstorable(key)
            _refuse_unstorable(element)
