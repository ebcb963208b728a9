"""Making anew what is derived of all patients: after an upgrade, and when the clinic changed its rules."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from app.db import Database
from app.services.derivation import rederive
from app.services.locks import lock_key

PROGRAM: Final = 1  # to be raised by whatever changes what is derived of the same record
AT_ONCE: Final = 20  # patients whose locks are held together, so that no check-in waits for long

_RULES_VERSION: Final = """
SELECT coalesce(max(version), 1) FROM clinic_rules WHERE clinic_id = $1 AND id = $1
"""
_IS_CURRENT: Final = """
SELECT EXISTS (SELECT FROM derivation WHERE clinic_id = $1 AND program >= $2 AND rules_version >= $3)
"""
_PATIENTS: Final = "SELECT id FROM patient WHERE clinic_id = $1 AND id > $2 ORDER BY id LIMIT $3"
_MARK: Final = """
INSERT INTO derivation (clinic_id, program, rules_version, made_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (clinic_id) DO UPDATE
SET program = excluded.program, rules_version = excluded.rules_version, made_at = excluded.made_at
"""


async def keep_up(database: Database, clinic_id: UUID) -> int:
    """Makes all of the clinic anew unless that was done under its present rules. Returns how many patients it took.

    A few at a time, each in a transaction of their own: whoever is interrupted begins again, and nothing is wrong
    meanwhile but old. Rules changed during the work are found the next time, because those of its beginning are marked.
    """
    async with database.connection(clinic_id) as connection:
        rules_version = await connection.fetchval(_RULES_VERSION, clinic_id)
        if await connection.fetchval(_IS_CURRENT, clinic_id, PROGRAM, rules_version):
            return 0
    count = await rederive_all(database, clinic_id)
    async with database.connection(clinic_id) as connection:
        await connection.execute(_MARK, clinic_id, PROGRAM, rules_version, datetime.now(UTC))
    return count


async def rederive_all(database: Database, clinic_id: UUID) -> int:
    """Whatever it was made by before. Returns how many patients it took."""
    count, last = 0, UUID(int=0)
    while True:
        async with database.connection(clinic_id) as connection:
            patients = [row["id"] for row in await connection.fetch(_PATIENTS, clinic_id, last, AT_ONCE)]
        if not patients:
            return count
        async with database.locked(clinic_id, map(lock_key, patients)) as connection:
            await rederive(connection, clinic_id, patients, datetime.now(UTC))
        count, last = count + len(patients), patients[-1]
