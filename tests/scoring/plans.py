"""Small plans and what they ask, for the tests of schedules."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final

from app.scoring.schedule import (
    After,
    Anchor,
    Expected,
    PlanEntry,
    QuietHours,
    Repeat,
    Session,
    Window,
    ZoneFrom,
    expected_check_ins,
)

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
OPENED: Final = datetime(2026, 1, 1, 9, tzinfo=UTC)
DAY_LONG: Final = Window(-12, 6, 12)
NO_QUIET: Final = QuietHours(time(0), time(0))
NIGHT: Final = QuietHours(time(21), time(8))
BERLIN: Final = [ZoneFrom(None, "Europe/Berlin")]


def entry(anchor: Anchor, after: After, repeat: Repeat | None = None, *, at: time | None = None) -> PlanEntry:
    return PlanEntry("form", "phq-9", anchor, after, DAY_LONG, repeat, at)


def dose(id_: str, at: str) -> Session:
    return Session(id_, datetime.fromisoformat(at).astimezone(UTC))


def asked(
    entries: PlanEntry | Sequence[PlanEntry],
    sessions: Sequence[Session] = (),
    zones: Sequence[ZoneFrom] = BERLIN,
    quiet: QuietHours = NO_QUIET,
    opened: datetime = OPENED,
) -> tuple[Expected, ...]:
    plan = [entries] if isinstance(entries, PlanEntry) else entries
    return expected_check_ins(plan, opened, sessions, zones, quiet)
