"""Enrolments as the clinic makes, lists and ends them. What devices do is `app.services.devices`'."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event, record_read
from app.auth import Actor, new_code
from app.db import driver_connection, ring_of
from app.errors import NotFoundError
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.enrolments import IDLE_DAYS, EnrolmentCreate, EnrolmentState
from app.services.data_keys import get_token_key
from app.services.pages import newest_first
from app.services.patients import get_patient
from app.services.versions import find_replayed
from app.tables import Enrolment


@dataclass(frozen=True, slots=True)
class NewEnrolment:
    """An enrolment; its code only in the moment it is made."""

    row: Enrolment
    code: str | None = None
    token: str | None = None


async def record_enrolment(
    session: AsyncSession, actor: Actor, patient_id: UUID, content: EnrolmentCreate, key: str | None
) -> tuple[NewEnrolment, bool]:
    """The enrolment, and whether this was a repeat of an earlier call: then its code can no longer be told."""
    await get_patient(session, actor, patient_id)
    now, new = datetime.now(UTC), new_id()
    asked = {"patient_id": str(patient_id), **content.model_dump(mode="json")}
    if known := await find_replayed(session, actor, "enrolment.create", asked, key, new):
        return NewEnrolment(await get_enrolment(session, actor, known)), True
    code, token, parts = new_code(actor.clinic_id)
    token_key = await get_token_key(await driver_connection(session), ring_of(session), actor.clinic_id)
    row = Enrolment(
        clinic_id=actor.clinic_id,
        id=new,
        patient_id=patient_id,
        created_at=now,
        created_by=actor.token_id,
        code_id=parts.token_id,  # 40 random bits: of a million codes of one clinic two are alike once in two runs
        code_hash=parts.hashed(token_key),
        expires_at=now + timedelta(hours=content.expires_in_hours),
        tries_left=content.tries,
    )
    session.add(row)
    record_event(session, actor, "enrolment.create", at=now, subject_id=patient_id, resource_id=new)
    return NewEnrolment(row, code, token), False


async def get_enrolment(
    session: AsyncSession, actor: Actor, enrolment_id: UUID, *, to_change: bool = False
) -> Enrolment:
    """Raises NotFoundError. `to_change` holds it against its device until the end of the transaction."""
    row = await session.get(Enrolment, (actor.clinic_id, enrolment_id), with_for_update=to_change or None)
    if row is None:
        raise NotFoundError("There is no such enrolment.")
    return row


async def find_enrolments(
    session: AsyncSession, actor: Actor, patient_id: UUID, page: PageRequest
) -> Sequence[Enrolment]:
    """Newest first, dead ones too; one row more than the page holds, if there is one."""
    await get_patient(session, actor, patient_id)
    query = select(Enrolment).where(Enrolment.clinic_id == actor.clinic_id, Enrolment.patient_id == patient_id)
    return await newest_first(session, query, Enrolment.created_at, Enrolment.id, page)


async def revoke_enrolment(
    session: AsyncSession, actor: Actor, enrolment_id: UUID, key: str | None
) -> tuple[Enrolment, bool]:
    """The dead enrolment, and whether this was a repeat of an earlier call. Revoking twice is no error."""
    asked = {"id": str(enrolment_id)}
    if await find_replayed(session, actor, "enrolment.revoke", asked, key, new_id()):
        return await get_enrolment(session, actor, enrolment_id), True
    row = await get_enrolment(session, actor, enrolment_id, to_change=True)
    if row.ended_at is None:
        row.ended_at, row.ended_because = datetime.now(UTC), "revoked"
        subject_id = row.patient_id
        record_event(
            session, actor, "enrolment.revoke", at=row.ended_at, subject_id=subject_id, resource_id=enrolment_id
        )
    else:  # all that happens is that the enrolment is shown
        await record_read(session, actor, "enrolment.read", of=row.patient_id, resource_id=enrolment_id)
    return row, False


def described(row: Enrolment) -> dict[str, Any]:
    """An enrolment as it stands now, without its hashes."""
    return row.model_dump() | {"state": state_of(row, datetime.now(UTC))}


def state_of(row: Enrolment, now: datetime) -> EnrolmentState:
    if row.ended_because is not None:
        return row.ended_because  # type: ignore[return-value]  # the table takes no other
    if row.refreshed_at is not None:
        return "idle" if is_idle(row, now) else "active"
    if row.expires_at <= now:
        return "expired"
    return "waiting" if row.tries_left > 0 else "used_up"


def is_idle(row: Enrolment, now: datetime) -> bool:
    return row.refreshed_at is not None and row.refreshed_at + timedelta(days=IDLE_DAYS) <= now
