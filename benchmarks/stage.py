"""What every benchmark needs: a clinic with patients, their history and a token; and the facts of the machine."""

import json
import os
import platform
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID

import asyncpg

from app.auth import Role
from app.crypto import KeyRing
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.ids import new_id
from app.services import clinics
from app.services.data_keys import get_keys
from app.services.sealing import place, seal_text
from app.settings import Settings
from benchmarks.processes import parent_of

PATIENTS: Final = 1_000
DOSES: Final = 3  # of each patient, in one open episode
STORED_BEFORE: Final = 100_000  # check-ins already there, 100 of each patient
_WRITTEN: Final = ("assessment", "audit_event", "idempotency_key")

_ADD_NUMBERED: Final = """
INSERT INTO patient (clinic_id, id, created_at)
SELECT $1, ((1000000000000000 + n)::text || repeat('0', 16))::uuid, now() FROM generate_series(0, $2 - 1) AS n
RETURNING id
"""
_ADD_EPISODES: Final = """
INSERT INTO episode (clinic_id, id, version, recorded_at, recorded_by, patient_id, modality, opened_at,
    opened_at_offset_minutes, entered_in_error)
SELECT $1, patient, 1, now(), $2, patient, 'ketamine_assisted', now() - interval '60 days', 0, false
FROM unnest($3::uuid[]) AS patient
"""
_ADD_DOSES: Final = """
INSERT INTO treatment_session (clinic_id, id, version, recorded_at, recorded_by, patient_id, episode_id, kind, status,
    scheduled_at, scheduled_at_offset_minutes, moved, started_at, started_at_offset_minutes, setting, "group",
    medicine, route, dose_mg, entered_in_error)
SELECT $1, gen_random_uuid(), 1, now(), $2, patient, patient, 'dosing', 'done',
    now() - n * interval '14 days', 0, false, now() - n * interval '14 days', 0, 'in_person', false,
    'ketamine', 'intramuscular', 60, false
FROM unnest($3::uuid[]) AS patient, generate_series(1, $4::int) AS n
"""
_ADD_HISTORY: Final = """
INSERT INTO assessment (clinic_id, id, version, patient_id, instrument, instrument_version, responses, validity, total,
    taken_at, taken_at_offset_minutes, received_at, mode, language, status, recorded_by, fingerprint)
SELECT $1, (($5::bigint - n::bigint * 60000000)::text || lpad(n::text, 16, '0'))::uuid, 1, ($2::uuid[])[1 + n % $3],
    'phq-9', 1, '{2,1,3,2,0,1,1,0,0,1}', 'valid', 10, now() - n * interval '1 minute', 0,
    now() - n * interval '1 minute', 'self', 'en', 'final', $1, '\\x5a'
FROM generate_series($4::int, 1, -1) AS n
"""
_ADD_PATIENTS: Final = """
INSERT INTO patient (clinic_id, id, identifiers, created_at)
SELECT $1::uuid, patient, identifiers, now() - n % 997 * interval '1 day'
FROM unnest($2::uuid[], $3::bytea[]) WITH ORDINALITY AS each (patient, identifiers, n)
"""


@dataclass(frozen=True, slots=True)
class Stage:
    address: PostgresAddress
    stored_before: int  # check-ins
    clinic_id: UUID
    token_id: UUID
    token: str
    patients: tuple[UUID, ...]
    postmaster: int  # process id

    @staticmethod
    def now_us() -> int:
        return time.time_ns() // 1000


async def prepare(address: PostgresAddress, stored_before: int = STORED_BEFORE) -> Stage:
    """A clinic as it may look after some years."""
    async with new_clinic(address, "Benchmark") as clinic:
        connection = clinic.connection
        rows = await connection.fetch(_ADD_NUMBERED, clinic.id, PATIENTS)
        patients = tuple(UUID(bytes=row["id"].bytes) for row in rows)
        await connection.execute(_ADD_EPISODES, clinic.id, clinic.token_id, patients)
        await connection.execute(_ADD_DOSES, clinic.id, clinic.token_id, patients, DOSES)
        await connection.execute(_ADD_HISTORY, clinic.id, patients, PATIENTS, stored_before, Stage.now_us())
        postmaster = parent_of(await connection.fetchval("SELECT pg_backend_pid()"))
    # Autovacuum would fall on one case.
    await _as_owner(address, *(f"ALTER TABLE {table} SET (autovacuum_enabled = off)" for table in _WRITTEN))
    return Stage(address, stored_before, clinic.id, clinic.token_id, clinic.token, patients, postmaster)


# --- Clinics to fill --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewClinic:
    id: UUID
    token_id: UUID
    token: str  # of a clinician
    connection: asyncpg.Connection
    keys: KeyRing


@asynccontextmanager
async def new_clinic(address: PostgresAddress, name: str) -> AsyncIterator[NewClinic]:
    """Filled in one transaction; after it, what autovacuum does within minutes is done at once."""
    async with opened(address) as database:
        clinic_id = (await clinics.record_clinic(database, name, "UTC")).clinic_id
        token, text = await clinics.record_token(database, clinic_id, Role.CLINICIAN)
        async with database.connection(clinic_id) as connection:
            yield NewClinic(clinic_id, token.id, text, connection, database.keys)
    await _as_owner(address, "VACUUM (ANALYZE, SKIP_LOCKED)")


async def add_patients(clinic: NewClinic, identifiers: Iterable[Mapping[str, str]]) -> tuple[UUID, ...]:
    """With their keys, entered over some years."""
    known = {new_id(): json.dumps(one) for one in identifiers}
    keys = await get_keys(clinic.connection, clinic.keys, clinic.id, list(known))
    sealed = [
        seal_text(keys[id_], text, place("patient", "identifiers", clinic.id, id_)) for id_, text in known.items()
    ]
    await clinic.connection.execute(_ADD_PATIENTS, clinic.id, list(known), sealed)
    return tuple(known)


@asynccontextmanager
async def opened(address: PostgresAddress) -> AsyncIterator[Database]:
    """As the service has it, with time for large statements."""
    database = Database(address.runtime_url, Settings(statement_timeout_ms=300_000))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def _as_owner(address: PostgresAddress, *statements: str) -> None:
    owner = await asyncpg.connect(address.owner_url)
    try:
        for statement in statements:
            await owner.execute(statement)
    finally:
        await owner.close()


# --- The machine ------------------------------------------------------------------------------------------------------


_SETTINGS: Final = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "jit")


async def machine_facts(stage: Stage) -> dict[str, str]:
    connection = await asyncpg.connect(stage.address.runtime_url)
    try:
        settings = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in _SETTINGS}
    finally:
        await connection.close()
    packages = ("fastapi", "pydantic", "sqlmodel", "sqlalchemy", "asyncpg", "uvicorn", "uvloop")
    return {
        "Machine": f"{os.cpu_count()} cores, {_processor()}; one fdatasync takes {_fdatasync_us():.0f} µs",
        "Postgres": f"{settings.pop('server_version')}, over TCP on the loopback; "
        + ", ".join(f"{name} {value}" for name, value in settings.items())
        + "; no autovacuum on the written tables",
        "Python": f"{platform.python_version()}; " + ", ".join(f"{name} {version(name)}" for name in packages),
        "Stored before": f"{stage.stored_before:,} check-ins of {PATIENTS:,} patients, {DOSES} doses each; one clinic",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _fdatasync_us(times: int = 50) -> float:
    """Median of a page written and made durable where a temporary Postgres keeps its data; near 0 on a RAM disk."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(times):
            file.write(b"\0" * 8192)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return 1e6 * median(taken)
