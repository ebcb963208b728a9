"""A clinic's own rules for judging change: added and retired, never edited."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from app import tables
from app.auth import Actor
from app.errors import ConflictError, Fault
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.thresholds import ThresholdCreate, ThresholdRetirement
from app.scoring.model import Inequality, Instrument, Threshold, ThresholdKind
from app.services import versions
from app.services.scored_assessments import known_instrument

_FIND: Final = """
SELECT rule, code, kind, inequality, value, population, source
FROM threshold own
WHERE clinic_id = $1 AND instrument = $2 AND version = 1 AND recorded_at <= $3
  AND NOT EXISTS (
    SELECT FROM threshold last
    WHERE last.clinic_id = $1 AND last.id = own.id AND last.version > 1 AND last.retired AND last.recorded_at <= $3)
ORDER BY code
"""


async def find_thresholds(
    connection: asyncpg.Connection, clinic_id: UUID, instrument_id: str, known_at: datetime
) -> tuple[Threshold, ...]:
    """The rules in force at a time, for the pure core to judge by beside its own."""
    rows = await connection.fetch(_FIND, clinic_id, instrument_id, known_at)
    return tuple(
        Threshold(rule, code, ThresholdKind(kind), Inequality(inequality), value, population, source)
        for rule, code, kind, inequality, value, population, source in rows
    )


async def record_threshold(
    session: AsyncSession, actor: Actor, content: ThresholdCreate, key: str | None
) -> tuple[tables.Threshold, bool]:
    """The rule, and whether this was a repeat of an earlier call."""
    now, new, asked = datetime.now(UTC), new_id(), content.model_dump(mode="json")
    if known := await versions.find_replayed(session, actor, "threshold.create", asked, key, new):
        return await versions.get_version(session, tables.Threshold, actor, known, 1), True
    versions.refuse([*_faults(content, known_instrument(content.instrument))])
    row = tables.Threshold(**versions.first(actor, new, now), **content.model_dump(), retired=False)
    taken = ConflictError("A threshold of this clinic has, or had, this code for this instrument.")
    await versions.store(session, actor, row, "threshold.create", taken)
    return row, False


async def retire_threshold(
    session: AsyncSession, actor: Actor, id_: UUID, change: ThresholdRetirement, based_on: int, key: str | None
) -> tuple[tables.Threshold, bool]:
    """Its last version, and whether this was a repeat of an earlier call."""
    if await versions.is_replayed(session, actor, "threshold.retire", id_, based_on, change, key):
        return await versions.get_version(session, tables.Threshold, actor, id_, based_on + 1), True
    current = await versions.get_unchanged(session, tables.Threshold, actor, id_, based_on)
    if current.retired:
        raise ConflictError("The threshold is retired already.")
    following = versions.following(current, actor, datetime.now(UTC), change.reason)
    row = tables.Threshold(**following | {"retired": True})
    await versions.store(session, actor, row, "threshold.retire")
    return row, False


async def get_threshold(session: AsyncSession, actor: Actor, id_: UUID) -> tables.Threshold:
    return await versions.get_current(session, tables.Threshold, actor, id_)


async def find_threshold_page(
    session: AsyncSession, actor: Actor, instrument_id: str | None, page: PageRequest
) -> Sequence[tables.Threshold]:
    """Latest changed first, retired ones too; one row more than the page holds, if there is one."""
    wanted = {} if instrument_id is None else {"instrument": instrument_id}
    return await versions.find_current(session, tables.Threshold, actor, "recorded_at", page, **wanted)


async def find_threshold_versions(session: AsyncSession, actor: Actor, id_: UUID) -> Sequence[tables.Threshold]:
    return await versions.find_versions(session, tables.Threshold, actor, id_)


def _faults(content: ThresholdCreate, instrument: Instrument) -> Iterator[Fault]:
    built_in = {threshold.code for threshold in instrument.thresholds} | {screen.code for screen in instrument.screens}
    if content.code in built_in:
        yield Fault("/code", "built_in", "The instrument has a rule of this code already.")
    if content.kind != "score" and content.inequality not in {">=", ">"}:
        yield Fault("/inequality", "not_an_improvement", "An improvement is compared by >= or >.")
    lowest, highest = _range(content.kind, instrument)
    if not lowest <= content.value <= highest or (content.kind != "score" and content.value == 0):
        unit = "a share above 0, at most 1" if content.kind == "change_rate" else f"{lowest:g} to {highest:g} points"
        yield Fault("/value", "out_of_range", f"On this instrument write {unit}.")


def _range(kind: str, instrument: Instrument) -> tuple[float, float]:
    match ThresholdKind(kind):
        case ThresholdKind.CHANGE_RATE:
            return 0, 1
        case ThresholdKind.CHANGE_POINTS:
            return 0, instrument.maximum - instrument.minimum
        case ThresholdKind.SCORE:
            return instrument.minimum, instrument.maximum
