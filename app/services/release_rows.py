"""The rows of a release, by person, in the order the people are given.

Postgres tells each form as one text, from the history index alone. Few texts are different, and each is taken apart
once: a million dicts would take minutes.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from itertools import chain
from typing import Final
from uuid import UUID

import asyncpg

from app.privacy.columns import Column, Role
from app.privacy.dates import since_dose_band
from app.privacy.uniqueness import CheckIn
from app.release_files.model import Row, Value
from app.release_files.rows import Known, OfPerson, Values, by_column
from app.scoring import get_instrument, score
from app.scoring.episode import place
from app.scoring.score import severity_of
from app.scoring.treatment import Context
from app.services.histories import History, find_histories
from app.services.release_records import COUNTED, Person, Source, parts

AT_ONCE: Final = 200  # patients whose forms are in memory; twice that, for the next are read meanwhile

Tables = Mapping[str, Sequence[Column]]

# --- Columns ----------------------------------------------------------------------------------------------------------

_BETWEEN: Final = "\x1f"  # is in no value: they are codes, numbers and days
_DAYS: Final = "floor(date_part('epoch', {at} - one.first_dose_at) / (86400 * {days}))"  # as `week_index` has them
_DATE: Final = "({at} AT TIME ZONE 'UTC' + make_interval(mins => {at}_offset_minutes))::date"  # by the writer's clock

_STORED: Final[Mapping[str, Mapping[str, str]]] = {  # in SQL, by table
    "scores": {
        "week": _DAYS.format(at="form.taken_at", days=7),
        "instrument": "form.instrument || '@' || form.instrument_version",
        "total": "form.total",
        "validity": "form.validity",
        "taken_on": _DATE.format(at="form.taken_at"),
        "day": _DAYS.format(at="form.taken_at", days=1),
        "responses": "array_to_json(form.responses)",
        "mode": "form.mode",
    },
    "sessions": {
        "week": _DAYS.format(at="session.started_at", days=7),
        "kind": "session.kind",
        "started_on": _DATE.format(at="session.started_at"),
    },
}
_OF_DOSES: Final[Mapping[str, Callable[[Context], Value]]] = {  # where a form stands, by the core's own rule
    "dose_number": lambda context: context.dose_number,
    "since_dose": lambda context: since_dose_band(context.hours_since_dose),
    "hours_since_dose": lambda context: context.hours_since_dose,
}
_TYPES: Final[Mapping[str, Callable[[str], Value]]] = {  # the others are texts
    "week": int,
    "day": int,
    "total": float,
    "taken_on": date.fromisoformat,
    "started_on": date.fromisoformat,
    "dose_number": int,
    "hours_since_dose": float,
}


@lru_cache(maxsize=4_096)
def _severity(key: str, total: float | None) -> str | None:
    band = None if total is None else severity_of(get_instrument(key), total)
    return band.code if band else None


@lru_cache(maxsize=4_096)
def _subscales(key: str, responses: str) -> str | None:
    found = score(get_instrument(key), json.loads(responses)).subscales
    return json.dumps(found, separators=(",", ":")) if found else None


_SCORED: Final[Mapping[str, tuple[Callable[..., Value], Sequence[str]]]] = {  # with what they are made of
    "severity": (_severity, ("instrument", "total")),
    "subscales": (_subscales, ("instrument", "responses")),
}
_WHICH: Final = frozenset({"instrument", "kind", "week", "day", "taken_on", "started_on", *_OF_DOSES})  # and when


def _made_of(column: str) -> Sequence[str]:
    """Columns that are stored."""
    if column in _OF_DOSES:
        return ["instrument"]  # and when: it asks about some days before
    return _SCORED[column][1] if column in _SCORED else [column]


def check_in_of(columns: Iterable[Column]) -> Callable[[Row], CheckIn]:
    """As the files tell it and no further: the attacker whose odds are counted has the files."""
    names = _told(columns)
    shown = [at for at, name in enumerate(names) if name in _WHICH]
    if "total" not in names:
        return lambda row: (*[row[at] for at in shown], None)
    shown.append(names.index("total"))
    return lambda row: tuple([row[at] for at in shown])


def _told(columns: Iterable[Column]) -> list[str]:
    """All but the one who it is."""
    return [column.name for column in columns if column.role is not Role.PSEUDONYM]


# --- Rows out of texts ------------------------------------------------------------------------------------------------


class _Table:
    """Forms or sessions: how they are read, and the rows of the different ones."""

    def __init__(self, name: str, columns: Iterable[Column]) -> None:
        self._columns = _told(columns)
        self._stored = [*dict.fromkeys(chain.from_iterable(map(_made_of, self._columns)))]
        self.of_doses = [one for one in self._columns if one in _OF_DOSES]
        self.sql = f"concat({f', chr({ord(_BETWEEN)}), '.join(_STORED[name][one] for one in self._stored)})"
        self._known = Known[str, Row]()

    def rows(self, people: Sequence[Sequence[str]]) -> list[list[Row]]:
        """Each person's, in the order of what they show: not in that of a time that is not told."""
        self._known.know(set(chain.from_iterable(people)), self._taken_apart)
        return [_in_order(map(self._known.__getitem__, texts)) for texts in people]

    def with_doses(self, read: asyncpg.Record, history: History) -> list[str]:
        """The texts of one person's forms, each with what columns tell of the doses."""
        instrument = self._stored.index("instrument")
        return [
            _BETWEEN.join([text, *self._since_doses(at, text.split(_BETWEEN)[instrument], history)])
            for text, at in zip(read["texts"], read["at"], strict=True)
        ]

    def _since_doses(self, at: datetime, key: str, history: History) -> Iterator[str]:
        context = place(at, history, get_instrument(key).recall_days).context
        for column in self.of_doses:
            value = _OF_DOSES[column](context)
            yield "" if value is None else str(value)

    def _taken_apart(self, texts: Sequence[str]) -> Iterator[Row]:
        values = by_column([tuple(text.split(_BETWEEN)) for text in texts])
        read = dict(zip([*self._stored, *self.of_doses], values, strict=True))
        known: dict[str, Values] = {column: _typed(column, texts) for column, texts in read.items()}
        for column in self._columns:
            if column in _SCORED:
                score_of, needed = _SCORED[column]
                known[column] = list(map(score_of, *(known[one] for one in needed)))
        return zip(*(known[column] for column in self._columns), strict=True)


