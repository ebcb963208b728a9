"""A caller's key for one write: the first content wins for ever, its twins get the same answer."""

import hashlib
import json
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.crypto import keyed_hash
from app.db import driver_connection, ring_of
from app.errors import KeyReusedError, UnavailableError
from app.services.data_keys import get_clinic_key


def fingerprint(operation: str, content: dict[str, Any]) -> bytes:
    """SHA-256 of what was asked, whatever the order of the fields."""
    return hashlib.sha256(json.dumps([operation, content], sort_keys=True).encode()).digest()


_CLAIM = """
INSERT INTO idempotency_key (clinic_id, principal_id, key, fingerprint, resource_id, created_at, patient_ids)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING resource_id
"""
_CLAIMED = (
    "SELECT fingerprint, resource_id FROM idempotency_key WHERE clinic_id = $1 AND principal_id = $2 AND key = $3"
)


async def find_claimed(
    connection: asyncpg.Connection,
    actor: Actor,
    key: str,
    content: bytes,
    resource_id: UUID,
    at: datetime,
    patient_ids: Collection[UUID] | None = None,
) -> UUID | None:
    """What an earlier call with this key made or changed; None for a new key, which now stands for `resource_id`.

    That must be a thing of the patient, or `patient_ids` name them: a key holds a hash of what was sent, and goes when
    the patient is erased. A parallel twin waits here until the first has committed. Raises KeyReusedError for other
    content.
    """
    claimed = (actor.clinic_id, actor.token_id, key, content, resource_id, at)
    of = list(patient_ids) if patient_ids else None
    if await connection.fetchval(_CLAIM, *claimed, of) is not None:
        return None
    stored = await connection.fetchrow(_CLAIMED, actor.clinic_id, actor.token_id, key)
    if stored is None:
        raise UnavailableError("What this Idempotency-Key stood for is just being erased. Try again in a moment.")
    if stored["fingerprint"] != content:
        raise KeyReusedError("This Idempotency-Key was used for other content.")
    return UUID(bytes=stored["resource_id"].bytes)


async def find_replay(
    session: AsyncSession, actor: Actor, key: str, content: bytes, resource_id: UUID, at: datetime
) -> UUID | None:
    """The same in a session's transaction; what is kept of the content is keyed, for texts in it are stored sealed."""
    connection = await driver_connection(session)
    clinic_key = await get_clinic_key(connection, ring_of(session), actor.clinic_id)
    kept = keyed_hash(clinic_key.derive("idempotency"), content)
    return await find_claimed(connection, actor, key, kept, resource_id, at)


async def claim_key(
    session: AsyncSession, actor: Actor, key: str, content: bytes, resource_id: UUID, at: datetime
) -> UUID:
    """The resource this key stands for: `resource_id` when the key is new, else the first one's."""
    return await find_replay(session, actor, key, content, resource_id, at) or resource_id
