"""The keys of patients and clinics as the database keeps them: wrapped, one row each.

A key is made when the first text is sealed with it. Without its row nothing sealed with it can ever be read again,
wherever a copy lies that has not the row as well.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg

from app.crypto import DataKey, KeyRing
from app.db import Database
from app.errors import UnavailableError

REWRAPPED_AT_ONCE: Final = 1_000  # rows of one transaction: some 20 ms

_FIND: Final = "SELECT id, wrapped FROM data_key WHERE clinic_id = $1 AND id = ANY($2::uuid[])"
_ADD: Final = """
INSERT INTO data_key (clinic_id, id, wrapped, created_at)
SELECT $1, *, $4 FROM unnest($2::uuid[], $3::bytea[]) ON CONFLICT DO NOTHING
"""
_STALE: Final = """
SELECT id, wrapped FROM data_key WHERE clinic_id = $1 AND id > $2 AND substr(wrapped, 1, length($3::bytea)) <> $3
ORDER BY id LIMIT $4
"""
# Only what is still as it was read: a key that was destroyed meanwhile must not come back.
_REWRAP: Final = """
UPDATE data_key SET wrapped = renewed.wrapped
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) renewed (id, former, wrapped)
WHERE data_key.clinic_id = $1 AND data_key.id = renewed.id AND data_key.wrapped = renewed.former
"""


async def find_keys(
    connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID, ids: Collection[UUID]
) -> dict[UUID, DataKey]:
    """Of patients, or the clinic's own; who has none is left out. Raises UnavailableError, BrokenSealError."""
    rows = await connection.fetch(_FIND, clinic_id, list(ids))
    return {row["id"]: ring.masters.unwrap(row["wrapped"], _place(clinic_id, row["id"])) for row in rows}


async def find_keys_of(
    connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID, ids: Collection[UUID]
) -> dict[UUID, DataKey]:
    """Of all these, of whom sealed texts were read. Who has none any more was erased since: UnavailableError."""
    keys = await find_keys(connection, ring, clinic_id, ids)
    if not keys.keys() >= set(ids):
        raise UnavailableError("Something of what you asked for is just being erased. Try again in a moment.")
    return keys


async def get_keys(
    connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID, ids: Collection[UUID]
) -> dict[UUID, DataKey]:
    """Of patients, made where there is none. Of two who make one at once one waits and takes the other's."""
    known = await find_keys(connection, ring, clinic_id, ids)
    if not (missing := [id_ for id_ in ids if id_ not in known]):
        return known
    wrapped = [ring.masters.wrap_new(_place(clinic_id, id_))[1] for id_ in missing]
    await connection.execute(_ADD, clinic_id, missing, wrapped, datetime.now(UTC))
    return known | await find_keys(connection, ring, clinic_id, missing)


async def get_key(connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID, id_: UUID) -> DataKey:
    return (await get_keys(connection, ring, clinic_id, [id_]))[id_]


async def get_clinic_key(connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID) -> DataKey:
    """The clinic's own. It never changes, so a process asks for it once; one not committed yet is not remembered."""
    if (known := ring.of_clinics.get(clinic_id)) is not None:
        return known
    if (found := (await find_keys(connection, ring, clinic_id, [clinic_id])).get(clinic_id)) is not None:
        ring.of_clinics[clinic_id] = found
        return found
    return await get_key(connection, ring, clinic_id, clinic_id)


async def get_token_key(connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID) -> bytes:
    """What secrets of the clinic's tokens are hashed with. One of a clinic that is none is made, and fits nothing."""
    known = ring.of_clinics.get(clinic_id)
    if known is None:
        found = await find_keys(connection, ring, clinic_id, [clinic_id])
        known = found.get(clinic_id) or ring.masters.wrap_new("")[0]
        ring.of_clinics |= found
    return known.derive("tokens")


async def check_keys(database: Database) -> None:
    """That the master keys are those the database was sealed with. Raises UnavailableError, BrokenSealError."""
    for clinic_id in await database.clinic_ids():
        async with database.connection(clinic_id) as connection:
            await find_keys(connection, database.keys, clinic_id, [clinic_id])


async def rewrap(database: Database, clinic_id: UUID) -> int:
    """Wraps all of a clinic's keys with the current master key, while the service goes on. Returns how many."""
    done, after = 0, UUID(int=0)
    masters = database.keys.masters
    while True:
        async with database.connection(clinic_id) as connection:
            rows = await connection.fetch(_STALE, clinic_id, after, masters.current_name, REWRAPPED_AT_ONCE)
            renewed = [masters.wrap_again(row["wrapped"], _place(clinic_id, row["id"])) for row in rows]
            former = [row["wrapped"] for row in rows]
            await connection.execute(_REWRAP, clinic_id, [row["id"] for row in rows], former, renewed)
        done += len(rows)
        if len(rows) < REWRAPPED_AT_ONCE:
            return done
        after = rows[-1]["id"]


def _place(clinic_id: UUID, id_: UUID) -> str:
    return f"data_key.wrapped {clinic_id} {id_}"
