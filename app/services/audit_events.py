"""Reading the trail: of the clinic, and of one patient."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.paging import PageRequest
from app.services.pages import newest_first
from app.services.patients import get_patient
from app.tables import AuditEvent, AuditLink, AuditSubject


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What is None is not asked for. `begins` belongs to the period, `ends` does not."""

    actor_id: UUID | None = None
    action: str | None = None
    patient_id: UUID | None = None
    begins: datetime | None = None
    ends: datetime | None = None


async def find_audit_events(
    session: AsyncSession, actor: Actor, wanted: AuditFilter, page: PageRequest
) -> list[tuple[AuditEvent, int | None]]:
    """Newest first, each with its place in the chain once it has one; one row more than the page holds."""
    events = await _find(session, actor, wanted, page)
    query = select(AuditLink.event_id, AuditLink.number).where(
        AuditLink.clinic_id == actor.clinic_id, col(AuditLink.event_id).in_([event.id for event in events])
    )
    numbers = dict((await session.exec(query)).all())
    return [(event, numbers.get(event.id)) for event in events]


async def find_accesses(
    session: AsyncSession, actor: Actor, patient_id: UUID, page: PageRequest
) -> Sequence[AuditEvent]:
    """What was done about a patient, newest first; one row more than the page holds. Raises NotFoundError."""
    await get_patient(session, actor, patient_id)
    return await _find(session, actor, AuditFilter(patient_id=patient_id), page)


async def _find(session: AsyncSession, actor: Actor, wanted: AuditFilter, page: PageRequest) -> Sequence[AuditEvent]:
    query = select(AuditEvent).where(AuditEvent.clinic_id == actor.clinic_id, *_conditions(wanted))
    if wanted.patient_id is None:
        return await newest_first(session, query, AuditEvent.at, AuditEvent.id, page)
    about = query.where(AuditEvent.subject_id == wanted.patient_id)
    events = [*await newest_first(session, about, AuditEvent.at, AuditEvent.id, page)]
    events += await newest_first(
        session, _listing(query, actor, wanted.patient_id), AuditSubject.at, AuditSubject.event_id, page
    )
    return sorted(events, key=lambda event: (event.at, event.id), reverse=True)[: page.limit + 1]


def _listing(query: Any, actor: Actor, patient_id: UUID) -> Any:
    """Those about several patients, one of whom this is."""
    subject = AuditSubject
    same = and_(col(subject.clinic_id) == AuditEvent.clinic_id, col(subject.event_id) == AuditEvent.id)
    return query.join(subject, same).where(subject.clinic_id == actor.clinic_id, subject.patient_id == patient_id)


def _conditions(wanted: AuditFilter) -> Iterator[Any]:
    if wanted.actor_id is not None:
        yield AuditEvent.actor_id == wanted.actor_id
    if wanted.action is not None:
        yield AuditEvent.action == wanted.action
    if wanted.begins is not None:
        yield col(AuditEvent.at) >= wanted.begins
    if wanted.ends is not None:
        yield col(AuditEvent.at) < wanted.ends
