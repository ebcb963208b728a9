"""Whom a presented token stands for."""

from datetime import UTC, datetime
from typing import Final

from app.auth import Actor, Role, TokenKind, TokenParts
from app.db import Database
from app.errors import UnauthenticatedError
from app.services.care_teams import with_hidden
from app.services.check_in_links import get_bearer
from app.services.data_keys import get_token_key

_FIND: Final = (
    "SELECT role, patient_id, secret_hash, expires_at, revoked_at FROM api_token WHERE clinic_id = $1 AND id = $2"
)


async def get_actor(database: Database, token: TokenParts) -> Actor:
    """Who holds this token. Raises UnauthenticatedError, with the same words whatever is wrong with it."""
    if token.kind is TokenKind.LINK:
        return await get_bearer(database, token)
    async with database.connection(token.clinic_id) as connection:
        row = await connection.fetchrow(_FIND, token.clinic_id, token.token_id)
        key = await get_token_key(connection, database.keys, token.clinic_id)
        now = datetime.now(UTC)
        if (
            row is None
            or not token.matches(row["secret_hash"], key)
            or row["revoked_at"] is not None
            or (row["expires_at"] is not None and row["expires_at"] <= now)
        ):
            raise UnauthenticatedError("The token is unknown, expired or revoked.")
        actor = Actor(token.clinic_id, token.token_id, Role(row["role"]), row["patient_id"])
        return await with_hidden(connection, actor, now)
