"""A patient among comparable ones: SQL gathers the clinic's courses, the pure core compares them."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.auth import Actor
from app.db import Database
from app.scoring.comparison import MAXIMUM_COURSES, WEEKS, Comparison, Course, comparison
from app.scoring.model import Instrument, Point, Validity
from app.scoring.timeline import DAY
from app.scoring.treatment import (
    MAXIMUM_BASELINE_AGE_DAYS,
    Baseline,
    BaselineRule,
    NoBaseline,
    choose_baseline,
)
from app.services.patient_records import COUNTS, whole
from app.services.trajectories import PatientTrajectory, TrajectoryRequest, get_trajectory

_MODALITY: Final = "SELECT modality FROM episode WHERE clinic_id = $1 AND id = $2 ORDER BY version DESC LIMIT 1"

# Courses of one modality with what was filled from the baseline's window to the last week's: current versions alone. A
# course speaks until the patient's next one opens after its close, as `scoring.episode.stretch` has it.
_COURSES: Final = f"""
WITH course AS MATERIALIZED (
  SELECT episode.patient_id, episode.id, episode.closed_at, min(dose.started_at) AS first_dose_at
  FROM episode
  JOIN treatment_session dose
    ON dose.clinic_id = episode.clinic_id AND dose.patient_id = episode.patient_id AND dose.episode_id = episode.id
    AND dose.kind = 'dosing' AND dose.status = 'done' AND NOT dose.entered_in_error AND dose.started_at <= $4
    AND NOT EXISTS (
      SELECT FROM treatment_session later
      WHERE later.clinic_id = $1 AND later.id = dose.id AND later.version > dose.version)
  WHERE episode.clinic_id = $1 AND dose.clinic_id = $1 AND episode.modality = $2 AND NOT episode.entered_in_error
    AND NOT EXISTS (
      SELECT FROM episode later
      WHERE later.clinic_id = $1 AND later.id = episode.id AND later.version > episode.version)
  GROUP BY episode.patient_id, episode.id, episode.closed_at
  ORDER BY first_dose_at DESC, episode.id
  LIMIT $7
), bounded AS MATERIALIZED (
  SELECT course.patient_id, course.id, course.first_dose_at, (
    SELECT min(next.opened_at) FROM episode next
    WHERE next.clinic_id = $1 AND next.patient_id = course.patient_id AND next.id <> course.id
      AND next.opened_at >= course.closed_at AND NOT next.entered_in_error
      AND NOT EXISTS (
        SELECT FROM episode later
        WHERE later.clinic_id = $1 AND later.id = next.id AND later.version > next.version)) AS ends_at
  FROM course
)
SELECT course.patient_id, course.id AS episode_id, course.first_dose_at, form.id, form.taken_at, form.total,
       form.validity
FROM bounded course
JOIN assessment form
  ON form.clinic_id = $1 AND form.patient_id = course.patient_id AND form.instrument = $3
  AND form.taken_at BETWEEN course.first_dose_at - $5::interval AND course.first_dose_at + $6::interval
  AND (course.ends_at IS NULL OR form.taken_at < course.ends_at)
WHERE form.total IS NOT NULL AND form.taken_at <= $4 AND {COUNTS}
ORDER BY course.patient_id, course.id
"""
_BEFORE: Final = MAXIMUM_BASELINE_AGE_DAYS * DAY
_AFTER: Final = max(week.closes for week in WEEKS)


@dataclass(frozen=True, slots=True)
class PatientComparison:
    """`modality` and `comparison` are None without a baseline to compare by."""

    instrument: Instrument
    episode_id: str | None
    baseline: Baseline | NoBaseline
    modality: str | None
    comparison: Comparison | None


async def get_comparison(
    database: Database, actor: Actor, patient_id: UUID, instrument: str, episode_id: UUID | None
) -> PatientComparison:
    """One episode of the patient among the clinic's courses: the one asked for, else the current or last."""
    now = datetime.now(UTC)
    request = TrajectoryRequest(instrument, episode_id, "pre_treatment", None, None, now)
    own = await get_trajectory(database, actor, patient_id, request, "comparison.read")
    baseline = own.trajectory.baseline
    if own.episode is None:
        return PatientComparison(own.instrument, None, baseline, None, None)
    if not isinstance(baseline, Baseline):
        return PatientComparison(own.instrument, own.episode.id, baseline, None, None)
    async with database.connection(actor) as connection:
        modality = await connection.fetchval(_MODALITY, actor.clinic_id, UUID(own.episode.id))
        courses = await _find_courses(connection, actor.clinic_id, modality, own.instrument.id, now)
    mine = _own_course(str(patient_id), modality, own, baseline)
    found = await asyncio.to_thread(comparison, own.instrument, mine, courses)  # long enough to keep others waiting
    return PatientComparison(own.instrument, own.episode.id, baseline, modality, found)


def _own_course(patient_id: str, modality: str, own: PatientTrajectory, baseline: Baseline) -> Course:
    first_dose_at = min(dose.started_at for dose in own.doses)
    points = tuple(placed.point for placed in own.trajectory.points)
    return Course(patient_id, modality, first_dose_at, _total(baseline), points)


async def _find_courses(
    connection: asyncpg.Connection, clinic_id: UUID, modality: str, instrument_id: str, now: datetime
) -> list[Course]:
    rows = await connection.fetch(_COURSES, clinic_id, modality, instrument_id, now, _BEFORE, _AFTER, MAXIMUM_COURSES)
    return list(_courses(rows, modality))


def _courses(rows: Sequence[Any], modality: str) -> Iterator[Course]:
    """Those that have a baseline."""
    for (patient_id, _, first_dose_at), mine in groupby(rows, key=lambda row: row[:3]):
        points = tuple(Point(str(id_), at, whole(total), Validity(validity)) for *_, id_, at, total, validity in mine)
        baseline = choose_baseline(points, BaselineRule.PRE_TREATMENT, first_dose_at=first_dose_at)
        if isinstance(baseline, Baseline):
            yield Course(str(patient_id), modality, first_dose_at, _total(baseline), points)


def _total(baseline: Baseline) -> int | float:
    assert baseline.point.total is not None  # noqa: S101  # a baseline is a scored form; narrows the type
    return baseline.point.total
