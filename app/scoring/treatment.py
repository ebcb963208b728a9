"""Where a form stands among the doses, and which form is the baseline.

What follows a dose is described by its place in time. Nothing here says that the dose caused it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from app.scoring.model import Point
from app.scoring.timeline import DAY, HOUR, InTimeOrder, elapsed, in_time_order, instant

MAXIMUM_BASELINE_AGE_DAYS: Final = 28  # days before the first dose; judgement: two recall windows of the PHQ-9
_NO_TIME: Final = timedelta(0)
_NEXT: Final = timedelta.resolution  # later by this is strictly later
_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Dose:
    """One dosing session of an episode. Times carry an offset; hours are counted from the start, never the end."""

    id: str
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NumberedDose:
    """A dose with its place in the episode, from 1."""

    number: int
    dose: Dose


@dataclass(frozen=True, slots=True)
class Context:
    """Where one form stands among the doses; all None while no dose has started."""

    dose_number: int | None  # of the nearest preceding dose, from 1
    hours_since_dose: float | None  # hours since that dose started
    recall_after_dose: float | None  # share of the recall window lying after its start, 0 to 1


@dataclass(frozen=True, slots=True)
class DoseLine:
    """The doses of one episode, ordered once, to be asked about many forms."""

    doses: tuple[NumberedDose, ...]
    starts: tuple[datetime, ...]  # of the doses, in UTC

    def before(self, at: datetime) -> tuple[NumberedDose, ...]:
        """Those that had started strictly before an instant."""
        return self.doses[: bisect_left(self.starts, instant(at))]

    def speaking(self, points: InTimeOrder, after: datetime, recall_days: float, least_share: float) -> list[Point]:
        """Those later than an instant with such a share of their recall window after the nearest dose before them."""
        silent = max(least_share * _window(recall_days), _NEXT)
        ends, opens = (*self.starts[1:], _END_OF_TIME), instant(after) + _NEXT
        stretches = zip(self.starts, ends, strict=False)  # without a dose there is none
        return [point for start, end in stretches for point in points.between(max(start + silent, opens), end)]

    def context(self, at: datetime, recall_days: float) -> Context:
        """As the function `context`, which says what it means."""
        window, form = _window(recall_days), instant(at)
        count = bisect_right(self.starts, form)
        if not count:
            return Context(None, None, None)
        since = form - self.starts[count - 1]
        return Context(self.doses[count - 1].number, since / HOUR, _share(since, window))


class BaselineRule(StrEnum):
    """How the form that all change is counted from was chosen."""

    PRE_TREATMENT = "pre_treatment"  # the last judged form at or before the first dose, not too old
    FIRST = "first"  # the first judged form of the series
    NAMED = "named"  # the form somebody named


class BaselineReason(StrEnum):
    """Why there is no baseline."""

    NO_DOSE = "no_dose"  # the rule needs a first dose
    NONE_BEFORE_FIRST_DOSE = "none_before_first_dose"
    TOO_OLD = "too_old"
    INCOMPLETE = "incomplete"  # there were forms in the right place, none of them with a total
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The form that change is counted from, and the rule that chose it."""

    point: Point
    rule: BaselineRule


@dataclass(frozen=True, slots=True)
class NoBaseline:
    """The rule that was asked for found no form, and why."""

    rule: BaselineRule
    reason: BaselineReason


NO_COURSE: Final = NoBaseline(BaselineRule.FIRST, BaselineReason.NOT_FOUND)  # where single forms are looked at


def numbered(doses: Iterable[Dose]) -> tuple[NumberedDose, ...]:
    """The doses of one episode in the order they started, numbered from 1; ties by id.

    Two doses on one day are two doses.

    Units and range: numbers from 1. Missing data: an end that is not known changes nothing.

    Raises:
        ValueError: a start has no offset.

    Source: convention.

    >>> from datetime import UTC
    >>> morning, evening = (Dose(str(hour), datetime(2026, 1, 1, hour, tzinfo=UTC)) for hour in (9, 17))
    >>> [(each.number, each.dose.id) for each in numbered([evening, morning])]
    [(1, '9'), (2, '17')]
    """
    in_order = sorted(doses, key=lambda dose: (instant(dose.started_at), dose.id))
    return tuple(NumberedDose(number, dose) for number, dose in enumerate(in_order, start=1))


