"""A patient's course: SQL gives the series, the pure core says what it amounts to."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from app.auth import Actor
from app.db import Database
from app.errors import NotFoundError
from app.scoring.model import Point, Validity

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
class Series:
    """All forms of one patient on one instrument as they were known at a time, oldest first."""

    patient_id: UUID
    instrument_id: str
    known_at: datetime
    points: tuple[Point, ...]


async def get_series(
    database: Database, actor: Actor, patient_id: UUID, instrument_id: str, known_at: datetime
) -> Series:
    async with database.connection(actor.clinic_id) as connection:
        rows = await connection.fetch(_SERIES, actor.clinic_id, patient_id, instrument_id, known_at)
        if not rows and not await connection.fetchval(_PATIENT_EXISTS, actor.clinic_id, patient_id):
            raise NotFoundError("There is no such patient.")
    points = tuple(Point(str(id_), at, _whole(total), Validity(validity)) for id_, at, total, validity in rows)
    return Series(patient_id, instrument_id, known_at, points)


def _whole(total: float | None) -> int | float | None:
    """Postgres keeps totals as floating point; whole ones are whole again."""
    return int(total) if total is not None and total.is_integer() else total
