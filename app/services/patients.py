"""Patients of a clinic."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event
from app.auth import Actor
from app.errors import ConflictError, NotFoundError
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.patients import PatientCreate
from app.services.idempotency import claim_key, fingerprint
from app.tables import Patient


async def record_patient(
    session: AsyncSession, actor: Actor, content: PatientCreate, idempotency_key: str | None
) -> tuple[Patient, bool]:
    """The patient, and whether this was a repeat of an earlier call."""
    now, patient_id = datetime.now(UTC), new_id()
    if idempotency_key is not None:
        asked = fingerprint("patient.create", content.model_dump(mode="json"))
        known_id = await claim_key(session, actor, idempotency_key, asked, patient_id, now)
        if known_id != patient_id:
            return await get_patient(session, actor, known_id), True
    patient = Patient(clinic_id=actor.clinic_id, id=patient_id, external_ref=content.external_ref, created_at=now)
    stored = await session.exec(
        insert(Patient).values(**patient.model_dump()).on_conflict_do_nothing().returning(col(Patient.id))
    )
    if stored.first() is None:
        raise ConflictError("Another patient of this clinic has this external_ref.")
    record_event(session, actor, "patient.create", at=now, subject_id=patient_id, resource_id=patient_id)
    return patient, False


async def get_patient(session: AsyncSession, actor: Actor, patient_id: UUID) -> Patient:
    patient = await session.get(Patient, (actor.clinic_id, patient_id))
    if patient is None:
        raise NotFoundError("There is no such patient.")
    return patient


async def find_patients(session: AsyncSession, actor: Actor, page: PageRequest) -> Sequence[Patient]:
    """Newest first; one row more than the page holds, if there is one."""
    query = select(Patient).where(Patient.clinic_id == actor.clinic_id)
    if page.after is not None:
        query = query.where(tuple_(col(Patient.created_at), col(Patient.id)) < (page.after.at, page.after.id))
    query = query.order_by(col(Patient.created_at).desc(), col(Patient.id).desc()).limit(page.limit + 1)
    return (await session.exec(query)).all()
