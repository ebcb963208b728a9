"""Break-glass: a clinician sees a restricted patient for a while, says why, and everybody who should know is told.

Opened and ended as the system: about a patient who is hidden from the caller the caller's own transaction cannot write.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event, record_read
from app.auth import Actor, Role
from app.db import Database, driver_connection
from app.errors import ConflictError, NotFoundError
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.emergency_accesses import EmergencyAccessOpen
from app.services import versions
from app.services.locks import lock_patient
from app.services.notification_kinds import NotificationKind
from app.services.outbox import NewNotification, notify
from app.services.pages import newest_first
from app.services.patients import get_patient
from app.services.sealing import opened, sealed
from app.tables import EmergencyAccess


async def open_emergency_access(
    database: Database, actor: Actor, patient_id: UUID, content: EmergencyAccessOpen, key: str | None
) -> tuple[EmergencyAccess, bool]:
    """The access, and whether this was a repeat of an earlier call. Raises NotFoundError, ConflictError."""
    new, now = new_id(), datetime.now(UTC)
    asked = {"patient_id": str(patient_id), **content.model_dump(mode="json")}
    async with database.session(actor.clinic_id) as session:
        if known := await versions.find_replayed(session, actor, "emergency_access.open", asked, key, new):
            return await get_emergency_access(session, actor, known), True
        await _refuse_unless_hidden(session, actor, patient_id, now)
        access = EmergencyAccess(
            clinic_id=actor.clinic_id,
            id=new,
            patient_id=patient_id,
            actor_id=actor.token_id,
            reason=content.reason,
            begun_at=now,
            expires_at=now + timedelta(hours=content.hours),
            ended_at=None,
            ended_by=None,
        )
        session.add(EmergencyAccess(**await sealed(session, access)))
        await _tell(session, actor, access)
    return access, False


async def end_emergency_access(
    database: Database, actor: Actor, access_id: UUID, key: str | None
) -> tuple[EmergencyAccess, bool]:
    """The ended access, and whether this was a repeat. One that is over already stays as it is."""
    now = datetime.now(UTC)
    async with database.session(actor.clinic_id) as session:
        access = await get_emergency_access(session, actor, access_id)
        if await versions.find_replayed(session, actor, "emergency_access.end", {"id": str(access_id)}, key, new_id()):
            return access, True
        ending = update(EmergencyAccess).where(
            col(EmergencyAccess.clinic_id) == actor.clinic_id,
            col(EmergencyAccess.id) == access_id,
            col(EmergencyAccess.ended_at).is_(None),
            col(EmergencyAccess.expires_at) > now,
        )
        patient_id = access.patient_id
        if (await session.exec(ending.values(ended_at=now, ended_by=actor.token_id))).rowcount:
            record_event(session, actor, "emergency_access.end", at=now, subject_id=patient_id, resource_id=access_id)
        else:
            await record_read(session, actor, "emergency_access.read", of=patient_id, resource_id=access_id)
        return await get_emergency_access(session, actor, access_id), False


async def get_emergency_access(session: AsyncSession, actor: Actor, access_id: UUID) -> EmergencyAccess:
    """Anybody's for an administrator, one's own for others."""
    access = await session.get(EmergencyAccess, (actor.clinic_id, access_id), populate_existing=True)
    if access is None or (actor.role is not Role.ADMIN and access.actor_id != actor.token_id):
        raise NotFoundError("There is no such emergency access.")
    return (await opened(session, [access]))[0]


async def find_emergency_accesses(session: AsyncSession, actor: Actor, page: PageRequest) -> Sequence[EmergencyAccess]:
    """Newest first, of everybody or of the caller; one row more than the page holds, if there is one."""
    query = select(EmergencyAccess).where(EmergencyAccess.clinic_id == actor.clinic_id)
    if actor.role is not Role.ADMIN:
        query = query.where(EmergencyAccess.actor_id == actor.token_id)
    rows = await newest_first(session, query, EmergencyAccess.begun_at, EmergencyAccess.id, page)
    return await opened(session, rows)


async def _refuse_unless_hidden(session: AsyncSession, actor: Actor, patient_id: UUID, now: datetime) -> None:
    """Of two attempts at once the second finds the first."""
    if not actor.sees(patient_id) and patient_id not in (actor.hidden or ()):
        raise NotFoundError("There is no such patient.")
    await get_patient(session, actor, patient_id)
    await lock_patient(session, patient_id)
    is_open = select(EmergencyAccess.id).where(
        EmergencyAccess.clinic_id == actor.clinic_id,
        EmergencyAccess.patient_id == patient_id,
        EmergencyAccess.actor_id == actor.token_id,
        col(EmergencyAccess.ended_at).is_(None),
        EmergencyAccess.expires_at > now,
    )
    if actor.sees(patient_id) or (await session.exec(is_open)).first() is not None:
        raise ConflictError("You see this patient as it is: no emergency access is needed.")


async def _tell(session: AsyncSession, actor: Actor, access: EmergencyAccess) -> None:
    """The trail and the clinic's own programs."""
    at, patient_id = access.begun_at, access.patient_id
    by = replace(actor, emergencies=((patient_id, access.id),))
    record_event(session, by, "emergency_access.open", at=at, subject_id=patient_id, resource_id=access.id)
    kind = NotificationKind.EMERGENCY_ACCESS_OPENED
    told = NewNotification(f"emergency_access:{access.id}", kind, patient_id, access.id, at)
    await notify(await driver_connection(session), actor.clinic_id, [told])
