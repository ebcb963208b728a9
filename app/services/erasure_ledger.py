"""Erasures as lines outside the database, and doing them again where an older backup has brought somebody back."""

import asyncio
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.audit import record_event
from app.auth import Actor, Role
from app.db import Database, driver_connection
from app.errors import InvalidError, UnavailableError
from app.schemas.erasures import ErasureGround
from app.services.erasures import erase_on
from app.services.locks import lock_patient
from app.services.operators import OPERATOR_PRINCIPAL

FORMAT: Final = "tidemark-erasure/1"
_PAUSES_SECONDS: Final = (0.2, 1.0, 3.0)  # before trying again while somebody writes about the patient
_FIELDS: Final = frozenset({"format", "clinic_id", "id", "patient_id", "erased_at", "erased_by", "ground"})

_ENTRIES: Final = """
SELECT clinic_id, id, patient_id, erased_at, erased_by, ground FROM erasure
WHERE clinic_id = $1 AND id <> ALL ($2::uuid[]) ORDER BY erased_at, id
"""
_CLINIC_EXISTS: Final = "SELECT EXISTS (SELECT FROM clinic WHERE clinic_id = $1)"
_KNOWN: Final = "SELECT id FROM erasure WHERE clinic_id = $1"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """That one person was erased. Ids, a time and a code: nothing about anybody."""

    clinic_id: UUID
    id: UUID
    patient_id: UUID
    erased_at: datetime
    erased_by: UUID
    ground: str

    def line(self) -> str:
        ids = {name: str(getattr(self, name)) for name in ("clinic_id", "id", "patient_id", "erased_by")}
        at = self.erased_at.astimezone(UTC).isoformat(timespec="microseconds")
        return json.dumps({"format": FORMAT, **ids, "erased_at": at, "ground": self.ground}, sort_keys=True)


@dataclass(slots=True)
class Replay:
    """What became of the entries of a ledger."""

    erased: list[LedgerEntry] = field(default_factory=list)
    known: int = 0
    of_no_clinic: int = 0  # their clinic is not in this database, so neither is the person


def parse_ledger(text: str) -> list[LedgerEntry]:
    """Raises InvalidError that names the first line which is none, before anything is done."""
    return [_parsed(line, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _parsed(line: str, number: int) -> LedgerEntry:
    try:
        return _entry(json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidError(f"Line {number} of the erasure ledger is none of ours. Nothing was done.") from None


def _entry(found: dict[str, Any]) -> LedgerEntry:
    at = datetime.fromisoformat(found["erased_at"])
    if found.keys() != _FIELDS or found["format"] != FORMAT or at.tzinfo is None:
        raise ValueError(FORMAT)
    ids = {name: UUID(found[name]) for name in ("clinic_id", "id", "patient_id", "erased_by")}
    return LedgerEntry(**ids, erased_at=at, ground=ErasureGround(found["ground"]).value)


async def find_entries(
    connection: asyncpg.Connection, clinic_id: UUID, but_for: Collection[UUID] = ()
) -> list[LedgerEntry]:
    """Of one clinic, oldest first."""
    rows = await connection.fetch(_ENTRIES, clinic_id, list(but_for))
    return [LedgerEntry(**dict(row)) for row in rows]


async def replay(
    database: Database, entries: Iterable[LedgerEntry], told: Callable[[int], None] = lambda _: None
) -> Replay:
    """Does again what this database does not know of; a second time does nothing. Each person is one transaction.

    Who came into being after the backup is entered in the ledger all the same, so that it is whole.
    """
    done = Replay()
    in_order = sorted(set(entries), key=lambda entry: (entry.clinic_id.bytes, entry.erased_at, entry.id.bytes))
    for clinic_id, mine in groupby(in_order, key=lambda entry: entry.clinic_id):
        await _replay_clinic(database, clinic_id, list(mine), done, told)
    return done


async def _replay_clinic(
    database: Database, clinic_id: UUID, entries: list[LedgerEntry], done: Replay, told: Callable[[int], None]
) -> None:
    async with database.connection(clinic_id) as connection:
        exists = await connection.fetchval(_CLINIC_EXISTS, clinic_id)
        known = {UUID(bytes=row["id"].bytes) for row in await connection.fetch(_KNOWN, clinic_id)}
    for entry in entries:
        if not exists:
            done.of_no_clinic += 1
        elif entry.id in known:
            done.known += 1
        else:
            await _erase_patiently(database, entry)
            done.erased.append(entry)
        told(1)


async def _erase_patiently(database: Database, entry: LedgerEntry) -> None:
    for pause in _PAUSES_SECONDS:
        try:
            return await _erase_again(database, entry)
        except UnavailableError:
            await asyncio.sleep(pause)
    return await _erase_again(database, entry)


async def _erase_again(database: Database, entry: LedgerEntry) -> None:
    now, operator = datetime.now(UTC), Actor(entry.clinic_id, OPERATOR_PRINCIPAL, Role.ADMIN)
    async with database.session(entry.clinic_id) as session:
        await lock_patient(session, entry.patient_id)
        values = (entry.id, entry.erased_at, entry.erased_by, entry.ground)
        await erase_on(await driver_connection(session), entry.patient_id, values, replayed_at=now)
        record_event(
            session, operator, "patient.erase_again", at=now, subject_id=entry.patient_id, resource_id=entry.id
        )
