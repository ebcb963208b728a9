"""Patients of a clinic."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event
from app.auth import Actor
from app.db import driver_connection
from app.errors import ConflictError, NotFoundError
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.fields import offset_minutes
from app.schemas.patients import PatientChange, PatientCreate
from app.scoring.schedule import ZoneFrom
from app.services import time_zones, versions
from app.services.clinic_rules import get_own_clinic
from app.services.derivation import rederive_patient
from app.services.idempotency import claim_key, fingerprint
from app.services.locks import lock_patient
from app.tables import Clinic, Patient, PatientTimeZone


@dataclass(frozen=True, slots=True)
class PatientInView:
    """A patient, how often changed, and where the clock stands."""

    id: UUID
    external_ref: str | None
    created_at: datetime
    version: int
    time_zone: str


async def record_patient(
    session: AsyncSession, actor: Actor, content: PatientCreate, idempotency_key: str | None
) -> tuple[PatientInView, bool]:
    """The patient, and whether this was a repeat of an earlier call."""
    clinic = await get_own_clinic(session, actor)
    now, patient_id = datetime.now(UTC), new_id()
    if idempotency_key is not None:
        asked = fingerprint("patient.create", content.model_dump(mode="json"))
        known_id = await claim_key(session, actor, idempotency_key, asked, patient_id, now)
        if known_id != patient_id:
            return _in_view(await get_patient(session, actor, known_id), 1, clinic.time_zone), True
    patient = Patient(clinic_id=actor.clinic_id, id=patient_id, external_ref=content.external_ref, created_at=now)
    stored = await session.exec(
        insert(Patient).values(**patient.model_dump()).on_conflict_do_nothing().returning(col(Patient.id))
    )
    if stored.first() is None:
        raise ConflictError("Another patient of this clinic has this external_ref.")
    record_event(session, actor, "patient.create", at=now, subject_id=patient_id, resource_id=patient_id)
    return _in_view(patient, 1, clinic.time_zone), False


async def amend_patient(
    session: AsyncSession, actor: Actor, patient_id: UUID, change: PatientChange, based_on: int, key: str | None
) -> tuple[PatientInView, bool]:
    """The patient with the clock set anew, and whether this was a repeat of an earlier call."""
    patient, clinic = await get_patient(session, actor, patient_id), await get_own_clinic(session, actor)
    if await versions.is_replayed(session, actor, "patient.amend", patient_id, based_on, change, key):
        return await _as_recorded(session, actor, patient, clinic, based_on + 1), True
    await lock_patient(session, patient_id)
    now = datetime.now(UTC)
    current = versions.unchanged((await _find_zones(session, actor, patient, clinic))[0], based_on)
    valid_from = change.time_zone_from or now
    versions.refuse([*time_zones.journey_faults(change.time_zone, valid_from, now)])
    row = PatientTimeZone(
        **versions.following(current, actor, now, change.reason)
        | {"time_zone": change.time_zone, "valid_from": valid_from.astimezone(UTC)}
        | {"valid_from_offset_minutes": offset_minutes(valid_from)}
    )
    await versions.store(session, actor, row, "patient.amend")
    await rederive_patient(session, actor, patient_id, now)
    return await _as_recorded(session, actor, patient, clinic, row.version), False


async def get_patient(session: AsyncSession, actor: Actor, patient_id: UUID) -> Patient:
    patient = await session.get(Patient, (actor.clinic_id, patient_id))
    if patient is None:
        raise NotFoundError("There is no such patient.")
    return patient


async def get_patient_in_view(session: AsyncSession, actor: Actor, patient_id: UUID) -> PatientInView:
    patient = await get_patient(session, actor, patient_id)
    return (await _all_in_view(session, actor, [patient]))[0]


async def find_patient_time_zones(session: AsyncSession, actor: Actor, patient_id: UUID) -> Sequence[PatientTimeZone]:
    """Every change of the clock, newest first, down to the clinic's zone."""
    patient, clinic = await get_patient(session, actor, patient_id), await get_own_clinic(session, actor)
    return await _find_zones(session, actor, patient, clinic)


async def find_patients(session: AsyncSession, actor: Actor, page: PageRequest) -> Sequence[PatientInView]:
    """Newest first; one row more than the page holds, if there is one."""
    query = select(Patient).where(Patient.clinic_id == actor.clinic_id)
    if page.after is not None:
        query = query.where(tuple_(col(Patient.created_at), col(Patient.id)) < (page.after.at, page.after.id))
    query = query.order_by(col(Patient.created_at).desc(), col(Patient.id).desc()).limit(page.limit + 1)
    return await _all_in_view(session, actor, (await session.exec(query)).all())


async def _all_in_view(session: AsyncSession, actor: Actor, patients: Sequence[Patient]) -> list[PatientInView]:
    ids, now = [patient.id for patient in patients], datetime.now(UTC)
    zones = await time_zones.zones_of(await driver_connection(session), actor.clinic_id, ids)
    numbers = await _find_version_numbers(session, actor, ids)
    return [
        _in_view(patient, numbers.get(patient.id, 1), time_zones.zone_at(zones[patient.id], now))
        for patient in patients
    ]


async def _find_version_numbers(session: AsyncSession, actor: Actor, ids: Collection[UUID]) -> Mapping[UUID, int]:
    """The newest version of each patient that was ever changed."""
    query = select(PatientTimeZone.id, func.max(PatientTimeZone.version)).where(
        PatientTimeZone.clinic_id == actor.clinic_id, col(PatientTimeZone.id).in_(ids)
    )
    return dict((await session.exec(query.group_by(col(PatientTimeZone.id)))).all())


async def _find_zones(session: AsyncSession, actor: Actor, patient: Patient, clinic: Clinic) -> list[PatientTimeZone]:
    """Newest version first. Version 1 is the clinic's zone."""
    query = select(PatientTimeZone).where(
        PatientTimeZone.clinic_id == actor.clinic_id, PatientTimeZone.id == patient.id
    )
    changes = (await session.exec(query.order_by(col(PatientTimeZone.version).desc()))).all()
    clinics = {"time_zone": clinic.time_zone, "valid_from": None, "valid_from_offset_minutes": 0}
    first = versions.default(actor.clinic_id, patient.id, patient.created_at) | clinics
    return [*changes, PatientTimeZone(**first, patient_id=patient.id)]


async def _as_recorded(
    session: AsyncSession, actor: Actor, patient: Patient, clinic: Clinic, version: int
) -> PatientInView:
    """What the change answered: what was recorded later is not in it."""
    rows = [row for row in await _find_zones(session, actor, patient, clinic) if row.version <= version]
    zones = time_zones.in_order(ZoneFrom(row.valid_from, row.time_zone) for row in reversed(rows))
    return _in_view(patient, version, time_zones.zone_at(zones, rows[0].recorded_at))


def _in_view(patient: Patient, version: int, time_zone: str) -> PatientInView:
    return PatientInView(patient.id, patient.external_ref, patient.created_at, version, time_zone)
