"""The clock on a person's wall: its times as instants, across changes of the clock and of the place.

Daylight saving and a flight do the same to that clock: it jumps. One rule serves both: a local time is the first
instant at which the clock shows it or more. A time that is jumped over becomes the moment of the jump, and of a time
that comes twice the first is meant.
"""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.scoring.timeline import instant

_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Stay:
    """Where the clock hangs from one instant on, until the next stay begins."""

    since: datetime | None  # UTC; None: from the beginning
    until: datetime | None  # UTC, excluded; None: to the end
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class WallClock:
    """The local time of one person who may move; `stays` follow each other without a gap."""

    stays: tuple[Stay, ...]

    def stay_at(self, at: datetime) -> Stay:
        """Where the clock hangs at an instant."""
        return next(stay for stay in reversed(self.stays) if stay.since is None or stay.since <= at)

    def shows(self, at: datetime) -> datetime:
        """The local time at an instant, without an offset."""
        return _shown(at, self.stay_at(at).zone)

    def first_at(self, local: datetime, not_before: datetime | None = None) -> datetime:
        """The first instant, in UTC, at which the clock shows this local time or more."""
        for stay in self.stays:
            since = stay.since if not_before is None else _later(stay.since, not_before)
            if stay.until is not None and since is not None and since >= stay.until:
                continue
            found = _first_in(stay.zone, local, since)
            if stay.until is None or found < stay.until:
                return found
        raise AssertionError("the last stay has no end")


def wall_clock(moves: Sequence[tuple[datetime | None, str]]) -> WallClock:
    """The clock of a person who is in each named zone from that instant on.

    Units and range: IANA names; None is the beginning. The earliest move holds before it as well, and of two at the
    same instant the later in the sequence holds.
    Missing data: does not arise; at least one zone is required.

    Raises:
        ValueError: no zone is given, a name is unknown, or a time has no offset.

    Source: none; this is bookkeeping.

    >>> clock = wall_clock([(None, "Europe/Berlin"), (datetime(2026, 6, 1, tzinfo=UTC), "America/New_York")])
    >>> [clock.shows(datetime(2026, month, 1, 12, tzinfo=UTC)).hour for month in (1, 5, 7)]
    [13, 14, 8]
    """
    if not moves:
        raise ValueError("a time zone is required")
    named = {None if since is None else instant(since): zone_of(name) for since, name in moves}
    since = sorted(at for at in named if at is not None)
    zones = [named[at] for at in since]
    if None in named:
        zones.insert(0, named[None])
    else:
        since = since[1:]
    return WallClock(tuple(map(Stay, [None, *since], [*since, None], zones)))


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name.

    Units and range: a name of the IANA database, in its own spelling. Missing data: does not arise.

    Raises:
        ValueError: there is no such zone.

    Source: IANA Time Zone Database, as installed.

    >>> zone_of("Australia/Lord_Howe").key
    'Australia/Lord_Howe'
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # by the name: absent, no relative path, or a folder
        raise ValueError("unknown time zone") from None


def months_later(day: date, months: int) -> date:
    """The same day of a later month, or its last day where the month is too short.

    Units and range: whole months, negative ones go back. Missing data: does not arise.
    Source: judgement, as most calendars do.

    >>> months_later(date(2027, 1, 31), 1), months_later(date(2027, 1, 31), 2)
    (datetime.date(2027, 2, 28), datetime.date(2027, 3, 31))
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _first_in(zone: ZoneInfo, local: datetime, since: datetime | None) -> datetime:
    first, second = _instants(zone, local)
    if since is None or first >= since:
        return first
    return since if second < since or _shown(since, zone) >= local else second


def _instants(zone: ZoneInfo, local: datetime) -> tuple[datetime, datetime]:
    """When a clock that never moves shows this time: the same instant twice where it comes once."""
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first <= second:
        return first, second
    jump = _jump(zone, second, first)
    return jump, jump


def _jump(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The instant between two at which the clock is put forward; clocks change on whole seconds."""
    before, offset = before.replace(microsecond=0), before.astimezone(zone).utcoffset()
    steps = -(-(after - before) // _SECOND)
    low, high = 0, steps
    while high - low > 1:
        middle = (low + high) // 2
        if (before + middle * _SECOND).astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + high * _SECOND


def _shown(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
