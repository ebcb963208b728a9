"""A patient's course: SQL gives the series and the treatment, the pure core says what they amount to."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, lru_cache
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
# costs no look-up of a later version. Told by column, in one row: a thousand rows would cost more to send and to read.
_SERIES: Final = """
SELECT array_agg(id), array_agg(taken_at), array_agg(total), array_agg(validity){columns}
FROM (
  SELECT form.id, form.taken_at, form.total, form.validity, form.responses
  FROM assessment form
  WHERE form.clinic_id = $1 AND form.patient_id = $2 AND form.instrument = $3
    AND form.received_at <= $4 AND form.status <> 'entered_in_error'
    AND NOT EXISTS (
      SELECT FROM assessment later
      WHERE later.clinic_id = $1 AND later.patient_id = $2 AND later.id = form.id
        AND later.version > 1 AND later.version > form.version AND later.received_at <= $4)
  ORDER BY form.taken_at, form.id
) form
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
class Series:
    """Forms by column, in order of time."""

    ids: tuple[UUID, ...]
    times: tuple[datetime, ...]
    totals: tuple[float | None, ...]
    validities: tuple[str, ...]
    critical: tuple[tuple[int | None, ...], ...]  # a column for each critical item

    def between(self, start: datetime | None, end: datetime | None) -> "Series":
        """The forms from `start` up to `end`, which is not in it; None: without a limit."""
        first = 0 if start is None else bisect_left(self.times, start)
        stop = len(self.times) if end is None else bisect_left(self.times, end)
        mine = slice(first, stop)
        columns = (self.ids[mine], self.times[mine], self.totals[mine], self.validities[mine])
        return Series(*columns, tuple(column[mine] for column in self.critical))

    def points(self) -> list[Point]:
        validities = map(cache(Validity), self.validities)  # three words, a thousand times
        return list(map(Point, map(str, self.ids), self.times, map(whole, self.totals), validities))


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
        series = await _series(connection, actor, patient_id, instrument, request.known_at)
        histories = await find_histories(connection, actor.clinic_id, [patient_id], request.known_at)
        thresholds = await find_thresholds(connection, actor.clinic_id, instrument.id, request.known_at)
        treatments = await find_treatments(connection, actor.clinic_id, [patient_id], request.known_at)
        history = histories.get(patient_id, ())
        episode = _episode(history, request)
        series = _of_episode(series, episode, history).between(None, request.taken_to)
        await record_read(
            connection,
            actor,
            action,
            of=patient_id,
            resource_id=patient_id,
            rows=len(series.between(request.taken_from, None).ids),
            asked=_told(request),
        )
    doses = tuple(dose for dose in episode.doses if dose.started_at <= request.as_of) if episode else ()
    asked = _asked(treatments.get(patient_id), episode)
    found = _course(instrument, series, doses, request.baseline, request.hour, thresholds, asked)
    return PatientTrajectory(instrument, episode, doses, found)


@lru_cache(maxsize=64)
def _course(
    instrument: Instrument,
    series: Series,
    doses: tuple[Dose, ...],
    asked: BaselineRequest,
    as_of: datetime,
    thresholds: tuple[Threshold, ...],
    scheduled: PatientTreatment | None,
) -> Trajectory:
    """Computed once for each state of a record: courses are looked at far more often than they change."""
    points = series.points()
    answers = list(zip(_watched(instrument), series.critical, strict=True))
    forms = [FormPoint(point, {item: column[place] for item, column in answers}) for place, point in enumerate(points)]
    baseline = _baseline(points, doses, asked)
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


def _told(request: TrajectoryRequest) -> TrajectoryRequest:
    """For the trail: a form named as baseline may be another clinic's, so that its id is left out."""
    return replace(request, baseline=None) if isinstance(request.baseline, UUID) else request


def _of_episode(series: Series, episode: Episode | None, history: History) -> Series:
    return series if episode is None else series.between(*stretch(episode, history))


def _baseline(points: Sequence[Point], doses: Sequence[Dose], asked: BaselineRequest) -> Baseline | NoBaseline:
    if asked is None:
        return usual_baseline(points, doses)
    if isinstance(asked, UUID):
        return choose_baseline(points, BaselineRule.NAMED, assessment_id=str(asked))
    first_dose_at = min((dose.started_at for dose in doses), default=None)
    return choose_baseline(points, BaselineRule(asked), first_dose_at=first_dose_at)


async def _series(
    connection: asyncpg.Connection, actor: Actor, patient_id: UUID, instrument: Instrument, known_at: datetime
) -> Series:
    """All forms of one patient on one instrument as they were known at a time."""
    values = (actor.clinic_id, patient_id, instrument.id, known_at)
    row = await connection.fetchrow(_series_sql(_watched(instrument)), *values)
    ids, times, totals, validities, *critical = (tuple(column or ()) for column in row)
    if not ids and not await connection.fetchval(_PATIENT_EXISTS, actor.clinic_id, patient_id):
        raise NotFoundError("There is no such patient.")
    return Series(ids, times, totals, validities, tuple(critical))


@cache
def _series_sql(watched: tuple[int, ...]) -> str:
    return _SERIES.format(columns="".join(f", array_agg(responses[{item}])" for item in watched))


def _watched(instrument: Instrument) -> tuple[int, ...]:
    return tuple(critical.item for critical in instrument.critical_items)
