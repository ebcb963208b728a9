"""Building releases: claimed for a while, read in one snapshot, stored in one transaction.

Who dies leaves nothing behind but a lease that runs out; then another begins from the start.
"""

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from app.audit import record_read
from app.crypto import DataKey
from app.db import Database
from app.privacy.pseudonyms import draw_pseudonyms
from app.schemas.consents import Purpose
from app.schemas.releases import ReleaseCreate, ReleaseFailure
from app.services.consents import consents_in_force
from app.services.data_keys import get_key
from app.services.release_contents import Built, LostError, Step, TooFewError, build
from app.services.release_differences import find_earlier_releases, lock_releases
from app.services.release_downloads import store_file
from app.services.release_records import Source
from app.services.releases import worker_of
from app.services.sealing import place, seal_text

LEASE_SECONDS: Final = 60  # renewed at every beat; then another worker begins anew
MAX_ATTEMPTS: Final = 5  # one that kills its worker every time must come to an end
MOST_SECONDS: Final = 1_800  # of the snapshot
_CLAIM: Final = """
UPDATE release SET status = 'building', attempts = attempts + 1, persons_read = 0, rows_written = 0,
    leased_until = now() + make_interval(secs => $2), known_at = now()
WHERE clinic_id = $1 AND id = (
    SELECT id FROM release
    WHERE clinic_id = $1 AND expires_at > now() AND attempts < $3 AND id = coalesce($4, id)
        AND (status = 'approved' OR (status = 'building' AND leased_until < now()))
    ORDER BY decided_at, id LIMIT 1
    FOR UPDATE SKIP LOCKED)
RETURNING id, attempts, known_at, request
"""
_GIVE_UP: Final = """
UPDATE release SET status = 'failed', failure = $3, ended_at = now()
WHERE clinic_id = $1 AND status = 'building' AND leased_until < now() AND (attempts >= $2 OR expires_at <= now())
RETURNING id
"""
# Only what is still this attempt's: whoever was slower than its lease must not undo what came after it.
_MINE: Final = "clinic_id = $1 AND id = $2 AND attempts = $3 AND status = 'building'"
_STEP: Final = f"""
UPDATE release SET persons_read = $4, rows_written = $5, leased_until = now() + make_interval(secs => {LEASE_SECONDS})
WHERE {_MINE} RETURNING id
"""
_FAIL: Final = f"UPDATE release SET status = 'failed', failure = $4, ended_at = now() WHERE {_MINE} RETURNING id"
_GIVE_BACK: Final = f"""
UPDATE release SET status = 'approved', attempts = attempts - 1, leased_until = NULL WHERE {_MINE}
"""
_READY: Final = f"""
UPDATE release SET status = 'ready', ready_at = now(), manifest = $4, leased_until = NULL WHERE {_MINE} RETURNING id
"""
_ADD_PERSONS: Final = """
INSERT INTO release_person (clinic_id, release_id, patient_id, pseudonym, told_as)
SELECT $1, $2, * FROM unnest($3::uuid[], $4::bytea[], $5::int[])
"""


class OvertakenError(Exception):
    """Beside a release that became ready meanwhile, this one would tell more of people than its manifest says."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A release that is ours to build until the lease runs out."""

    id: UUID
    attempt: int
    known_at: datetime
    asked: ReleaseCreate


async def build_next(database: Database, clinic_id: UUID, only: UUID | None = None) -> int:
    """One release from claim to files, if one waits, or this one. Returns how many."""
    async with database.connection(clinic_id) as connection:
        for row in await connection.fetch(_GIVE_UP, clinic_id, MAX_ATTEMPTS, ReleaseFailure.DEFECT):
            await _tell(connection, clinic_id, "release.fail", row["id"])
        row = await connection.fetchrow(_CLAIM, clinic_id, LEASE_SECONDS, MAX_ATTEMPTS, only)
    if row is None:
        return 0
    asked = ReleaseCreate.model_validate_json(row["request"])
    claim = Claim(row["id"], row["attempts"], row["known_at"], asked)
    with suppress(LostError):
        await _Build(database, clinic_id, claim).run()
    return 1


