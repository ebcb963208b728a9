"""What a release is made of, read in one snapshot a few hundred patients at a time, as it was known at its time."""

import json
from collections.abc import AsyncIterator, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.crypto import KeyRing
from app.privacy.dates import WEEK, age_on, week_index
from app.schemas.releases import ReleaseCreate
from app.scoring.episode import Episode, episode_at, stretch
from app.scoring.model import Instrument, Point, Validity
from app.scoring.standing import standing
from app.scoring.treatment import Dose, usual_baseline
from app.services.data_keys import find_keys
from app.services.histories import History, find_histories
from app.services.patient_records import whole
from app.services.releases import columns_asked
from app.services.scored_assessments import known_instrument
from app.services.sealing import open_text, place

AT_ONCE: Final = 500  # patients whose forms are in memory

Cells = Mapping[str, Any]  # of one row, by column
Moment = tuple[Hashable, ...]  # what the release tells of a form or a session beside its result: which, and when

_FORMS: Final = """
SELECT patient_id, instrument, instrument_version, id, taken_at, taken_at_offset_minutes, total, validity, responses
FROM (
  SELECT DISTINCT ON (patient_id, id) * FROM assessment
  WHERE clinic_id = $1 AND patient_id = ANY($2::uuid[]) AND received_at <= $3
  ORDER BY patient_id, id, version DESC
) newest
WHERE instrument = ANY($4::text[]) AND status <> 'entered_in_error'
ORDER BY patient_id, taken_at, id
"""
_SESSIONS: Final = """
SELECT patient_id, episode_id, id, kind, started_at, started_at_offset_minutes, medicine, route, dose_mg
FROM (
  SELECT DISTINCT ON (id) * FROM treatment_session
  WHERE clinic_id = $1 AND patient_id = ANY($2::uuid[]) AND recorded_at <= $3
  ORDER BY id, version DESC
) newest
WHERE status = 'done' AND NOT entered_in_error
ORDER BY patient_id, started_at, id
"""
_MODALITIES: Final = """
SELECT DISTINCT ON (id) id, modality FROM episode
WHERE clinic_id = $1 AND patient_id = ANY($2::uuid[]) AND recorded_at <= $3
ORDER BY id, version DESC
"""
_IDENTIFIERS: Final = """
SELECT id, identifiers FROM patient WHERE clinic_id = $1 AND id = ANY($2::uuid[]) AND identifiers IS NOT NULL
"""
_PART_TWO: Final = """
SELECT EXISTS (
  SELECT FROM (
    SELECT DISTINCT ON (id) applies FROM part_two
    WHERE clinic_id = $1 AND patient_id = ANY($2::uuid[]) AND recorded_at <= $3
    ORDER BY id, version DESC
  ) newest
  WHERE applies)
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may be in the release, with what decides whether and how; forms are read again when written."""

    id: UUID
    first_dose_at: datetime
    traits: Mapping[str, Any]  # by the names of the quasi-identifiers
    category: str | None
    instruments: frozenset[str]  # with their versions
    forms: tuple[Moment, ...]
    totals: tuple[tuple[Moment, float], ...]
    sessions: tuple[Moment, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class _Read:
    """Everything of one patient."""

    id: UUID
    history: History
    forms: Sequence[asyncpg.Record]
    sessions: Sequence[asyncpg.Record]
    modalities: Mapping[UUID, str]
    born_on: date | None

    @property
    def first_dose(self) -> asyncpg.Record | None:
        """The sessions are in order. One whose episode was entered in error does not count."""
        counted = {dose.id for episode in self.history for dose in episode.doses}
        return next((one for one in self.sessions if str(one["id"]) in counted), None)


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
        for some in _parts(sorted(willing)):
            found = [_person(self.asked, one, self.known_at) for one in await self._read(some)]
            yield [one for one in found if one is not None and _is_in(self.asked, one)]

    async def tables(self, ids: Sequence[UUID]) -> AsyncIterator[list[tuple[UUID, dict[str, list[Cells]]]]]:
        """The rows of these patients, in this order, by table."""
        for some in _parts(ids):
            read = {one.id: one for one in await self._read(some)}
            yield [(id_, _tables(read[id_])) for id_ in some]

    async def needs_part_two_notice(self, ids: Sequence[UUID]) -> bool:
        return bool(await self.connection.fetchval(_PART_TWO, self.clinic_id, ids, self.known_at))

    async def _read(self, ids: Sequence[UUID]) -> list[_Read]:
        place_ = (self.clinic_id, list(ids), self.known_at)
        histories = await find_histories(self.connection, self.clinic_id, ids, self.known_at)
        forms = _by_patient(await self.connection.fetch(_FORMS, *place_, self.asked.instruments))
        sessions = _by_patient(await self.connection.fetch(_SESSIONS, *place_))
        modalities = {row["id"]: row["modality"] for row in await self.connection.fetch(_MODALITIES, *place_)}
        born = await self._births(ids)
        return [
            _Read(id_, histories.get(id_, ()), forms.get(id_, []), sessions.get(id_, []), modalities, born.get(id_))
            for id_ in ids
        ]

    async def _births(self, ids: Sequence[UUID]) -> dict[UUID, date]:
        rows = await self.connection.fetch(_IDENTIFIERS, self.clinic_id, list(ids))
        keys = await find_keys(self.connection, self.ring, self.clinic_id, [row["id"] for row in rows])
        found = {}
        for row in rows:
            home = place("patient", "identifiers", self.clinic_id, row["id"])
            known = json.loads(open_text(keys[row["id"]], row["identifiers"], home))
            if known.get("date_of_birth") is not None:
                found[row["id"]] = date.fromisoformat(known["date_of_birth"])
        return found


def _parts(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    return (ids[begin : begin + AT_ONCE] for begin in range(0, len(ids), AT_ONCE))


def _by_patient(rows: Iterable[asyncpg.Record]) -> dict[UUID, list[asyncpg.Record]]:
    return {patient: list(mine) for patient, mine in groupby(rows, key=lambda row: row["patient_id"])}


# --- One person -------------------------------------------------------------------------------------------------------


def _person(asked: ReleaseCreate, read: _Read, known_at: datetime) -> Person | None:
    first = read.first_dose
    if first is None:
        return None
    start, day = first["started_at"], _day(first, "started_at")
    told = {table: {column.name for column in columns} for table, columns in columns_asked(asked).items()}
    forms = _moments((_form_cells(start, form) for form in read.forms), told.get("assessments"))
    totals = zip(forms, (form["total"] for form in read.forms), strict=False)
    return Person(
        id=read.id,
        first_dose_at=start,
        traits={
            "age": None if read.born_on is None or read.born_on > day else age_on(read.born_on, day),
            "index_year": day.year,
            "modality": read.modalities.get(first["episode_id"]),
            "medicine": first["medicine"],
            "route": first["route"],
            "dose_mg": first["dose_mg"],
        },
        category=_category(known_instrument(asked.instruments[0]), read, known_at),
        instruments=frozenset(map(_key, read.forms)),
        forms=forms,
        totals=tuple(one for one in totals if one[1] is not None and "total" in told["assessments"]),
        sessions=_moments(_sessions(start, read.sessions), told.get("treatment_sessions")),
        rows=sum(_row_counts(told, read)),
    )


def _row_counts(told: Collection[str], read: _Read) -> Iterator[int]:
    counts = {"patients": 1, "assessments": len(read.forms), "treatment_sessions": len(read.sessions)}
    return (counts[table] for table in told)


def _moments(rows: Iterable[Cells], told: Collection[str] | None) -> tuple[Moment, ...]:
    """None of a table that is not in the release."""
    return () if told is None else tuple(tuple(row[name] for name in row if name in told) for row in rows)


def _is_in(asked: ReleaseCreate, person: Person) -> bool:
    cohort, month = asked.cohort, person.first_dose_at.astimezone(UTC).strftime("%Y-%m")
    return (
        (cohort.first_dose_from or "") <= month <= (cohort.first_dose_to or "9999")
        and cohort.modality in {None, person.traits["modality"]}
        and cohort.route in {None, person.traits["route"]}
    )


def _category(instrument: Instrument, read: _Read, known_at: datetime) -> str | None:
    """In the episode the patient is in, or was in last; as the caseload says it."""
    points = [
        Point(str(form["id"]), form["taken_at"], whole(form["total"]), Validity(form["validity"]))
        for form in read.forms
        if form["instrument"] == instrument.id
    ]
    episode = episode_at(known_at, read.history)
    mine, doses = (points, ()) if episode is None else _of(episode, points, read.history, known_at)
    found = standing(instrument, mine, doses, usual_baseline(mine, doses))
    return None if found is None or found.category is None else found.category.value


def _of(
    episode: Episode, points: Sequence[Point], history: History, known_at: datetime
) -> tuple[list[Point], tuple[Dose, ...]]:
    start, end = stretch(episode, history)
    doses = tuple(dose for dose in episode.doses if dose.started_at <= known_at)
    return [point for point in points if point.at >= start and (end is None or point.at < end)], doses


# --- Rows -------------------------------------------------------------------------------------------------------------


def _tables(read: _Read) -> dict[str, list[Cells]]:
    """Every column there is; which of them leave is not decided here."""
    first = read.first_dose
    if first is None:
        raise ValueError("who is written has had a dose")
    start = first["started_at"]
    return {
        "assessments": [*_assessments(start, read.forms)],
        "treatment_sessions": [*_sessions(start, read.sessions)],
    }


def _assessments(start: datetime, forms: Iterable[asyncpg.Record]) -> Iterator[Cells]:
    for form in forms:
        yield {
            **_form_cells(start, form),
            "total": whole(form["total"]),
            "validity": form["validity"],
            "responses": json.dumps(form["responses"], separators=(",", ":")),
        }


def _form_cells(start: datetime, form: asyncpg.Record) -> Cells:
    """Which form, and when."""
    return {
        "week": _week(start, form["taken_at"]),
        "instrument": _key(form),
        "taken_on": _day(form, "taken_at"),
        "day": (form["taken_at"] - start) // (WEEK / 7),
    }


def _key(form: asyncpg.Record) -> str:
    return f"{form['instrument']}@{form['instrument_version']}"


def _sessions(start: datetime, sessions: Iterable[asyncpg.Record]) -> Iterator[Cells]:
    for one in sessions:
        started_on = _day(one, "started_at")
        yield {"week": _week(start, one["started_at"]), "kind": one["kind"], "started_on": started_on}


def _week(start: datetime, at: datetime) -> int:
    week = week_index(start, at)
    assert week is not None  # noqa: S101  # there is a start; narrows the type
    return week


def _day(row: asyncpg.Record, column: str) -> date:
    """By the clock of whoever wrote it down."""
    minutes: int = row[f"{column}_offset_minutes"]
    return date.fromordinal(row[column].astimezone(timezone(timedelta(minutes=minutes))).toordinal())
