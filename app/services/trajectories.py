"""A patient's course: SQL gives the series and the treatment, the pure core says what they amount to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal
from uuid import UUID

import asyncpg

from app.audit import record_read
from app.auth import Actor
from app.db import Database
from app.errors import NotFoundError
from app.scoring.episode import Episode, episode_at, stretch
from app.scoring.expected import CoursePlan
from app.scoring.model import Instrument, Point, Threshold, Validity
from app.scoring.schedule import expected_check_ins
from app.scoring.trajectory import Trajectory, trajectory
from app.scoring.treatment import Baseline, BaselineRule, Dose, NoBaseline, choose_baseline, usual_baseline
from app.scoring.worse_after_dose import FormPoint
from app.services.histories import History, find_histories
from app.services.patient_records import whole
from app.services.patient_treatments import PatientTreatment, find_treatments
from app.services.scored_assessments import known_instrument
from app.services.thresholds import find_thresholds

# Read from the history index alone. Corrections are rare and stand in an index of their own, so that a form without any
# costs no look-up of a later version.
_SERIES: Final = """
SELECT form.id, form.taken_at, form.total, form.validity, form.responses
FROM assessment form
WHERE form.clinic_id = $1 AND form.patient_id = $2 AND form.instrument = $3
  AND form.received_at <= $4 AND form.status <> 'entered_in_error'
  AND NOT EXISTS (
    SELECT FROM assessment later
    WHERE later.clinic_id = $1 AND later.patient_id = $2 AND later.id = form.id
      AND later.version > 1 AND later.version > form.version AND later.received_at <= $4)
