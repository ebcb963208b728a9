"""What is on record of some patients as it stands now: forms and treatment, in the words of the pure core."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import groupby, repeat
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.scoring.model import Instrument, Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.timeline import InTimeOrder
from app.scoring.worse_after_dose import FormPoint
from app.services.histories import History

# Of a row `form` of `assessment`, with the clinic as $1: whether it counts, as the newest version of a form that was
# not entered in error. Read from the history index alone but for the rare corrections, which have their own.
COUNTS: Final = """\
form.status <> 'entered_in_error' AND NOT EXISTS (
    SELECT FROM assessment later
    WHERE later.clinic_id = $1 AND later.patient_id = form.patient_id AND later.id = form.id
      AND later.version > 1 AND later.version > form.version)"""
_FORMS: Final = f"""
SELECT form.patient_id, form.instrument, form.id, form.taken_at, form.total, form.validity, form.responses
FROM assessment form
WHERE form.clinic_id = $1 AND form.patient_id = ANY($2::uuid[]) AND {COUNTS}
ORDER BY form.patient_id, form.instrument, form.taken_at, form.id
"""


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """One patient: the episodes with their doses, and the forms by instrument, oldest first."""

    history: History
    forms: Mapping[Instrument, tuple[FormPoint, ...]] = field(default_factory=dict)


async def find_records(
    connection: asyncpg.Connection, clinic_id: UUID, patient_ids: Collection[UUID], histories: Mapping[UUID, History]
) -> dict[UUID, PatientRecord]:
    """One for each patient asked for, also for those of whom nothing is known."""
    rows = await connection.fetch(_FORMS, clinic_id, list(patient_ids))
    forms = {patient: _by_instrument(mine) for patient, mine in groupby(rows, key=lambda row: row["patient_id"])}
    return {id_: PatientRecord(histories.get(id_, ()), forms.get(id_, {})) for id_ in patient_ids}


def _by_instrument(rows: Iterable[Mapping[str, Any]]) -> dict[Instrument, tuple[FormPoint, ...]]:
    """Under the rules of the current version, by which a course is judged."""
    found = {}
    for reference, mine in groupby(rows, key=lambda row: row["instrument"]):
        instrument = get_instrument(reference)
        watched = [critical.item for critical in instrument.critical_items]
        found[instrument] = tuple(_form(row, watched) for row in mine)
    return found


def _form(row: Mapping[str, Any], watched: Iterable[int]) -> FormPoint:
    responses = row["responses"]
    point = Point(str(row["id"]), row["taken_at"], whole(row["total"]), Validity(row["validity"]))
    return FormPoint(point, {item: responses[item - 1] for item in watched})


def points_in_order(times: Sequence[datetime], totals: Iterable[float]) -> InTimeOrder:
    """Of forms with a total, as read by time and id, where nobody asks which form is which."""
    names = map(name_of, range(len(times)))
    return InTimeOrder(map(Point, names, times, map(whole, totals), repeat(Validity.VALID)))


@lru_cache(maxsize=1_024)
def name_of(place: int) -> str:
    """In place of an id, and in the same order."""
    return f"{place:06}"


def whole(total: float | None) -> int | float | None:
    """Postgres keeps totals as floating point; whole ones are whole again."""
    return int(total) if total is not None and total.is_integer() else total
