"""What a person is asked and when: a plan relative to the dosing sessions, as a function of the record.

Nothing here is stored or moved. Sessions that move, are added or cancelled, and a patient who travels, change what the
function is given, and so what it gives.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from app.scoring.local_time import WallClock, months_later, wall_clock
from app.scoring.timeline import HOUR, instant

MINUTE: Final = timedelta(minutes=1)
_STEPS_OUT_OF_QUIET: Final = 4  # one is enough but for a journey, or a change of the clock, at that very time


class Anchor(StrEnum):
    """What an entry's time is counted from."""

    EPISODE = "episode"  # the opening of the episode of care
    FIRST_DOSE = "first_dose"
    EACH_DOSE = "each_dose"
    LAST_DOSE = "last_dose"


@dataclass(frozen=True, slots=True)
class After:
    """How long after the anchor; exactly one of the three is set. 0 is the anchor itself, negative is before it."""

    hours: float | None = None  # elapsed time
    days: int | None = None  # calendar days of the patient, same local time of day
    months: int | None = None  # calendar months of the patient, same day of the month or its last, same local time


@dataclass(frozen=True, slots=True)
class Window:
    """When the form counts, in hours of elapsed time from the target: opens < closes, opens <= overdue <= closes."""

    opens_hours: float
    overdue_hours: float
    closes_hours: float  # excluded


