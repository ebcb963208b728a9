"""Files of releases: kept in the database in pieces, under the release's own key."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, BinaryIO, Final
from uuid import UUID

import asyncpg

from app.crypto import DataKey
from app.db import Database
from app.errors import NotFoundError
from app.services.data_keys import find_keys
from app.services.sealing import place
from app.tables import Release

CHUNK_BYTES: Final = 512 * 1024  # of one row, and of the memory a download takes

_CHUNK: Final = """
SELECT content FROM release_chunk WHERE clinic_id = $1 AND release_id = $2 AND name = $3 AND number = $4
"""
_ADD: Final = "INSERT INTO release_chunk (clinic_id, release_id, name, number, content) VALUES ($1, $2, $3, $4, $5)"


def get_file(row: Release, name: str) -> dict[str, Any]:
    """What the manifest says of it. Raises NotFoundError."""
    files: Iterable[dict[str, Any]] = row.manifest["files"] if row.manifest else ()
    for file in files:
        if file["name"] == name:
            return file
    raise NotFoundError("There is no such file. Once a release is ready its manifest names them.")


async def open_file(
    database: Database, clinic_id: UUID, release_id: UUID, file: Mapping[str, Any], begin: int = 0
) -> AsyncIterator[bytes]:
    """The pieces from `begin` on, each read in its own transaction: who reads slowly, or leaves, holds no connection.

    The first is read here, so that a database that is away is told as such and not as an answer that breaks off.
    """
    async with database.connection(clinic_id) as connection:
        keys = await find_keys(connection, database.keys, clinic_id, [release_id])
    if release_id not in keys:
        raise NotFoundError("There is no such file any more.")
    read = partial(_piece, database, keys[release_id], clinic_id, release_id, file["name"])
    numbers = range(begin, -(-file["bytes"] // CHUNK_BYTES))
    return _pieces(read, [await read(number) for number in numbers[:1]], numbers[1:])


async def _piece(database: Database, key: DataKey, clinic_id: UUID, release_id: UUID, name: str, number: int) -> bytes:
    async with database.connection(clinic_id) as connection:
        sealed = await connection.fetchval(_CHUNK, clinic_id, release_id, name, number)
    if sealed is None:
        raise NotFoundError("There is no such file any more.")
    return key.open(sealed, _home(clinic_id, release_id, name, number))


async def _pieces(
    read: Callable[[int], Awaitable[bytes]], first: Iterable[bytes], others: Iterable[int]
) -> AsyncIterator[bytes]:
    for piece in first:  # none of a file that is empty
        yield piece
    for number in others:
        yield await read(number)


async def store_file(
    connection: asyncpg.Connection, key: DataKey, clinic_id: UUID, release_id: UUID, name: str, file: BinaryIO
) -> None:
    file.seek(0)
    number = 0
    while piece := file.read(CHUNK_BYTES):
        sealed = key.seal(piece, _home(clinic_id, release_id, name, number))
        await connection.execute(_ADD, clinic_id, release_id, name, number, sealed)
        number += 1


def _home(clinic_id: UUID, release_id: UUID, name: str, number: int) -> str:
    return place("release_chunk", "content", clinic_id, release_id) + f" {name} {number}"
