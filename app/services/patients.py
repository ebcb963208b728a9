"""Patients of a clinic."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event, record_read
from app.auth import Actor
from app.db import driver_connection
from app.errors import ConflictError, Fault, NotFoundError
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
from app.services.pages import newest_first
from app.services.references import reference_index
from app.services.sealing import opened, sealed
from app.tables import Clinic, Patient, PatientTimeZone

_IDENTIFIERS: Final = frozenset(PatientCreate.model_fields)


@dataclass(frozen=True, slots=True)
class PatientInView:
    """A patient, how often changed, and where the clock stands."""

    id: UUID
    external_ref: str | None
    name: str | None
    contact: str | None
    date_of_birth: date | None
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
            (known,) = await opened(session, [await get_patient(session, actor, known_id)])
            await _tell_names_shown(session, actor, known_id)
            return _in_view(known, 1, clinic.time_zone), True
    patient = Patient(clinic_id=actor.clinic_id, id=patient_id, identifiers=None, ref_index=None, created_at=now)
    await _name(session, patient, content)
    values = await sealed(session, patient)
    stored = await session.exec(insert(Patient).values(**values).on_conflict_do_nothing().returning(col(Patient.id)))
    if stored.first() is None:
        raise _reference_taken()
    record_event(session, actor, "patient.create", at=now, subject_id=patient_id, resource_id=patient_id)
    return _in_view(patient, 1, clinic.time_zone), False


async def amend_patient(
    session: AsyncSession, actor: Actor, patient_id: UUID, change: PatientChange, based_on: int, key: str | None
) -> tuple[PatientInView, bool]:
    """The patient as changed, and whether this was a repeat of an earlier call.

    Every change is a version of where the clock stands, also one that leaves it as it was.
    """
    patient, clinic = await get_patient(session, actor, patient_id), await get_own_clinic(session, actor)
    if await versions.is_replayed(session, actor, "patient.amend", patient_id, based_on, change, key):
        await _tell_names_shown(session, actor, patient_id)
        return await _as_recorded(session, actor, patient, clinic, based_on + 1), True
    await lock_patient(session, patient_id)
    now = datetime.now(UTC)
    current = versions.unchanged((await _find_zones(session, actor, patient, clinic))[0], based_on)
    versions.refuse([*_faults(change, now)])
    if change.model_fields_set & _IDENTIFIERS:
        await _rename(session, patient, change)
    valid_from = _valid_from(change, current, patient, now)
    row = PatientTimeZone(
        **versions.following(current, actor, now, change.reason)
        | {"time_zone": change.time_zone or current.time_zone, "valid_from": valid_from.astimezone(UTC)}
        | {"valid_from_offset_minutes": offset_minutes(valid_from)}
    )
    await versions.store(session, actor, row, "patient.amend")
    await rederive_patient(session, actor, patient_id, now)
    return await _as_recorded(session, actor, patient, clinic, row.version), False


def _faults(change: PatientChange, now: datetime) -> Iterator[Fault]:
    if not change.model_fields_set - {"reason"}:
        yield Fault("", "nothing_to_change", "Send at least one field to change.")
    if change.time_zone is not None:
        yield from time_zones.journey_faults(change.time_zone, change.time_zone_from or now, now)
    elif change.model_fields_set & {"time_zone", "time_zone_from"}:
        yield Fault("/time_zone", "missing", "Say which time zone, and from when if not from now.")


def _valid_from(change: PatientChange, current: PatientTimeZone, patient: Patient, now: datetime) -> datetime:
    if change.time_zone is not None:
        return change.time_zone_from or now
    if current.version == 1:  # the clinic's, which held from the beginning
        return patient.created_at
    return current.valid_from.astimezone(timezone(timedelta(minutes=current.valid_from_offset_minutes)))


async def _name(session: AsyncSession, patient: Patient, content: BaseModel) -> None:
    """Sets what names the patient, from what is sent of it."""
    known = json.loads(patient.identifiers or "{}") | content.model_dump(
        mode="json", exclude_unset=True, include=set(_IDENTIFIERS)
    )
    told = {name: value for name, value in known.items() if value is not None}
    patient.identifiers = json.dumps(told) if told else None
    reference = told.get("external_ref")
    patient.ref_index = None if reference is None else await reference_index(session, patient.clinic_id, reference)


async def _rename(session: AsyncSession, patient: Patient, change: PatientChange) -> None:
    """In place: what somebody was called by mistake, or before, is not kept."""
    (patient,) = await opened(session, [patient])
    await _name(session, patient, change)
    values = await sealed(session, patient)
    renaming = update(Patient).where(col(Patient.clinic_id) == patient.clinic_id, col(Patient.id) == patient.id)
    try:
        async with session.begin_nested():
            await session.exec(renaming.values(identifiers=values["identifiers"], ref_index=values["ref_index"]))
    except IntegrityError:
        raise _reference_taken() from None


async def _tell_names_shown(session: AsyncSession, actor: Actor, patient_id: UUID) -> None:
    """Names are kept as they are now alone, so a repeat may show others than the first answer did."""
    await record_read(session, actor, "patient.read", of=patient_id, resource_id=patient_id)


def _reference_taken() -> ConflictError:
    return ConflictError("Another patient of this clinic has this external_ref.")


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
    return await _all_in_view(session, actor, await newest_first(session, query, Patient.created_at, Patient.id, page))


async def _all_in_view(session: AsyncSession, actor: Actor, patients: Sequence[Patient]) -> list[PatientInView]:
    ids, now = [patient.id for patient in patients], datetime.now(UTC)
    zones = await time_zones.zones_of(await driver_connection(session), actor.clinic_id, ids)
    numbers = await _find_version_numbers(session, actor, ids)
    return [
        _in_view(patient, numbers.get(patient.id, 1), time_zones.zone_at(zones[patient.id], now))
        for patient in await opened(session, patients)
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
    changes = await opened(session, (await session.exec(query.order_by(col(PatientTimeZone.version).desc()))).all())
    clinics = {"time_zone": clinic.time_zone, "valid_from": None, "valid_from_offset_minutes": 0}
    first = versions.default(actor.clinic_id, patient.id, patient.created_at) | clinics
    return [*changes, PatientTimeZone(**first, patient_id=patient.id)]


async def _as_recorded(
    session: AsyncSession, actor: Actor, patient: Patient, clinic: Clinic, version: int
) -> PatientInView:
    """What the change answered: what was recorded later is not in it."""
    rows = [row for row in await _find_zones(session, actor, patient, clinic) if row.version <= version]
    zones = time_zones.in_order(ZoneFrom(row.valid_from, row.time_zone) for row in reversed(rows))
    (patient,) = await opened(session, [patient])
    return _in_view(patient, version, time_zones.zone_at(zones, rows[0].recorded_at))


def _in_view(patient: Patient, version: int, time_zone: str) -> PatientInView:
    known = PatientCreate.model_validate_json(patient.identifiers or "{}")
    return PatientInView(patient.id, **dict(known), created_at=patient.created_at, version=version, time_zone=time_zone)
