"""Sudden gains and losses: a large change between two neighbouring check-ins that also holds around them.

Source: Tang and DeRubeis 1999, J Consult Clin Psychol 67:894-904; the critical values with missing check-ins as in
Lutz et al. 2013, Psychother Res 23:14-24 and Wiedemann et al. 2020, PLoS ONE 15:e0230276.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import mean, variance
from typing import Final, Literal

from app.scoring.model import SECONDS_PER_DAY, Direction, Point
from app.scoring.timeline import instant

CHANGE_RATE: Final = 0.25  # share of the total before; Tang and DeRubeis 1999, second criterion
WINDOW: Final = 3  # check-ins on each side; Tang and DeRubeis 1999, third criterion
FEWEST_PER_SIDE: Final = 2  # totals on each side; a spread needs two
REVERSED_RATE: Final = 0.5  # share of the change; Tang and DeRubeis 1999: a gain is reversed when half of it is lost
CRITICAL_VALUES: Final = {  # totals on both sides -> two-sided 5 % point of t with two degrees of freedom fewer
    6: 2.776,  # Tang and DeRubeis 1999
    5: 3.182,  # Lutz et al. 2013
    4: 4.303,  # Lutz et al. 2013
}


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
    ordered = sorted(points, key=lambda point: instant(point.at))
    found = (_judge(ordered, place, cutoff, change_rate, direction) for place in range(1, len(ordered)))
    return tuple(change for change in found if change)


def _judge(
    ordered: Sequence[Point], place: int, cutoff: float, change_rate: float, direction: Direction
) -> SuddenChange | None:
    """The change from the point before `place` to the one at it, if it is sudden."""
    before, after = ordered[place - 1], ordered[place]
    if before.total is None or after.total is None or before.total == after.total:
        return None
    fell = after.total < before.total
    magnitude = abs(Fraction(after.total) - Fraction(before.total))
    if magnitude < cutoff or magnitude < Fraction(change_rate) * Fraction(before.total):
        return None
    first, second = _totals(ordered[max(0, place - WINDOW) : place]), _totals(ordered[place : place + WINDOW])
    if min(len(first), len(second)) < FEWEST_PER_SIDE:
        return None
    critical = CRITICAL_VALUES[len(first) + len(second)]
    distance = (mean(first) - mean(second)) * (1 if fell else -1)
    pooled = _pooled_variance(first, second)
    if distance <= 0 or distance**2 <= Fraction(critical) ** 2 * pooled:  # squared: exact, no root
        return None
    return SuddenChange(
        kind="gain" if fell == (direction is Direction.LOWER_IS_BETTER) else "loss",
        before_id=before.id,
        after_id=after.id,
        before=before.total,
        after=after.total,
        days=(instant(after.at) - instant(before.at)).total_seconds() / SECONDS_PER_DAY,
        magnitude=float(magnitude),
        cutoff=cutoff,
        change_rate=float(magnitude / Fraction(before.total)) if before.total else None,
        n_before=len(first),
        n_after=len(second),
        mean_before=float(mean(first)),
        mean_after=float(mean(second)),
        critical_value=critical,
        must_exceed=critical * float(pooled) ** 0.5,
        reversed_by=_reversal(ordered[place + 1 :], before.total, after.total),
    )


def _totals(points: Sequence[Point]) -> list[Fraction]:
    return [Fraction(point.total) for point in points if point.total is not None]


def _pooled_variance(first: list[Fraction], second: list[Fraction]) -> Fraction:
    squares = (len(first) - 1) * variance(first) + (len(second) - 1) * variance(second)
    return squares / (len(first) + len(second) - 2)


def _reversal(later: Sequence[Point], before: float, after: float) -> str | None:
    half_way = Fraction(after) + (Fraction(before) - Fraction(after)) * Fraction(REVERSED_RATE)
    back_up = before > after
    for point in later:
        if point.total is not None and (point.total >= half_way if back_up else point.total <= half_way):
            return point.id
    return None
