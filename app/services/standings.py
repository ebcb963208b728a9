"""Where patients stand on each instrument, kept as rows so that a whole caseload can be read at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Final
from uuid import UUID

import asyncpg

from app.scoring.episode import Episode
from app.scoring.model import Instrument
from app.scoring.standing import Standing
from app.scoring.treatment import Baseline


@dataclass(frozen=True, slots=True)
class StandingRow:
    """One patient's row on one instrument. The fields are the table's columns, in the order of `_TYPES`."""

    instrument: str  # id without version
    episode_id: UUID | None
    assessment_id: UUID
    taken_at: datetime
    validity: str
    total: float | None
    severity: str | None
    change_since_last: float | None
    baseline_id: UUID | None
    baseline_rule: str
    baseline_total: float | None
    change: float | None
    percent_change: float | None
    category: str | None
    on_track: bool | None
    on_track_reason: str
    forms: int
    doses: int
    last_dose_at: datetime | None


_TYPES: Final = {
    "instrument": "text",
    "episode_id": "uuid",
    "assessment_id": "uuid",
    "taken_at": "timestamptz",
    "validity": "text",
    "total": "float8",
    "severity": "text",
    "change_since_last": "float8",
    "baseline_id": "uuid",
    "baseline_rule": "text",
    "baseline_total": "float8",
    "change": "float8",
    "percent_change": "float8",
    "category": "text",
    "on_track": "bool",
    "on_track_reason": "text",
    "forms": "int4",
    "doses": "int2",
    "last_dose_at": "timestamptz",
}


_values: Final = attrgetter(*_TYPES)


def _of(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in _TYPES)


# What differs is written, what is gone is deleted, nothing else is touched: a conflict that changes nothing would still
# lock the row, and most check-ins of a day leave most rows of a patient as they are.
_RECONCILE: Final = f"""
WITH derived AS (
  SELECT * FROM unnest($3::uuid[], {", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(_TYPES.values(), start=4))})
    AS derived (patient_id, {", ".join(_TYPES)})
), gone AS (
  DELETE FROM standing
  WHERE clinic_id = $1 AND patient_id = ANY($2::uuid[]) AND NOT EXISTS (
    SELECT FROM derived
    WHERE derived.patient_id = standing.patient_id AND derived.instrument = standing.instrument)
)
INSERT INTO standing (clinic_id, patient_id, {", ".join(_TYPES)})
SELECT $1, derived.* FROM derived
WHERE NOT EXISTS (
  SELECT FROM standing
  WHERE standing.clinic_id = $1 AND standing.patient_id = derived.patient_id
    AND standing.instrument = derived.instrument
    AND ROW({_of("standing")}) IS NOT DISTINCT FROM ROW({_of("derived")}))
ON CONFLICT (clinic_id, patient_id, instrument) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in _TYPES if name != "instrument")}
"""


_NO_COLUMNS: Final = ((),) * (1 + len(_TYPES))


async def reconcile_standings(
    connection: asyncpg.Connection, clinic_id: UUID, standings: Mapping[UUID, Sequence[StandingRow]]
) -> None:
    """The rows of these patients become exactly these. The caller holds the patients' locks."""
    rows = [(patient_id, row) for patient_id, mine in standings.items() for row in mine]
    if standings:
        await _reconcile(connection, clinic_id, list(standings), rows)


async def store_standings(
    connection: asyncpg.Connection, clinic_id: UUID, rows: Sequence[tuple[UUID, StandingRow]]
) -> None:
    """These rows of patients, whose other rows stay as they are. The caller holds the patients' locks."""
    if rows:
        await _reconcile(connection, clinic_id, [], rows)


async def _reconcile(
    connection: asyncpg.Connection, clinic_id: UUID, whole: Sequence[UUID], rows: Sequence[tuple[UUID, StandingRow]]
) -> None:
    columns = zip(*((patient_id, *_values(row)) for patient_id, row in rows), strict=True) if rows else _NO_COLUMNS
    await connection.execute(_RECONCILE, clinic_id, whole, *map(list, columns))


def standing_row(instrument: Instrument, episode: Episode | None, found: Standing) -> StandingRow:
    """What the pure core found, as the table keeps it."""
    latest, baseline = found.latest, found.baseline
    start = baseline.point if isinstance(baseline, Baseline) else None
    return StandingRow(
        instrument=instrument.id,
        episode_id=None if episode is None else UUID(episode.id),
        assessment_id=UUID(latest.id),
        taken_at=latest.at,
        validity=latest.validity.value,
        total=latest.total,
        severity=found.severity,
        change_since_last=found.change_since_last,
        baseline_id=None if start is None else UUID(start.id),
        baseline_rule=baseline.rule.value,
        baseline_total=None if start is None else start.total,
        change=found.change,
        percent_change=found.percent_change,
        category=None if found.category is None else found.category.value,
        on_track=found.on_track,
        on_track_reason=found.on_track_reason,
        forms=found.forms,
        doses=found.doses,
        last_dose_at=found.last_dose_at,
    )
