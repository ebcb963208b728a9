"""People whom an issuer vouches for, each with one id for ever."""

import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.db import Database
from app.errors import NotFoundError
from app.services.care_teams import with_hidden
from app.services.issuer_keys import find_keys, want_keys
from app.services.issuers import Issuer, Key, clinic_and_role, key_id_of, proven_claims, stranger, unknown_token
from app.tables import Principal

KEY_CACHE_SECONDS: Final = 5.0
WANT_SECONDS: Final = 10.0  # between two times that one process asks for newer keys
MAX_SEEN: Final = 10_000  # people. When there are more all are forgotten, and each is looked for once more

_SEE: Final = """
INSERT INTO principal (clinic_id, id, issuer, subject, first_seen_at)
SELECT clinic_id, $2, $3, $4, $5 FROM clinic WHERE clinic_id = $1
ON CONFLICT DO NOTHING
"""
_IS_SEEN: Final = "SELECT EXISTS (SELECT FROM principal WHERE clinic_id = $1 AND id = $2)"


class Persons:
    """Those of one issuer, as one process knows them."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._keys: dict[str, Key] = {}
        self._read_at = -KEY_CACHE_SECONDS
        self._wanted_at = -WANT_SECONDS
        self._seen: set[tuple[UUID, UUID]] = set()

    async def actor(self, database: Database, token: str) -> Actor:
        """Whom this token names. Raises UnauthenticatedError, ForbiddenError."""
        key = await self._key(database, key_id_of(token, self._issuer))
        claims = proven_claims(token, self._issuer, key)
        clinic_id, role = clinic_and_role(claims, self._issuer)
        actor = Actor(clinic_id, self._issuer.principal_id(claims["sub"]), role)
        async with database.connection(clinic_id) as connection:
            if (clinic_id, actor.token_id) not in self._seen:
                await self._see(connection, actor, claims["sub"])
            return await with_hidden(connection, actor, datetime.now(UTC))

    async def _key(self, database: Database, key_id: str) -> Key:
        now = time.monotonic()
        if now - self._read_at >= KEY_CACHE_SECONDS:
            self._keys, self._read_at = await find_keys(database, self._issuer.name), now
        if (key := self._keys.get(key_id)) is not None:
            return key
        if now - self._wanted_at >= WANT_SECONDS:
            self._wanted_at = now
            await want_keys(database, self._issuer.name)
        raise unknown_token()

    async def _see(self, connection: asyncpg.Connection, actor: Actor, subject: str) -> None:
        """So that the trail's id can be told from the table. A clinic that is none knows nobody."""
        now = datetime.now(UTC)
        await connection.execute(_SEE, actor.clinic_id, actor.token_id, self._issuer.name, subject, now)
        if not await connection.fetchval(_IS_SEEN, actor.clinic_id, actor.token_id):
            raise stranger()
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add((actor.clinic_id, actor.token_id))


async def get_principal(session: AsyncSession, actor: Actor, principal_id: UUID) -> Principal:
    """Raises NotFoundError."""
    row = await session.get(Principal, (actor.clinic_id, principal_id))
    if row is None:
        raise NotFoundError("There is no such person.")
    return row
