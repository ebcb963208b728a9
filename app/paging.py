"""Keyset paging: a cursor names the last row seen, so that pages stay stable while rows are added."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from app.errors import Fault, InvalidError

DEFAULT_LIMIT: Final = 50  # rows
MAX_LIMIT: Final = 200  # rows

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended. Lists run from newest to oldest."""

    at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class PageRequest:
    limit: int = DEFAULT_LIMIT
    after: Position | None = None


def encode(position: Position) -> str:
    text = json.dumps([position.at.isoformat(), str(position.id)])
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode(cursor: str) -> Position:
    """Raises InvalidError for anything `encode` did not make."""
    try:
        at, id_ = json.loads(base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True))
        position = Position(datetime.fromisoformat(at), UUID(id_))
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError):
        position = None
    if position is None or position.at.tzinfo is None:
        fault = Fault("query/cursor", "not_a_cursor", "Take the cursor from `next_cursor` of the page before.")
        raise InvalidError("The cursor is not one of ours.", faults=(fault,))
    return position


def cut(rows: Sequence[Row], page: PageRequest, position_of: Callable[[Row], Position]) -> tuple[list[Row], str | None]:
    """Splits `limit + 1` rows read into the page and the cursor of the next one, if there is one."""
    kept = list(rows[: page.limit])
    return kept, encode(position_of(kept[-1])) if len(rows) > page.limit else None