def dose_line(doses: Iterable[Dose] | DoseLine) -> DoseLine:
    """The doses of one episode as a line of time; one that is given as such is that line.

    Units and range: numbered from 1 as by `numbered`. Missing data: no dose gives an empty line.

    Raises:
        ValueError: a start has no offset.

    Source: convention.

    >>> from datetime import UTC
    >>> line = dose_line(Dose(str(day), datetime(2026, 1, day, 9, tzinfo=UTC)) for day in (8, 1))
    >>> [len(line.before(datetime(2026, 1, day, 9, tzinfo=UTC))) for day in (1, 8, 15)]
    [0, 1, 2]
    """
    if isinstance(doses, DoseLine):
        return doses
    in_order = numbered(doses)
    return DoseLine(in_order, tuple(instant(each.dose.started_at) for each in in_order))


def doses_before(at: datetime, doses: Iterable[Dose]) -> tuple[NumberedDose, ...]:
    """The doses that had started strictly before an instant: those a form of that instant can speak of.

    Units and range: in order, numbered within all doses given. Missing data: none started gives an empty tuple.

    Raises:
        ValueError: a time has no offset.

    Source: arithmetic.

    >>> from datetime import UTC
    >>> dose = Dose("a", datetime(2026, 1, 1, 9, tzinfo=UTC))
    >>> len(doses_before(dose.started_at, [dose])), len(doses_before(dose.started_at + HOUR, [dose]))
    (0, 1)
    """
    return dose_line(doses).before(at)


def recall_share(at: datetime, started_at: datetime, recall_days: float) -> float:
    """Share of the recall window [at - recall_days, at] that lies after a dose started.

    Units and range: 0 to 1; exactly 1 only when the whole window lies after. Missing data: none.

    Raises:
        ValueError: the recall window is not longer than 0, or a time has no offset.

    Source: arithmetic; that a two-week questionnaire answered a day after a dose speaks of the time before it follows
    from its own wording.

    >>> from datetime import UTC
    >>> dose = datetime(2026, 1, 1, 9, tzinfo=UTC)
    >>> round(recall_share(dose + 25.5 * HOUR, dose, recall_days=14), 4)
    0.0759
    """
    return _share(elapsed(started_at, at), _window(recall_days))


def context(at: datetime, doses: Iterable[Dose], recall_days: float) -> Context:
    """Number of the nearest preceding dose, hours since it started, share of the recall window lying after its start.

    A form filled at the very start of a dose is numbered with it, at 0 hours and a share of 0.

    Units and range: hours from 0, counted from the start of the dose (an infusion's end is not always recorded);
    share 0 to 1. A recall window of 14 days is 14 times 24 hours.
    Missing data: all three None while no dose has started.

    Raises:
        ValueError: the recall window is not longer than 0, or a time has no offset.

    Source: judgement: a check-in belongs to the nearest preceding dose, not to a fixed list of visits.

    >>> from datetime import UTC
    >>> dose = Dose("a", datetime(2026, 1, 1, 9, tzinfo=UTC))
    >>> context(dose.started_at + 84 * HOUR, [dose], recall_days=7)
    Context(dose_number=1, hours_since_dose=84.0, recall_after_dose=0.5)
    >>> context(dose.started_at - HOUR, [dose], recall_days=7).dose_number is None
    True
    """
    return dose_line(doses).context(at, recall_days)


def straddles_dose(at: datetime, doses: Iterable[Dose], recall_days: float) -> bool:
    """Whether a dose started strictly inside the recall window, so that the form mixes before and after.

    Units and range: a dose exactly at either end of the window is not inside it.
    Missing data: no dose, no straddling.

    Raises:
        ValueError: the recall window is not longer than 0, or a time has no offset.

    Source: arithmetic.

    >>> from datetime import UTC
    >>> dose = Dose("a", datetime(2026, 1, 1, 9, tzinfo=UTC))
    >>> [straddles_dose(dose.started_at + days * DAY, [dose], recall_days=7) for days in (0, 1, 7)]
    [False, True, False]
    """
    opens = instant(at) - _window(recall_days)
    return any(opens < instant(dose.started_at) < instant(at) for dose in doses)


