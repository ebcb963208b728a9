"""Check-in links: made, listed, revoked by the clinic, and proven by their bearer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event, record_read
from app.auth import Actor, Role, TokenKind, TokenParts, new_token
from app.db import Database, driver_connection, ring_of
from app.errors import NotFoundError, UnauthenticatedError
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.check_in_links import CheckInLinkCreate, LinkState
from app.services import versions
from app.services.data_keys import get_token_key
from app.services.pages import newest_first
from app.services.patients import get_patient
from app.tables import CheckInLink

_FIND: Final = """
SELECT patient_id, secret_hash, expires_at > $3 AND revoked_at IS NULL AS alive
FROM check_in_link WHERE clinic_id = $1 AND id = $2
"""
_SPEND: Final = """
UPDATE check_in_link SET tries_left = tries_left - 1 WHERE clinic_id = $1 AND id = $2 AND tries_left > 0
"""


@dataclass(frozen=True, slots=True)
class LinkInView:
    """A link as it stands now; its token only in the moment it is made."""

    row: CheckInLink
    state: LinkState
    token: str | None = None


# --- By the clinic ----------------------------------------------------------------------------------------------------


async def record_check_in_link(
    session: AsyncSession, actor: Actor, patient_id: UUID, content: CheckInLinkCreate, key: str | None
) -> tuple[LinkInView, bool]:
    """The link, and whether this was a repeat of an earlier call: then its token can no longer be told."""
    await get_patient(session, actor, patient_id)
    now, link_id = datetime.now(UTC), new_id()
    asked = {"patient_id": str(patient_id), **content.model_dump(mode="json")}
    if known := await versions.find_replayed(session, actor, "check_in_link.create", asked, key, link_id):
        return await get_check_in_link(session, actor, known), True
    token, parts = new_token(actor.clinic_id, link_id, TokenKind.LINK)
    token_key = await get_token_key(await driver_connection(session), ring_of(session), actor.clinic_id)
    link = CheckInLink(
        clinic_id=actor.clinic_id,
        id=link_id,
        patient_id=patient_id,
        secret_hash=parts.hashed(token_key),
        created_at=now,
        created_by=actor.token_id,
        expires_at=now + timedelta(hours=content.expires_in_hours),
        tries_left=content.tries,
        revoked_at=None,
    )
    session.add(link)
    record_event(session, actor, "check_in_link.create", at=now, subject_id=patient_id, resource_id=link_id)
    return LinkInView(link, "active", token), False


async def get_check_in_link(session: AsyncSession, actor: Actor, link_id: UUID) -> LinkInView:
    link = await session.get(CheckInLink, (actor.clinic_id, link_id), populate_existing=True)
    if link is None:
        raise NotFoundError("There is no such check-in link.")
    return LinkInView(link, _state(link, datetime.now(UTC)))


async def find_check_in_links(
    session: AsyncSession, actor: Actor, patient_id: UUID, page: PageRequest
) -> Sequence[LinkInView]:
    """Newest first, dead ones too; one row more than the page holds, if there is one."""
    await get_patient(session, actor, patient_id)
    query = select(CheckInLink).where(CheckInLink.clinic_id == actor.clinic_id, CheckInLink.patient_id == patient_id)
    links, now = await newest_first(session, query, CheckInLink.created_at, CheckInLink.id, page), datetime.now(UTC)
    return [LinkInView(link, _state(link, now)) for link in links]


async def revoke_check_in_link(
    session: AsyncSession, actor: Actor, link_id: UUID, key: str | None
) -> tuple[LinkInView, bool]:
    """The dead link, and whether this was a repeat of an earlier call. Revoking twice is no error."""
    now = datetime.now(UTC)
    asked = {"id": str(link_id)}
    if await versions.find_replayed(session, actor, "check_in_link.revoke", asked, key, link_id):
        return await get_check_in_link(session, actor, link_id), True
    revocation = update(CheckInLink).where(
        col(CheckInLink.clinic_id) == actor.clinic_id,
        col(CheckInLink.id) == link_id,
        col(CheckInLink.revoked_at).is_(None),
    )
    done = (await session.exec(revocation.values(revoked_at=now).returning(col(CheckInLink.patient_id)))).first()
    if done is not None:
        record_event(session, actor, "check_in_link.revoke", at=now, subject_id=done[0], resource_id=link_id)
    link = await get_check_in_link(session, actor, link_id)
    if done is None:  # all that happens is that the link is shown
        await record_read(session, actor, "check_in_link.read", of=link.row.patient_id, resource_id=link_id)
    return link, False


def _state(link: CheckInLink, now: datetime) -> LinkState:
    if link.revoked_at is not None:
        return "revoked"
    if link.expires_at <= now:
        return "expired"
    return "active" if link.tries_left > 0 else "used_up"


# --- By its bearer ----------------------------------------------------------------------------------------------------


async def get_bearer(database: Database, token: TokenParts) -> Actor:
    """Who opened this link. A wrong secret costs a try. Raises UnauthenticatedError.

    Tries are not asked for here but where they are spent: whose last answer got lost may still repeat it.
    """
    async with database.connection(token.clinic_id) as connection:
        row = await connection.fetchrow(_FIND, token.clinic_id, token.token_id, datetime.now(UTC))
        key = await get_token_key(connection, database.keys, token.clinic_id)
        proven = row is not None and token.matches(row["secret_hash"], key)
        if row is not None and not proven:
            await connection.execute(_SPEND, token.clinic_id, token.token_id)
    if not proven or not row["alive"]:
        raise dead_link()
    return Actor(token.clinic_id, token.token_id, Role.LINK, row["patient_id"])


async def lock_link(session: AsyncSession, actor: Actor) -> LinkInView:
    """The bearer's own link, held until the end of the transaction: of two answers through it one waits."""
    query = select(CheckInLink).where(CheckInLink.clinic_id == actor.clinic_id, CheckInLink.id == actor.token_id)
    link = (await session.exec(query.with_for_update())).one()
    return LinkInView(link, _state(link, datetime.now(UTC)))


async def spend_try(session: AsyncSession, actor: Actor) -> None:
    """One less. Nobody can have come between who holds the link's lock."""
    spent = update(CheckInLink).where(
        col(CheckInLink.clinic_id) == actor.clinic_id,
        col(CheckInLink.id) == actor.token_id,
        col(CheckInLink.tries_left) > 0,
    )
    await session.exec(spent.values(tries_left=CheckInLink.tries_left - 1))


def dead_link() -> UnauthenticatedError:
    """The same words whatever is wrong with it."""
    return UnauthenticatedError("The link is unknown, expired, revoked or used up.")
