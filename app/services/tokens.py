"""Whom a presented token stands for."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from app.auth import Actor, Role, TokenKind, TokenParts
from app.db import Database
from app.errors import UnauthenticatedError
from app.services.care_teams import with_hidden
from app.services.check_in_links import get_bearer
from app.services.data_keys import get_token_key
from app.services.devices import get_code_bearer, get_device, get_refresher

_FIND: Final = (
    "SELECT role, patient_id, scopes, secret_hash, expires_at, revoked_at FROM api_token "
    "WHERE clinic_id = $1 AND id = $2"
)
_OTHERS: Final[dict[TokenKind, Callable[[Database, TokenParts], Awaitable[Actor]]]] = {
    TokenKind.LINK: get_bearer,
    TokenKind.CODE: get_code_bearer,
    TokenKind.ACCESS: get_device,
    TokenKind.REFRESH: get_refresher,
}


async def get_actor(database: Database, token: TokenParts) -> Actor:
    """Who holds this token. Raises UnauthenticatedError, with the same words whatever is wrong with it."""
    if (prove := _OTHERS.get(token.kind)) is not None:
        return await prove(database, token)
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
        scopes = None if row["scopes"] is None else frozenset(row["scopes"])
        actor = Actor(token.clinic_id, token.token_id, Role(row["role"]), row["patient_id"], scopes=scopes)
        return await with_hidden(connection, actor, now)
