"""Somebody with a downloaded release and what they know of a friend. They read files; they share no code with the rule.

Each attack answers with the pseudonyms that might be the friend. One alone is a find.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import UTC, timedelta
from functools import cached_property
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

from pyarrow import parquet

from tests.research.clinic import Form, Person, Session

Cells = dict[str, Any]
DAY = timedelta(days=1)
TRAITS = ("age", "index_year", "modality", "medicine", "route", "dose_mg")
_MUCOSAL = {"intranasal", "sublingual", "buccal"}
_INJECTED = {"intravenous", "intramuscular", "subcutaneous"}


class Files:
    """The tables of a release, by pseudonym."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def rows(self, table: str) -> list[Cells]:
        found: list[Cells] = parquet.read_table(self.directory / f"{table}.parquet").to_pylist()
        return found

    def by_person(self, table: str) -> dict[str, list[Cells]]:
        found: dict[str, list[Cells]] = {name: [] for name in self.everybody}
        for row in self.rows(table):
            found[row["patient"]].append(row)
        return found

    @cached_property
    def persons(self) -> list[Cells]:
        return self.rows("persons")

    @cached_property
    def everybody(self) -> list[str]:
        return [row["patient"] for row in self.persons]

    @cached_property
    def forms(self) -> dict[str, list[Cells]]:
        return self.by_person("scores")

    @cached_property
    def sessions(self) -> dict[str, list[Cells]]:
        return self.by_person("sessions")


# --- What a friend's form or session looks like in the files ----------------------------------------------------------


def when(person: Person, form: Form | Session, told: Iterable[str]) -> tuple[Hashable, ...]:
    """The true time, in every way the files tell time."""
    at = form.taken_at if isinstance(form, Form) else form.started_at
    here = at if isinstance(form, Form) else at.astimezone(UTC)
    known = {
        "week": person.week(at),
        "day": (at - person.dosed_at) // DAY,
        "taken_on": here.date(),
        "started_on": here.date(),
    }
    return tuple(known[name] for name in sorted(known.keys() & set(told)))


def _when_told(row: Cells) -> tuple[Hashable, ...]:
    return tuple(row[name] for name in sorted({"week", "day", "taken_on", "started_on"} & row.keys()))


# --- Attacks by the course --------------------------------------------------------------------------------------------


def by_times_of_all_forms(files: Files, instruments: Sequence[str]) -> Callable[[Person], set[str]]:
    """The friend's forms: which, and when, all of them."""
    seen = _index({name: _pattern((_key(row), _when_told(row)) for row in mine) for name, mine in files.forms.items()})
    told = files.rows("scores")[0].keys()

    def find(friend: Person) -> set[str]:
        forms = friend.standing(instruments)
        return seen[_pattern((f"{form.instrument}@1", when(friend, form, told)) for form in forms)]

    return find


def by_times_of_all_sessions(files: Files) -> Callable[[Person], set[str]]:
    """When the friend was brought to the clinic, and for what, every time."""
    mine = files.sessions.items()
    seen = _index({name: _pattern((row["kind"], _when_told(row)) for row in rows) for name, rows in mine})
    told = files.rows("sessions")[0].keys()
    return lambda friend: seen[_pattern((one.kind, when(friend, one, told)) for one in friend.sessions)]


def by_two_totals(files: Files, instruments: Sequence[str]) -> Callable[[Person], set[str]]:
    """Two totals with their times: of all pairs that could be known, the one that fits fewest."""
    courses = {
        name: Counter((_key(row), _when_told(row), row["total"]) for row in rows if row["total"] is not None)
        for name, rows in files.forms.items()
    }
    having: defaultdict[Hashable, set[str]] = defaultdict(set)
    for name, course in courses.items():
        for check_in in course:
            having[check_in].add(name)
    told = files.rows("scores")[0].keys()

    def fitting(known: Sequence[Any]) -> set[str]:
        names = set.intersection(*(having[one] for one in known)) if known else set(files.everybody)
        return {name for name in names if not Counter(known) - courses[name]}

    def find(friend: Person) -> set[str]:
        forms = [form for form in friend.standing(instruments) if form.total is not None]
        mine = [(f"{form.instrument}@1", when(friend, form, told), form.total) for form in forms]
        pairs: list[tuple[Any, ...]] = [*combinations(mine, 2)] or [tuple(mine)]
        found = set(files.everybody)
        for pair in sorted(pairs, key=lambda known: sum(len(having[one]) for one in known)):  # rare ones first
            found = min(found, fitting(pair), key=len)
            if len(found) == 1:
                break
        return found

    return find


