"""The rows of a release, by the column: those of some people at a time, in the order the people are given.

Postgres hands over one list a person and column, from the history index alone; a million dicts would take minutes.
"""

import json
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.privacy.columns import Column
from app.privacy.dates import WEEK, since_dose_band
from app.privacy.uniqueness import Courses
from app.release_files.model import Value
from app.release_files.rows import Values
from app.scoring import get_instrument, score
from app.scoring.episode import place
from app.scoring.score import severity_of
from app.scoring.treatment import Context
from app.services.histories import History, find_histories
from app.services.release_records import COUNTED, Person, Source, parts

AT_ONCE: Final = 100  # patients whose forms are in memory; twice that, for the next are read meanwhile

Tables = Mapping[str, Sequence[Column]]
_Lists = dict[str, Any]  # of one person: what was read, by name, in lists of equal length

_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK_US, _DAY_US, _MINUTE_US = WEEK // _MICROSECOND, WEEK // _MICROSECOND // 7, 60_000_000
_MICROSECONDS: Final = "(date_part('epoch', {}) * 1000000::float8)::int8"  # exact for some ten thousand years

# What is read of each form, and what only a column that is asked for needs.
_READ: Final[Mapping[str, str]] = {
    "instrument": "form.instrument || '@' || form.instrument_version",
    "at": _MICROSECONDS.format("form.taken_at"),
    "total": "form.total",
    "validity": "form.validity",
}
_READ_FOR: Final[Mapping[str, Mapping[str, str]]] = {
    "taken_on": {"offset": "form.taken_at_offset_minutes"},
    "responses": {"responses": "array_to_json(form.responses)::text"},
    "subscales": {"responses": "array_to_json(form.responses)::text"},
    "mode": {"mode": "form.mode"},
}
_OF_DOSES: Final = frozenset({"dose_number", "since_dose", "hours_since_dose"})
_FORMS: Final = f"""
FROM assessment form
WHERE form.clinic_id = $1 AND form.patient_id = ANY($3::uuid[]) AND form.instrument = ANY($4::text[]) AND {COUNTED}
"""
_WHICH: Final = (
    frozenset({"instrument", "kind", "week", "day", "taken_on", "started_on"}) | _OF_DOSES
)  # and when it was
_SESSIONS: Final = f"""
SELECT patient_id, array_agg(kind) AS kind, array_agg({_MICROSECONDS.format("started_at")}) AS at,
    array_agg(started_at_offset_minutes) AS "offset"
FROM (
  SELECT DISTINCT ON (id) * FROM treatment_session
  WHERE clinic_id = $1 AND recorded_at <= $2
    AND episode_id IN (SELECT id FROM episode WHERE clinic_id = $1 AND patient_id = ANY($3::uuid[]))
  ORDER BY id, version DESC
) newest
WHERE status = 'done' AND NOT entered_in_error
GROUP BY patient_id
"""


@dataclass(frozen=True, slots=True)
class Block:
    """Some people with all that was read of them; what becomes of it is computed by whoever writes it."""

    people: Sequence[Person]
    forms: Mapping[UUID, _Lists]
    sessions: Mapping[UUID, _Lists]


async def blocks(source: Source, tables: Tables, people: Sequence[Person]) -> AsyncIterator[Block]:
    """In the order of the people."""
    forms, of_doses = _forms_sql(tables), not _OF_DOSES.isdisjoint(_names(tables))
    for some in parts(people, AT_ONCE):
        ids = [one.id for one in some]
        read = await source.connection.fetch(forms, *source.then, ids, source.asked.instruments)
        sessions = await source.connection.fetch(_SESSIONS, *source.then, ids) if "treatment_sessions" in tables else ()
        histories = await find_histories(source.connection, source.clinic_id, ids, source.known_at) if of_doses else {}
        yield Block(some, _by_patient(read, some, histories), _by_patient(sessions, some, histories))


async def count_rows(source: Source, tables: Collection[str], ids: Sequence[UUID]) -> int:
    """Of people who are not in the release."""
    count = len(ids) if "patients" in tables else 0
    if "assessments" in tables:
        count += await source.connection.fetchval(
            f"SELECT count(*) {_FORMS}", *source.then, ids, source.asked.instruments
        )
    if "treatment_sessions" in tables:
        count += sum(len(row["kind"]) for row in await source.connection.fetch(_SESSIONS, *source.then, ids))
    return count


def columns_of_block(block: Block, tables: Tables, names: Mapping[UUID, str]) -> dict[str, list[Values]]:
    """The columns that were asked for, in their order, of forms and sessions."""
    return {
        table: _together([_of_person(columns, made, read.get(one.id), names[one.id]) for one in block.people])
        for table, made, read in (
            ("assessments", _FORM_COLUMNS, block.forms),
            ("treatment_sessions", _SESSION_COLUMNS, block.sessions),
        )
        if (columns := tables.get(table))
    }


def add_courses(
    block: Block, tables: Tables, told: Mapping[str, Sequence[Values]], courses: Mapping[str, Courses]
) -> None:
    """As the files tell them and no further: the attacker whose odds are counted has the files."""
    for table, read in (("assessments", block.forms), ("treatment_sessions", block.sessions)):
        names = (column.name for column in tables.get(table, ()))
        columns = dict(zip(names, told.get(table, ()), strict=True))
        sizes = [len(read[one.id]["at"]) if columns and one.id in read else 0 for one in block.people]
        which = [values for name, values in columns.items() if name in _WHICH]
        courses[table].add(sizes, zip(*which, columns.get("total", [None] * sum(sizes)), strict=True))


