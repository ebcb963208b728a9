"""How long alerts waited for people."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.db import driver_connection
from app.scoring.alert_waits import UNRESOLVED, UNSEEN, Wait, waits
from app.scoring.alerting import AlertFact, AlertKind, Latency, latency
from app.scoring.timeline import HOUR

# All events of each, because only the whole story says what an alert was at a time.
_STORIES: Final = """
SELECT alert.kind AS alert_kind, alert.id, event.kind, event.at, event.cause
FROM alert JOIN alert_event event ON event.clinic_id = $1 AND event.alert_id = alert.id
WHERE alert.clinic_id = $1 AND (alert.status = 'open' OR EXISTS (
    SELECT FROM alert_event raised
    WHERE raised.clinic_id = $1 AND raised.alert_id = alert.id AND raised.kind = 'raised'
      AND raised.at >= $2 AND raised.at < $3))
ORDER BY alert.id, event.number
"""


@dataclass(frozen=True, slots=True)
class Period:
    """From the first instant up to the last, which does not count."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class KindLatency:
    """Alerts of one kind that began to wait in a period; `opened` is all that follows up to `open` together."""

    kind: AlertKind
    opened: int
    acknowledgement: Latency
    withdrawn_unseen: int
    open: int
    resolution: Latency
    unresolved: int
    longest_open_hours: float | None  # of all that are open now, whenever they were raised


@dataclass(slots=True)
class _Gathered:
    unseen: list[Wait]
    unresolved: list[Wait]


async def find_latencies(session: AsyncSession, actor: Actor, period: Period, now: datetime) -> list[KindLatency]:
    """One for each kind, also when there was none."""
    connection = await driver_connection(session)
    rows = await connection.fetch(_STORIES, actor.clinic_id, period.begins, period.ends)
    return await asyncio.to_thread(
        _latencies, rows, period, now
    )  # long enough in a large clinic to keep others waiting


def _latencies(rows: Sequence[Mapping[str, Any]], period: Period, now: datetime) -> list[KindLatency]:
    gathered = {kind: _Gathered([], []) for kind in AlertKind}
    for (kind, _), mine in groupby(rows, key=lambda row: (row["alert_kind"], row["id"])):
        facts = [AlertFact(row["kind"], row["at"], row["cause"]) for row in mine]
        gathered[AlertKind(kind)].unseen += waits(facts, UNSEEN)
        gathered[AlertKind(kind)].unresolved += waits(facts, UNRESOLVED)
    return [_of_kind(kind, found, period, now) for kind, found in gathered.items()]


def _of_kind(kind: AlertKind, found: _Gathered, period: Period, now: datetime) -> KindLatency:
    unseen, unresolved = _begun(found.unseen, period), _begun(found.unresolved, period)
    still_open = [(now - wait.began_at) / HOUR for wait in found.unseen if wait.ended_at is None]
    return KindLatency(
        kind=kind,
        opened=len(unseen),
        acknowledgement=latency(_hours(unseen)),
        withdrawn_unseen=sum(wait.ended_by == "withdrawn" for wait in unseen),
        open=sum(wait.ended_at is None for wait in unseen),
        resolution=latency(_hours(unresolved)),
        unresolved=sum(wait.ended_at is None for wait in unresolved),
        longest_open_hours=max(still_open, default=None),
    )


def _begun(found: Iterable[Wait], period: Period) -> list[Wait]:
    return [wait for wait in found if period.begins <= wait.began_at < period.ends]


def _hours(found: Iterable[Wait]) -> list[float]:
    """Of the waits that a person ended."""
    return [
        (wait.ended_at - wait.began_at) / HOUR
        for wait in found
        if wait.ended_at is not None and wait.ended_by != "withdrawn"
    ]
