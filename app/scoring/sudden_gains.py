"""Sudden gains and losses: a large change between two neighbouring check-ins that also holds around them.

Source: Tang and DeRubeis 1999, J Consult Clin Psychol 67:894-904; the critical values with missing check-ins as in
Lutz et al. 2013, Psychother Res 23:14-24 and Wiedemann et al. 2020, PLoS ONE 15:e0230276.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from app.scoring.model import Direction, Point
from app.scoring.timeline import DAY, elapsed, in_time_order

CHANGE_RATE: Final = 0.25  # share of the total before; Tang and DeRubeis 1999, second criterion
WINDOW: Final = 3  # check-ins on each side; Tang and DeRubeis 1999, third criterion
FEWEST_PER_SIDE: Final = 2  # totals on each side; a spread needs two
REVERSED_RATE: Final = 0.5  # share of the change; Tang and DeRubeis 1999: a gain is reversed when half of it is lost
CRITICAL_VALUES: Final = {  # totals on both sides -> two-sided 5 % point of t with two degrees of freedom fewer
    6: 2.776,  # Tang and DeRubeis 1999
    5: 3.182,  # Lutz et al. 2013
    4: 4.303,  # Lutz et al. 2013
}
_CRITICAL_SQUARED: Final = {n: Fraction(value) ** 2 for n, value in CRITICAL_VALUES.items()}


@dataclass(frozen=True, slots=True)
class SuddenChange:
    """One sudden gain or loss with the value each criterion was judged by. Magnitudes and means are in points."""

    kind: Literal["gain", "loss"]
    before_id: str
    after_id: str
    before: int | float
    after: int | float
    days: float  # between the two check-ins: what is sudden over a week is less so over two months
    magnitude: float  # criterion 1: always positive
    cutoff: float  # what the magnitude had to reach
    change_rate: float | None  # criterion 2: magnitude as a share of the total before; None when that was 0
    n_before: int  # criterion 3: totals in the window before
    n_after: int
    mean_before: float
    mean_after: float
    critical_value: float
    must_exceed: float  # what the difference of the means had to exceed: critical value times pooled standard deviation
    reversed_by: str | None  # the first later check-in at which half of the change was lost


def sudden_gains(
    points: Sequence[Point], cutoff: float, direction: Direction, change_rate: float = CHANGE_RATE
) -> tuple[SuddenChange, ...]:
    """All sudden gains and losses of one person, in order of time.

    Between neighbours all three must hold: (1) the change is at least `cutoff`; (2) it is at least `change_rate` of the
    total before; (3) the mean of the up to three totals before differs from that of the up to three totals after, in
    the same direction, by more than the critical value times the pooled standard deviation of the two groups. A loss is
    the mirror: the same three, the other way round.

    Units and range: totals and `cutoff` in points, cut-off above 0 (7 on the BDI in the first study; here the reliable
        change of the instrument); `change_rate` from 0 to 1. Points may come in any order.
    Missing data: a point without a total keeps its place in the row: no change is read across it, and it leaves one
        value fewer in the windows around it. Each window needs two totals, so the first and the last step of a series
        are never judged. A check-in that was never due is unknown here: its neighbours count as neighbours, which is
        why `days` is told.
    Raises: ValueError when the cut-off is not above 0 or a time has no offset.
    Source: Tang and DeRubeis 1999, J Consult Clin Psychol 67:894-904. As in their criterion, and unlike a t test, the
        pooled standard deviation is not divided by the root of the number of values. Reversal from the same paper. The
        loss as a mirror: Lutz et al. 2013.

    >>> from datetime import datetime, timedelta, timezone
    >>> from app.scoring.model import Validity
    >>> start = datetime(2025, 3, 3, 9, tzinfo=timezone.utc)
    >>> totals = [19, 20, 18, 9, 8, 7, 9]
    >>> points = [Point(f"week {i}", start + timedelta(weeks=i), t, Validity.VALID) for i, t in enumerate(totals)]
    >>> (gain,) = sudden_gains(points, cutoff=6, direction=Direction.LOWER_IS_BETTER)
    >>> gain.kind, gain.before_id, gain.after_id, gain.magnitude, gain.change_rate
    ('gain', 'week 2', 'week 3', 9.0, 0.5)
    >>> gain.mean_before - gain.mean_after, gain.must_exceed, gain.reversed_by
    (11.0, 2.776, None)
    """
    if not cutoff > 0:
        raise ValueError("the cut-off must be above 0 points")
    row = _row(points)
    criteria = _Criteria(cutoff, math.ceil(Fraction(cutoff) * row.per_point), Fraction(change_rate))
    found = (_judge(row, place, criteria, direction) for place in range(1, len(row.units)))
    return tuple(change for change in found if change)


@dataclass(frozen=True, slots=True)
class _Row:
    """The check-ins in order, and their totals in whole units that keep every one of them exactly."""

    points: Sequence[Point]
    units_of: Mapping[float, int]  # by total
    units: Sequence[int | None]  # by place
    per_point: int


@dataclass(frozen=True, slots=True)
class _Criteria:
    """The first in points and in units, the second as an exact fraction."""

    cutoff: float
    least: int
    rate: Fraction


@dataclass(frozen=True, slots=True)
class _Sides:
    """The n totals before and the m totals after a step, in units."""

    n: int
    m: int
    sum_before: int
    sum_after: int
    squares: int  # sum of squares about the two means, times n m

    @property
    def distance(self) -> int:
        """How far the mean falls, times n m."""
        return self.sum_before * self.m - self.sum_after * self.n

    @property
    def parts(self) -> int:
        """What `squares` is divided by for the pooled variance."""
        return self.n * self.m * (self.n + self.m - 2)


def _row(points: Sequence[Point]) -> _Row:
    ordered = in_time_order(points)
    exact = {total: Fraction(total) for total in {point.total for point in ordered} if total is not None}
    per_point = math.lcm(*(total.denominator for total in exact.values()))
    units_of = {total: int(fraction * per_point) for total, fraction in exact.items()}
    units = [None if point.total is None else units_of[point.total] for point in ordered]
    return _Row(ordered, units_of, units, per_point)


def _judge(row: _Row, place: int, criteria: _Criteria, direction: Direction) -> SuddenChange | None:
    """The change from the check-in before `place` to the one at it, if it is sudden."""
    start, end = row.points[place - 1], row.points[place]
    if start.total is None or end.total is None:
        return None
    before, after = row.units_of[start.total], row.units_of[end.total]
    if not _is_large(before, after, criteria):
        return None
    sides = _sides(row.units, place)
    if min(sides.n, sides.m) < FEWEST_PER_SIDE or not _holds_around(sides, fell=after < before):
        return None
    critical = CRITICAL_VALUES[sides.n + sides.m]
    return SuddenChange(  # a quotient of integers is rounded once
        kind="gain" if (after < before) == (direction is Direction.LOWER_IS_BETTER) else "loss",
        before_id=start.id,
        after_id=end.id,
        before=start.total,
        after=end.total,
        days=elapsed(start.at, end.at) / DAY,
        magnitude=abs(after - before) / row.per_point,
        cutoff=criteria.cutoff,
        change_rate=abs(after - before) / before if before else None,
        n_before=sides.n,
        n_after=sides.m,
        mean_before=sides.sum_before / (sides.n * row.per_point),
        mean_after=sides.sum_after / (sides.m * row.per_point),
        critical_value=critical,
        must_exceed=critical * (sides.squares / (sides.parts * row.per_point**2)) ** 0.5,
        reversed_by=_reversal(row, place, before, after),
    )


def _is_large(before: int, after: int, criteria: _Criteria) -> bool:
    """The first and the second criterion."""
    magnitude, rate = abs(after - before), criteria.rate
    return magnitude >= criteria.least and magnitude * rate.denominator >= rate.numerator * before


def _holds_around(sides: _Sides, *, fell: bool) -> bool:
    """The third criterion, squared and cross-multiplied: no root, nothing rounded."""
    distance = sides.distance if fell else -sides.distance
    if distance <= 0:
        return False
    critical = _CRITICAL_SQUARED[sides.n + sides.m]
    mean_parts = (sides.n * sides.m) ** 2
    return distance**2 * critical.denominator * sides.parts > critical.numerator * sides.squares * mean_parts


def _sides(units: Sequence[int | None], place: int) -> _Sides:
    first = [total for total in units[max(0, place - WINDOW) : place] if total is not None]
    second = [total for total in units[place : place + WINDOW] if total is not None]
    n, m, sum_before, sum_after = len(first), len(second), sum(first), sum(second)
    about_first = n * sum([total * total for total in first]) - sum_before * sum_before
    about_second = m * sum([total * total for total in second]) - sum_after * sum_after
    return _Sides(n, m, sum_before, sum_after, about_first * m + about_second * n)


def _reversal(row: _Row, place: int, before: int, after: int) -> str | None:
    half_way = after + (before - after) * Fraction(REVERSED_RATE)
    at_least, at_most = math.ceil(half_way), math.floor(half_way)
    back_up = before > after
    for later in range(place + 1, len(row.units)):
        total = row.units[later]
        if total is not None and (total >= at_least if back_up else total <= at_most):
            return row.points[later].id
    return None
