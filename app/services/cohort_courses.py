"""The courses of a cohort: read for a few hundred patients at a time, and judged by the pure core alone.

A person counts once, with their first course that has a dose. What a course is and how far it reaches is said by the
same functions as everywhere; no figure is made in SQL that the core could make.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.scoring.cohort_course import (
    DOSE_BANDS,
    DOSE_COUNTS,
    PAIRS,
    CohortFilter,
    CourseOutcome,
    CourseRecord,
    Traits,
    band_of,
    course_baseline,
    course_outcome,
    severity_group,
)
from app.scoring.cohort_outcomes import CohortRecord, EventCount
from app.scoring.episode import Episode, stretch
from app.scoring.model import Instrument, Point, Validity
from app.scoring.nhs import FirstLast, first_and_last
from app.scoring.timeline import InTimeOrder
from app.scoring.treatment import Baseline, Dose, NoBaseline
from app.services.histories import History
from app.services.patient_records import COUNTS, whole

ANY_EVENT: Final = "any"
SERIOUS_EVENT: Final = "any_serious"
_AT_A_TIME: Final = 500  # patients in memory with all their forms

# Newest versions by sorting, not by a probe for a later one: a planner without statistics would probe all with all.
_EPISODES: Final = """
SELECT id, patient_id, modality, opened_at, closed_at FROM (
  SELECT DISTINCT ON (id) id, patient_id, modality, opened_at, closed_at, entered_in_error FROM episode
  WHERE clinic_id = $1
  ORDER BY id, version DESC
) newest
WHERE NOT entered_in_error AND opened_at <= $2
"""
_SESSIONS: Final = """
SELECT episode_id, count(*) AS contacts,
  array_agg(id ORDER BY started_at, id) FILTER (WHERE kind = 'dosing') AS doses,
  array_agg(started_at ORDER BY started_at, id) FILTER (WHERE kind = 'dosing') AS times,
  (array_agg(route ORDER BY started_at, id) FILTER (WHERE kind = 'dosing'))[1] AS route,
  (array_agg(dose_mg ORDER BY started_at, id) FILTER (WHERE kind = 'dosing'))[1] AS dose_mg
FROM (
  SELECT DISTINCT ON (id) id, episode_id, kind, route, dose_mg, status, started_at, entered_in_error
  FROM treatment_session
  WHERE clinic_id = $1
  ORDER BY id, version DESC
) newest
WHERE status = 'done' AND NOT entered_in_error AND started_at <= $2
GROUP BY episode_id
"""
_FORMS: Final = f"""
SELECT patient_id, instrument, array_agg(taken_at) AS times, array_agg(total) AS totals
FROM (
  SELECT form.patient_id, form.instrument, form.taken_at, form.total FROM assessment form
  WHERE form.clinic_id = $1 AND form.patient_id = ANY($2::uuid[]) AND form.instrument = ANY($3::text[])
    AND form.total IS NOT NULL AND form.taken_at <= $4 AND {COUNTS}
  ORDER BY form.patient_id, form.instrument, form.taken_at, form.id
) form
GROUP BY patient_id, instrument
"""
_EVENTS: Final = """
SELECT term, serious, count(DISTINCT patient_id) AS persons, count(DISTINCT treatment_session_id) AS doses
FROM (
  SELECT DISTINCT ON (id) patient_id, treatment_session_id, term, serious, entered_in_error FROM adverse_event
  WHERE clinic_id = $1 AND treatment_session_id = ANY($2::uuid[])
  ORDER BY id, version DESC
) newest
WHERE NOT entered_in_error
GROUP BY GROUPING SETS ((), (term), (serious))
"""


@dataclass(frozen=True, slots=True)
class ReadCohort:
    """The cohort, and how many persons of the clinic have which traits: what other cohorts overlap with it in."""

    record: CohortRecord
    traits: Counter[Traits]


@dataclass(frozen=True, slots=True)
class _Question:
    clinic_id: UUID
    instrument: Instrument
    only: CohortFilter
    as_of: datetime

    @property
    def companions(self) -> list[str]:
        """Whose totals the measures need that judge two instruments together."""
        return [pair.anxiety.instrument_id for pair in PAIRS if pair.depression.instrument_id == self.instrument.id]


@dataclass(frozen=True, slots=True)
class _Course:
    """A patient's first course with a dose."""

    patient_id: UUID
    modality: str
    route: str  # of the first dose
    dose_mg: float  # same
    contacts: int
    dose_ids: Sequence[UUID]
    episode: Episode
    history: History


async def read_cohort(
    connection: asyncpg.Connection,
    clinic_id: UUID,
    instrument: Instrument,
    only: CohortFilter,
    as_of: datetime,
    among: Collection[UUID] | None = None,
) -> ReadCohort:
    """Of these patients alone; None: of all whom the transaction sees."""
    question = _Question(clinic_id, instrument, only, as_of)
    cohort, traits, doses = CohortRecord(as_of), Counter[Traits](), list[UUID]()
    episodes = await connection.fetch(_EPISODES, clinic_id, as_of)
    if among is not None:
        episodes = [row for row in episodes if row["patient_id"] in among]
    sessions = {row["episode_id"]: row for row in await connection.fetch(_SESSIONS, clinic_id, as_of)}
    # In a thread, here and below: long enough to keep others waiting.
    courses = await asyncio.to_thread(lambda: list(_first_courses(episodes, sessions)))
    for begin in range(0, len(courses), _AT_A_TIME):
        some = courses[begin : begin + _AT_A_TIME]
        forms = await _forms(connection, question, [course.patient_id for course in some])
        for course, mine, outcome in await asyncio.to_thread(_judged, question, some, forms):
            traits[mine] += 1
            if outcome is not None:
                cohort.courses.append(outcome)
                doses += course.dose_ids
    cohort.events = await _events(connection, clinic_id, doses)
    cohort.not_dosed = _not_dosed(episodes, {course.patient_id for course in courses}, only)
    return ReadCohort(cohort, traits)