# --- One claim --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Build:
    database: Database
    clinic_id: UUID
    claim: Claim

    async def run(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                await self._store(await self._built(stack))
        except TooFewError as error:
            await self._fail(str(error))
        except OvertakenError:
            await self._give_back()
        except asyncio.CancelledError:
            await self._give_back()
            raise

    async def _built(self, stack: AsyncExitStack) -> Built:
        async with self.database.snapshot(self.clinic_id, MOST_SECONDS) as connection:
            source = Source(
                connection, self.database.keys, self.clinic_id, self.claim.id, self.claim.asked, self.claim.known_at
            )
            step = Step(self._tell_step)
            beat = asyncio.create_task(step.beat())
            try:
                return await build(source, draw_pseudonyms, step, stack)
            finally:
                beat.cancel()

    async def _tell_step(self, persons: int, rows: int) -> None:
        async with self.database.connection(self.clinic_id) as connection:
            if await connection.fetchval(_STEP, *self._mine, persons, rows) is None:
                raise LostError

    async def _fail(self, why: str) -> None:
        async with self.database.connection(self.clinic_id) as connection:
            if await connection.fetchval(_FAIL, *self._mine, why) is not None:
                await _tell(connection, self.clinic_id, "release.fail", self.claim.id)

    async def _store(self, built: Built) -> None:
        """All of it or nothing, and only while it is ours: the row is taken first and held."""
        async with self.database.connection(self.clinic_id) as connection:
            if await connection.fetchval(_READY, *self._mine, json.dumps(built.manifest)) is None:
                raise LostError
            key = await get_key(connection, self.database.keys, self.clinic_id, self.claim.id)
            for name, file in built.files.items():
                await store_file(connection, key, self.clinic_id, self.claim.id, name, file)
            sealed = [self._sealed(key, id_, name) for id_, name in built.names.items()]
            await self._refuse_overtaken(connection, built)
            told_as = [built.told_as[id_] for id_ in built.names]
            await connection.execute(_ADD_PERSONS, self.clinic_id, self.claim.id, list(built.names), sealed, told_as)
            await _tell(connection, self.clinic_id, "release.build", self.claim.id, built.manifest["rows_out"])

    async def _refuse_overtaken(self, connection: asyncpg.Connection, built: Built) -> None:
        """Releases that became ready since the snapshot were not looked at: one at a time becomes ready."""
        at, k = await lock_releases(connection, self.clinic_id), self.claim.asked.disclosure.k
        ring = self.database.keys
        consents = await consents_in_force(connection, ring, self.clinic_id, Purpose.RESEARCH, at, at)
        earlier = await find_earlier_releases(connection, self.clinic_id, consents, at, k)
        if earlier.tell_apart(built.names) or earlier.beside(built.told_as) != built.beside:
            raise OvertakenError

    async def _give_back(self) -> None:
        """Told to stop, or to be built anew beside one that was faster: the next one has it at once, no attempt."""
        async with self.database.connection(self.clinic_id) as connection:
            await connection.execute(_GIVE_BACK, *self._mine)

    def _sealed(self, key: DataKey, patient_id: UUID, name: str) -> bytes:
        return seal_text(key, name, place("release_person", "pseudonym", self.clinic_id, self.claim.id, patient_id))

    @property
    def _mine(self) -> tuple[UUID, UUID, int]:
        return self.clinic_id, self.claim.id, self.claim.attempt


async def _tell(connection: asyncpg.Connection, clinic_id: UUID, action: str, id_: UUID, rows: int = 0) -> None:
    await record_read(connection, worker_of(clinic_id), action, of=None, resource_id=id_, rows=rows)
