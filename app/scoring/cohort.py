"""What a group of people shows: mean change, its size, shares, and who was seen of those who should have been.

No number without the number of people behind it, those left out included. Signs are those of after minus before;
whether a fall is good is told by the instrument's direction, at the edge. How long things last is in survival.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import correlation, fmean, stdev, variance

from app.scoring.distributions import LEVEL, two_sided_t, two_sided_z
from app.scoring.timeline import instant

Pair = tuple[float | None, float | None]  # one person's total before and after


class Reason(StrEnum):
    """Why a number is withheld."""

    NOBODY = "nobody"
    TOO_FEW_PEOPLE = "too_few_people"
    NO_SPREAD = "no_spread"  # all values equal: nothing to judge the size or the sureness by


@dataclass(frozen=True, slots=True)
class MeanChange:
    """Mean of after minus before, in points, with the interval of its t distribution."""

    n: int  # people with both totals
    left_out: int  # people with one or none
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    level: float
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class EffectSize:
    """Hedges' g: a difference of means in standard deviations, corrected for small samples."""

    n: tuple[int, ...]  # people: one number for before and after, two for two groups
    g: float | None
    low: float | None
    high: float | None
    level: float
    standardiser: str  # sd_before, or sd_pooled of two groups
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share from 0 to 1 with its interval."""

    successes: int
    n: int
    rate: float | None
    low: float | None
    high: float | None
    level: float
    reason: Reason | None = None


def mean_change(pairs: Sequence[Pair], level: float = LEVEL) -> MeanChange:
    """The mean change of the people who have both totals.

    mean(after - before) -/+ t * sd / sqrt(n), with n - 1 degrees of freedom.

    Units and range: points; negative when totals fell; `level` strictly between 0 and 1.
    Missing data: people without both totals are left out and counted. Nobody: no mean. One person: the mean alone.
        Equal changes: no interval, as a width of 0 would claim to be sure.
    Raises: ValueError when the level is out of range.
    Source: Student 1908, Biometrika 6:1-25.

    >>> change = mean_change([(20, 12), (18, 9), (15, 11), (22, None)])
    >>> change.n, change.left_out, change.mean, round(change.low, 2), round(change.high, 2)
    (3, 1, -7.0, -13.57, -0.43)
    """
    two_sided_z(level)  # refuses a wrong level also where there is nobody
    changes = [after - before for before, after in _complete(pairs)]
    n = len(changes)
    mean = fmean(changes) if changes else None
    sd = stdev(changes) if n > 1 else None
    answer = MeanChange(n, len(pairs) - n, mean, sd, None, None, level)
    if mean is None:
        return replace(answer, reason=Reason.NOBODY)
    if not sd:
        return replace(answer, reason=Reason.TOO_FEW_PEOPLE if sd is None else Reason.NO_SPREAD)
    half_width = two_sided_t(level, n - 1) * sd / math.sqrt(n)
    return replace(answer, low=mean - half_width, high=mean + half_width)


def hedges_g(pairs: Sequence[Pair], level: float = LEVEL) -> EffectSize:
    """Change from before to after in standard deviations of the totals before.

    g = J(n - 1) * mean(after - before) / sd(before), J the exact small-sample correction. The spread before treatment
    is the measure, as treatment moves the spread after. Interval: g -/+ z * sqrt(2 (1 - r) / n + g**2 / (2 n)), r the
    correlation of before and after.

    Units and range: standard deviations; negative when totals fell; `level` strictly between 0 and 1.
    Missing data: people without both totals are left out. Under 3 people, or with all totals before equal: no g. With
        all totals after equal r is undefined: g without an interval.
    Raises: ValueError when the level is out of range.
    Source: Becker 1988, Br J Math Stat Psychol 41:257-278 (standardiser); Hedges 1981, J Educ Stat 6:107-128 (J);
        Viechtbauer 2010, J Stat Softw 36(3), measure SMCR with its default variance.

    >>> effect = hedges_g([(20, 12), (18, 9), (15, 11), (22, 10), (17, 14)])
    >>> round(effect.g, 2), round(effect.low, 2), round(effect.high, 2)
    (-2.13, -4.04, -0.21)
    """
    z = two_sided_z(level)
    complete = _complete(pairs)
    before, after = [pair[0] for pair in complete], [pair[1] for pair in complete]
    n = len(complete)
    answer = EffectSize((n,), None, None, None, level, "sd_before")
    if n < 3:
        return replace(answer, reason=Reason.TOO_FEW_PEOPLE if n else Reason.NOBODY)
    if not stdev(before):
        return replace(answer, reason=Reason.NO_SPREAD)
    g = small_sample_correction(n - 1) * (fmean(after) - fmean(before)) / stdev(before)
    if not stdev(after):
        return replace(answer, g=g, reason=Reason.NO_SPREAD)
    # Rounding may push r of a perfect line past 1.
    half_width = z * math.sqrt(2 * max(0.0, 1 - correlation(before, after)) / n + g * g / (2 * n))
    return replace(answer, g=g, low=g - half_width, high=g + half_width)


def hedges_g_between(treated: Sequence[float], control: Sequence[float], level: float = LEVEL) -> EffectSize:
    """Difference of two groups, treated minus control, in pooled standard deviations.

    g = J(n1 + n2 - 2) * (m1 - m2) / sd_pooled. Interval: g -/+ z * sqrt(1 / n1 + 1 / n2 + g**2 / (2 (n1 + n2))).

    Units and range: standard deviations; negative when the treated are lower; `level` strictly between 0 and 1.
    Missing data: only totals that exist are given. Fewer than 2 in a group, or no spread in both: no g.
    Raises: ValueError when the level is out of range.
    Source: Hedges 1981, J Educ Stat 6:107-128; Viechtbauer 2010, J Stat Softw 36(3), measure SMD with its default
        variance.

    >>> round(hedges_g_between([9, 11, 10, 8], [14, 12, 15, 13]).g, 2)
    -2.69
    """
    z = two_sided_z(level)
    n1, n2 = len(treated), len(control)
    answer = EffectSize((n1, n2), None, None, None, level, "sd_pooled")
    if min(n1, n2) < 2:
        return replace(answer, reason=Reason.TOO_FEW_PEOPLE if n1 + n2 else Reason.NOBODY)
    df = n1 + n2 - 2
    pooled = math.sqrt(((n1 - 1) * variance(treated) + (n2 - 1) * variance(control)) / df)
    if not pooled:
        return replace(answer, reason=Reason.NO_SPREAD)
    g = small_sample_correction(df) * (fmean(treated) - fmean(control)) / pooled
    half_width = z * math.sqrt(1 / n1 + 1 / n2 + g * g / (2 * (n1 + n2)))
    return replace(answer, g=g, low=g - half_width, high=g + half_width)


def small_sample_correction(df: int) -> float:
    """Hedges' J: by how much a standardised difference overstates in a small sample.

    Units and range: `df` at least 2; the result is above 0 and below 1.
    Missing data: none.
    Raises: ValueError when df is below 2.
    Source: Hedges 1981, J Educ Stat 6:107-128, the exact form; 1 - 3 / (4 df - 1) is its approximation.

    >>> round(small_sample_correction(19), 4)
    0.9599
    """
    if df < 2:
        raise ValueError("the correction needs 2 degrees of freedom")
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)


def wilson(successes: int, n: int, level: float = LEVEL) -> Proportion:
    """A share with the score interval of Wilson, which stays within 0 and 1 and holds up for few people.

    Units and range: 0 <= successes <= n, people; rate from 0 to 1; `level` strictly between 0 and 1.
    Missing data: people whose outcome is not known belong in neither number; the caller tells how many they are. n = 0:
        no rate.
    Raises: ValueError when successes are not within 0 and n, or the level is out of range.
    Source: Wilson 1927, J Am Stat Assoc 22:209-212.

    >>> answer = wilson(8, 10)
    >>> answer.rate, round(answer.low, 3), round(answer.high, 3)
    (0.8, 0.49, 0.943)
    """
    z = two_sided_z(level)
    if not 0 <= successes <= n:
        raise ValueError("successes are between 0 and the number of people")
    if n == 0:
        return Proportion(0, 0, None, None, None, level, Reason.NOBODY)
    centre = successes + z * z / 2
    spread = z * math.sqrt(successes * (n - successes) / n + z * z / 4)
    low = (centre - spread) / (n + z * z) if successes else 0.0  # exactly 0 and 1 at the ends, whatever the rounding
    high = (centre + spread) / (n + z * z) if successes < n else 1.0
    return Proportion(successes, n, successes / n, low, high, level)


@dataclass(frozen=True, slots=True)
class TimePoint:
    """A declared time for a check-in: so long after the start, with a window around it, both ends included."""

    code: str  # baseline, h24, day7, month3
    after: timedelta
    early: timedelta = timedelta(0)  # how much earlier still counts; not negative
    late: timedelta = timedelta(0)  # how much later still counts; not negative


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One person from the start (a dose, an intake) on. `until` is how far the person could have been seen.

    `until` is the date the data were cut, or what truly ends the expectation (death, end of consent). It is never the
    last check-in: that would count everyone who was lost as never expected. None: not known.
    """

    start: datetime
    until: datetime | None
    seen_at: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Attendance:
    """Every person is in exactly one of: expected (observed or missed), not yet due, unknown."""

    code: str
    expected: int  # the window had closed by the end of their follow-up
    observed: int  # of the expected: seen at least once within the window
    missed: int  # of the expected: not seen within it
    not_yet_due: int  # the window was still open, or not yet begun
    unknown: int  # the end of their follow-up is not known
    observed_rate: float | None  # observed / expected; None when nobody was expected


