"""Sealing the trail: each event gets a place in its clinic's chain and a hash that holds everything before it.

Events are not chained when they are written: each would have to wait for the one before it to be committed, and a
clinic's check-ins would go one by one. The worker chains them seconds later.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.db import Database

STRETCH: Final = 5_000  # events looked at, and at most sealed, by one transaction
STRETCHES_A_TURN: Final = 4  # so that the clinic's deliveries do not wait for long
LOOK_BACK: Final = timedelta(minutes=5)  # an event is committed this long after its id was made at most, as a rule
SWEEP_SECONDS: Final = 1_800.0  # between two looks at all events, for those that break the rule

BEGINNING: Final = bytes(32)  # what stands before the first link
FIRST_ID: Final = UUID(int=0)
LAST_ID: Final = UUID(int=2**128 - 1)

_DOMAIN: Final = b"tidemark-audit-link-1\0"
_STRETCH_END: Final = f"""
SELECT id FROM audit_event WHERE clinic_id = $1 AND id > $2 ORDER BY id OFFSET {STRETCH - 1} LIMIT 1
"""
# OFFSET 0 makes it a look-up for each event. As a join it was planned by guesses about ranges, a hundred times slower.
_UNSEALED: Final = """
FROM audit_event event
WHERE event.clinic_id = $1 AND event.id > $2 AND event.id <= $3 AND NOT EXISTS (
    SELECT FROM audit_link link WHERE link.clinic_id = $1 AND link.event_id = event.id OFFSET 0)
"""
_IS_ANY_UNSEALED: Final = f"SELECT EXISTS (SELECT {_UNSEALED})"
_FIND_UNSEALED: Final = f"SELECT event.* {_UNSEALED} ORDER BY event.id"
_FIND_OVERDUE: Final = f"SELECT event.id {_UNSEALED} AND event.at < $4 ORDER BY event.id"
_HEAD: Final = "SELECT number, hash FROM audit_link WHERE clinic_id = $1 ORDER BY number DESC LIMIT 1"
_ADD: Final = """
INSERT INTO audit_link (clinic_id, number, event_id, hash)
SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::bytea[])
"""


# --- The hash ---------------------------------------------------------------------------------------------------------


def link_hash(number: int, before: bytes, event: Mapping[str, Any]) -> bytes:
    """SHA-256 over place, hash of the link before, and every column of the event."""
    return hashlib.sha256(_DOMAIN + number.to_bytes(8) + before + canonical(event)).digest()


def canonical(event: Mapping[str, Any]) -> bytes:
    """One text for one event, whatever server, driver or time zone it was read by.

    A column that is NULL is left out: so a column that comes later leaves the hashes of older events as they are.
    """
    known = {name: _written(value) for name, value in event.items() if value is not None}
    return json.dumps(known, sort_keys=True, separators=(",", ":")).encode("ascii")


def _written(value: Any) -> str | int:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case str() | int():
            return value
        case _:
            raise TypeError("a column of the trail has a kind that nobody has said how to write")


# --- Sealing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """The last link of a chain; number 0 of one that has none."""

    number: int
    hash: bytes


async def get_chain_end(connection: asyncpg.Connection, clinic_id: UUID) -> ChainEnd:
    row = await connection.fetchrow(_HEAD, clinic_id)
    return ChainEnd(0, BEGINNING) if row is None else ChainEnd(row["number"], row["hash"])


async def seal(database: Database, clinic_id: UUID, after: UUID) -> tuple[int, UUID | None]:
    """Seals events with ids above `after`: how many, and where to go on; None when the end was reached."""
    sealed = 0
    for _ in range(STRETCHES_A_TURN):
        async with database.connection(clinic_id) as connection:
            end = await stretch_end(connection, clinic_id, after)
            is_work = await connection.fetchval(_IS_ANY_UNSEALED, clinic_id, after, end or LAST_ID)
        if is_work:
            sealed += await _seal_stretch(database, clinic_id, after, end or LAST_ID)
        if end is None:
            return sealed, None
        after = end
    return sealed, after


async def stretch_end(connection: asyncpg.Connection, clinic_id: UUID, after: UUID) -> UUID | None:
    """The id that ends the next whole stretch of events; None when less than one is left."""
    return await connection.fetchval(_STRETCH_END, clinic_id, after)  # type: ignore[no-any-return]  # asyncpg is untyped


async def find_overdue(
    connection: asyncpg.Connection, clinic_id: UUID, after: UUID, end: UUID, before: datetime
) -> list[UUID]:
    """Events of a stretch that are older than `before` and not sealed."""
    return [row["id"] for row in await connection.fetch(_FIND_OVERDUE, clinic_id, after, end, before)]


async def _seal_stretch(database: Database, clinic_id: UUID, after: UUID, end: UUID) -> int:
    """Looks again under the lock: another sealer may have been faster."""
    async with database.locked(clinic_id, [chain_key(clinic_id)]) as connection:
        events = await connection.fetch(_FIND_UNSEALED, clinic_id, after, end)
        await _add_links(connection, clinic_id, events)
    return len(events)


async def _add_links(connection: asyncpg.Connection, clinic_id: UUID, events: Sequence[Mapping[str, Any]]) -> None:
    last = await get_chain_end(connection, clinic_id)
    numbers, hashes, before = range(last.number + 1, last.number + 1 + len(events)), [], last.hash
    for number, event in zip(numbers, events, strict=True):
        hashes.append(before := link_hash(number, before, event))
    await connection.execute(_ADD, clinic_id, list(numbers), [event["id"] for event in events], hashes)


def chain_key(clinic_id: UUID) -> int:
    """The advisory lock of a clinic's chain: no patient's key, which is made of the id's own bits."""
    return int.from_bytes(hashlib.sha256(b"audit chain" + clinic_id.bytes).digest()[:8]) >> 1


# --- Turns ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Looks:
    """How far a process has come with one clinic."""

    recent_after: UUID | None = None  # None: the next look begins a little before now
    all_after: UUID | None = FIRST_ID  # None: all have been looked at
    all_seen_at: float | None = None  # monotonic


class Sealer:
    """The sealing of one process: what is new in each turn, and all there is once in a while."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looks: dict[UUID, _Looks] = {}

    async def take_turn(self, clinic_id: UUID) -> int:
        """How much was done; more than none also while a look has to go on.

        A process begins with all events, so that a backlog is sealed in the order in which it came about.
        """
        looks, done = self._looks.setdefault(clinic_id, _Looks()), 0
        if looks.all_seen_at is not None:
            after = looks.recent_after or _id_at(datetime.now(UTC) - LOOK_BACK)
            sealed, looks.recent_after = await seal(self._database, clinic_id, after)
            done += sealed + (looks.recent_after is not None)
            if looks.all_after is None and time.monotonic() - looks.all_seen_at > SWEEP_SECONDS:
                looks.all_after = FIRST_ID
        if looks.all_after is not None:
            sealed, looks.all_after = await seal(self._database, clinic_id, looks.all_after)
            done += sealed + (looks.all_after is not None)
            if looks.all_after is None:
                looks.all_seen_at = time.monotonic()
        return done


def _id_at(at: datetime) -> UUID:
    """The lowest id of version 7 that can have been made then."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
