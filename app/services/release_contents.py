"""What a release holds: who may be told of and how finely, their rows, and what the manifest says was done."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO, Final
from uuid import UUID

from app.privacy.classes import distinct_l, equal_distance, equivalence_classes, group_sizes, risk, t_closeness
from app.privacy.columns import Column, Role, only_declared
from app.privacy.generalise import Generalised, generalise
from app.privacy.ladders import LADDERS
from app.privacy.part_two import notice
from app.privacy.uniqueness import two_totals_sizes, week_pattern_sizes
from app.release_files.model import Row
from app.schemas.releases import ReleaseCreate
from app.services.release_differences import EarlierReleases, find_earlier_releases
from app.services.release_package import ReleaseFiles
from app.services.release_records import Cells, Person, Source
from app.services.releases import columns_asked, consented

VERSION: Final = "0.1.0"  # of this program, as its document says it
WORDS: Final = "de-identified, not anonymous"
BEAT_SECONDS: Final = 15
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


@dataclass(slots=True)
class Step:
    """How far it is; told now and then, which also renews the lease."""

    tell: Callable[[int, int], Any]
    persons: int = 0
    rows: int = 0

    async def on(self, persons: int = 0, rows: int = 0) -> None:
        self.persons += persons
        self.rows += rows
        await self.tell(self.persons, self.rows)

    async def beat(self) -> None:
        """While something is computed for long. That the lease is lost shows at the next step."""
        with suppress(LostError):
            while True:
                await asyncio.sleep(BEAT_SECONDS)
                await self.on()


async def build(source: Source, draw: DrawNames, step: Step, stack: AsyncExitStack) -> Built:
    """The same snapshot, time and names give the same bytes. Raises TooFewError."""
    place, at = (source.connection, source.ring, source.clinic_id), source.known_at
    willing = await consented(*place, source.asked.recipient, at, known_at=at)
    persons = []
    async for some in source.persons(willing):
        persons += some
        await step.on()  # without a number: how many are in a cohort that is too small is told to nobody
    earlier = await _earlier(source)
    waiting = earlier.waiting([one.id for one in persons])
    chosen = [one for one in persons if one.id not in waiting]
    if len(chosen) < source.asked.disclosure.k:
        raise TooFewError("too_few_people")
    if earlier.tell_apart([one.id for one in chosen]):
        raise TooFewError("too_near_an_earlier_release")
    await step.on(persons=len(chosen))
    columns = columns_asked(source.asked)
    told, kept = await asyncio.to_thread(_kept, source.asked, columns, chosen, earlier)
    if len(kept) < source.asked.disclosure.k:
        raise TooFewError("nobody_can_be_hidden")
    told = _with_waiting(told, [one for one in persons if one.id in waiting])
    names = draw([one.id for one, _ in kept])
    keys = sorted({key for one, _ in kept for key in one.instruments})
    files = ReleaseFiles(source.asked, columns, keys, stack)
    await _write(source, columns, files, kept, names, step)
    manifest = await asyncio.to_thread(_manifest, columns, told, kept)
    applies = await source.needs_part_two_notice([one.id for one, _ in kept])
    rules = await source.connection.fetchval(_RULES_VERSION, source.clinic_id, source.known_at)
    manifest |= {
        "part_2_notice": notice(applies=applies),
        "known_at": source.known_at.isoformat(),
        "versions": {"tidemark": VERSION, "rules": rules},
    }
    facts = files.finish(source.release_id, source.known_at.date(), manifest)
    return Built(manifest | {"files": [asdict(one) for one in facts]}, names, files.open)


# --- What may be told -------------------------------------------------------------------------------------------------


async def _earlier(source: Source) -> EarlierReleases:
    place = (source.connection, source.ring, source.clinic_id, source.known_at)
    return await find_earlier_releases(*place, source.asked.disclosure.k)


def _kept(
    asked: ReleaseCreate, columns: Tables, persons: Sequence[Person], earlier: EarlierReleases
) -> tuple[Generalised, Kept]:
    """Where leaving out a few would show them beside an earlier release, everybody is told more coarsely instead."""
    told = _told(asked, columns, persons, asked.disclosure.most_left_out_rate)
    kept = _in_release(persons, told)
    if earlier.tell_apart([one.id for one, _ in kept]):
        told = _told(asked, columns, persons, 0)
        kept = _in_release(persons, told)
    return told, kept


def _in_release(persons: Sequence[Person], told: Generalised) -> Kept:
    return [(one, key) for one, key in zip(persons, told.keys, strict=True) if key is not None]


def _with_waiting(told: Generalised, waiting: Sequence[Person]) -> Generalised:
    rows = sum(one.rows for one in waiting)
    return replace(told, people_in=told.people_in + len(waiting), rows_in=told.rows_in + rows)


def _quasi(columns: Tables) -> list[str]:
    return [one.name for one in columns.get("patients", ()) if one.role is Role.QUASI_IDENTIFIER]


def _sensitive(columns: Tables) -> bool:
    return any(one.role is Role.SENSITIVE for one in columns.get("patients", ()))


def _told(asked: ReleaseCreate, columns: Tables, persons: Sequence[Person], most_left_out_rate: float) -> Generalised:
    names = _quasi(columns)
    if not names:  # everybody looks alike
        rows = sum(one.rows for one in persons)
        return Generalised({}, ((),) * len(persons), len(persons), len(persons), rows, rows, 0.0)
    return generalise(
        [tuple(one.traits[name] for name in names) for one in persons],
        [_LADDERS[name] for name in names],
        k=asked.disclosure.k,
        diversity=asked.disclosure.l,
        sensitive=[[one.category for one in persons]] if _sensitive(columns) else (),
        most_left_out_rate=most_left_out_rate,
        rows=[one.rows for one in persons],
    )


def _manifest(columns: Tables, told: Generalised, kept: Kept) -> dict[str, Any]:
    """k, l and t of what is told, not of what was known."""
    keys, categories = [key for _, key in kept], [one.category for one, _ in kept]
    found, classes = risk(group_sizes(keys)), equivalence_classes(keys)
    known = _sensitive(columns)
    return {
        "words": WORDS,
        "persons_in": told.people_in,
        "persons_out": told.people_out,
        "persons_left_out": told.people_in - told.people_out,
        "rows_in": told.rows_in,
        "rows_out": told.rows_out,
        "rows_left_out": told.rows_in - told.rows_out,
        "k": found.k,
        "highest_risk": found.highest_risk,
        "mean_risk": found.mean_risk,
        "l": distinct_l(classes, categories) if known else None,
        "t": t_closeness(classes, categories, equal_distance) if known else None,
        "loss_rate": told.loss_rate,
        "rungs": dict(told.levels),
        "unique_by_weeks": _uniqueness(week_pattern_sizes([one.weeks for one, _ in kept])),
        "unique_by_two_totals": _uniqueness(two_totals_sizes([one.totals for one, _ in kept])),
        "columns": [
            {"table": one.table, "name": one.name, "type": one.type, "says": one.says, "made_by": one.made_by}
            for table in columns.values()
            for one in table
        ],
    }


def _uniqueness(sizes: Sequence[int]) -> dict[str, float | None]:
    found = risk(sizes)
    return {"alone_rate": found.alone_rate, "small_rate": found.small_rate}


# --- Rows -------------------------------------------------------------------------------------------------------------


async def _write(source: Source, columns: Tables, files: ReleaseFiles, kept: Kept, names: Names, step: Step) -> None:
    ordered = sorted(kept, key=lambda one: names[one[0].id])
    if "patients" in columns:
        await asyncio.to_thread(files.write, "patients", _patients(columns, ordered, names))
    async for some in source.tables([one.id for one, _ in ordered]):
        for table in columns.keys() - {"patients"}:
            rows = [row for id_, tables in some for row in _rows(columns[table], tables[table], names[id_])]
            await asyncio.to_thread(files.write, table, rows)
            await step.on(rows=len(rows))


def _patients(columns: Tables, kept: Kept, names: Names) -> list[Row]:
    quasi = _quasi(columns)
    told = (
        {"patient": names[one.id], "category": one.category, **dict(zip(quasi, map(_text, key), strict=True))}
        for one, key in kept
    )
    return [tuple(only_declared(cells, columns["patients"]).values()) for cells in told]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _rows(columns: Sequence[Column], cells: Sequence[Cells], name: str) -> list[Row]:
    """One person's, in the order of what they show: not in that of a time that is not told."""
    rows = (tuple(only_declared({"patient": name, **one}, columns).values()) for one in cells)
    return sorted(rows, key=lambda row: [(value is not None, value) for value in row])