def expected_and_observed(people: Sequence[FollowUp], time_points: Sequence[TimePoint]) -> tuple[Attendance, ...]:
    """For each time point: how many should have been seen, how many were, how many cannot be told.

    Units and range: counts of people; windows in time elapsed since each person's own start, both ends included.
    Missing data: an unknown end of follow-up is counted as unknown, neither as expected nor as missed. People whose
        window is open are not yet due, also when they have been seen already: to count the early ones alone would raise
        the rate.
    Raises: ValueError when a window is negative or a time has no offset.
    Source: counting; the split follows the STROBE statement, item 13 (von Elm 2007, PLoS Med 4:e296).

    >>> from datetime import timezone
    >>> start, cut = datetime(2025, 3, 3, 9, tzinfo=timezone.utc), datetime(2025, 3, 12, tzinfo=timezone.utc)
    >>> day7 = TimePoint("day7", timedelta(days=7), early=timedelta(days=1), late=timedelta(days=1))
    >>> people = [FollowUp(start, cut, (start + timedelta(days=6.5),)), FollowUp(start, cut, ())]
    >>> people += [FollowUp(start + timedelta(days=5), cut, ()), FollowUp(start, None, ())]
    >>> expected_and_observed(people, [day7])  # doctest: +NORMALIZE_WHITESPACE
    (Attendance(code='day7', expected=2, observed=1, missed=1, not_yet_due=1, unknown=1, observed_rate=0.5),)
    """
    if any(min(point.early, point.late) < timedelta(0) for point in time_points):
        raise ValueError("a window does not end before it begins")
    return tuple(_attendance(people, point) for point in time_points)


def _attendance(people: Sequence[FollowUp], point: TimePoint) -> Attendance:
    expected = observed = not_yet_due = unknown = 0
    for person in people:
        due = instant(person.start) + point.after
        if person.until is None:
            unknown += 1
        elif instant(person.until) < due + point.late:
            not_yet_due += 1
        else:
            expected += 1
            observed += any(due - point.early <= instant(at) <= due + point.late for at in person.seen_at)
    rate = observed / expected if expected else None
    return Attendance(point.code, expected, observed, expected - observed, not_yet_due, unknown, rate)


def _complete(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    return [(before, after) for before, after in pairs if before is not None and after is not None]
