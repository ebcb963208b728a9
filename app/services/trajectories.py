"""A patient's course: SQL gives the series, the pure core says what it amounts to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from app.auth import Actor
from app.db import Database
from app.errors import NotFoundError
from app.scoring.model import Instrument, Point, Validity
from app.scoring.trajectory import Trajectory, trajectory
from app.scoring.treatment import Baseline, BaselineRule, NoBaseline, choose_baseline
from app.services.assessments import known_instrument

# Read from the history index alone. Corrections are rare and stand in an index of their own, so that a form without any
# costs no look-up of a later version.
_SERIES: Final = """
SELECT form.id, form.taken_at, form.total, form.validity
FROM assessment form
WHERE form.clinic_id = $1 AND form.patient_id = $2 AND form.instrument = $3
  AND form.received_at <= $4 AND form.status <> 'entered_in_error'
  AND NOT EXISTS (
    SELECT FROM assessment later
    WHERE later.clinic_id = $1 AND later.patient_id = $2 AND later.id = form.id
      AND later.version > 1 AND later.version > form.version AND later.received_at <= $4)
ORDER BY form.taken_at, form.received_at, form.id
"""
_PATIENT_EXISTS: Final = "SELECT EXISTS (SELECT FROM patient WHERE clinic_id = $1 AND id = $2)"


@dataclass(frozen=True, slots=True)
class TrajectoryRequest:
    """What is asked. `baseline` is a rule, the id of a form, or None for the best rule the record allows."""

    instrument: str
    baseline: Literal["pre_treatment", "first"] | UUID | None
    taken_from: datetime | None
    taken_to: datetime | None
    known_at: datetime

    def shows(self, at: datetime) -> bool:
        return (self.taken_from is None or at >= self.taken_from) and (self.taken_to is None or at < self.taken_to)


@dataclass(frozen=True, slots=True)
class PatientTrajectory:
    instrument: Instrument
    baseline: Baseline | NoBaseline
    trajectory: Trajectory


async def get_trajectory(
    database: Database, actor: Actor, patient_id: UUID, request: TrajectoryRequest
) -> PatientTrajectory:
    """The baseline is chosen from the whole series; `taken_from` and `taken_to` narrow what is shown and judged."""
    instrument = known_instrument(request.instrument, "query/instrument")
    points = await _series(database, actor, patient_id, instrument.id, request.known_at)
    baseline = _baseline(points, request.baseline)
    shown = [point for point in points if request.shows(point.at)]
    return PatientTrajectory(
        instrument, baseline, trajectory(instrument, shown, baseline if isinstance(baseline, Baseline) else None)
    )


def _baseline(points: Sequence[Point], asked: str | UUID | None) -> Baseline | NoBaseline:
    if isinstance(asked, UUID):
        return choose_baseline(points, BaselineRule.NAMED, assessment_id=str(asked))
    return choose_baseline(points, BaselineRule(asked or "first"))


async def _series(
    database: Database, actor: Actor, patient_id: UUID, instrument_id: str, known_at: datetime
) -> list[Point]:
    """All forms of one patient on one instrument as they were known at a time, oldest first."""
    async with database.connection(actor.clinic_id) as connection:
        rows = await connection.fetch(_SERIES, actor.clinic_id, patient_id, instrument_id, known_at)
        if not rows and not await connection.fetchval(_PATIENT_EXISTS, actor.clinic_id, patient_id):
            raise NotFoundError("There is no such patient.")
    return [Point(str(id_), at, _whole(total), Validity(validity)) for id_, at, total, validity in rows]


def _whole(total: float | None) -> int | float | None:
    """Postgres keeps totals as floating point; whole ones are whole again."""
    return int(total) if total is not None and total.is_integer() else total
