"""Percentile bands of comparable patients, week by week: a description of who came, never a norm.

The bands say where the forms of other patients of one clinic lay. They say nothing of where a patient ought to be, and
whoever stopped coming is missing from them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from app.scoring.default_rules import default_cut_point
from app.scoring.model import Instrument, Point
from app.scoring.score import severity_of
from app.scoring.timeline import DAY, elapsed, in_time_order, instant

MINIMUM: Final = 30  # patients in a week; judgement: with fewer, the outer percentiles are two or three persons
MAXIMUM_COURSES: Final = 2_000  # newest of a modality that are looked at; judgement: more no longer move a percentile


_Timed = Sequence[tuple[timedelta, int | float]]


@dataclass(frozen=True, slots=True)
class Week:
    """A time since the first dose, and how far from it a form may lie, both ends included."""

    number: int  # weeks of 7 times 24 hours since the first dose started
    either_side: timedelta

    @property
    def middle(self) -> timedelta:
        """Time since the first dose."""
        return self.number * 7 * DAY

    @property
    def opens(self) -> timedelta:
        """Least time since the first dose."""
        return self.middle - self.either_side

    @property
    def closes(self) -> timedelta:
        """Most time since the first dose."""
        return self.middle + self.either_side


WEEKS: Final = (  # judgement: weekly check-ins to week 8, then follow-up at 3 and 6 months; no two windows overlap
    *(Week(number, 3 * DAY) for number in range(1, 9)),
    *(Week(number, 14 * DAY) for number in (13, 26)),
)


@dataclass(frozen=True, slots=True)
class Course:
    """One course of treatment of one patient on one instrument, from its `pre_treatment` baseline on."""

    patient_id: str
    modality: str
    first_dose_at: datetime  # with an offset
    baseline: int | float  # points
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Nearest-rank percentiles, points of the scale; each is the total of one of the patients."""

    p10: int | float
    p25: int | float
    p50: int | float
    p75: int | float
    p90: int | float


@dataclass(frozen=True, slots=True)
class WeekComparison:
    """The comparable patients in one week, and the patient beside them."""

    week: int
    n: int  # comparable patients with a total in the window
    percentiles: Percentiles | None
    reason: Literal["too_few"] | None  # why there are none
    own: int | float | None  # total of the patient in question; None: no form with a total in the window


@dataclass(frozen=True, slots=True)
class Comparison:
    """One patient among the comparable ones of the clinic."""

    severity: str | None  # what all baselines have in common, as `baseline_group` names it
    patients: int  # comparable ones, whether or not they came in any week
    weeks: tuple[WeekComparison, ...]


def baseline_group(instrument: Instrument, total: float) -> str | None:
    """What a baseline must share with another to be comparable: its severity band, else its side of the cut-point.

    Units and range: points of the scale. The code of the band, or that of the default cut-point after `at:` (it is
    reached) or `not:`. A prorated total is rounded half up for a band and compared as it is with a cut-point.
    Missing data: None for an instrument with neither, where all baselines are comparable.

    Raises:
        ValueError: the total is not a finite number, for an instrument with bands.

    Source: judgement; bands and cut-points name their own.

    >>> from app.scoring.registry import get_instrument
    >>> baseline_group(get_instrument("phq-9"), 19), baseline_group(get_instrument("pcl-5-week"), 40)
    ('moderately_severe', 'at:cut_point_33')
    """
    if instrument.bands:
        band = severity_of(instrument, total)
        return None if band is None else band.code
    cut = default_cut_point(instrument)
    if cut is None:
        return None
    above = cut.total_at_least is not None and total >= cut.total_at_least
    below = cut.total_at_most is not None and total <= cut.total_at_most
    return f"{'at' if above or below else 'not'}:{cut.code}"


def comparable(instrument: Instrument, mine: Course, courses: Iterable[Course]) -> tuple[Course, ...]:
    """The courses of other patients with the same modality and the same group of baseline; one for each patient.

    A patient with several such courses counts with the newest. All forms must be of one instrument id.

    Units and range: in the order of the patients' ids. Missing data: none, every course has a baseline.

    Raises:
        ValueError: a time has no offset, or a baseline is not a finite number.

    Source: judgement.

    >>> from datetime import UTC
    >>> from app.scoring.registry import get_instrument
    >>> start = datetime(2026, 3, 2, tzinfo=UTC)
    >>> mine, near, far = (Course(f"baseline {total}", "medication", start, total, ()) for total in (19, 15, 9))
    >>> [course.patient_id for course in comparable(get_instrument("phq-9"), mine, [mine, near, far])]
    ['baseline 15']
    """
    group = baseline_group(instrument, mine.baseline)
    alike = (
        course
        for course in courses
        if course.patient_id != mine.patient_id
        and course.modality == mine.modality
        and baseline_group(instrument, course.baseline) == group
    )
    by_age = sorted(alike, key=lambda course: (instant(course.first_dose_at), course.baseline))
    newest = {course.patient_id: course for course in by_age}
    return tuple(newest[patient_id] for patient_id in sorted(newest))


