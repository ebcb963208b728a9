"""Who may be in a release and what is known of them, read in one snapshot, as it was known at its time.

Forms are not read here: of each person the few that decide on the category of change are looked up.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import groupby
from operator import itemgetter
from sys import intern
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg

from app.crypto import DataKey, KeyRing
from app.privacy.columns import columns_of
from app.privacy.dates import age_on
from app.privacy.ladders import Value
from app.schemas.releases import ReleaseCreate
from app.scoring.episode import Episode, episode_at, stretch
from app.scoring.model import Instrument
from app.scoring.standing import latest_category
from app.scoring.treatment import Dose, usual_baseline
from app.services.data_keys import find_keys
from app.services.histories import History, history_of, history_sql
from app.services.patient_records import points_in_order
from app.services.scored_assessments import known_instrument
from app.services.sealing import open_text, place

T = TypeVar("T")

AT_ONCE: Final = 500  # patients whose treatment is in memory

# Of a row `form` of `assessment`, with the clinic as $1 and the time as $2: whether it counted then.
COUNTED: Final = """\
form.received_at <= $2 AND form.status <> 'entered_in_error' AND NOT EXISTS (
    SELECT FROM assessment later
    WHERE later.clinic_id = $1 AND later.patient_id = form.patient_id AND later.id = form.id
      AND later.version > 1 AND later.version > form.version AND later.received_at <= $2)"""

_TREATMENT: Final = history_sql(
    "$1",
    "$3::uuid[]",
    "$2",
    more=", episode.modality, dose.started_at_offset_minutes, dose.medicine, dose.route, dose.dose_mg",
)
_IDENTIFIERS: Final = """
SELECT id, identifiers FROM patient WHERE clinic_id = $1 AND id = ANY($2::uuid[]) AND identifiers IS NOT NULL
"""
_PART_TWO: Final = """
SELECT EXISTS (
  SELECT FROM (
    SELECT DISTINCT ON (id) applies FROM part_two
    WHERE clinic_id = $1 AND recorded_at <= $2 AND patient_id = ANY($3::uuid[])
    ORDER BY id, version DESC
  ) newest
  WHERE applies)
"""
_MINE: Final = f"""\
SELECT form.id, form.taken_at, form.total FROM assessment form
WHERE form.clinic_id = $1 AND form.patient_id = one.id AND form.instrument = $4 AND form.total IS NOT NULL
  AND form.taken_at >= one.opens AND form.taken_at < one.closes AND {COUNTED}"""
# All that a category can hang on: the first form with a total, the last one before the doses, and the last two of all;
# two, because the last may be the baseline itself. Which of them is what is the pure core's to say.
_DECISIVE: Final = f"""
SELECT one.id AS patient_id, array_agg(form.taken_at ORDER BY form.taken_at, form.id) AS times,
  array_agg(form.total ORDER BY form.taken_at, form.id) AS totals
