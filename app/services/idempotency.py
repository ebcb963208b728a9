"""A caller's key for one write: the first content wins for ever, its twins get the same answer."""

import hashlib
import json
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.crypto import keyed_hash
from app.db import driver_connection, ring_of
from app.errors import KeyReusedError
from app.services.data_keys import get_clinic_key


def fingerprint(operation: str, content: dict[str, Any]) -> bytes:
    """SHA-256 of what was asked, whatever the order of the fields."""
    return hashlib.sha256(json.dumps([operation, content], sort_keys=True).encode()).digest()


_CLAIM = """
INSERT INTO idempotency_key (clinic_id, principal_id, key, fingerprint, resource_id, created_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING resource_id
"""
_CLAIMED = (
    "SELECT fingerprint, resource_id FROM idempotency_key WHERE clinic_id = $1 AND principal_id = $2 AND key = $3"
)


async def claim_on(
    connection: asyncpg.Connection, actor: Actor, key: str, content: bytes, resource_id: UUID, at: datetime
) -> UUID:
    """The resource this key stands for: `resource_id` when the key is new, else the first one's.

    A parallel twin waits here until the first has committed. Raises KeyReusedError for other content.
    """
    if await connection.fetchval(_CLAIM, actor.clinic_id, actor.token_id, key, content, resource_id, at) is not None:
        return resource_id
    stored = await connection.fetchrow(_CLAIMED, actor.clinic_id, actor.token_id, key)
    if stored["fingerprint"] != content:
        raise KeyReusedError("This Idempotency-Key was used for other content.")
    return UUID(bytes=stored["resource_id"].bytes)


async def claim_key(
    session: AsyncSession, actor: Actor, key: str, content: bytes, resource_id: UUID, at: datetime
) -> UUID:
    """The same in a session's transaction; what is kept of the content is keyed, for texts in it are stored sealed."""
    connection = await driver_connection(session)
    clinic_key = await get_clinic_key(connection, ring_of(session), actor.clinic_id)
    kept = keyed_hash(clinic_key.derive("idempotency"), content)
    return await claim_on(connection, actor, key, kept, resource_id, at)
