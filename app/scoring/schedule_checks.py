"""Whether a plan can be carried out, and where it asks more often than its forms can tell apart."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from typing import Final

from app.scoring.model import Instrument
from app.scoring.registry import UnknownInstrumentError, all_instruments, get_instrument
from app.scoring.schedule import Anchor, PlanEntry, QuietHours
from app.scoring.timeline import HOUR

MAXIMUM_CHECK_INS: Final = 200  # of one course; judgement: four years of weekly forms
ASSUMED_DOSES: Final = 12  # of one course, when its sessions are not known yet; judgement: the longest seen is 8
MAXIMUM_DISTANCE_DAYS: Final = 3660  # from the anchor, and from a target to the ends of its window; ten years
MAXIMUM_CODE_LENGTH: Final = 64  # characters
CODE_FORM: Final = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")  # it is part of a key, so no slash
MONTH_DAYS: Final = 365.25 / 12  # days; the mean month of the Julian year


@dataclass(frozen=True, slots=True)
class PlanFault:
    """Why a plan cannot be carried out."""

    index: int  # of the entry, from 0
    field: str  # of the entry
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PlanWarning:
    """Where a plan asks what its form cannot tell. The plan works; its numbers say less than they seem to."""

    index: int  # of the entry, from 0
    code: str
    message: str
    offer: str | None  # id of a form of the same questions with a shorter window; None: none is known


@dataclass(frozen=True, slots=True)
class _Occurrence:
    """One time an entry asks, as far as it is known before there are sessions."""

    index: int
    entry: PlanEntry
    hours: float
    days: int
    months: int

    @property
    def nominal_days(self) -> float:
        return self.hours / 24 + self.days + self.months * MONTH_DAYS

    @property
    def place(self) -> tuple[object, ...]:
        """The same for two that have the same target whatever the anchor's time is."""
        return self.hours, self.days, self.months, self.entry.at


def plan_faults(entries: Sequence[PlanEntry], quiet: QuietHours) -> tuple[PlanFault, ...]:
    """Everything that keeps a plan from being carried out, in order of entries; empty when nothing does.

    Entries are held against each other when each is right by itself and they are not too many. The number of check-ins
    is counted for twelve doses, because a plan is made before its sessions are known.

    Units and range: as the fields say. At most 200 check-ins, ten years from the anchor.
    Missing data: an empty plan has no faults; it asks nothing.
    Source: judgement; house limits.

    >>> from datetime import time
    >>> from app.scoring.schedule import After, Window
    >>> entry = PlanEntry("night", "phq-9", Anchor.EACH_DOSE, After(days=1), Window(0, 1, 2), at=time(23))
    >>> [fault.code for fault in plan_faults([entry], QuietHours(time(21), time(8)))]
    ['window_in_quiet_hours']
    """
    own = [fault for index, entry in enumerate(entries) for fault in _own_faults(index, entry)]
    if own:
        return tuple(own)
    too_many = tuple(_number_faults(entries))
    if too_many:  # before the times are held against each other, which takes the square of their number
        return too_many
    together = [
        *_code_faults(entries),
        *_early_faults(entries),
        *_quiet_faults(entries, quiet),
        *_coincidence_faults(entries),
    ]
    return tuple(sorted(together, key=lambda fault: (fault.index, fault.field)))


def plan_warnings(entries: Sequence[PlanEntry]) -> tuple[PlanWarning, ...]:
    """Where the days a form asks about were asked about before, or lie before the dose it is meant to show.

    `asked_within_recall`: the same instrument is asked again before its recall window is over, so that both answers
    speak of the same days. `recall_reaches_before_dose`: the window reaches back to before the dose the entry is
    counted from. Each is given once for an entry, at its worst. The offer is another instrument of the registry that
    measures the same with as many items over fewer days: the longest that fits, else the shortest there is.

    Units and range: days as planned; a month counts as 30.4. Doses are not held against each other, because their
    distance is not known to a plan.
    Missing data: entries of an unknown instrument are passed over; `plan_faults` names them.
    Source: judgement. Past month at intake and follow-up and past week in weekly sessions: CPT hand-out.

    >>> from app.scoring.schedule import After, Repeat, Window
    >>> start, window = After(days=0), Window(-48, 48, 120)
    >>> weekly = PlanEntry("weekly", "pcl-5-month", Anchor.EPISODE, start, window, Repeat(every_days=7, times=8))
    >>> [(warning.code, warning.offer) for warning in plan_warnings([weekly])]
    [('asked_within_recall', 'pcl-5-week')]
    """
    known = [each for each in _occurrences(entries) if _instrument(each.entry.instrument) is not None]
    worst: dict[tuple[int, str], tuple[float, PlanWarning]] = {}
    for days, warning in (*_repetitions(known), *_straddles(known)):
        place = warning.index, warning.code
        if place not in worst or days < worst[place][0]:
            worst[place] = days, warning
    return tuple(warning for _, (_, warning) in sorted(worst.items()))


# --- Faults -----------------------------------------------------------------------------------------------------------


