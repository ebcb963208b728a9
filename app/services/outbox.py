"""What is to be told is written in the transaction of what it tells of; `app.delivery` sends it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from app.db import Database
from app.ids import new_id
from app.services.notification_kinds import NotificationKind

FORGET_AT_ONCE: Final = 500  # so that no transaction is long


@dataclass(frozen=True, slots=True)
class NewNotification:
    """Something that happened to one patient, in ids alone. What has the same key is told once."""

    key: str
    kind: NotificationKind
    patient_id: UUID
    resource_id: UUID
    at: datetime


# The fan-out reads only what was really added, so a repeat of a key makes no second delivery.
NOTIFY: Final = """
WITH added AS (
    INSERT INTO notification (clinic_id, id, key, kind, patient_id, resource_id, created_at)
    SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::timestamptz[])
    ON CONFLICT (clinic_id, key) DO NOTHING
    RETURNING id, kind
)
INSERT INTO delivery (clinic_id, notification_id, webhook_id, status, attempts, next_attempt_at)
SELECT $1, added.id, webhook.id, 'pending', 0, now()
FROM added JOIN webhook
    ON webhook.clinic_id = $1 AND webhook.disabled_at IS NULL
    AND (cardinality(webhook.events) = 0 OR added.kind = ANY (webhook.events))
"""


async def notify(connection: asyncpg.Connection, clinic_id: UUID, notifications: Sequence[NewNotification]) -> None:
    """Adds those whose key is new, and puts each on its way to every enabled webhook that wants its kind."""
    if not notifications:
        return
    await connection.execute(
        NOTIFY,
        clinic_id,
        [new_id() for _ in notifications],
        [one.key for one in notifications],
        [one.kind.value for one in notifications],
        [one.patient_id for one in notifications],
        [one.resource_id for one in notifications],
        [one.at for one in notifications],
    )


async def forget_old(database: Database, clinic_id: UUID, keep_days: int) -> int:
    """Some of what was told so long ago, with its deliveries, unless one still waits. Returns how many.

    Which of them, the function in the database decides; the trail is another thing and stays.
    """
    before = datetime.now(UTC) - timedelta(days=keep_days)
    async with database.connection(clinic_id) as connection:
        found = await connection.fetchval("SELECT forget_notifications($1, $2)", before, FORGET_AT_ONCE)
    return int(found)
