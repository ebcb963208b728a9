"""The courses of a cohort: read for a few hundred patients at a time, and judged by the pure core alone.

A person counts once, with their first course that has a dose. What a course is and how far it reaches is said by the
same functions as everywhere; no figure is made in SQL that the core could make.
"""

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
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
from app.scoring.model import Instrument
from app.scoring.nhs import FirstLast, first_and_last
from app.scoring.timeline import InTimeOrder
from app.scoring.treatment import Baseline, Dose, NoBaseline
from app.services.patient_records import COUNTS, name_of, points_in_order

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
SELECT patient_id, array_agg(taken_at) AS times, array_agg(total) AS totals
FROM (
  SELECT form.patient_id, form.taken_at, form.total FROM assessment form
  WHERE form.clinic_id = $1 AND form.patient_id = ANY($2::uuid[]) AND form.instrument = $3
    AND form.total IS NOT NULL AND form.taken_at <= $4 AND {COUNTS}
  ORDER BY form.patient_id, form.taken_at, form.id
) form
GROUP BY patient_id
"""
_MINE: Final = f"""\
SELECT form.id, form.taken_at, form.total FROM assessment form
WHERE form.clinic_id = $1 AND form.patient_id = one.id AND form.instrument = $2 AND form.total IS NOT NULL
  AND form.taken_at >= one.opens AND (form.taken_at < one.closes OR one.closes IS NULL) AND form.taken_at <= $3
  AND {COUNTS}"""
_OUTERMOST: Final = f"""
SELECT one.id AS patient_id, form.*
FROM unnest($4::uuid[], $5::timestamptz[], $6::timestamptz[]) AS one (id, opens, closes),
LATERAL (
  ({_MINE} ORDER BY form.taken_at, form.id LIMIT 1)
  UNION ({_MINE} ORDER BY form.taken_at DESC, form.id DESC LIMIT 1)
) form
ORDER BY one.id, form.taken_at, form.id
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
    dose_ids: Sequence[UUID]
    begins_at: datetime  # where the record begins to speak of it
    record: CourseRecord  # without its forms yet


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
    courses = await asyncio.to_thread(lambda: list(_first_courses(episodes, sessions, as_of)))
    for begin in range(0, len(courses), _AT_A_TIME):
        some = courses[begin : begin + _AT_A_TIME]
        forms = await _forms(connection, question, some)
        companions = await _companions(connection, question, some)
        for course, mine, outcome in await asyncio.to_thread(_judged, question, some, forms, companions):
            traits[mine] += 1
            if outcome is not None:
                cohort.courses.append(outcome)
                doses += course.dose_ids
    cohort.events = await _events(connection, clinic_id, doses)
    cohort.not_dosed = _not_dosed(episodes, {course.patient_id for course in courses}, only)
    return ReadCohort(cohort, traits)


def _first_courses(episodes: Iterable[Any], sessions: Mapping[UUID, Any], as_of: datetime) -> Iterator[_Course]:
    by_patient: dict[UUID, list[Any]] = {}
    for row in episodes:
        by_patient.setdefault(row["patient_id"], []).append(row)
    for mine in by_patient.values():
        dosed = [
            (held["times"][0], row["id"], row, held)
            for row in mine
            if (held := sessions.get(row["id"])) is not None and held["times"] is not None
        ]
        if dosed:
            *_, row, held = min(dosed, key=lambda found: found[:2])
            yield _course(row, held, mine, as_of)


def _course(row: Any, held: Any, history: Iterable[Any], as_of: datetime) -> _Course:
    episode = _episode(row)
    begins_at, ends_at = stretch(episode, map(_episode, history))
    return _Course(
        row["patient_id"],
        row["modality"],
        held["route"],
        held["dose_mg"],
        held["doses"],
        begins_at,
        CourseRecord(
            doses=tuple(map(Dose, map(name_of, range(len(held["times"]))), held["times"])),
            points=(),
            ends_at=ends_at,
            closed=episode.closed_at is not None and episode.closed_at <= as_of,
            contacts=held["contacts"],
        ),
    )


def _episode(row: Any) -> Episode:
    """Without its doses, on which its stretch does not hang."""
    return Episode(str(row["id"]), row["opened_at"], row["closed_at"], ())


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
    return at.astimezone(UTC).isoformat()[: len("2026-01")]


async def _forms(
    connection: asyncpg.Connection, question: _Question, courses: Iterable[_Course]
) -> dict[UUID, asyncpg.Record]:
    """Times and totals in order, by patient."""
    patients = [course.patient_id for course in courses]
    rows = await connection.fetch(_FORMS, question.clinic_id, patients, question.instrument.id, question.as_of)
    return {row["patient_id"]: row for row in rows}


async def _companions(
    connection: asyncpg.Connection, question: _Question, courses: Iterable[_Course]
) -> dict[UUID, dict[str, FirstLast]]:
    """By patient and instrument, of the courses that are judged by two measures."""
    found: dict[UUID, dict[str, FirstLast]] = defaultdict(dict)
    paired = [(one.patient_id, one.begins_at, one.record.ends_at) for one in courses if one.record.is_finished]
    for other in question.companions if paired else ():
        values = (question.clinic_id, other, question.as_of, *map(list, zip(*paired, strict=True)))
        rows = await connection.fetch(_OUTERMOST, *values)
        for patient_id, mine in groupby(rows, key=itemgetter("patient_id")):
            times, totals = zip(*[(row["taken_at"], row["total"]) for row in mine], strict=True)
            found[patient_id][other] = first_and_last(points_in_order(times, totals))
    return found


def _judged(
    question: _Question,
    courses: Iterable[_Course],
    forms: Mapping[UUID, Any],
    companions: Mapping[UUID, Mapping[str, FirstLast]],
) -> list[tuple[_Course, Traits, CourseOutcome | None]]:
    found = []
    for course in courses:
        points = _points(forms.get(course.patient_id), course.begins_at)
        record = replace(course.record, points=points, companions=companions.get(course.patient_id, {}))
        baseline = course_baseline(record)
        traits = _traits(question.instrument, course, baseline)
        is_in = question.only.admits(traits)
        outcome = course_outcome(question.instrument, record, baseline, question.as_of) if is_in else None
        found.append((course, traits, outcome))
    return found


def _points(row: Any, begins_at: datetime) -> InTimeOrder:
    if row is None:
        return InTimeOrder()
    begin = bisect_left(row["times"], begins_at)
    return points_in_order(row["times"][begin:], row["totals"][begin:])


def _traits(instrument: Instrument, course: _Course, baseline: Baseline | NoBaseline) -> Traits:
    doses = course.record.doses
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