ORDER BY form.taken_at, form.id
"""
# The doses of a course are already those known at the time; of each, the amount of the version known then.
_AMOUNTS: Final = """
SELECT DISTINCT ON (id) id, dose_mg
FROM treatment_session
WHERE clinic_id = $1 AND id = ANY($2::uuid[]) AND recorded_at <= $3
ORDER BY id, version DESC
"""
_PATIENT_EXISTS: Final = "SELECT EXISTS (SELECT FROM patient WHERE clinic_id = $1 AND id = $2)"


BaselineRequest = Literal["pre_treatment", "first"] | UUID | None
Row = tuple[UUID, datetime, float | None, str, tuple[int | None, ...]]  # of the series; the last: critical items


@dataclass(frozen=True, slots=True)
class TrajectoryRequest:
    """What is asked. `baseline` is a rule, the id of a form, or None for the best rule the record allows."""

    instrument: str
    episode_id: UUID | None
    baseline: BaselineRequest
    taken_from: datetime | None
    taken_to: datetime | None
    known_at: datetime

    @property
    def as_of(self) -> datetime:
        """The time of looking: nothing taken later than `taken_to` has happened yet."""
        return self.known_at if self.taken_to is None else min(self.known_at, self.taken_to)

    @property
    def hour(self) -> datetime:
        """The same to the hour, which is fine enough to tell what is missing from what may still come."""
        return self.as_of.replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class PatientTrajectory:
    instrument: Instrument
    episode: Episode | None
    doses: tuple[Dose, ...]
    trajectory: Trajectory


async def get_trajectory(
    database: Database, actor: Actor, patient_id: UUID, request: TrajectoryRequest, action: str = "trajectory.read"
) -> PatientTrajectory:
    """The course through one episode: the one asked for, else the one the patient is in or was in last."""
    instrument = known_instrument(request.instrument, "query/instrument")
    async with database.connection(actor) as connection:
        rows = await _series(connection, actor, patient_id, instrument, request)
        histories = await find_histories(connection, actor.clinic_id, [patient_id], request.known_at)
        thresholds = await find_thresholds(connection, actor.clinic_id, instrument.id, request.known_at)
        treatments = await find_treatments(connection, actor.clinic_id, [patient_id], request.known_at)
        history = histories.get(patient_id, ())
        episode = _episode(history, request)
        rows = _of_episode(rows, episode, history)
        await record_read(
            connection,
            actor,
            action,
            of=patient_id,
            resource_id=patient_id,
            rows=_shown(rows, request),
            asked=_told(request),
        )
    doses = tuple(dose for dose in episode.doses if dose.started_at <= request.as_of) if episode else ()
    asked = _asked(treatments.get(patient_id), episode)
    found = _course(instrument, rows, doses, request.baseline, request.hour, thresholds, asked)
    return PatientTrajectory(instrument, episode, doses, found)


@lru_cache(maxsize=64)
def _course(
    instrument: Instrument,
    rows: tuple[Row, ...],
    doses: tuple[Dose, ...],
    asked: BaselineRequest,
    as_of: datetime,
    thresholds: tuple[Threshold, ...],
    scheduled: PatientTreatment | None,
) -> Trajectory:
    """Computed once for each state of a record: courses are looked at far more often than they change."""
    watched = [critical.item for critical in instrument.critical_items]
    forms = [
        FormPoint(Point(str(id_), at, whole(total), Validity(validity)), dict(zip(watched, critical, strict=True)))
        for id_, at, total, validity, critical in rows
    ]
    baseline = _baseline([form.point for form in forms], doses, asked)
    return trajectory(instrument, forms, doses, baseline, as_of, thresholds, _plan(instrument, scheduled))


async def find_amounts_mg(
    database: Database, actor: Actor, doses: Sequence[Dose], known_at: datetime
) -> dict[str, float]:
    """How much was given, by the id of the dose; one whose amount is not known is left out."""
    if not doses:
        return {}
    async with database.connection(actor) as connection:
        rows = await connection.fetch(_AMOUNTS, actor.clinic_id, [UUID(dose.id) for dose in doses], known_at)
    return {str(id_): amount for id_, amount in rows if amount is not None}


def _episode(history: History, request: TrajectoryRequest) -> Episode | None:
    if request.episode_id is None:
        return episode_at(request.as_of, history)
    wanted = str(request.episode_id)
    for episode in history:
        if episode.id == wanted:
            return episode
    raise NotFoundError("The patient has no such episode.")


def _asked(treatment: PatientTreatment | None, episode: Episode | None) -> PatientTreatment | None:
    """The part of one episode; None where it has no schedule."""
    if treatment is None or episode is None:
        return None
    mine = tuple(planned for planned in treatment.episodes if str(planned.id) == episode.id)
    return replace(treatment, episodes=mine) if mine else None


def _plan(instrument: Instrument, scheduled: PatientTreatment | None) -> CoursePlan | None:
    if scheduled is None:
        return None
    (planned,) = scheduled.episodes
    entries = [entry for entry in planned.entries if entry.instrument == instrument.id]
    expected = expected_check_ins(entries, planned.opened_at, planned.sessions, scheduled.zones, planned.quiet)
    return CoursePlan(f"schedule@{planned.schedule_version}", expected)


def _shown(rows: Sequence[Row], request: TrajectoryRequest) -> int:
    return sum(request.taken_from is None or row[1] >= request.taken_from for row in rows)


def _told(request: TrajectoryRequest) -> TrajectoryRequest:
    """For the trail: a form named as baseline may be another clinic's, so that its id is left out."""
    return replace(request, baseline=None) if isinstance(request.baseline, UUID) else request


def _of_episode(rows: tuple[Row, ...], episode: Episode | None, history: History) -> tuple[Row, ...]:
    if episode is None:
        return rows
    start, end = stretch(episode, history)
    return tuple(row for row in rows if row[1] >= start and (end is None or row[1] < end))


def _baseline(points: Sequence[Point], doses: Sequence[Dose], asked: BaselineRequest) -> Baseline | NoBaseline:
    if asked is None:
        return usual_baseline(points, doses)
    if isinstance(asked, UUID):
        return choose_baseline(points, BaselineRule.NAMED, assessment_id=str(asked))
    first_dose_at = min((dose.started_at for dose in doses), default=None)
    return choose_baseline(points, BaselineRule(asked), first_dose_at=first_dose_at)


async def _series(
    connection: asyncpg.Connection, actor: Actor, patient_id: UUID, instrument: Instrument, request: TrajectoryRequest
) -> tuple[Row, ...]:
    """All forms of one patient on one instrument as they were known at a time, oldest first."""
    rows = await connection.fetch(_SERIES, actor.clinic_id, patient_id, instrument.id, request.known_at)
    if not rows and not await connection.fetchval(_PATIENT_EXISTS, actor.clinic_id, patient_id):
        raise NotFoundError("There is no such patient.")
    watched = [critical.item - 1 for critical in instrument.critical_items]
    return tuple(
        (id_, at, total, validity, tuple(responses[index] for index in watched))
        for id_, at, total, validity, responses in rows
        if request.taken_to is None or at < request.taken_to
    )
