"""What is expected of patients now: read from the derived rows, with a status that the time of looking decides."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.audit import record_read
from app.auth import Actor
from app.db import Database
from app.errors import NotFoundError
from app.paging import PageRequest, Position
from app.scoring.schedule_matching import DueStatus

# As `scoring.schedule.due_status` has it; $2 is the time of looking.
_WITH_STATUS: Final = """
SELECT id, patient_id, episode_id, instrument, code, treatment_session_id, target_at, opens_at, overdue_at, closes_at,
       remind_at, assessment_id, answered_at,
       CASE WHEN answered_at >= overdue_at THEN 'received_late'
            WHEN answered_at IS NOT NULL THEN 'received'
            WHEN closes_at <= $2 THEN 'missed'
            WHEN overdue_at <= $2 THEN 'overdue'
            WHEN opens_at <= $2 THEN 'due'
            ELSE 'upcoming' END AS status
FROM expected_check_in
WHERE clinic_id = $1
"""
_OF_PATIENT: Final = f"{_WITH_STATUS} AND patient_id = $3 ORDER BY opens_at, id"
_PATIENT_EXISTS: Final = "SELECT EXISTS (SELECT FROM patient WHERE clinic_id = $1 AND id = $2)"

# From one place in the index of what is unanswered to another: what was missed long ago is not walked through to find
# what is due.
_OF_CLINIC: Final = f"""
SELECT * FROM ({_WITH_STATUS} AND assessment_id IS NULL AND (closes_at, id) > ($3, $4) AND closes_at <= $5) unanswered
WHERE status = ANY($6::text[])"""
_IN_ORDER: Final = " ORDER BY closes_at, id LIMIT $7"

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_LAST_ID: Final = UUID(int=2**128 - 1)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DueOfPatient:
    """What was asked for, in order of opening, and how many there are of each status."""

    as_of: datetime
    counts: Mapping[str, int]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class DueFilter:
    """Which unanswered check-ins of a clinic are wanted."""

    statuses: frozenset[str]
    instrument: str | None = None
    patient_id: UUID | None = None


async def find_due_of_patient(
    database: Database, actor: Actor, patient_id: UUID, statuses: Collection[str], now: datetime
) -> DueOfPatient:
    async with database.connection(actor) as connection:
        rows = await connection.fetch(_OF_PATIENT, actor.clinic_id, now, patient_id)
        if not rows and not await connection.fetchval(_PATIENT_EXISTS, actor.clinic_id, patient_id):
            raise NotFoundError("There is no such patient.")
        shown = [row for row in rows if row["status"] in statuses]
        await record_read(
            connection,
            actor,
            "due.list",
            of=patient_id,
            resource_id=patient_id,
            rows=len(shown),
            asked=DueFilter(frozenset(statuses)),
        )
    counts = dict.fromkeys(DueStatus, 0) | Counter(row["status"] for row in rows)
    return DueOfPatient(now, counts, shown)


async def find_due(
    database: Database, actor: Actor, wanted: DueFilter, page: PageRequest, now: datetime
) -> Sequence[asyncpg.Record]:
    """First to close first; one more than the page holds, if there is one."""
    statement, values = due_sql(actor, wanted, page, now)
    async with database.connection(actor) as connection:
        rows: Sequence[asyncpg.Record] = await connection.fetch(statement, *values)
        shown = [row["patient_id"] for row in rows[: page.limit]]
        await record_read(connection, actor, "due.list", of=shown, rows=len(shown), asked=wanted)
    return rows


def due_sql(actor: Actor, wanted: DueFilter, page: PageRequest, now: datetime) -> tuple[str, list[Any]]:
    """The statement and its values; apart, so that a test can ask how it is carried out."""
    begin, end = _stretch(wanted.statuses, page.after, now)
    values = [actor.clinic_id, now, begin.at, begin.id, end, list(wanted.statuses), page.limit + 1]
    statement = _OF_CLINIC
    for name, value in (("instrument", wanted.instrument), ("patient_id", wanted.patient_id)):
        if value is not None:
            values.append(value)
            statement += f" AND {name} = ${len(values)}"
    return statement + _IN_ORDER, values


def _stretch(statuses: frozenset[str], after: Position | None, now: datetime) -> tuple[Position, datetime]:
    """From where (exclusive) until when (inclusive) what is wanted closes."""
    begin = Position(_FIRST if "missed" in statuses else now, _LAST_ID)
    if after is not None and (after.at, after.id) > (begin.at, begin.id):
        begin = after
    return begin, now if statuses == {"missed"} else _LAST
