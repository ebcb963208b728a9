"""What a release holds: who may be told of and how finely, their rows, and what the manifest says was done."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, BinaryIO, Final
from uuid import UUID

from app.privacy.classes import distinct_l, equal_distance, equivalence_classes, group_sizes, risk, t_closeness
from app.privacy.columns import Column, Role, columns_of, only_declared
from app.privacy.generalise import Generalised, generalise
from app.privacy.ladders import LADDERS
from app.privacy.overlap import Beside
from app.privacy.part_two import notice
from app.privacy.uniqueness import Courses, pattern_sizes, two_totals_sizes
from app.release_files.rows import OfPerson
from app.schemas.consents import Purpose
from app.schemas.releases import ReleaseCreate, ReleaseFailure
from app.services.consents import consents_in_force, told_of
from app.services.release_differences import EarlierReleases, find_earlier_releases
from app.services.release_package import ReleaseFiles
from app.services.release_records import TRAITS, Person, Source, ahead
from app.services.release_rows import Block, ReleaseRows, check_in_of

WORDS: Final = "de-identified, not anonymous"
BEAT_SECONDS: Final = 15
STEP_SECONDS: Final = 1
_LADDERS: Final = {ladder.name: ladder for ladder in LADDERS}
Names = dict[UUID, str]
Tables = Mapping[str, Sequence[Column]]
Kept = Sequence[tuple[Person, tuple[Any, ...]]]
DrawNames = Callable[[Sequence[UUID]], Names]
_RULES_VERSION: Final = "SELECT coalesce(max(version), 1) FROM clinic_rules WHERE clinic_id = $1 AND recorded_at <= $2"


class TooFewError(Exception):
    """Nobody may be told of; the word says why."""


class LostError(Exception):
    """The lease ran out, or the release was revoked meanwhile."""


@dataclass(slots=True)
class Built:
    """Files, the map, and what is to be said of them."""

    manifest: dict[str, Any]
    names: Names
    files: dict[str, BinaryIO]
    told_as: dict[UUID, int | None]
    beside: Beside


@dataclass(slots=True)
class Step:
    """How far it is; told now and then, which also renews the lease."""

    tell: Callable[[int, int], Any]
    persons: int = 0
    rows: int = 0
    told_at: float = -math.inf

    async def on(self, persons: int = 0, rows: int = 0) -> None:
        """A transaction of its own for each of thousands of steps would cost more than what it tells of."""
        self.persons += persons
        self.rows += rows
        if time.monotonic() - self.told_at >= STEP_SECONDS:
            await self.now()

    async def now(self) -> None:
        self.told_at = time.monotonic()
        await self.tell(self.persons, self.rows)

    async def beat(self) -> None:
        """While something is computed for long. That the lease is lost shows at the next step."""
        with suppress(LostError):
            while True:
                await asyncio.sleep(BEAT_SECONDS)
                await self.now()


async def build(source: Source, draw: DrawNames, step: Step, stack: AsyncExitStack) -> Built:
    """The same snapshot, time and names give the same bytes. Raises TooFewError."""
    columns = columns_of(source.asked.tier, source.asked.columns)
    people, waiting, earlier = await _people(source, step)
    told, kept = await asyncio.to_thread(_kept, source.asked, columns, people, earlier)
    if len(kept) < source.asked.disclosure.k:
        raise TooFewError(ReleaseFailure.NOBODY_CAN_BE_HIDDEN)
    ids = [one.id for one, _ in kept]
    names, keys = draw(ids), await source.instrument_keys(ids)
    told_as = _told_as(columns, kept, names)
    beside = await asyncio.to_thread(earlier.beside, told_as)
    files = ReleaseFiles(source.asked, columns, keys, source.release_id, stack)
    rows, courses = ReleaseRows(source, columns), _courses(columns)
    rows_out = await _write(columns, files, kept, names, rows, courses, step)
    left_out = sorted({*(one.id for one in people), *waiting} - names.keys())
    rows_left_out = await rows.count(left_out) + len(left_out) * ("persons" in columns)
    manifest = {
        **_counts(len(kept), len(left_out), rows_out, rows_left_out),
        **await asyncio.to_thread(_manifest, columns, told, kept, courses),
        **await _circumstances(source, ids),
        "beside_earlier_releases": _beside(beside),
    }
    return Built(files.finish(manifest), names, files.open, told_as, beside)


async def _circumstances(source: Source, ids: Sequence[UUID]) -> dict[str, Any]:
    """Under which rules it was made, and when."""
    applies = await source.needs_part_two_notice(ids)
    rules = await source.connection.fetchval(_RULES_VERSION, *source.then)
    return {
        "part_2_notice": notice(applies=applies),
        "known_at": source.known_at.isoformat(),
        "versions": {"tidemark": version("tidemark"), "rules": rules},
    }


async def _people(source: Source, step: Step) -> tuple[list[Person], frozenset[UUID], EarlierReleases]:
    """Those of the cohort, without a few who have to wait for others, and what was released before."""
    at, k = source.known_at, source.asked.disclosure.k
    consents = await consents_in_force(source.connection, source.ring, source.clinic_id, Purpose.RESEARCH, at, at)
    people = []
    async for some in source.persons(told_of(consents, source.asked.recipient)):
        people += some
        await step.on()  # without a number: how many are in a cohort that is too small is told to nobody
    earlier = await find_earlier_releases(source.connection, source.clinic_id, consents, at, k)
    waiting = earlier.waiting([one.id for one in people])
    people = [one for one in people if one.id not in waiting]
    if len(people) < k:
        raise TooFewError(ReleaseFailure.TOO_FEW_PEOPLE)
    if earlier.tell_apart([one.id for one in people]):
        raise TooFewError(ReleaseFailure.TOO_NEAR_AN_EARLIER_RELEASE)
    step.persons = len(people)
    await step.now()
    return people, waiting, earlier


# --- What may be told -------------------------------------------------------------------------------------------------


def _quasi(columns: Tables) -> list[str]:
    return [one.name for one in columns.get("persons", ()) if one.role is Role.QUASI_IDENTIFIER]


def _sensitive(columns: Tables) -> bool:
    return any(one.role is Role.SENSITIVE for one in columns.get("persons", ()))


def _kept(
    asked: ReleaseCreate, columns: Tables, people: Sequence[Person], earlier: EarlierReleases
) -> tuple[Generalised, Kept]:
    """Where leaving out a few would show them beside an earlier release, everybody is told more coarsely instead."""
    told, kept = _told(asked, columns, people, asked.disclosure.most_left_out_rate)
    if earlier.tell_apart([one.id for one, _ in kept]):
        told, kept = _told(asked, columns, people, 0)
    return told, kept


def _told(
    asked: ReleaseCreate, columns: Tables, people: Sequence[Person], most_left_out_rate: float
) -> tuple[Generalised, Kept]:
    told = _generalised(asked, columns, people, most_left_out_rate)
    return told, [(one, key) for one, key in zip(people, told.keys, strict=True) if key is not None]


def _generalised(
    asked: ReleaseCreate, columns: Tables, people: Sequence[Person], most_left_out_rate: float
) -> Generalised:
    names = _quasi(columns)
    if not names:  # everybody looks alike
        return Generalised({}, ((),) * len(people), 0.0)
    places = [TRAITS.index(name) for name in names]
    return generalise(
        [tuple(one.traits[place] for place in places) for one in people],
        [_LADDERS[name] for name in names],
        k=asked.disclosure.k,
        diversity=asked.disclosure.l,
        sensitive=[[one.category for one in people]] if _sensitive(columns) else (),
        most_left_out_rate=most_left_out_rate,
    )


def _told_as(columns: Tables, kept: Kept, names: Names) -> dict[UUID, int | None]:
    """The class of each by a number, in the order of the names: these are drawn, so that it says nothing."""
    if not _quasi(columns):
        return {one.id: None for one, _ in kept}
    numbers: dict[tuple[Any, ...], int] = {}
    ordered = sorted(kept, key=lambda one: names[one[0].id])
    return {one.id: numbers.setdefault(key, len(numbers)) for one, key in ordered}


def _counts(people_out: int, people_left_out: int, rows_out: int, rows_left_out: int) -> dict[str, Any]:
    return {
        "persons_in": people_out + people_left_out,
        "persons_out": people_out,
        "persons_left_out": people_left_out,
        "rows_in": rows_out + rows_left_out,
        "rows_out": rows_out,
        "rows_left_out": rows_left_out,
    }


def _manifest(columns: Tables, told: Generalised, kept: Kept, courses: Mapping[str, Courses]) -> dict[str, Any]:
    """k, l and t of what is told, not of what was known."""
    keys, categories = [key for _, key in kept], [one.category for one, _ in kept]
    found, classes = risk(group_sizes(keys)), equivalence_classes(keys)
    known = _sensitive(columns)
    return {
        "words": WORDS,
        "k": found.k,
        "highest_risk": found.highest_risk,
        "mean_risk": found.mean_risk,
        "l": distinct_l(classes, categories) if known else None,
        "t": t_closeness(classes, categories, equal_distance) if known else None,
        "loss_rate": told.loss_rate,
        "rungs": dict(told.levels),
        "unique_by_weeks": _uniqueness(pattern_sizes(courses["scores"].moments())),
        "unique_by_sessions": _uniqueness(pattern_sizes(courses["sessions"].moments())),
        "unique_by_two_totals": _uniqueness(two_totals_sizes(courses["scores"].totals())),
        "columns": [
            {"table": one.table, "name": one.name, "type": one.type, "says": one.says, "made_by": one.made_by}
            for table in columns.values()
            for one in table
        ],
    }


def _beside(found: Beside) -> dict[str, Any] | None:
    if not found.releases:
        return None
    rates = {"alone_rate": found.risk.alone_rate, "small_rate": found.risk.small_rate}
    return {"releases": found.releases, "k": found.risk.k, **rates, "others_k": found.others_k}


def _uniqueness(sizes: Sequence[int]) -> dict[str, float | None]:
    found = risk(sizes)
    return {"alone_rate": found.alone_rate, "small_rate": found.small_rate}


# --- Rows -------------------------------------------------------------------------------------------------------------


def _courses(columns: Tables) -> dict[str, Courses]:
    return {table: Courses(check_in_of(columns.get(table, ()))) for table in ("scores", "sessions")}


async def _write(
    columns: Tables,
    files: ReleaseFiles,
    kept: Kept,
    names: Names,
    rows: ReleaseRows,
    courses: Mapping[str, Courses],
    step: Step,
) -> int:
    """How many rows were written."""
    ordered = sorted(kept, key=lambda one: names[one[0].id])
    if "persons" in columns:
        await asyncio.to_thread(files.write, "persons", _persons(columns["persons"], _quasi(columns), ordered, names))

    def write(block: Block) -> int:
        told = rows.told(block, names)
        for table, people in told.items():
            files.write(table, people)
        for table, known in courses.items():
            known.add([one.rows for one in told.get(table, ())] or [()] * len(block.people))
        return sum(len(one.rows) for people in told.values() for one in people)

    count = len(ordered) if "persons" in columns else 0
    async with aclosing(ahead(rows.blocks([one for one, _ in ordered]))) as coming:
        async for block in coming:
            count += (written := await asyncio.to_thread(write, block))
            await step.on(rows=written)
    await step.now()
    return count


def _persons(declared: Sequence[Column], quasi: Sequence[str], kept: Kept, names: Names) -> list[OfPerson]:
    found = []
    for one, key in kept:
        known = dict(zip(quasi, map(_text, key), strict=True)) | {"patient": names[one.id], "category": one.category}
        name, *row = only_declared(known, declared).values()
        found.append(OfPerson(name, [tuple(row)]))
    return found


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
