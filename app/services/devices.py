"""What a patient's device does: it redeems its code, shows its tokens, renews them, and logs out.

At any time one refresh token may be shown next. The answer to a renewal may get lost, so the one before may be shown
again for as long as nothing of the newer pair was used: then the newer pair is dead, and showing it is what showing any
spent token is. A spent refresh token that comes back is a copy of one, and ends the device, whoever shows it.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event
from app.auth import Actor, Role, TokenKind, TokenParts, new_token
from app.db import Database, driver_connection, ring_of
from app.errors import UnauthenticatedError
from app.ids import new_id
from app.schemas.enrolments import ACCESS_MINUTES, IDLE_DAYS, DeviceTokens
from app.services.data_keys import get_token_key
from app.services.enrolments import state_of
from app.tables import Enrolment, RefreshToken

NO_HASH: Final = bytes(32)  # of no secret: what is unknown is compared too

_FIND_CODE: Final = """
SELECT id, patient_id, code_hash, expires_at > $3 AND tries_left > 0 AND ended_at IS NULL AND last_used_at IS NULL
    AND previous_refresh_id IS NULL AS alive
FROM enrolment WHERE clinic_id = $1 AND code_id = $2 FOR UPDATE
"""
_SPEND_TRY: Final = """
UPDATE enrolment SET tries_left = tries_left - 1 WHERE clinic_id = $1 AND code_id = $2 AND tries_left > 0
"""
_FIND_ACCESS: Final = """
SELECT patient_id, access_hash, is_pair_used, ended_at IS NULL AND access_expires_at > $3 AS alive
FROM enrolment WHERE clinic_id = $1 AND id = $2 AND access_hash IS NOT NULL
"""
_USE_PAIR: Final = """
UPDATE enrolment SET is_pair_used = true, last_used_at = $3 WHERE clinic_id = $1 AND id = $2 AND access_hash = $4
"""
_FIND_REFRESH: Final = """
SELECT patient_id, secret_hash FROM refresh_token WHERE clinic_id = $1 AND id = $2
"""


# --- Who shows a token ------------------------------------------------------------------------------------------------


async def get_code_bearer(database: Database, token: TokenParts) -> Actor:
    """Who typed this code. A wrong second half costs a try, and of many guesses at once each waits for the one before.

    Raises UnauthenticatedError.
    """
    async with database.connection(token.clinic_id) as connection:
        row = await connection.fetchrow(_FIND_CODE, token.clinic_id, token.token_id, datetime.now(UTC))
        key = await get_token_key(connection, database.keys, token.clinic_id)
        is_proven = token.matches(NO_HASH if row is None else row["code_hash"], key)
        if not is_proven:  # an unknown code does the same work, on no row
            await connection.execute(_SPEND_TRY, token.clinic_id, token.token_id)
    if row is None or not is_proven or not row["alive"]:
        raise _dead_code()
    return Actor(token.clinic_id, row["id"], Role.CODE, row["patient_id"])


async def get_device(database: Database, token: TokenParts) -> Actor:
    """Whose access token this is. Its first use is written down: from then on its pair has arrived."""
    now = datetime.now(UTC)
    async with database.connection(token.clinic_id) as connection:
        row = await connection.fetchrow(_FIND_ACCESS, token.clinic_id, token.token_id, now)
        key = await get_token_key(connection, database.keys, token.clinic_id)
        is_proven = token.matches(NO_HASH if row is None else row["access_hash"], key)
        if row is None or not is_proven or not row["alive"]:
            raise _dead_token()
        if not row["is_pair_used"]:
            await connection.execute(_USE_PAIR, token.clinic_id, token.token_id, now, row["access_hash"])
    return Actor(token.clinic_id, token.token_id, Role.PATIENT, row["patient_id"])


async def get_refresher(database: Database, token: TokenParts) -> Actor:
    """Who may renew or log out. One that was spent ends its device. Raises UnauthenticatedError."""
    async with database.connection(token.clinic_id) as connection:
        row = await connection.fetchrow(_FIND_REFRESH, token.clinic_id, token.token_id)
        key = await get_token_key(connection, database.keys, token.clinic_id)
    if not token.matches(NO_HASH if row is None else row["secret_hash"], key) or row is None:
        raise _dead_token()
    actor = Actor(token.clinic_id, token.token_id, Role.REFRESH, row["patient_id"])
    async with database.session(actor) as session:
        device = await _lock_device(session, actor)
    if device is None:
        raise _dead_token()
    return actor


# --- What it does with it ---------------------------------------------------------------------------------------------


async def redeem_code(database: Database, actor: Actor) -> DeviceTokens:
    """The first tokens. A code whose answer got lost is redeemed again, as long as nothing of it was used."""
    now, tokens = datetime.now(UTC), None
    async with database.session(actor) as session:
        query = select(Enrolment).where(Enrolment.clinic_id == actor.clinic_id, Enrolment.id == actor.token_id)
        device = (await session.exec(query.with_for_update())).one()
        if _is_unused(device) and device.expires_at > now:
            device.redeemed_at = device.redeemed_at or now
            tokens = await _mint(session, device, now)
            _record(session, actor, "enrolment.redeem", device, now)
    if tokens is None:
        raise _dead_code()
    return tokens


def _is_unused(device: Enrolment) -> bool:
    """Whether nothing its code was redeemed for was ever shown; told by what is never set back, as pairs are."""
    return device.ended_at is None and device.last_used_at is None and device.previous_refresh_id is None


async def refresh_tokens(database: Database, actor: Actor) -> DeviceTokens:
    """The next tokens; those before are dead."""
    now, tokens = datetime.now(UTC), None
    async with database.session(actor) as session:
        device = await _lock_device(session, actor)
        if device is not None:
            if device.refresh_id == actor.token_id:
                device.previous_refresh_id = actor.token_id
            tokens = await _mint(session, device, now)
            await _forget_old(session, device, now)
            _record(session, actor, "enrolment.refresh", device, now)
    if tokens is None:
        raise _dead_token()
    return tokens


async def log_out(database: Database, actor: Actor) -> None:
    """Ends the device, its access token within a second."""
    async with database.session(actor) as session:
        device = await _lock_device(session, actor)
        if device is not None:
            _end(session, actor, device, "logged_out")
    if device is None:
        raise _dead_token()


async def _lock_device(session: AsyncSession, actor: Actor) -> Enrolment | None:
    """The device of a proven refresh token if it may be shown; else None, and one that was spent has ended the device.

    Nothing is raised here: the end has to be committed.
    """
    query = select(Enrolment).join(
        RefreshToken,
        (col(RefreshToken.clinic_id) == Enrolment.clinic_id) & (col(RefreshToken.enrolment_id) == Enrolment.id),
    )
    query = query.where(RefreshToken.clinic_id == actor.clinic_id, RefreshToken.id == actor.token_id)
    device = (await session.exec(query.with_for_update(of=Enrolment))).one_or_none()
    if device is None or state_of(device, datetime.now(UTC)) != "active":
        return None
    if device.refresh_id == actor.token_id:
        return device
    if device.previous_refresh_id == actor.token_id and not device.is_pair_used:
        return device
    _end(session, actor, device, "reused")
    return None


def _end(session: AsyncSession, actor: Actor, device: Enrolment, because: str) -> None:
    device.ended_at, device.ended_because = datetime.now(UTC), because
    _record(session, actor, f"enrolment.{because}", device, device.ended_at)


async def _mint(session: AsyncSession, device: Enrolment, now: datetime) -> DeviceTokens:
    """A new pair in place of the one before."""
    refresh_id = new_id()
    key = await get_token_key(await driver_connection(session), ring_of(session), device.clinic_id)
    access, access_parts = new_token(device.clinic_id, device.id, TokenKind.ACCESS)
    refresh, refresh_parts = new_token(device.clinic_id, refresh_id, TokenKind.REFRESH)
    device.access_hash = access_parts.hashed(key)
    device.access_expires_at = now + timedelta(minutes=ACCESS_MINUTES)
    device.refresh_id, device.refreshed_at, device.is_pair_used = refresh_id, now, False
    session.add(
        RefreshToken(
            clinic_id=device.clinic_id,
            id=refresh_id,
            patient_id=device.patient_id,
            enrolment_id=device.id,
            secret_hash=refresh_parts.hashed(key),
            created_at=now,
        )
    )
    return DeviceTokens(
        access_token=access,
        refresh_token=refresh,
        expires_at=device.access_expires_at,
        patient_id=device.patient_id,
    )


async def _forget_old(session: AsyncSession, device: Enrolment, now: datetime) -> None:
    """Spent ones are known for as long as a device may stay away. Older ones are unknown, and open nothing either."""
    spent = delete(RefreshToken).where(
        col(RefreshToken.clinic_id) == device.clinic_id,
        col(RefreshToken.enrolment_id) == device.id,
        col(RefreshToken.created_at) < now - timedelta(days=IDLE_DAYS),
        col(RefreshToken.id).not_in([id_ for id_ in (device.refresh_id, device.previous_refresh_id) if id_]),
    )
    await session.exec(spent)


def _record(session: AsyncSession, actor: Actor, action: str, device: Enrolment, at: datetime) -> None:
    """In the trail a device is its enrolment, whatever token it shows."""
    itself = replace(actor, token_id=device.id)
    record_event(session, itself, action, at=at, subject_id=device.patient_id, resource_id=device.id)


def _dead_code() -> UnauthenticatedError:
    """The same words whatever is wrong with it."""
    return UnauthenticatedError("The code is unknown, expired, revoked or used.")


def _dead_token() -> UnauthenticatedError:
    return UnauthenticatedError("The token is unknown, expired or revoked.")