def _key(row: Cells) -> str:
    key: str = row["instrument"]
    return key


def _pattern(parts: Iterable[Hashable]) -> Hashable:
    return tuple(sorted(parts, key=repr))


def _index(by_name: dict[str, Hashable]) -> defaultdict[Hashable, set[str]]:
    seen: defaultdict[Hashable, set[str]] = defaultdict(set)
    for name, pattern in by_name.items():
        seen[pattern].add(name)
    return seen


# --- Attack by what is known of a person ------------------------------------------------------------------------------


def by_traits(files: Files) -> Callable[[Person], set[str]]:
    """Age, year, treatment, medicine, route and dose, all exactly."""
    classes: defaultdict[Hashable, list[Cells]] = defaultdict(list)  # who looks alike is looked at once
    for row in files.persons:
        classes[tuple(row.get(name) for name in TRAITS)].append(row)

    def find(friend: Person) -> set[str]:
        return {row["patient"] for rows in classes.values() if is_told_so(rows[0], friend) for row in rows}

    return find


def is_told_so(row: Cells, person: Person) -> bool:
    dose, told = person.first_dose, dict.fromkeys(TRAITS, "*") | row
    assert dose is not None
    return (
        _within(told["age"], person.age)
        and _within(told["index_year"], dose.started_at.year)
        and _within(told["dose_mg"], dose.dose_mg)
        and told["modality"] in {"*", person.modality}
        and told["medicine"] in {"*", person.medicine}
        and told["route"] in {"*", person.route, _group(person.route)}
    )


def by_traits_of_all(*releases: Files) -> Callable[[Person, Sequence[bool]], set[str]]:
    """The same, and in which of the releases the friend is. Names of the last; in the others by equal courses."""
    *earlier, last = releases
    rows = [{row["patient"]: row for row in files.persons} for files in earlier]
    named = [{course: name for name, course in whole_courses(files).items()} for files in earlier]
    told = {
        row["patient"]: [row, *(mine.get(names.get(course, "")) for mine, names in zip(rows, named, strict=True))]
        for row, course in zip(last.persons, whole_courses(last).values(), strict=True)
    }

    def find(friend: Person, is_in: Sequence[bool]) -> set[str]:
        def fits(row: Cells | None, is_there: bool) -> bool:  # one of a pair
            return row is not None and is_told_so(row, friend) if is_there else row is None

        return {name for name, mine in told.items() if all(map(fits, mine, (True, *is_in)))}

    return find


def whole_courses(files: Files) -> dict[str, Hashable]:
    """All forms and sessions of each, as far as they are told."""
    tables = (files.forms, files.sessions)
    return {
        name: tuple(_pattern(tuple(row.items())[1:] for row in table[name]) for table in tables)
        for name in files.everybody
    }


def _within(told: str | None, value: int | None) -> bool:
    """Whether 37 is told as `35-39`, `37`, `30+` or `*`."""
    if told is None or value is None:
        return told is None and value is None
    if told == "*":
        return True
    if told.endswith("+"):
        return value >= int(told[:-1])
    first, _, last = told.partition("-")
    return int(first) <= value <= int(last or first)


def _group(route: str) -> str:
    return "injected" if route in _INJECTED else "mucosal" if route in _MUCOSAL else route


def guess(draw: Random, candidates: set[str]) -> str | None:
    return draw.choice(sorted(candidates)) if candidates else None