@dataclass(frozen=True, slots=True)
class Repeat:
    """How often again; exactly one of the two steps is set."""

    every_days: int | None = None
    every_months: int | None = None
    times: int = 1  # in all, the first one included


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """One instrument at one time, or at several."""

    code: str  # unique in the plan
    instrument: str  # id, without a version
    anchor: Anchor
    after: After
    window: Window
    repeat: Repeat | None = None
    at: time | None = None  # local time of day in place of the anchor's; for days and months alone


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Local hours in which nobody is reminded: from `begins` up to `ends`, which may be the next day."""

    begins: time
    ends: time  # excluded; the same as `begins`: no quiet hours

    def hold(self, clock: time) -> bool:
        """Whether this time of day is quiet."""
        if self.begins <= self.ends:
            return self.begins <= clock < self.ends
        return clock >= self.begins or clock < self.ends


@dataclass(frozen=True, slots=True)
class ZoneFrom:
    """Where the patient is from an instant on."""

    valid_from: datetime | None  # None: from the beginning
    zone: str  # IANA name


@dataclass(frozen=True, slots=True)
class Session:
    """A dosing session that counts: planned, or done. Cancelled ones are left out by the caller."""

    id: str
    at: datetime  # its start: as it was when done, as it is planned before
    number: int | None = None  # of the dose, for whoever shows it; nothing is computed from it


@dataclass(frozen=True, slots=True)
class Expected:
    """One form that is wanted at one time. Times are UTC; the window is [opens_at, closes_at)."""

    key: str  # <code>/<session id or "episode">/<n from 1>; the same when the times move
    code: str
    instrument: str
    session_id: str | None  # of the dose it is counted from
    target_at: datetime
    opens_at: datetime
    overdue_at: datetime
    closes_at: datetime
    remind_at: datetime | None  # inside the window and outside quiet hours; None: there is no such time


@dataclass(frozen=True, slots=True)
class _Origin:
    """An anchor that was found, and between which doses its targets must lie."""

    session_id: str | None
    at: datetime
    previous_dose_at: datetime | None = None
    next_dose_at: datetime | None = None

    def owns(self, target: datetime) -> bool:
        """Whether a form at this time would speak of this dose and of no other."""
        return (self.next_dose_at is None or target < self.next_dose_at) and (
            self.previous_dose_at is None or target > self.previous_dose_at
        )

    def within(self, at: datetime) -> datetime:
        """The nearest time to it that is not beyond the other doses."""
        after = at if self.previous_dose_at is None else max(at, self.previous_dose_at)
        return after if self.next_dose_at is None else min(after, self.next_dose_at)


def expected_check_ins(
    entries: Sequence[PlanEntry],
    episode_opened_at: datetime,
    sessions: Sequence[Session],
    zones: Sequence[ZoneFrom],
    quiet: QuietHours,
) -> tuple[Expected, ...]:
    """Every form the plan asks for, in order of opening, then key.

    Hours are elapsed time. Days and months keep the local time of day, in the zone in force at the target: a local time
    that is jumped over becomes the moment of the jump, and of one that comes twice the first is meant. Months keep the
    day of the month, or take the last day of a shorter month, each counted from the anchor.

    Of the entries for each dose those are left out whose target is not between the previous and the next dose: the form
    would speak of the other one. For the same reason their windows end where those doses begin. Nothing is asked whose
    window closes before the episode opened.

    The reminder is at the target, or at the opening when the target is not inside the window. In quiet hours it moves
    to their end; where the window closes first, to the minute before they begin, or to the opening when that is later.

    Units and range: times in carry an offset, times out are UTC. Session ids are unique.
    Missing data: without a session nothing is asked that is counted from one. No reminder where the whole window is
    quiet.

    Raises:
        ValueError: a zone is unknown, none is given, a time has no offset, or an entry has not exactly one unit.

    Source: judgement; windows in the patient's own time as in Feder 2014, forms at 24 h, 72 h and day 7.

    >>> from datetime import UTC
    >>> day_after = PlanEntry("day-after", "phq-9", Anchor.EACH_DOSE, After(hours=24), Window(-6, 12, 24))
    >>> dose = Session("s1", datetime(2026, 10, 24, 10, tzinfo=UTC))  # noon in Berlin; that night has an hour more
    >>> berlin, night = [ZoneFrom(None, "Europe/Berlin")], QuietHours(time(21), time(8))
    >>> (form,) = expected_check_ins([day_after], dose.at, [dose], berlin, night)
    >>> form.key, form.target_at.isoformat()
    ('day-after/s1/1', '2026-10-25T10:00:00+00:00')
    """
    clock = wall_clock([(zone.valid_from, zone.zone) for zone in zones])
    opened = instant(episode_opened_at)
    doses = sorted((instant(session.at), session.id) for session in sessions)
    found = [
        form
        for entry in entries
        for origin in _origins(entry.anchor, opened, doses)
        for form in _forms(entry, origin, clock, quiet)
        if form.closes_at > opened
    ]
    return tuple(sorted(found, key=lambda form: (form.opens_at, form.key)))


def _origins(anchor: Anchor, opened: datetime, doses: Sequence[tuple[datetime, str]]) -> Iterable[_Origin]:
    if anchor is Anchor.EPISODE:
        return (_Origin(None, opened),)
    if anchor is Anchor.EACH_DOSE:
        starts = [None, *(at for at, _ in doses), None]
        return [_Origin(id_, at, *around) for (at, id_), *around in zip(doses, starts, starts[2:], strict=False)]
    chosen = doses[:1] if anchor is Anchor.FIRST_DOSE else doses[-1:]
    return [_Origin(id_, at) for at, id_ in chosen]


def _forms(entry: PlanEntry, origin: _Origin, clock: WallClock, quiet: QuietHours) -> Iterator[Expected]:
    for n, target in enumerate(_targets(entry, origin.at, clock), start=1):
        if not origin.owns(target):
            continue
        window = entry.window
        hours = window.opens_hours, window.overdue_hours, window.closes_hours
        opens, overdue, closes = (origin.within(target + each * HOUR) for each in hours)
        if opens >= closes:  # it would have opened when the next dose had begun
            continue
        yield Expected(
            key=f"{entry.code}/{origin.session_id or Anchor.EPISODE}/{n}",
            code=entry.code,
            instrument=entry.instrument,
            session_id=origin.session_id,
            target_at=target,
            opens_at=opens,
            overdue_at=overdue,
            closes_at=closes,
            remind_at=_remind_at(target, opens, closes, clock, quiet),
        )


# --- Targets ----------------------------------------------------------------------------------------------------------


def _targets(entry: PlanEntry, anchor: datetime, clock: WallClock) -> Iterator[datetime]:
    _check(entry)
    first = _elapsed(entry, anchor)
    if first is not None:
        yield first
    base = clock.shows(anchor if first is None else first)
    times = entry.repeat.times if entry.repeat else 1
    for n in range(0 if first is None else 1, times):
        yield clock.first_at(datetime.combine(_day(entry, base.date(), n), entry.at or base.time()))


def _check(entry: PlanEntry) -> None:
    after, repeat = entry.after, entry.repeat
    if (after.hours, after.days, after.months).count(None) != 2:
        raise ValueError("an entry is after hours, days or months, one of them")
    if repeat is not None and (repeat.every_days, repeat.every_months).count(None) != 1:
        raise ValueError("an entry repeats every so many days or months, one of them")


def _elapsed(entry: PlanEntry, anchor: datetime) -> datetime | None:
    """The first target where no calendar is needed, as at the anchor itself, which is not to become its own twin."""
    if entry.after.hours is not None:
        return anchor + entry.after.hours * HOUR
    return anchor if entry.at is None and not (entry.after.days or entry.after.months) else None


def _day(entry: PlanEntry, base: date, n: int) -> date:
    """The n-th day from 0: months are added up before they are counted off, so that a short one shortens no other."""
    days, months = entry.after.days or 0, entry.after.months or 0
    if entry.repeat is not None and entry.repeat.every_months is not None:
        return months_later(base + timedelta(days=days), months + n * entry.repeat.every_months)
    step = (entry.repeat.every_days or 0) if entry.repeat else 0
    return months_later(base, months) + timedelta(days=days + n * step)


# --- Reminders --------------------------------------------------------------------------------------------------------


def _remind_at(
    target: datetime, opens: datetime, closes: datetime, clock: WallClock, quiet: QuietHours
) -> datetime | None:
    at = target if opens <= target < closes else opens
    if not quiet.hold(clock.shows(at).time()):
        return at
    return _after_quiet(at, closes, clock, quiet) or _before_quiet(at, opens, clock, quiet)


def _after_quiet(at: datetime, closes: datetime, clock: WallClock, quiet: QuietHours) -> datetime | None:
    for _ in range(_STEPS_OUT_OF_QUIET):
        shown, leaves = clock.shows(at), clock.stay_at(at).until
        ends = datetime.combine(shown.date(), quiet.ends)
        ended = clock.first_at(ends if ends > shown else ends + timedelta(days=1), not_before=at)
        at = ended if leaves is None else min(ended, leaves)
        if at >= closes:
            return None
        if not quiet.hold(clock.shows(at).time()):
            return at
    return None


def _before_quiet(at: datetime, opens: datetime, clock: WallClock, quiet: QuietHours) -> datetime | None:
    for _ in range(_STEPS_OUT_OF_QUIET):
        shown = clock.shows(at)
        begins = datetime.combine(shown.date(), quiet.begins)
        came = clock.stay_at(at).since  # the same hour of an earlier place is another night
        began = clock.first_at(begins if begins <= shown else begins - timedelta(days=1), not_before=came)
        at = max(min(began, at) - MINUTE, opens)
        if not quiet.hold(clock.shows(at).time()):
            return at
        if at == opens:
            return None
    return None