def _typed(column: str, texts: Values) -> Values:
    type_ = _TYPES.get(column, str)
    values = {text: type_(str(text)) if text else None for text in set(texts)}
    return [values[text] for text in texts]


def _in_order(rows: Iterable[Row]) -> list[Row]:
    """What is unknown comes first, where it matters."""
    known = list(rows)
    try:
        known.sort()
    except TypeError:
        known.sort(key=lambda row: [(value is not None, value) for value in row])
    return known


# --- Reading ----------------------------------------------------------------------------------------------------------

_COUNTED_FORMS: Final = f"form.clinic_id = $1 AND form.instrument = ANY($4::text[]) AND {COUNTED}"
_FORMS: Final = f"""
SELECT one.id AS patient_id, array_agg({{text}}) AS texts{{more}}
FROM unnest($3::uuid[], $5::timestamptz[]) AS one (id, first_dose_at)
JOIN assessment form ON form.patient_id = one.id
WHERE {_COUNTED_FORMS}
GROUP BY one.id
"""
_FOR_DOSES: Final = ", array_agg(form.taken_at) AS at"
_COUNT_FORMS: Final = f"""
SELECT count(*) FROM assessment form WHERE form.patient_id = ANY($3::uuid[]) AND {_COUNTED_FORMS}
"""
_DONE_SESSIONS: Final = """
FROM (
  SELECT DISTINCT ON (id) * FROM treatment_session
  WHERE clinic_id = $1 AND recorded_at <= $2
    AND episode_id IN (SELECT id FROM episode WHERE clinic_id = $1 AND patient_id = ANY($3::uuid[]))
  ORDER BY id, version DESC
) session"""
_IS_DONE: Final = "WHERE session.status = 'done' AND NOT session.entered_in_error"
_SESSIONS: Final = f"""
SELECT one.id AS patient_id, array_agg({{text}}) AS texts {_DONE_SESSIONS}
JOIN unnest($3::uuid[], $4::timestamptz[]) AS one (id, first_dose_at) ON one.id = session.patient_id
{_IS_DONE} GROUP BY one.id
"""
_COUNT_SESSIONS: Final = f"SELECT count(*) {_DONE_SESSIONS} {_IS_DONE}"


@dataclass(frozen=True, slots=True)
class Block:
    """Some people with all that was read of them; what becomes of it is computed by whoever writes it."""

    people: Sequence[Person]
    read: Mapping[str, Sequence[asyncpg.Record]]  # by table, of those who have any
    histories: Mapping[UUID, History]  # where a column tells of doses


class ReleaseRows:
    """Those of all tables but `persons`."""

    def __init__(self, source: Source, tables: Tables) -> None:
        self._source = source
        self._tables = {name: _Table(name, tables[name]) for name in _STORED if name in tables}

    async def blocks(self, people: Sequence[Person]) -> AsyncIterator[Block]:
        """In the order of the people."""
        of_doses = any(table.of_doses for table in self._tables.values())
        source = self._source
        for some in parts(people, AT_ONCE):
            ids = [one.id for one in some]
            read = {name: await self._read(name, some) for name in self._tables}
            known = await find_histories(source.connection, source.clinic_id, ids, source.known_at) if of_doses else {}
            yield Block(some, read, known)

    async def count(self, ids: Sequence[UUID]) -> int:
        """Of people who are not in the release."""
        count, fetch = 0, self._source.connection.fetchval
        if "scores" in self._tables:
            count += await fetch(_COUNT_FORMS, *self._source.then, ids, self._source.asked.instruments)
        if "sessions" in self._tables:
            count += await fetch(_COUNT_SESSIONS, *self._source.then, ids)
        return count

    def told(self, block: Block, names: Mapping[UUID, str]) -> dict[str, list[OfPerson]]:
        """By table, of all people of the block; some have no rows."""
        found = {}
        for name, table in self._tables.items():
            texts = {row["patient_id"]: self._texts(table, row, block.histories) for row in block.read[name]}
            rows = table.rows([texts.get(one.id, ()) for one in block.people])
            found[name] = [OfPerson(names[one.id], mine) for one, mine in zip(block.people, rows, strict=True)]
        return found

    async def _read(self, name: str, people: Sequence[Person]) -> list[asyncpg.Record]:
        source, table = self._source, self._tables[name]
        ids, doses = [one.id for one in people], [one.first_dose_at for one in people]
        statement, values = _SESSIONS, [*source.then, ids, doses]
        if name == "scores":
            statement, values = _FORMS, [*source.then, ids, source.asked.instruments, doses]
        told = statement.format(text=table.sql, more=_FOR_DOSES if table.of_doses else "")
        rows: list[asyncpg.Record] = await source.connection.fetch(told, *values)
        return rows

    @staticmethod
    def _texts(table: _Table, row: asyncpg.Record, histories: Mapping[UUID, History]) -> Sequence[str]:
        return table.with_doses(row, histories[row["patient_id"]]) if table.of_doses else row["texts"]