def _own_faults(index: int, entry: PlanEntry) -> Iterator[PlanFault]:
    if not CODE_FORM.fullmatch(entry.code) or len(entry.code) > MAXIMUM_CODE_LENGTH:
        yield PlanFault(index, "code", "ill_formed", "A code is lower-case letters, digits and single - or _.")
    instrument = _instrument(entry.instrument)
    if instrument is None or instrument.id != entry.instrument:
        yield PlanFault(index, "instrument", "unknown_instrument", "No instrument has this id.")
    yield from (PlanFault(index, *fault) for fault in (*_time_faults(entry), *_window_faults(entry)))


def _time_faults(entry: PlanEntry) -> Iterator[tuple[str, str, str]]:
    after, repeat = entry.after, entry.repeat
    units = [value for value in (after.hours, after.days, after.months) if value is not None]
    if len(units) != 1 or not math.isfinite(units[0]):
        yield "after", "not_one_unit", "Exactly one of hours, days and months is given."
    if entry.at is not None and after.hours is not None:
        yield "at", "not_with_hours", "Hours are elapsed time: a time of day goes with days or months."
    if entry.at is not None and entry.at.tzinfo is not None:
        yield "at", "has_an_offset", "A time of day is the patient's own: it has no offset."
    if repeat is not None:
        steps = [value for value in (repeat.every_days, repeat.every_months) if value is not None]
        if len(steps) != 1 or steps[0] < 1:
            yield "repeat", "not_one_step", "Exactly one of every_days and every_months is given, from 1."
        if not 1 <= repeat.times <= MAXIMUM_CHECK_INS:
            yield "repeat", "out_of_range", f"A time is repeated 1 to {MAXIMUM_CHECK_INS} times."
    if len(units) == 1 and not _reach_days(entry) <= MAXIMUM_DISTANCE_DAYS:
        yield (
            "after",
            "too_far",
            f"Nothing is asked more than {MAXIMUM_DISTANCE_DAYS} days from what it is counted from.",
        )


def _reach_days(entry: PlanEntry) -> float:
    """The greatest distance from the anchor, first and last time alike."""
    after, repeat = entry.after, entry.repeat
    first = (after.hours or 0) / 24 + (after.days or 0) + (after.months or 0) * MONTH_DAYS
    step = ((repeat.every_days or 0) + (repeat.every_months or 0) * MONTH_DAYS) if repeat else 0
    return max(abs(first), abs(first + step * (repeat.times - 1 if repeat else 0)))


def _window_faults(entry: PlanEntry) -> Iterator[tuple[str, str, str]]:
    window = entry.window
    hours = window.opens_hours, window.overdue_hours, window.closes_hours
    if not all(abs(value) <= 24 * MAXIMUM_DISTANCE_DAYS for value in hours):  # NaN is not
        yield "window", "out_of_range", f"A window lies within {MAXIMUM_DISTANCE_DAYS} days of its target."
    elif window.opens_hours * HOUR >= window.closes_hours * HOUR:  # as counted: to the microsecond
        yield "window", "never_opens", "The window opens before it closes."
    elif not window.opens_hours <= window.overdue_hours <= window.closes_hours:
        yield "window", "overdue_outside", "Overdue begins inside the window, or at its end."


def _code_faults(entries: Sequence[PlanEntry]) -> Iterator[PlanFault]:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        if entry.code in seen:
            yield PlanFault(index, "code", "duplicate_code", "Another entry has this code.")
        seen.add(entry.code)


def _quiet_faults(entries: Sequence[PlanEntry], quiet: QuietHours) -> Iterator[PlanFault]:
    """Entries at a fixed time of day whose window lies in the night: nobody could be reminded of any of them."""
    for index, entry in enumerate(entries):
        if entry.at is not None and _is_wholly_quiet(entry, quiet):
            yield PlanFault(index, "window", "window_in_quiet_hours", "The whole window lies inside the quiet hours.")


def _is_wholly_quiet(entry: PlanEntry, quiet: QuietHours) -> bool:
    day = datetime(2000, 1, 1)  # noqa: DTZ001 - a plain day on a clock that is not put forward or back
    begins, ends = datetime.combine(day, quiet.begins), datetime.combine(day, quiet.ends)
    opens = datetime.combine(day, entry.at or quiet.begins) + entry.window.opens_hours * HOUR
    into = (opens - begins) % timedelta(days=1)
    return into + (entry.window.closes_hours - entry.window.opens_hours) * HOUR <= (ends - begins) % timedelta(days=1)


def _early_faults(entries: Sequence[PlanEntry]) -> Iterator[PlanFault]:
    for index, entry in enumerate(entries):
        if entry.anchor is Anchor.EPISODE and _is_over_at_its_anchor(entry):
            yield PlanFault(index, "window", "never_opens", "The window closes before the episode opens.")


def _is_over_at_its_anchor(entry: PlanEntry) -> bool:
    """Whatever the calendar: a day has up to 25 hours, an own time of day moves it by up to 24, a month has from 28."""
    *_, last = _of_entry(0, entry)
    leeway_hours = 0 if entry.after.hours is not None and entry.repeat is None else 49 + 72 * abs(last.months)
    return last.nominal_days * 24 + entry.window.closes_hours + leeway_hours <= 0