def total_in_week(course: Course, week: Week) -> int | float | None:
    """The total a patient has in a week: that of the form nearest to its middle, of two as near the earlier.

    Units and range: points of the scale. Missing data: forms without a total are passed over; None with no other.

    Raises:
        ValueError: a time has no offset.

    Source: judgement.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> start = datetime(2026, 3, 2, tzinfo=UTC)
    >>> points = tuple(Point(str(days), start + days * DAY, 20 - days, Validity.VALID) for days in (3, 5, 8, 11))
    >>> course = Course("a", "medication", start, 19, points)
    >>> [total_in_week(course, week) for week in WEEKS[:3]]
    [12, 9, None]
    """
    return _nearest(_timed(course), week)


def nearest_rank(in_order: Sequence[float], percent: int) -> int | float:
    """The smallest value with at least so many percent of the values at or below it.

    It is the value of rank n times percent over 100, rounded up, and so always somebody's: nothing is interpolated.

    Units and range: `in_order` ascending; percent from 1 to 100. Missing data: none may be among the values.

    Raises:
        ValueError: there is no value, or percent is outside its range.

    Source: Hyndman and Fan 1996, Am Stat 50:361-365, definition 1.

    >>> [nearest_rank([15, 20, 35, 40, 50], percent) for percent in (5, 30, 40, 50, 100)]
    [15, 20, 20, 35, 50]
    """
    if not in_order or not 1 <= percent <= 100:
        raise ValueError("a percentile is of at least one value, and from 1 to 100")
    return in_order[-(-len(in_order) * percent // 100) - 1]


def comparison(instrument: Instrument, mine: Course, courses: Iterable[Course]) -> Comparison:
    """In each week the percentiles of the comparable patients' totals, beside the total of the patient in question.

    Units and range: points of the scale; the weeks are those of `WEEKS`. Each patient counts once in a week.
    Missing data: who has no total in a week is not counted in it. With fewer than `MINIMUM` patients there are no
    percentiles but the reason `too_few`.

    Raises:
        ValueError: a time has no offset, or a baseline is not a finite number.

    Source: judgement; a description of the patients who came, no norm.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> start = datetime(2026, 3, 2, tzinfo=UTC)
    >>> def course(name, total):
    ...     return Course(name, "medication", start, 19, (Point(name, start + 7 * DAY, total, Validity.VALID),))
    >>> others = [course(f"other {total}", total) for total in range(1, 31)]
    >>> found = comparison(get_instrument("phq-9"), course("me", 8), others)
    >>> found.patients, found.weeks[0].percentiles, found.weeks[0].own
    (30, Percentiles(p10=3, p25=8, p50=15, p75=23, p90=27), 8)
    >>> found.weeks[1].n, found.weeks[1].reason
    (0, 'too_few')
    """
    others = [_timed(course) for course in comparable(instrument, mine, courses)]
    own = _timed(mine)
    return Comparison(
        severity=baseline_group(instrument, mine.baseline),
        patients=len(others),
        weeks=tuple(_in_week(week, own, others) for week in WEEKS),
    )


def _timed(course: Course) -> _Timed:
    """Totals with the time since the first dose, in order."""
    return [
        (elapsed(course.first_dose_at, point.at), point.total)
        for point in in_time_order(course.points)
        if point.total is not None
    ]


def _nearest(timed: _Timed, week: Week) -> int | float | None:
    near = [(abs(since - week.middle), total) for since, total in timed if week.opens <= since <= week.closes]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def _in_week(
    week: Week,
    mine: _Timed,
    others: Sequence[_Timed],
) -> WeekComparison:
    found = (_nearest(timed, week) for timed in others)
    totals = sorted(total for total in found if total is not None)
    enough = len(totals) >= MINIMUM
    return WeekComparison(
        week=week.number,
        n=len(totals),
        percentiles=_percentiles(totals) if enough else None,
        reason=None if enough else "too_few",
        own=_nearest(mine, week),
    )


def _percentiles(in_order: Sequence[float]) -> Percentiles:
    return Percentiles(*(nearest_rank(in_order, percent) for percent in (10, 25, 50, 75, 90)))
