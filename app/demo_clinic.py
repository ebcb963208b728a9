"""An invented patient into the database, through the same services as everybody's."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.db import Database
from app.errors import AppError
from app.schemas.adverse_events import AdverseEventCreate
from app.schemas.assessments import MAX_BATCH
from app.schemas.consents import ConsentPut, Purpose
from app.schemas.episodes import EpisodeCreate
from app.schemas.observations import ObservationCreate
from app.schemas.patients import PatientCreate
from app.schemas.schedules import SchedulePut
from app.schemas.treatment_sessions import TreatmentSessionChange, TreatmentSessionCreate
from app.services.adverse_events import record_adverse_event
from app.services.assessments import record_batch
from app.services.consents import put_consent
from app.services.episodes import open_episode
from app.services.observations import record_observation
from app.services.patients import record_patient
from app.services.schedules import put_schedule
from app.services.treatment_sessions import amend_treatment_session, record_treatment_session
from app.synthetic import (
    SyntheticEpisode,
    SyntheticForm,
    SyntheticObservation,
    SyntheticPatient,
    SyntheticTreatmentSession,
)

PROTOCOL: Final = "kap-standard"  # what every invented course is asked by
_TERMS: Final = {"blurred vision": "blurred_vision", "raised blood pressure": "blood_pressure_rise"}
_KNOWN_TERMS: Final = frozenset({"dizziness", "nausea", "vomiting", "headache", "anxiety", *_TERMS.values()})
# The generator's dissociation rating is of its own making and fits no published scale, so it is left out.
_READINGS: Final = {
    "systolic_blood_pressure": "systolic",
    "diastolic_blood_pressure": "diastolic",
    "heart_rate": "heart_rate",
    "oxygen_saturation": "oxygen_saturation",
}


async def load_patient(database: Database, actor: Actor, invented: SyntheticPatient, *, in_research: bool) -> UUID:
    """Person and treatment in one transaction, then the forms as a telephone sends them that was offline."""
    async with database.session(actor) as session:
        patient, _ = await record_patient(session, actor, PatientCreate(external_ref=invented.external_ref), None)
        if in_research:
            await _load_consent(session, actor, patient.id, invented.episode.opened_at)
        episode_id = await _load_episode(session, actor, patient.id, invented.episode)
    forms = [_submitted(patient.id, form) for form in invented.forms]
    for begin in range(0, len(forms), MAX_BATCH):
        outcomes, _ = await record_batch(database, actor, forms[begin : begin + MAX_BATCH], None)
        for outcome in outcomes:
            if isinstance(outcome, AppError):
                raise outcome
    async with database.session(actor) as session:  # last, or all would count as missed for a moment
        await put_schedule(session, actor, episode_id, SchedulePut(protocol=PROTOCOL), None, None)
    return patient.id


async def _load_consent(session: AsyncSession, actor: Actor, patient_id: UUID, given_at: datetime) -> None:
    """To any research of the clinic, with the papers of the first visit."""
    given = ConsentPut(purpose=Purpose.RESEARCH, how="signed", document="invented", given_at=given_at)
    await put_consent(session, actor, patient_id, given, None, None)


def _submitted(patient_id: UUID, form: SyntheticForm) -> dict[str, Any]:
    return {
        "id": str(form.id),
        "patient_id": str(patient_id),
        "instrument": form.instrument,
        "responses": list(form.responses),
        "taken_at": form.taken_at.isoformat(),
        "mode": form.mode,
        "language": form.language,
    }


async def _load_episode(session: AsyncSession, actor: Actor, patient_id: UUID, invented: SyntheticEpisode) -> UUID:
    opened = EpisodeCreate(
        modality=invented.modality,
        opened_at=invented.opened_at,
        closed_at=invented.closed_at,
        end_reason=None if invented.closed_at is None else "completed",
    )
    episode, _ = await open_episode(session, actor, patient_id, opened, None)
    moved_from = {one.moved_to_at: one.planned_at for one in invented.treatment_sessions if one.status == "moved"}
    for one in invented.treatment_sessions:
        if one.status != "moved":
            await _load_session(session, actor, episode.id, one, moved_from.get(one.planned_at))
    return episode.id


async def _load_session(
    session: AsyncSession,
    actor: Actor,
    episode_id: UUID,
    invented: SyntheticTreatmentSession,
    first_planned_at: datetime | None,
) -> None:
    """A moved session is planned first and then moved, so that its history shows it."""
    content = _content(invented)
    if first_planned_at is None:
        stored, _ = await record_treatment_session(session, actor, episode_id, TreatmentSessionCreate(**content), None)
    else:
        planned = TreatmentSessionCreate(kind=invented.kind, status="planned", scheduled_at=first_planned_at)
        first, _ = await record_treatment_session(session, actor, episode_id, planned, None)
        change = TreatmentSessionChange(**content, reason="moved by the patient")
        stored, _ = await amend_treatment_session(session, actor, first.row.id, change, first.row.version, None)
    for reading in _observations(invented.observations):
        await record_observation(session, actor, stored.row.id, reading, None)
    for event in _adverse_events(invented):
        await record_adverse_event(session, actor, stored.row.id, event, None)


def _content(invented: SyntheticTreatmentSession) -> dict[str, Any]:
    content: dict[str, Any] = {
        "kind": invented.kind,
        "status": invented.status,
        "scheduled_at": invented.planned_at,
        "started_at": invented.started_at,
        "ended_at": invented.ended_at,
        "setting": invented.setting or "clinic",
    }
    if invented.kind == "dosing":
        taken = invented.concomitant_benzodiazepine
        content |= {
            "medicine": None if invented.medicine is None else "ketamine_racemic",
            "route": invented.route,
            "dose_mg": None if invented.dose_mg is None else float(invented.dose_mg),
            "weight_kg": invented.weight_kg,
            "concomitant_medicines": None if taken is None else ["benzodiazepine"] * taken,
        }
    return content


def _observations(readings: Iterable[SyntheticObservation]) -> Iterator[ObservationCreate]:
    known = sorted((one for one in readings if one.code in _READINGS), key=lambda one: one.at)
    for at, together in groupby(known, key=lambda one: one.at):
        values: dict[str, Any] = {_READINGS[one.code]: one.value for one in together}
        yield ObservationCreate(observed_at=at, **values)


def _adverse_events(invented: SyntheticTreatmentSession) -> Iterator[AdverseEventCreate]:
    for event in invented.adverse_events:
        term = _TERMS.get(event.term, event.term)
        yield AdverseEventCreate(
            term=term if term in _KNOWN_TERMS else "other",  # type: ignore[arg-type]  # the set holds choices alone
            note=None if term in _KNOWN_TERMS else event.term,
            severity=event.severity,
            serious=event.serious,
            onset_at=event.onset_at,
            resolved_at=event.resolved_at,
        )