FROM unnest($3::uuid[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[]) AS one (id, opens, closes, dosed),
LATERAL (
  ({_MINE} ORDER BY form.taken_at, form.id LIMIT 1)
  UNION ({_MINE} AND form.taken_at <= one.dosed ORDER BY form.taken_at DESC, form.id DESC LIMIT 1)
  UNION ({_MINE} ORDER BY form.taken_at DESC, form.id DESC LIMIT 2)
) form
GROUP BY one.id
"""
_KEYS: Final = f"""
SELECT wanted.instrument || '@' || number FROM unnest($4::text[], $5::smallint[]) AS wanted (instrument, number),
LATERAL (
  SELECT FROM assessment form
  WHERE form.clinic_id = $1 AND form.patient_id = ANY($3::uuid[]) AND form.instrument = wanted.instrument
    AND form.instrument_version = wanted.number AND {COUNTED}
  LIMIT 1
) form
"""
_LONG_AGO, _FAR_OFF = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may be in the release, with what decides whether and how."""

    id: UUID
    first_dose_at: datetime
    traits: tuple[Value, ...]  # in the order of `TRAITS`
    category: str | None


TRAITS: Final = ("age", "index_year", "modality", "medicine", "route", "dose_mg")  # names of the quasi-identifiers


@dataclass(frozen=True, slots=True)
class Source:
    """The snapshot, and what is asked of it."""

    connection: asyncpg.Connection
    ring: KeyRing
    clinic_id: UUID
    release_id: UUID
    asked: ReleaseCreate
    known_at: datetime

    async def persons(self, willing: Collection[UUID]) -> AsyncIterator[list[Person]]:
        """Those of the cohort, among those who consent. Who never had a dose has no week to be told in."""
        async with aclosing(ahead(_readings(self, sorted(willing)))) as coming:
            async for read in coming:
                yield await asyncio.to_thread(_persons, self, read)

    async def needs_part_two_notice(self, ids: Sequence[UUID]) -> bool:
        return bool(await self.connection.fetchval(_PART_TWO, *self.then, ids))

    async def instrument_keys(self, ids: Sequence[UUID]) -> list[str]:
        """With their versions, as far as there are forms of them. Each stops at the first form it finds."""
        newest = [known_instrument(name) for name in self.asked.instruments]
        versions = [(one.id, number) for one in newest for number in range(1, one.version + 1)]
        found = await self.connection.fetch(_KEYS, *self.then, ids, *map(list, zip(*versions, strict=True)))
        return sorted(row[0] for row in found)

    @property
    def then(self) -> tuple[UUID, datetime]:
        """The first two values of every statement: whose record, and as it was known when."""
        return self.clinic_id, self.known_at


def parts(ids: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (ids[begin : begin + size] for begin in range(0, len(ids), size))


async def ahead(coming: AsyncIterator[T]) -> AsyncGenerator[T]:
    """The next is read while the last is worked on, in a thread: Postgres and we have a core each."""
    reading = asyncio.ensure_future(anext(coming, None))
    try:
        while (read := await reading) is not None:
            reading = asyncio.ensure_future(anext(coming, None))
            yield read
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def day_of(at: datetime, offset_minutes: int) -> date:
    """By the clock of whoever wrote it down."""
    return at.astimezone(timezone(timedelta(minutes=offset_minutes))).date()


# --- Courses ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Course:
    """The stretch of the record that is judged, and its first dose, if there was one."""

    opens: datetime
    closes: datetime
    dose: tuple[Dose, ...]


def _course(history: History, known_at: datetime) -> _Course:
    episode: Episode | None = episode_at(known_at, history)
    if episode is None:
        return _Course(_LONG_AGO, _FAR_OFF, ())
    start, end = stretch(episode, history)
    # As they are read, the first comes first.
    return _Course(start, end or _FAR_OFF, tuple(dose for dose in episode.doses[:1] if dose.started_at <= known_at))


def _limits(course: _Course) -> tuple[datetime, datetime, datetime]:
    return course.opens, course.closes, course.dose[0].started_at if course.dose else _LONG_AGO


async def _decisive(source: Source, courses: Mapping[UUID, _Course]) -> dict[UUID, asyncpg.Record]:
    """The category is that of the episode the patient is in, or was in last, as the caseload says it."""
    limits = [_limits(course) for course in courses.values()]
    opens, closes, dosed = ([each[place] for each in limits] for place in range(3))
    instrument = known_instrument(source.asked.instruments[0]).id
    values = (list(courses), instrument, opens, closes, dosed)
    return {row["patient_id"]: row for row in await source.connection.fetch(_DECISIVE, *source.then, *values)}


def _category(instrument: Instrument, forms: asyncpg.Record, dose: Sequence[Dose]) -> str | None:
    points = points_in_order(forms["times"], forms["totals"])
    found = latest_category(instrument, points, usual_baseline(points, dose))
    return None if found is None else found.value


# --- People -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is on record of some of the cohort, as it was read."""

    first_doses: Mapping[UUID, asyncpg.Record]  # with their episodes
    identifiers: Sequence[asyncpg.Record]
    keys: Mapping[UUID, DataKey]  # that open these
    courses: Mapping[UUID, _Course]
    decisive: Mapping[UUID, asyncpg.Record]  # times and totals of forms


async def _readings(source: Source, willing: Sequence[UUID]) -> AsyncIterator[_Reading]:
    told = {column.name for column in columns_of(source.asked.tier, source.asked.columns).get("persons", ())}
    for some in parts(willing, AT_ONCE):
        rows = await source.connection.fetch(_TREATMENT, *source.then, some)
        treatment = {id_: list(mine) for id_, mine in groupby(rows, key=itemgetter("patient_id"))}
        firsts = {id_: _first_dose(mine) for id_, mine in treatment.items()}
        first_doses = {id_: dose for id_, dose in firsts.items() if dose is not None and _is_in(source.asked, dose)}
        ids = list(first_doses)
        sealed = await source.connection.fetch(_IDENTIFIERS, source.clinic_id, ids) if "age" in told else []
        keys = await find_keys(source.connection, source.ring, source.clinic_id, [row["id"] for row in sealed])
        with_category = ids if "category" in told else ()
        courses = {id_: _course(history_of(treatment[id_]), source.known_at) for id_ in with_category}
        decisive = await _decisive(source, courses) if courses else {}
        yield _Reading(first_doses, sealed, keys, courses, decisive)


def _persons(source: Source, read: _Reading) -> list[Person]:
    born, instrument = _births(source.clinic_id, read), known_instrument(source.asked.instruments[0])
    categories = {id_: _category(instrument, forms, read.courses[id_].dose) for id_, forms in read.decisive.items()}
    return [
        Person(id_, dose["started_at"], _traits(dose, born.get(id_)), categories.get(id_))
        for id_, dose in read.first_doses.items()
    ]


def _first_dose(rows: Iterable[asyncpg.Record]) -> asyncpg.Record | None:
    doses = [row for row in rows if row["dose_id"] is not None]
    return min(doses, key=itemgetter("started_at", "dose_id"), default=None)


def _traits(dose: asyncpg.Record, born_on: date | None) -> tuple[Value, ...]:
    day = day_of(dose["started_at"], dose["started_at_offset_minutes"])
    age = None if born_on is None or born_on > day else age_on(born_on, day)
    modality, medicine, route = (word and intern(word) for word in (dose["modality"], dose["medicine"], dose["route"]))
    return age, day.year, modality, medicine, route, dose["dose_mg"]


def _is_in(asked: ReleaseCreate, dose: asyncpg.Record) -> bool:
    cohort, month = asked.cohort, dose["started_at"].astimezone(UTC).isoformat()[: len("2026-01")]
    return (
        (cohort.first_dose_from or "") <= month <= (cohort.first_dose_to or "9999")
        and cohort.modality in {None, dose["modality"]}
        and cohort.route in {None, dose["route"]}
    )


def _births(clinic_id: UUID, read: _Reading) -> dict[UUID, date]:
    found = {}
    for row in read.identifiers:
        home = place("patient", "identifiers", clinic_id, row["id"])
        known = json.loads(open_text(read.keys[row["id"]], row["identifiers"], home))
        if known.get("date_of_birth") is not None:
            found[row["id"]] = date.fromisoformat(known["date_of_birth"])
    return found
