"""Tokens that a clinic's administrator makes for its people and programs."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event, record_read
from app.auth import TOKEN_ROLES, Actor, Role, new_token, powers
from app.db import driver_connection, ring_of
from app.errors import Fault, ForbiddenError, NotFoundError
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.tokens import TokenCreate, TokenState
from app.services.data_keys import get_token_key
from app.services.pages import newest_first
from app.services.patients import get_patient
from app.services.versions import find_replayed, refuse
from app.tables import ApiToken

_NOT_OF_ROLE: Final = "The role may not do this anyway: leave it out, or choose another role."


def make_token(
    maker: Actor,
    token_id: UUID,
    role: Role,
    patient_id: UUID | None,
    label: str,
    scopes: Sequence[str] | None,
    *,
    expires_at: datetime | None,
    token_key: bytes,
) -> tuple[ApiToken, str]:
    """A row to store and, this once, the text its holder uses."""
    text, parts = new_token(maker.clinic_id, token_id)
    token = ApiToken(
        clinic_id=maker.clinic_id,
        id=token_id,
        role=role,
        patient_id=patient_id,
        label=label,
        scopes=None if scopes is None else sorted(set(scopes)),
        secret_hash=parts.hashed(token_key),
        created_at=datetime.now(UTC),
        created_by=maker.token_id,
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
    )
    return token, text


def faults_of_token(role: Role, patient_id: UUID | None, scopes: Sequence[str] | None) -> list[Fault]:
    return list(_faults(role, patient_id, scopes))


def _faults(role: Role, patient_id: UUID | None, scopes: Sequence[str] | None) -> Iterator[Fault]:
    if role not in TOKEN_ROLES:
        yield Fault("/role", "not_a_role_of_tokens", f"Choose one of {', '.join(TOKEN_ROLES)}.")
    if (role is Role.PATIENT) != (patient_id is not None):
        yield Fault("/patient_id", "patient_mismatch", "A token of the role patient, and no other, names its patient.")
    for place, scope in enumerate(scopes or ()):
        if scope not in powers(role):
            yield Fault(f"/scopes/{place}", "not_of_role", _NOT_OF_ROLE)


async def record_token(
    session: AsyncSession, actor: Actor, content: TokenCreate, key: str | None
) -> tuple[ApiToken, str | None, bool]:
    """The token, its text, and whether this was a repeat of an earlier call: then the text can no longer be told."""
    role = Role(content.role)
    refuse(faults_of_token(role, content.patient_id, content.scopes))
    if actor.scopes is not None and (beyond := sorted(powers(role, content.scopes) - actor.scopes)):
        raise ForbiddenError(f"A narrowed token makes none that may more, and yours lacks the scope {beyond[0]}.")
    if content.patient_id is not None:
        await get_patient(session, actor, content.patient_id)
    new, asked = new_id(), content.model_dump(mode="json")
    if known := await find_replayed(session, actor, "token.create", asked, key, new):
        return await get_token(session, actor, known), None, True
    expires_at = datetime.now(UTC) + timedelta(days=content.expires_in_days)
    token, text = make_token(
        actor,
        new,
        role,
        content.patient_id,
        content.label,
        content.scopes,
        expires_at=expires_at,
        token_key=await get_token_key(await driver_connection(session), ring_of(session), actor.clinic_id),
    )
    session.add(token)
    record_event(
        session, actor, "token.create", at=token.created_at, subject_id=content.patient_id, resource_id=token.id
    )
    return token, text, False


async def get_token(session: AsyncSession, actor: Actor, token_id: UUID) -> ApiToken:
    token = await session.get(ApiToken, (actor.clinic_id, token_id), populate_existing=True)
    if token is None:
        raise NotFoundError("There is no such token.")
    return token


async def find_tokens(session: AsyncSession, actor: Actor, page: PageRequest) -> Sequence[ApiToken]:
    """Newest first, dead ones too; one row more than the page holds, if there is one."""
    query = select(ApiToken).where(ApiToken.clinic_id == actor.clinic_id)
    return await newest_first(session, query, ApiToken.created_at, ApiToken.id, page)


async def revoke_token(session: AsyncSession, actor: Actor, token_id: UUID, key: str | None) -> tuple[ApiToken, bool]:
    """The dead token, and whether this was a repeat of an earlier call. Revoking twice is no error."""
    if await find_replayed(session, actor, "token.revoke", {"id": str(token_id)}, key, new_id()):
        return await get_token(session, actor, token_id), True
    now = datetime.now(UTC)
    revocation = update(ApiToken).where(
        col(ApiToken.clinic_id) == actor.clinic_id, col(ApiToken.id) == token_id, col(ApiToken.revoked_at).is_(None)
    )
    done = (await session.exec(revocation.values(revoked_at=now).returning(col(ApiToken.patient_id)))).first()
    if done is not None:
        record_event(session, actor, "token.revoke", at=now, subject_id=done[0], resource_id=token_id)
    token = await get_token(session, actor, token_id)
    if done is None:  # all that happens is that the token is shown
        await record_read(session, actor, "token.read", of=token.patient_id, resource_id=token_id)
    return token, False


def described(token: ApiToken) -> dict[str, Any]:
    """A token as it stands now, without its secret."""
    return token.model_dump(exclude={"clinic_id", "secret_hash"}) | {"state": _state(token)}


def _state(token: ApiToken) -> TokenState:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= datetime.now(UTC) else "active"
