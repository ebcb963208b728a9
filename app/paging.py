"""Keyset paging: a cursor names the last row seen, so that pages stay stable while rows are added."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final, TypeVar
from uuid import UUID

from app.errors import Fault, InvalidError

DEFAULT_LIMIT: Final = 50  # rows
MAX_LIMIT: Final = 200  # rows

Row = TypeVar("Row")
Key = int | float | datetime | UUID  # what a list may be ordered by; texts could name a person in an address

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MAX_INT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended. Lists run from newest to oldest."""

    at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class PageRequest:
    limit: int = DEFAULT_LIMIT
    after: Position | None = None

    def shown(self, rows: Sequence[Any]) -> int:
        """How many of `limit + 1` rows read the page holds."""
        return min(len(rows), self.limit)


def encode(position: Position) -> str:
    return _sealed([position.at.isoformat(), str(position.id)])


def decode(cursor: str) -> Position:
    """Raises InvalidError for anything `encode` did not make."""
    try:
        at, id_ = _opened(cursor)
        time = datetime.fromisoformat(at)
        position = Position(time.astimezone(UTC), UUID(id_))  # beyond the years 1 to 9999 of UTC there are none
    except _NOT_OURS:
        raise _not_a_cursor() from None
    if time.tzinfo is None:
        raise _not_a_cursor()
    return position


def cut(rows: Sequence[Row], page: PageRequest, position_of: Callable[[Row], Position]) -> tuple[list[Row], str | None]:
    """Splits `limit + 1` rows read into the page and the cursor of the next one, if there is one."""
    kept = list(rows[: page.limit])
    return kept, encode(position_of(kept[-1])) if len(rows) > page.limit else None


# --- Lists ordered by several keys ------------------------------------------------------------------------------------


def encode_keys(question: str, keys: Sequence[Key]) -> str:
    """The place of a row among the answers to one question: whose list, in which order, by which filters."""
    return _sealed([_digest(question), *map(_written, keys)])


def decode_keys(question: str, cursor: str, kinds: Sequence[type[Key]]) -> tuple[Key, ...]:
    """Raises InvalidError for anything `encode_keys` did not make of these kinds, and for another question's place."""
    try:
        asked, *written = _opened(cursor)
        keys = tuple(_read(kind, value) for kind, value in zip(kinds, written, strict=True))
    except _NOT_OURS:
        raise _not_a_cursor() from None
    if asked != _digest(question):
        message = "The cursor belongs to another list: keep order and filters the same from page to page."
        raise InvalidError(
            "The cursor is of another list.", faults=(Fault("query/cursor", "cursor_of_another_list", message),)
        )
    return keys


def _digest(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()[:16]


def _written(key: Key) -> int | float | str:
    match key:
        case datetime():
            return (key - _EPOCH) // _MICROSECOND
        case UUID():
            return key.hex
        case _:
            return key


def _read(kind: type[Key], value: Any) -> Key:
    """Raises ValueError or OverflowError for what `_written` did not make of this kind."""
    if kind is datetime and type(value) is int:
        return _EPOCH + value * _MICROSECOND
    if kind is UUID and type(value) is str:
        return UUID(value)
    if kind is int and type(value) is int and abs(value) <= _MAX_INT:
        return value
    if kind is float and type(value) is float and isfinite(value):
        return value
    raise ValueError


# --- Cursors ----------------------------------------------------------------------------------------------------------

_NOT_OURS: Final = (binascii.Error, ValueError, TypeError, AttributeError, OverflowError, RecursionError)


def _sealed(parts: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _opened(cursor: str) -> Any:
    return json.loads(base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True))


def _not_a_cursor() -> InvalidError:
    fault = Fault("query/cursor", "not_a_cursor", "Take the cursor from `next_cursor` of the page before.")
    return InvalidError("The cursor is not one of ours.", faults=(fault,))
