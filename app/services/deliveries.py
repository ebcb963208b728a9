"""The queue of deliveries: claimed for a while, then recorded. Many workers share it; who dies loses nothing.

All times are the database's, because the clocks of two workers may differ.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from app.crypto import KeyRing
from app.services.data_keys import get_clinic_key
from app.services.sealing import open_text, place

LEASE_SECONDS: Final = 60  # well above the longest an attempt takes; then another worker sends it again
# Waits after each failed attempt, as the convention proposes: about three days in all.
RETRY_SECONDS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
MAX_ATTEMPTS: Final = len(RETRY_SECONDS) + 1
JITTER_RATE: Final = 0.2  # so that what failed together does not come back together


@dataclass(frozen=True, slots=True)
class Claim:
    """One delivery that is ours until the lease runs out, with everything it takes to send it."""

    notification_id: UUID
    webhook_id: UUID
    attempt: int  # from 1
    kind: str
    patient_id: UUID
    resource_id: UUID
    created_at: datetime
    url: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt: delivered, or why not, in a word of ours."""

    status: int | None = None  # of HTTP
    error: str | None = None

    @property
    def is_gone(self) -> bool:
        return self.error == "gone"


# An attempt counts when it begins: one that kills its worker every time must come to an end, too.
_CLAIM: Final = """
WITH due AS (
    SELECT delivery.notification_id, delivery.webhook_id, webhook.url, webhook.secret,
        CASE WHEN webhook.previous_secret_until > now() THEN webhook.previous_secret END AS previous_secret
    FROM delivery JOIN webhook ON webhook.clinic_id = $1 AND webhook.id = delivery.webhook_id
    WHERE delivery.clinic_id = $1 AND delivery.status = 'pending' AND delivery.next_attempt_at <= now()
        AND webhook.disabled_at IS NULL AND webhook.id <> ALL ($3::uuid[])
    ORDER BY delivery.next_attempt_at LIMIT 1
    FOR UPDATE OF delivery SKIP LOCKED
), claimed AS (
    UPDATE delivery SET attempts = attempts + 1, last_attempt_at = now(),
        next_attempt_at = now() + make_interval(secs => $2)
    FROM due
    WHERE delivery.clinic_id = $1 AND delivery.notification_id = due.notification_id
        AND delivery.webhook_id = due.webhook_id
    RETURNING delivery.notification_id, delivery.webhook_id, attempts AS attempt, url, secret, previous_secret
)
SELECT claimed.*, kind, patient_id, resource_id, created_at
FROM claimed JOIN notification ON notification.clinic_id = $1 AND notification.id = claimed.notification_id
"""

_DELIVERED: Final = """
UPDATE delivery SET status = 'delivered', delivered_at = now(), last_status = $4, last_error = NULL
WHERE clinic_id = $1 AND notification_id = $2 AND webhook_id = $3
"""
# Only what is still this attempt's: whoever was slower than its lease must not undo what came after it.
_FAILED: Final = """
UPDATE delivery SET last_status = $5, last_error = $6,
    status = CASE WHEN $7::float8 IS NULL THEN 'dead' ELSE status END,
    next_attempt_at = now() + make_interval(secs => coalesce($7::float8, 0))
WHERE clinic_id = $1 AND notification_id = $2 AND webhook_id = $3 AND attempts = $4 AND status = 'pending'
"""
_DISABLE: Final = """
UPDATE webhook SET disabled_at = now() WHERE clinic_id = $1 AND id = $2 AND disabled_at IS NULL
"""


async def claim_next(
    connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID, busy: Collection[UUID]
) -> Claim | None:
    """The longest due, but for webhooks that are busy. What another worker is claiming at this moment is its own."""
    row = await connection.fetchrow(_CLAIM, clinic_id, LEASE_SECONDS, list(busy))
    return None if row is None else _claim(row, await _secrets(connection, ring, clinic_id, row))


async def record_outcome(connection: asyncpg.Connection, clinic_id: UUID, claim: Claim, outcome: Outcome) -> None:
    """Delivered; or to be tried again; or dead. An address that says it is gone is not called again."""
    place = (clinic_id, claim.notification_id, claim.webhook_id)
    if outcome.error is None:
        await connection.execute(_DELIVERED, *place, outcome.status)
        return
    wait = None if outcome.is_gone else seconds_to_wait(claim.attempt)
    await connection.execute(_FAILED, *place, claim.attempt, outcome.status, outcome.error, wait)
    if outcome.is_gone:
        await connection.execute(_DISABLE, clinic_id, claim.webhook_id)


def seconds_to_wait(attempt: int) -> float | None:
    """Until the attempt after this one, None after the last."""
    if attempt >= MAX_ATTEMPTS:
        return None
    return RETRY_SECONDS[attempt - 1] * random.uniform(1, 1 + JITTER_RATE)  # noqa: S311  # nothing secret hangs on it


async def _secrets(
    connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID, row: asyncpg.Record
) -> tuple[str, ...]:
    key = await get_clinic_key(connection, ring, clinic_id)
    return tuple(
        open_text(key, row[name], place("webhook", name, clinic_id, row["webhook_id"]))
        for name in ("secret", "previous_secret")
        if row[name] is not None
    )


def _claim(row: asyncpg.Record, secrets: tuple[str, ...]) -> Claim:
    return Claim(
        notification_id=row["notification_id"],
        webhook_id=row["webhook_id"],
        attempt=row["attempt"],
        kind=row["kind"],
        patient_id=row["patient_id"],
        resource_id=row["resource_id"],
        created_at=row["created_at"],
        url=row["url"],
        secrets=secrets,
    )
