"""Texts that name or describe a person: sealed on their way into a table, opened on their way out.

Which columns these are is declared where the tables are: their type is `Sealed`. The key is the patient's, or the
clinic's own where a row is about nobody. Place of a value: table, column, and the row's whole primary key.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app.crypto import DataKey
from app.db import driver_connection, ring_of
from app.services.data_keys import find_keys_of, get_key
from app.tables import Patient, sealed_columns

Row = TypeVar("Row", bound=SQLModel)


async def sealed(session: AsyncSession, row: SQLModel) -> dict[str, Any]:
    """The row's values as they are stored."""
    values = row.model_dump()
    texts = {name: values[name] for name in sealed_columns(type(row)) if values[name] is not None}
    if texts:
        key = await get_key(await driver_connection(session), ring_of(session), values["clinic_id"], _owner(row))
        values |= {name: seal_text(key, text, _place_of(row, name)) for name, text in texts.items()}
    return values


async def opened(session: AsyncSession, rows: Sequence[Row]) -> Sequence[Row]:
    """The same rows with their texts, cut loose from the session: it would store what was opened."""
    closed = [row for row in rows if _is_closed(row)]
    if not closed:
        return rows
    keys = await find_keys_of(
        await driver_connection(session), ring_of(session), _clinic(closed[0]), {*map(_owner, closed)}
    )
    for row in closed:
        session.expunge(row)
        for name in _closed_columns(row):
            setattr(row, name, open_text(keys[_owner(row)], getattr(row, name), _place_of(row, name)))
    return rows


def place(table: str, column: str, *key: UUID | int) -> str:
    """Where a text is at home: table, column, and the primary key of its row."""
    return " ".join([f"{table}.{column}", *map(str, key)])


def _place_of(row: SQLModel, column: str) -> str:
    table = SQLModel.metadata.tables[str(row.__tablename__)]
    return place(table.name, column, *(getattr(row, key.name) for key in table.primary_key))


def seal_text(key: DataKey, text: str, place: str) -> bytes:
    return key.seal(text.encode(), place)


def open_text(key: DataKey, sealed: bytes, place: str) -> str:
    """Raises BrokenSealError."""
    return key.open(sealed, place).decode()


def _is_closed(row: SQLModel) -> bool:
    return any(_closed_columns(row))


def _closed_columns(row: SQLModel) -> Iterator[str]:
    return (name for name in sealed_columns(type(row)) if isinstance(getattr(row, name), bytes))


def _clinic(row: SQLModel) -> UUID:
    clinic_id: UUID = row.clinic_id  # type: ignore[attr-defined]  # every table that seals anything has it
    return clinic_id


def _owner(row: SQLModel) -> UUID:
    """Whose key it is: the patient's, or the clinic's where a row is about nobody."""
    if isinstance(row, Patient):
        return row.id
    patient_id: UUID | None = getattr(row, "patient_id", None)
    return patient_id or _clinic(row)