def _forms_sql(tables: Tables) -> str:
    read = dict(_READ)
    for name in _names(tables):
        read |= _READ_FOR.get(name, {})
    lists = ", ".join(f'array_agg({sql}) AS "{name}"' for name, sql in read.items())
    return f"SELECT form.patient_id, {lists} {_FORMS} GROUP BY form.patient_id"


def _names(tables: Tables) -> list[str]:
    return [column.name for column in tables.get("assessments", ())]


def _by_patient(
    rows: Iterable[asyncpg.Record], people: Iterable[Person], histories: Mapping[UUID, History]
) -> dict[UUID, _Lists]:
    starts = {one.id: (one.first_dose_at - _EPOCH) // _MICROSECOND for one in people}
    return {row["patient_id"]: _placed(row, starts[row["patient_id"]], histories) for row in rows}


def _placed(row: asyncpg.Record, start: int, histories: Mapping[UUID, History]) -> _Lists:
    """With the weeks, as `week_index` has them."""
    weeks = [(at - start) // _WEEK_US for at in row["at"]]
    return {**row, "start": start, "week": weeks, "history": histories.get(row["patient_id"])}


# --- One person -------------------------------------------------------------------------------------------------------


def _of_person(columns: Sequence[Column], made: "_Made", read: _Lists | None, name: str) -> list[Sequence[Value]]:
    if read is None:
        return [()] * len(columns)
    told = _in_shown_order([made[column.name](read) for column in columns if column.name != "patient"])
    count = len(told[0])
    return [[name] * count if column.name == "patient" else told.pop(0) for column in columns]


def _in_shown_order(columns: Sequence[Sequence[Value]]) -> list[Sequence[Value]]:
    """In the order of what the rows show: not in that of a time that is not told."""
    unknown_first = _unknown_first if any(None in column for column in columns) else None
    return list(zip(*sorted(zip(*columns, strict=True), key=unknown_first), strict=True))


def _unknown_first(row: Sequence[Any]) -> list[tuple[bool, Any]]:
    return [(value is not None, value) for value in row]


def _together(people: Sequence[Sequence[Sequence[Value]]]) -> list[Values]:
    return [list(chain.from_iterable(columns)) for columns in zip(*people, strict=True)]


# --- Columns ----------------------------------------------------------------------------------------------------------

_Made = Mapping[str, Callable[[_Lists], Sequence[Value]]]


def _days(read: _Lists) -> list[int]:
    return [(at - read["start"]) // _DAY_US for at in read["at"]]


def _dates(read: _Lists) -> list[date]:
    """By the clock of whoever wrote it down."""
    first = _EPOCH.toordinal()
    local = (at + offset * _MINUTE_US for at, offset in zip(read["at"], read["offset"], strict=True))
    return [date.fromordinal(first + at // _DAY_US) for at in local]


def _contexts(read: _Lists) -> list[Context]:
    """Where each form stands among the doses, by the core's own rule; worked out once for all columns of it."""
    if "contexts" not in read:
        forms = zip(read["at"], read["instrument"], strict=True)
        read["contexts"] = [
            place(_EPOCH + at * _MICROSECOND, read["history"], get_instrument(key).recall_days).context
            for at, key in forms
        ]
    return read["contexts"]  # type: ignore[no-any-return]  # of many kinds of lists


def _dose_numbers(read: _Lists) -> list[int | None]:
    return [one.dose_number for one in _contexts(read)]


def _hours_since_dose(read: _Lists) -> list[float | None]:
    return [one.hours_since_dose for one in _contexts(read)]


def _since_dose(read: _Lists) -> list[str | None]:
    return [since_dose_band(one.hours_since_dose) for one in _contexts(read)]


def _severities(read: _Lists) -> list[str | None]:
    return list(map(_severity, read["instrument"], read["total"]))


def _subscales(read: _Lists) -> list[str | None]:
    return list(map(_subscales_of, read["instrument"], read["responses"]))


@lru_cache(maxsize=4_096)
def _severity(key: str, total: float | None) -> str | None:
    band = None if total is None else severity_of(get_instrument(key), total)
    return band.code if band else None


@lru_cache(maxsize=4_096)
def _subscales_of(key: str, responses: str) -> str | None:
    found = score(get_instrument(key), json.loads(responses)).subscales
    return json.dumps(found, separators=(",", ":")) if found else None


def _as_read(name: str) -> Callable[[_Lists], Sequence[Value]]:
    return lambda read: read[name]


_FORM_COLUMNS: Final[_Made] = {
    "week": _as_read("week"),
    "instrument": _as_read("instrument"),
    "total": _as_read("total"),
    "validity": _as_read("validity"),
    "taken_on": _dates,
    "day": _days,
    "responses": _as_read("responses"),
    "severity": _severities,
    "mode": _as_read("mode"),
    "dose_number": _dose_numbers,
    "since_dose": _since_dose,
    "hours_since_dose": _hours_since_dose,
    "subscales": _subscales,
}
_SESSION_COLUMNS: Final[_Made] = {"week": _as_read("week"), "kind": _as_read("kind"), "started_on": _dates}
