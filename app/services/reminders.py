"""What the passing of time alone makes true: a check-in is due, or was missed. No request comes by to notice it."""

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.db import Database
from app.services.locks import lock_key
from app.services.notification_kinds import NotificationKind
from app.services.outbox import NewNotification, notify

# Makes what is derived of these patients anew; wants their locks held.
Rederive = Callable[[asyncpg.Connection, UUID, Collection[UUID], datetime], Awaitable[Any]]

BATCH: Final = 500  # rows of one statement
MISSED_LOOK_BACK_DAYS: Final = 14  # a worker may have been away; what was missed before that is told by no one

# Which of the wanted were told is asked by key, all at once: asked row by row, a planner without statistics compares
# each with every notification of the clinic.
_UNTOLD: Final = """
SELECT key, patient_id, id FROM wanted
WHERE key <> ALL (ARRAY(
    SELECT key FROM notification WHERE clinic_id = $1 AND key = ANY (ARRAY(SELECT key FROM wanted))
))
ORDER BY at, id LIMIT $3
"""

# A reminder that moves is another one, hence the time in its key.
_DUE: Final = f"""
WITH wanted AS MATERIALIZED (
    SELECT patient_id, id, remind_at AS at,
        format('due:%s:%s', id, to_char(remind_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) AS key
    FROM expected_check_in
    WHERE clinic_id = $1 AND assessment_id IS NULL AND closes_at > $2 AND remind_at <= $2
)
{_UNTOLD}
"""

_MISSED: Final = f"""
WITH wanted AS MATERIALIZED (
    SELECT patient_id, id, closes_at AS at, format('missed:%s', id) AS key
    FROM expected_check_in
    WHERE clinic_id = $1 AND assessment_id IS NULL AND closes_at <= $2 AND closes_at > $2 - make_interval(days => $4)
        AND ($5::uuid IS NULL OR patient_id = $5)
)
{_UNTOLD}
"""


async def remind(database: Database, clinic_id: UUID, now: datetime) -> int:
    """Tells of each check-in that is to be reminded of, once. Returns how many were found."""
    async with database.connection(clinic_id) as connection:
        rows = await connection.fetch(_DUE, clinic_id, now, BATCH)
        await notify(connection, clinic_id, [_told(row, NotificationKind.CHECK_IN_DUE, now) for row in rows])
    return len(rows)


async def find_patients_with_misses(database: Database, clinic_id: UUID, now: datetime) -> list[UUID]:
    """Those of whose missed check-ins nobody has been told, the one that waits longest first."""
    async with database.connection(clinic_id) as connection:
        rows = await connection.fetch(_MISSED, clinic_id, now, BATCH, MISSED_LOOK_BACK_DAYS, None)
    return list(dict.fromkeys(row["patient_id"] for row in rows))


async def settle_misses(
    database: Database, clinic_id: UUID, patient_id: UUID, now: datetime, rederive: Rederive
) -> None:
    """In one transaction: either the alert is raised and the misses are told, or both wait for the next sweep."""
    async with database.locked(clinic_id, [lock_key(patient_id)]) as connection:
        await rederive(connection, clinic_id, [patient_id], now)
        missed = await connection.fetch(_MISSED, clinic_id, now, BATCH, MISSED_LOOK_BACK_DAYS, patient_id)
        await notify(connection, clinic_id, [_told(row, NotificationKind.CHECK_IN_MISSED, now) for row in missed])


def _told(row: asyncpg.Record, kind: NotificationKind, now: datetime) -> NewNotification:
    return NewNotification(row["key"], kind, row["patient_id"], row["id"], now)