def _coincidence_faults(entries: Sequence[PlanEntry]) -> Iterator[PlanFault]:
    found: set[int] = set()
    for one, other in combinations(_occurrences(entries), 2):
        if one.entry.instrument == other.entry.instrument and _always_coincide(one, other):
            found.add(max(one.index, other.index))
    for index in sorted(found):
        yield PlanFault(index, "after", "coincides", "Another entry asks the same instrument at the same time.")


def _always_coincide(one: _Occurrence, other: _Occurrence) -> bool:
    if one.index == other.index or one.place != other.place:
        return False
    anchors = {one.entry.anchor, other.entry.anchor}
    if len(anchors) == 1:
        return True
    after = one.nominal_days >= 0  # then the last dose keeps its entry whatever came before; before it, the first does
    return anchors == {Anchor.EACH_DOSE, Anchor.LAST_DOSE if after else Anchor.FIRST_DOSE}


def _number_faults(entries: Sequence[PlanEntry]) -> Iterator[PlanFault]:
    total = 0
    for index, entry in enumerate(entries):
        times = entry.repeat.times if entry.repeat else 1
        before, total = total, total + times * (ASSUMED_DOSES if entry.anchor is Anchor.EACH_DOSE else 1)
        if before <= MAXIMUM_CHECK_INS < total:
            message = f"A course of {ASSUMED_DOSES} doses would be asked more than {MAXIMUM_CHECK_INS} times."
            yield PlanFault(index, "repeat", "too_many", message)


# --- Warnings ---------------------------------------------------------------------------------------------------------


def _repetitions(occurrences: Sequence[_Occurrence]) -> Iterator[tuple[float, PlanWarning]]:
    """Neighbours on the line from the episode's opening, from the first dose and from the last."""
    for anchors in ({Anchor.EPISODE}, {Anchor.FIRST_DOSE, Anchor.EACH_DOSE}, {Anchor.EACH_DOSE, Anchor.LAST_DOSE}):
        last: dict[str, float] = {}
        for each in sorted(occurrences, key=lambda each: (each.nominal_days, each.index)):
            instrument = _instrument(each.entry.instrument)
            if each.entry.anchor not in anchors or instrument is None:
                continue
            gap = each.nominal_days - last.get(instrument.id, -math.inf)
            last[instrument.id] = each.nominal_days
            if gap < instrument.recall_days:
                says = f"is asked again after {_in_words(gap)}: both answers speak of the same days."
                yield gap, _warning(each, "asked_within_recall", instrument, says, gap)


def _straddles(occurrences: Sequence[_Occurrence]) -> Iterator[tuple[float, PlanWarning]]:
    for each in occurrences:
        instrument = _instrument(each.entry.instrument)
        if instrument is None or each.entry.anchor is Anchor.EPISODE:
            continue
        days = each.nominal_days
        if 0 < days < instrument.recall_days:
            says = f"is asked {_in_words(days)} after the dose: the answer speaks of the time before it as well."
            yield days, _warning(each, "recall_reaches_before_dose", instrument, says, days)


def _warning(each: _Occurrence, code: str, instrument: Instrument, says: str, days: float) -> PlanWarning:
    offer = _offer(instrument, days)
    if offer is None:
        advice = "No form of the same questions over fewer days is known."
    elif offer.recall_days <= days:
        advice = f"{offer.id} asks the same about {_in_words(offer.recall_days)}."
    else:
        advice = f"{offer.id} asks the same about {_in_words(offer.recall_days)}, which is shorter but still too long."
    message = f"{instrument.id} asks about {_in_words(instrument.recall_days)} and {says} {advice}"
    return PlanWarning(each.index, code, message, offer.id if offer else None)


def _offer(instrument: Instrument, days: float) -> Instrument | None:
    same = [
        other
        for other in all_instruments()
        if other.measures == instrument.measures
        and len(other.scored_items) == len(instrument.scored_items)
        and other.recall_days < instrument.recall_days
    ]
    fitting = [other for other in same if other.recall_days <= days]
    if fitting:
        return max(fitting, key=_recall_days)
    return min(same, key=_recall_days, default=None)


def _recall_days(instrument: Instrument) -> int:
    return instrument.recall_days


def _in_words(days: float) -> str:
    return f"{days * 24:.3g} hours" if days < 2 else f"{days:.3g} days"


# --- Occurrences ------------------------------------------------------------------------------------------------------


def _occurrences(entries: Iterable[PlanEntry]) -> list[_Occurrence]:
    return [each for index, entry in enumerate(entries) for each in _of_entry(index, entry)]


def _of_entry(index: int, entry: PlanEntry) -> Iterator[_Occurrence]:
    after, repeat = entry.after, entry.repeat
    for n in range(repeat.times if repeat else 1):
        days = (after.days or 0) + n * ((repeat.every_days or 0) if repeat else 0)
        months = (after.months or 0) + n * ((repeat.every_months or 0) if repeat else 0)
        yield _Occurrence(index, entry, after.hours or 0, days, months)


def _instrument(reference: str) -> Instrument | None:
    try:
        return get_instrument(reference)
    except UnknownInstrumentError:
        return None