def _first_courses(episodes: Iterable[Any], sessions: Mapping[UUID, Any]) -> Iterator[_Course]:
    by_patient: dict[UUID, list[Any]] = {}
    for row in episodes:
        by_patient.setdefault(row["patient_id"], []).append(row)
    for patient_id, mine in by_patient.items():
        history = tuple(_episode(row, sessions.get(row["id"])) for row in mine)
        dosed = [
            (one.doses[0].started_at, one.id, one, row) for one, row in zip(history, mine, strict=True) if one.doses
        ]
        if dosed:
            *_, episode, row = min(dosed, key=lambda found: found[:2])
            held = sessions[row["id"]]
            yield _Course(
                patient_id,
                row["modality"],
                held["route"],
                held["dose_mg"],
                held["contacts"],
                held["doses"],
                episode,
                history,
            )


def _episode(row: Any, held: Any) -> Episode:
    times = () if held is None or held["times"] is None else held["times"]
    doses = tuple(map(Dose, map(_named, range(len(times))), times))
    return Episode(str(row["id"]), row["opened_at"], row["closed_at"], doses)


def _not_dosed(episodes: Iterable[Any], dosed: Collection[UUID], only: CohortFilter) -> int | None:
    """Persons whose course opened in the months asked for and who never had a dose; None where doses are asked for."""
    if not only.route is only.dose_band is only.doses is only.severity is None:
        return None
    first, last = only.first_dose_from or "", only.first_dose_to or "9999"
    return len(
        {
            row["patient_id"]
            for row in episodes
            if row["patient_id"] not in dosed
            and only.modality in {None, row["modality"]}
            and first <= _month(row["opened_at"]) <= last
        }
    )


def _month(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m")


async def _forms(
    connection: asyncpg.Connection, question: _Question, patients: Sequence[UUID]
) -> dict[UUID, dict[str, Any]]:
    """Times and totals in order, by patient and instrument."""
    wanted = [question.instrument.id, *question.companions]
    forms: dict[UUID, dict[str, Any]] = {}
    for row in await connection.fetch(_FORMS, question.clinic_id, patients, wanted, question.as_of):
        forms.setdefault(row["patient_id"], {})[row["instrument"]] = row
    return forms


def _judged(
    question: _Question, courses: Iterable[_Course], forms: Mapping[UUID, Mapping[str, Any]]
) -> list[tuple[_Course, Traits, CourseOutcome | None]]:
    found = []
    for course in courses:
        record = _record(question, course, forms.get(course.patient_id, {}))
        baseline = course_baseline(record)
        traits = _traits(question.instrument, course, baseline)
        is_in = question.only.admits(traits)
        outcome = course_outcome(question.instrument, record, baseline, question.as_of) if is_in else None
        found.append((course, traits, outcome))
    return found


def _record(question: _Question, course: _Course, forms: Mapping[str, Any]) -> CourseRecord:
    begins_at, ends_at = stretch(course.episode, course.history)
    companions: dict[str, FirstLast] = {}
    for other in question.companions:
        points = _points(forms.get(other), begins_at)
        companions[other] = first_and_last([point for point in points if ends_at is None or point.at < ends_at])
    closed_at = course.episode.closed_at
    return CourseRecord(
        doses=course.episode.doses,
        points=_points(forms.get(question.instrument.id), begins_at),
        ends_at=ends_at,
        closed=closed_at is not None and closed_at <= question.as_of,
        contacts=course.contacts,
        companions=companions,
    )


def _points(row: Any, begins_at: datetime) -> InTimeOrder:
    """In the order in which they were read, by time and id."""
    if row is None:
        return InTimeOrder()
    begin = bisect_left(row["times"], begins_at)
    named = map(_named, range(begin, len(row["times"])))
    return InTimeOrder(map(_point, named, row["times"][begin:], row["totals"][begin:]))


def _point(name: str, at: datetime, total: float) -> Point:
    return Point(name, at, whole(total), Validity.VALID)


@lru_cache(maxsize=1_024)
def _named(place: int) -> str:
    """By its place: nobody asks here which form or dose it was."""
    return f"{place:06}"


def _traits(instrument: Instrument, course: _Course, baseline: Baseline | NoBaseline) -> Traits:
    doses = course.episode.doses
    return Traits(
        month=_month(doses[0].started_at),
        modality=course.modality,
        route=course.route,
        dose_band=band_of(course.dose_mg, DOSE_BANDS),
        doses=band_of(len(doses), DOSE_COUNTS),
        severity=severity_group(instrument, baseline),
    )


async def _events(connection: asyncpg.Connection, clinic_id: UUID, doses: Sequence[UUID]) -> dict[str, EventCount]:
    counts = {ANY_EVENT: EventCount(0, 0), SERIOUS_EVENT: EventCount(0, 0)}
    for row in await connection.fetch(_EVENTS, clinic_id, doses):
        name = row["term"] or {None: ANY_EVENT, True: SERIOUS_EVENT}.get(row["serious"])
        if name is not None:
            counts[name] = EventCount(row["persons"], row["doses"])
    return counts
