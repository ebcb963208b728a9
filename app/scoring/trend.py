"""Which way a person's scores move, how fast, and how sure that is.

Three answers to three questions: Theil-Sen (the slope that one odd form cannot move), ordinary least squares (the usual
slope), Mann-Kendall (is there a direction at all). Time is time elapsed, never visit number: two forms a day apart and
two a month apart are not the same step. What too few or too equal points cannot say is withheld, with the reason.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from operator import itemgetter
from typing import Final, Literal

from app.scoring.distributions import LEVEL, normal_two_sided_p, two_sided_t, two_sided_z
from app.scoring.model import Point
from app.scoring.selection import PairwiseSlopes
from app.scoring.timeline import instant

SLOPE_FROM: Final = 3  # points; two points always lie on a line (judgement)
THEIL_SEN_BOUNDS_FROM: Final = 6  # points; with fewer the bounds are the steepest slopes themselves (judgement)
MANN_KENDALL_FROM: Final = 4  # points; with 3 the smallest possible two-sided p is 0.33 (arithmetic)
EXACT_UP_TO: Final = 10  # points; from there on the normal approximation serves (Gilbert 1987, chapter 16)
_MICROSECOND: Final = timedelta(microseconds=1)
_MICROSECONDS_PER_WEEK: Final = timedelta(weeks=1) // _MICROSECOND
_DAY: Final = timedelta(days=1)
_LARGEST_DENOMINATOR: Final = 100  # scored items; a prorated total is a fraction over the number of items answered
_FLOAT_NOISE: Final = Fraction(1, 10**9)  # points; a float this close to such a fraction is meant as it

Unit = tuple[int, int]  # a point in whole units: time since the first point, total


class Reason(StrEnum):
    """Why a number is withheld."""

    TOO_FEW_POINTS = "too_few_points"
    NO_SPREAD_IN_TIME = "no_spread_in_time"  # all forms at one instant
    NO_SPREAD_IN_TOTALS = "no_spread_in_totals"  # all totals equal: the points say nothing about their own noise
    NO_SPREAD_AROUND_LINE = "no_spread_around_line"  # the points lie on the line: same
    BOUNDS_BEYOND_SLOPES = "bounds_beyond_slopes"  # ties leave too few slopes: the bounds would lie outside all of them


@dataclass(frozen=True, slots=True)
class SlopeInterval:
    """A slope in points per week with its bounds; `at_first` is the height of the line at the first point."""

    per_week: float
    low: float | None
    high: float | None
    level: float
    at_first: float
    reason: Reason | None = None  # why there are no bounds


@dataclass(frozen=True, slots=True)
class MannKendall:
    """S counts rising pairs minus falling pairs. `method` says which p `p` is; ties leave no exact one."""

    s: int
    variance: float
    z: float
    p: float
    method: Literal["exact", "normal"]
    p_normal: float
    p_exact: float | None


@dataclass(frozen=True, slots=True)
class Withheld:
    """A quantity that these points cannot give, and why."""

    quantity: str  # the field of the trend that is None: theil_sen, ols or mann_kendall
    reason: Reason


@dataclass(frozen=True, slots=True)
class Trend:
    """A trend never travels without the number of points and the dates it rests on."""

    n: int
    left_out: int  # points without a total
    first_at: datetime | None
    last_at: datetime | None
    span_days: float
    theil_sen: SlopeInterval | None
    ols: SlopeInterval | None
    mann_kendall: MannKendall | None
    reasons: tuple[Withheld, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """What one whole unit is worth."""

    microseconds: int  # per unit of time
    points: Fraction  # per unit of total

    def per_week(self, slope: Fraction) -> float:
        return float(slope * self.points * _MICROSECONDS_PER_WEEK / self.microseconds)

    def total(self, units: Fraction) -> float:
        return float(units * self.points)


def trend(points: Sequence[Point], level: float = LEVEL) -> Trend:
    """How the totals move over time, per week, with bounds, or the reason why that cannot be said.

    Units and range: totals in points, any finite number; slopes in points per week, negative when totals fall; `level`
        strictly between 0 and 1. Points may come in any order. Times are compared as instants, so a day on which the
        clock changes has 23 or 25 hours; `first_at` and `last_at` are told in UTC.
    Missing data: points without a total are left out and counted. Pairs of points at the same instant have no slope and
        count as neither rise nor fall. Theil-Sen and least squares need 3 points and two different instants, the bounds
        of Theil-Sen 6 points, Mann-Kendall 4 points.
    Raises: ValueError when a time has no offset, a total is not finite or the level is out of range.
    Source: Sen 1968, J Am Stat Assoc 63:1379-1389; Kendall 1970, Rank Correlation Methods, chapter 4 (variance with
        ties in both); Gilbert 1987, Statistical Methods for Environmental Pollution Monitoring, chapter 16.

    >>> from datetime import datetime, timedelta, timezone
    >>> from app.scoring.model import Validity
    >>> start = datetime(2025, 3, 3, 9, tzinfo=timezone.utc)
    >>> totals = [19, 17, 18, 13, 11, 12, 8]
    >>> points = [Point(str(i), start + timedelta(weeks=i), t, Validity.VALID) for i, t in enumerate(totals)]
    >>> result = trend(points)
    >>> result.n, result.span_days
    (7, 42.0)
    >>> result.theil_sen.per_week, result.theil_sen.low, result.theil_sen.high
    (-2.0, -2.5, -0.5)
    >>> result.mann_kendall.s, round(result.mann_kendall.p, 4), result.mann_kendall.method
    (-17, 0.0107, 'exact')
    """
    z = two_sided_z(level)
    scored = sorted(
        ((instant(point.at), point.total) for point in points if point.total is not None), key=itemgetter(0)
    )
    units, scale = _in_units(scored)
    slopes = PairwiseSlopes(units)
    theil_sen = _theil_sen(units, slopes, scale, level, z)
    ols = _ols(units, scale, level)
    mann_kendall = _mann_kendall(units, slopes)
    answers = {"theil_sen": theil_sen, "ols": ols, "mann_kendall": mann_kendall}
    return Trend(
        n=len(units),
        left_out=len(points) - len(units),
        first_at=scored[0][0] if scored else None,
        last_at=scored[-1][0] if scored else None,
        span_days=(scored[-1][0] - scored[0][0]) / _DAY if scored else 0.0,
        theil_sen=None if isinstance(theil_sen, Reason) else theil_sen,
        ols=None if isinstance(ols, Reason) else ols,
        mann_kendall=None if isinstance(mann_kendall, Reason) else mann_kendall,
        reasons=tuple(Withheld(what, why) for what, why in answers.items() if isinstance(why, Reason)),
    )


def _in_units(scored: Sequence[tuple[datetime, int | float]]) -> tuple[list[Unit], _Scale]:
    """Times and totals as the smallest whole numbers that keep them exactly."""
    times = [(at - scored[0][0]) // _MICROSECOND for at, _ in scored]
    exact = {total: _fraction(total) for total in {total for _, total in scored}}
    tick = math.gcd(*times) or 1
    parts = math.lcm(*(total.denominator for total in exact.values()))
    whole = {total: int(fraction * parts) for total, fraction in exact.items()}
    units = [(time // tick, whole[total]) for time, (_, total) in zip(times, scored, strict=True)]
    return units, _Scale(microseconds=tick, points=Fraction(1, parts))


def _fraction(total: float) -> Fraction:
    if not math.isfinite(total):
        raise ValueError("a total is a finite number")
    exact = Fraction(total)
    simple = exact.limit_denominator(_LARGEST_DENOMINATOR)
    return simple if abs(simple - exact) <= _FLOAT_NOISE else exact


def _too_little(units: Sequence[Unit], needed: int) -> Reason | None:
    if len(units) < needed:
        return Reason.TOO_FEW_POINTS
    return Reason.NO_SPREAD_IN_TIME if units[-1][0] == units[0][0] else None


def _theil_sen(
    units: Sequence[Unit], slopes: PairwiseSlopes, scale: _Scale, level: float, z: float
) -> SlopeInterval | Reason:
    if reason := _too_little(units, SLOPE_FROM):
        return reason
    median = (slopes.kth((slopes.count - 1) // 2) + slopes.kth(slopes.count // 2)) / 2
    outside = _slopes_outside(units, slopes.count, z)
    line = SlopeInterval(scale.per_week(median), None, None, level, scale.total(_median_height(units, median)))
    if isinstance(outside, Reason):
        return replace(line, reason=outside)
    low, high = slopes.kth(outside - 1), slopes.kth(slopes.count - outside)
    return replace(line, low=scale.per_week(low), high=scale.per_week(high))


def _slopes_outside(units: Sequence[Unit], slopes: int, z: float) -> int | Reason:
    """The bounds are the slopes of this rank, counted from either end (1 = the extreme slope itself)."""
    if len(units) < THEIL_SEN_BOUNDS_FROM:
        return Reason.TOO_FEW_POINTS
    if len({total for _, total in units}) == 1:
        return Reason.NO_SPREAD_IN_TOTALS
    half_width = z * math.sqrt(_variance_of_s(units))
    outside = round((slopes - half_width) / 2)
    return outside if outside >= 1 else Reason.BOUNDS_BEYOND_SLOPES


def _median_height(units: Sequence[Unit], slope: Fraction) -> Fraction:
    heights = sorted(slope.denominator * total - slope.numerator * time for time, total in units)
    middle = heights[(len(heights) - 1) // 2] + heights[len(heights) // 2]
    return Fraction(middle, 2 * slope.denominator)


def _ols(units: Sequence[Unit], scale: _Scale, level: float) -> SlopeInterval | Reason:
    if reason := _too_little(units, SLOPE_FROM):
        return reason
    n = len(units)
    sum_x, sum_y = sum(x for x, _ in units), sum(y for _, y in units)
    # n times the sums of squares about the mean, in integers: nothing cancels
    xx = n * sum(x * x for x, _ in units) - sum_x**2
    xy = n * sum(x * y for x, y in units) - sum_x * sum_y
    yy = n * sum(y * y for _, y in units) - sum_y**2
    slope = Fraction(xy, xx)
    around_line = yy - slope * xy
    line = SlopeInterval(
        per_week=scale.per_week(slope),
        low=None,
        high=None,
        level=level,
        at_first=scale.total((sum_y - slope * sum_x) / n),
        reason=Reason.NO_SPREAD_AROUND_LINE if yy else Reason.NO_SPREAD_IN_TOTALS,
    )
    if around_line == 0:
        return line
    error = math.sqrt(around_line / ((n - 2) * xx)) * scale.per_week(Fraction(1))
    half_width = two_sided_t(level, n - 2) * error
    return replace(line, low=line.per_week - half_width, high=line.per_week + half_width, reason=None)


def _mann_kendall(units: Sequence[Unit], slopes: PairwiseSlopes) -> MannKendall | Reason:
    if reason := _too_little(units, MANN_KENDALL_FROM):
        return reason
    falling = slopes.negative()
    rising = slopes.count - falling - slopes.level()
    s = rising - falling
    variance = _variance_of_s(units)
    # Continuity correction: S moves in steps, so its tail begins one unit nearer to 0.
    z = (s - math.copysign(1, s)) / math.sqrt(variance) if s else 0.0
    p_normal = normal_two_sided_p(z)
    p_exact = _exact_p(units, s)
    return MannKendall(
        s=s,
        variance=float(variance),
        z=z,
        p=p_normal if p_exact is None else p_exact,
        method="normal" if p_exact is None else "exact",
        p_normal=p_normal,
        p_exact=p_exact,
    )


def _variance_of_s(units: Sequence[Unit]) -> Fraction:
    """Variance of Kendall's S with ties in time, in totals and in both (Kendall 1970, chapter 4)."""
    n = len(units)
    times, totals = _tie_sizes(x for x, _ in units), _tie_sizes(y for _, y in units)
    one_sided = n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in times + totals)
    pairs = sum(t * (t - 1) for t in times) * sum(t * (t - 1) for t in totals)
    triples = sum(t * (t - 1) * (t - 2) for t in times) * sum(t * (t - 1) * (t - 2) for t in totals)
    return Fraction(one_sided, 18) + Fraction(pairs, 2 * n * (n - 1)) + Fraction(triples, 9 * n * (n - 1) * (n - 2))


def _tie_sizes(values: Iterable[int]) -> list[int]:
    return [size for size in Counter(values).values() if size > 1]


def _exact_p(units: Sequence[Unit], s: int) -> float | None:
    """Two-sided p from all orders of n totals, each equally likely; None with ties or more than 10 points."""
    n = len(units)
    if n > EXACT_UP_TO or any(_tie_sizes(column) for column in zip(*units, strict=True)):
        return None
    orders = [1]  # orders[k]: in how many ways the totals so far can hold k falling pairs
    for size in range(2, n + 1):
        orders = [sum(orders[max(0, k - size + 1) : k + 1]) for k in range(len(orders) + size - 1)]
    pairs = n * (n - 1) // 2
    at_least_as_far = sum(ways for falling, ways in enumerate(orders) if abs(pairs - 2 * falling) >= abs(s))
    return at_least_as_far / math.factorial(n)
