"""The usual check-in: the newest form of its course. Judged by a few forms instead of by all."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.scoring.alerting import AlertCause, form_causes
from app.scoring.episode import stretch
from app.scoring.essential import essential
from app.scoring.model import Instrument, Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.standing import standing
from app.scoring.treatment import NO_COURSE, Dose, usual_baseline
from app.scoring.worse_after_dose import FormPoint
from app.services.histories import History
from app.services.patient_records import COUNTS, whole
from app.services.standings import StandingRow, standing_row

Course = tuple[UUID, str]  # patient, instrument

# By columns: a hundred forms are read in the time in which a dozen would be row by row.
_COLUMNS: Final = f"""
SELECT patient_id, instrument, array_agg(id) AS ids, array_agg(taken_at) AS times, array_agg(total) AS totals,
       array_agg(validity) AS validities, array_agg(responses::text) AS responses
FROM (
    SELECT form.patient_id, form.instrument, form.id, form.taken_at, form.total, form.validity, form.responses
    FROM assessment form
    WHERE form.clinic_id = $1 AND form.patient_id = ANY($2::uuid[]) AND form.instrument = ANY($3::text[])
      AND {COUNTS}
    ORDER BY form.patient_id, form.instrument, form.taken_at, form.id
) form
GROUP BY patient_id, instrument
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the newest forms of a course amount to. They take nothing back that earlier forms raised."""

    standing: StandingRow
    causes: tuple[AlertCause, ...]


@dataclass(frozen=True, slots=True)
class _Columns:
    """All forms of one course in order of time."""

    instrument: Instrument
    ids: Sequence[UUID]
    times: Sequence[datetime]
    totals: Sequence[float | None]
    validities: Sequence[str]
    responses: Sequence[str]  # as Postgres writes an array

    def critical_values(self, place: int) -> dict[int, int | None]:
        if not self.instrument.critical_items:
            return {}
        answers = self.responses[place][1:-1].split(",")
        return {
            critical.item: None if (answer := answers[critical.item - 1]) == "NULL" else int(answer)
            for critical in self.instrument.critical_items
        }

    def answered(self, place: int) -> bool:
        return None not in self.critical_values(place).values()

    def form(self, place: int) -> FormPoint:
        at, total = self.times[place], whole(self.totals[place])
        point = Point(str(self.ids[place]), at, total, Validity(self.validities[place]))
        return FormPoint(point, self.critical_values(place))


async def judge_newest(
    connection: asyncpg.Connection,
    clinic_id: UUID,
    new: Mapping[Course, Collection[UUID]],
    histories: Mapping[UUID, History],
    now: datetime,
) -> dict[Course, Judged]:
    """What these new forms, by course, amount to.

    A course that needs a closer look is left out: one whose new forms are not its newest, or of several episodes.
    """
    if not new:
        return {}
    patients, instruments = (list(dict.fromkeys(part)) for part in zip(*new, strict=True))
    rows = await connection.fetch(_COLUMNS, clinic_id, patients, instruments)
    found = {}
    for row in rows:
        course = (row["patient_id"], row["instrument"])
        if course in new and (judged := _judge(_columns(row), new[course], histories.get(course[0], ()), now)):
            found[course] = judged
    return found


def _nearest(doses: Sequence[Dose], times: Sequence[datetime]) -> tuple[Dose, ...]:
    """The dose before each of these forms: by no other are they judged."""
    starts = [dose.started_at for dose in doses]
    return tuple(doses[place - 1] for place in sorted({bisect_right(starts, at) for at in times} - {0}))


def _columns(row: Mapping[str, Any]) -> _Columns:
    instrument = get_instrument(row["instrument"])
    return _Columns(instrument, row["ids"], row["times"], row["totals"], row["validities"], row["responses"])


def _judge(forms: _Columns, new: Collection[UUID], history: History, now: datetime) -> Judged | None:
    newest = len(forms.ids) - len(new)
    episode = history[0] if history else None
    begins = 0 if episode is None else bisect_left(forms.times, stretch(episode, history)[0])
    doses = () if episode is None else episode.doses
    if len(history) > 1 or newest < begins or set(forms.ids[newest:]) != set(new):
        return None
    if any(dose.started_at > now for dose in doses):
        return None
    places = [
        begins + place
        for place in essential(
            forms.times[begins:],
            forms.totals[begins:],
            lambda place: forms.answered(begins + place),
            [dose.started_at for dose in doses],
            newest - begins,
            forms.instrument.direction,
        )
    ]
    mine = [forms.form(place) for place in places]
    earlier = next((place for place in range(newest - 1, -1, -1) if forms.answered(place)), None)
    before = [] if earlier is None or earlier in places else [forms.form(earlier)]
    points = [form.point for form in mine]
    baseline = usual_baseline(points, doses)
    raised = (
        *(form_causes(forms.instrument, [*before, *mine], (), NO_COURSE) if before else ()),
        *form_causes(forms.instrument, mine, _nearest(doses, forms.times[newest:]), baseline),
    )
    ids = {str(id_) for id_ in new}
    found = standing(forms.instrument, points, doses, baseline)
    if found is None:
        return None
    row = standing_row(forms.instrument, episode, replace(found, forms=len(forms.ids) - begins))
    return Judged(row, tuple(cause for cause in raised if cause.form_id in ids))