def choose_baseline(
    points: Iterable[Point],
    rule: BaselineRule,
    *,
    first_dose_at: datetime | None = None,
    maximum_age_days: float = MAXIMUM_BASELINE_AGE_DAYS,
    assessment_id: str | None = None,
) -> Baseline | NoBaseline:
    """The form that change is counted from, by a named rule, or why there is none.

    All points must be of one instrument id: the monthly and the weekly PCL-5 are two, and no baseline serves both.

    Units and range: `maximum_age_days` in days of 24 hours before the first dose, the limit itself included; it
    belongs to `pre_treatment` alone. A form exactly at the start of the first dose is before it.
    Missing data: incomplete forms are passed over by `pre_treatment` and `first`; a named one is refused. When the last
    form with a total is too old, a newer incomplete one does not change the reason.

    Raises:
        ValueError: a time has no offset.

    Source: judgement, in all three rules and in the limit of four weeks.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> dose = datetime(2026, 2, 1, 9, tzinfo=UTC)
    >>> forms = [Point(str(days), dose + days * DAY, 18, Validity.VALID) for days in (-40, -3, 1)]
    >>> choose_baseline(forms, BaselineRule.PRE_TREATMENT, first_dose_at=dose).point.id
    '-3'
    >>> choose_baseline(forms[:1], BaselineRule.PRE_TREATMENT, first_dose_at=dose).reason
    <BaselineReason.TOO_OLD: 'too_old'>
    """
    if rule is BaselineRule.PRE_TREATMENT:
        found = _before_treatment(points, first_dose_at, maximum_age_days)
    elif rule is BaselineRule.FIRST:
        found = _first(in_time_order(points), BaselineReason.NOT_FOUND)
    else:
        found = _first([point for point in points if point.id == assessment_id], BaselineReason.NOT_FOUND)
    return Baseline(found, rule) if isinstance(found, Point) else NoBaseline(rule, found)


def usual_baseline(points: Iterable[Point], doses: Iterable[Dose]) -> Baseline | NoBaseline:
    """The baseline when nobody asks for a certain one: before the first dose; the first form while there is no dose.

    Units and range: as `choose_baseline`. Missing data: as there.

    Raises:
        ValueError: a time has no offset.

    Source: judgement.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> form = Point("a", datetime(2026, 1, 1, tzinfo=UTC), 18, Validity.VALID)
    >>> usual_baseline([form], []).rule, usual_baseline([form], [Dose("d", form.at + DAY)]).rule
    (<BaselineRule.FIRST: 'first'>, <BaselineRule.PRE_TREATMENT: 'pre_treatment'>)
    """
    first_dose_at = min((instant(dose.started_at) for dose in doses), default=None)
    rule = BaselineRule.FIRST if first_dose_at is None else BaselineRule.PRE_TREATMENT
    return choose_baseline(points, rule, first_dose_at=first_dose_at)


def _before_treatment(
    points: Iterable[Point], first_dose_at: datetime | None, maximum_age_days: float
) -> Point | BaselineReason:
    if first_dose_at is None:
        return BaselineReason.NO_DOSE
    before = in_time_order(points).until(first_dose_at)
    found = _first(reversed(before), BaselineReason.NONE_BEFORE_FIRST_DOSE)
    if isinstance(found, Point) and elapsed(found.at, first_dose_at) > maximum_age_days * DAY:
        return BaselineReason.TOO_OLD
    return found


def _first(candidates: Iterable[Point], when_empty: BaselineReason) -> Point | BaselineReason:
    reason = when_empty
    for point in candidates:
        if point.total is not None:
            return point
        reason = BaselineReason.INCOMPLETE
    return reason


def _share(since: timedelta, window: timedelta) -> float:
    return min(max(since, _NO_TIME), window) / window


@lru_cache(maxsize=64)  # few instruments, asked of for each of a cohort's forms
def _window(recall_days: float) -> timedelta:
    if not recall_days > 0:
        raise ValueError("a recall window must be longer than 0 days")
    return recall_days * DAY
