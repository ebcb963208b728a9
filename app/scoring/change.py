"""What moved between two totals: points, percent, and the five words a course of treatment may end with.

Every comparison here is exact: whole totals are integers, all others fractions. A prorated total such as 190/9 has no
exact float, and half of it must still be exactly half: whether a patient "responded" may not hang on the sixteenth
digit.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal

from app.scoring.model import Direction, Inequality, Instrument

Shift = Literal["improved", "worsened", "none"]
Reason = Literal["incomplete", "zero_baseline"]
Exact = int | Fraction  # exact in either form; the whole numbers, which are nearly all, stay cheap

LARGEST_DENOMINATOR: Final = 1_000  # of a total or threshold; prorating divides by the items answered, far below this
FLOAT_NOISE: Final = Fraction(1, 10**9)  # points; a float this close to a small fraction is that fraction

_COMPARE: Final[dict[Inequality, Callable[[Exact, Exact], bool]]] = {
    Inequality.AT_LEAST: operator.ge,
    Inequality.MORE_THAN: operator.gt,
    Inequality.AT_MOST: operator.le,
    Inequality.LESS_THAN: operator.lt,
}


class ChangeCategory(StrEnum):
    """Reliable change and the clinical cut-off read together. Source: Jacobson & Truax 1991; `harmed` by convention."""

    RECOVERED = "recovered"  # began in the clinical range, reliably better, ended outside it
    IMPROVED = "improved"  # reliably better without that crossing
    UNCHANGED = "unchanged"  # no reliable change either way
    DETERIORATED = "deteriorated"  # reliably worse without crossing into the clinical range
    HARMED = "harmed"  # reliably worse and crossed into the clinical range


@dataclass(frozen=True, slots=True)
class Change:
    """Latest minus baseline as the scale counts, so a fall is negative whatever it means."""

    points: int | float | None
    percent_change: float | None  # percent, same sign as points
    reason: Reason | None = None  # why a number is absent


def exact(value: float) -> Fraction:
    """The number a float stands for: 0.2 is one fifth, 21.11111111111111 is 190/9.

    Units and range: any finite number; only noise below 1e-9 is removed, so order is kept.
    Missing data: none; callers decide about None before.

    Raises:
        ValueError: the value is infinite or not a number.

    Source: arithmetic.

    >>> exact(0.2), exact(20 * 19 / 18)
    (Fraction(1, 5), Fraction(190, 9))
    """
    return Fraction(comparable(value))


def comparable(value: float) -> Exact:
    """The same number, whole ones as integers, which are compared many times faster. Not to be divided.

    Units and range: any finite number. Missing data: none; callers decide about None before.

    Raises:
        ValueError: the value is infinite or not a number.

    Source: arithmetic.

    >>> comparable(6.0), comparable(0.2)
    (6, Fraction(1, 5))
    """
    return value if isinstance(value, int) else _meant(value)


@lru_cache(maxsize=1_024)  # thresholds, and the totals of incomplete forms, which take few values
def _meant(value: float) -> Exact:
    if not math.isfinite(value):
        raise ValueError("a total or threshold must be a finite number")
    as_stored = Fraction(value)
    simple = as_stored.limit_denominator(LARGEST_DENOMINATOR)
    meant = simple if abs(simple - as_stored) <= FLOAT_NOISE else as_stored
    return meant.numerator if meant.denominator == 1 else meant


def holds(value: Exact, inequality: Inequality, bound: Exact) -> bool:
    """Whether `value inequality bound` is true, exactly.

    Units and range: both in the same unit. Missing data: none.
    Source: arithmetic.

    >>> holds(Fraction(9), Inequality.MORE_THAN, Fraction(9)), holds(Fraction(9), Inequality.AT_LEAST, Fraction(9))
    (False, True)
    """
    return _COMPARE[inequality](value, bound)


def improvement(direction: Direction, baseline: float, latest: float) -> Exact:
    """Points gained in the good direction; negative when the person is worse.

    Units and range: points of the scale. Missing data: none; callers decide about None before.

    Raises:
        ValueError: a total is infinite or not a number.

    Source: arithmetic.

    >>> improvement(Direction.LOWER_IS_BETTER, 18, 9), improvement(Direction.HIGHER_IS_BETTER, 18, 9)
    (9, -9)
    """
    fall = comparable(baseline) - comparable(latest)
    return fall if direction is Direction.LOWER_IS_BETTER else -fall


def distance_to_best(instrument: Instrument, baseline: float) -> Exact:
    """How far the baseline stands from the best possible total: what a percent change is a percent of.

    On a scale from 0 where lower is better this is the baseline itself, the usual denominator. Where higher is better
    it is the maximum minus the baseline. The obvious "percent of the baseline" was rejected there: it would call a rise
    from 8 to 12 on a scale to 100 a 50 % gain, and nothing would be left of the mirror image.

    Units and range: points, 0 and more for totals inside the scale. Missing data: none.

    Raises:
        ValueError: the total is infinite or not a number.

    Source: judgement; for scales that start at 0 and fall it is the convention of every response rule.

    >>> from app.scoring.model import Answer, Item, MissingRule
    >>> text = dict.fromkeys(("title", "measures", "instruction", "recall_label", "copyright", "licence", "source"), "")
    >>> def to_100(direction):
    ...     items = (Item(1, "", (Answer(0, ""), Answer(100, ""))),)
    ...     return Instrument(id="x", version=1, items=items, recall_days=7, direction=direction,
    ...                       missing=MissingRule(0, ""), **text)
    >>> [int(distance_to_best(to_100(direction), 40)) for direction in Direction]
    [40, 60]
    """
    above_best = comparable(baseline) - _best(instrument)
    return above_best if instrument.direction is Direction.LOWER_IS_BETTER else -above_best


@lru_cache(maxsize=64)  # the declared instruments several times over; summing their items costs more than a judgement
def _best(instrument: Instrument) -> int:
    return instrument.minimum if instrument.direction is Direction.LOWER_IS_BETTER else instrument.maximum


def change(instrument: Instrument, baseline: float | None, latest: float | None) -> Change:
    """Latest minus baseline in points, and in percent of the baseline's distance to the best possible total.

    Units and range: points of the scale; percent with the sign of the points. PHQ-9 18 to 9 is -9 points, -50 %.
    Missing data: either total None gives None and `incomplete`. A baseline already at the best total has a change in
    points but no percent change: `zero_baseline`.

    Raises:
        ValueError: a total is infinite or not a number.

    Source: arithmetic; the denominator is described at `distance_to_best`.

    >>> from app.scoring.model import Answer, Item, MissingRule
    >>> text = dict.fromkeys(("title", "measures", "instruction", "recall_label", "copyright", "licence", "source"), "")
    >>> items = (Item(1, "", tuple(Answer(value, "") for value in range(28))),)
    >>> scale = Instrument(id="x", version=1, items=items, recall_days=14, direction=Direction.LOWER_IS_BETTER,
    ...                    missing=MissingRule(0, ""), **text)
    >>> change(scale, 18, 9)
    Change(points=-9, percent_change=-50.0, reason=None)
    >>> change(scale, 0, 3)
    Change(points=3, percent_change=None, reason='zero_baseline')
    """
    if baseline is None or latest is None:
        return Change(None, None, "incomplete")
    points = comparable(latest) - comparable(baseline)
    whole = distance_to_best(instrument, baseline)
    if whole <= 0:
        return Change(_number(points), None, "zero_baseline")
    return Change(_number(points), float(100 * points / whole))


def categorise(shift: Shift, *, was_clinical: bool, is_clinical: bool) -> ChangeCategory:
    """Reliable change and the side of the cut-off before and after, as one word.

    `recovered` needs a baseline in the clinical range: a person who was never there cannot leave it.

    Units and range: `shift` is the reliable change only. Missing data: none; callers decide about None before.
    Source: Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19; the baseline condition and `harmed` are conventions.

    >>> categorise("improved", was_clinical=True, is_clinical=False)
    <ChangeCategory.RECOVERED: 'recovered'>
    >>> categorise("improved", was_clinical=False, is_clinical=False)
    <ChangeCategory.IMPROVED: 'improved'>
    """
    if shift == "improved":
        return ChangeCategory.RECOVERED if was_clinical and not is_clinical else ChangeCategory.IMPROVED
    if shift == "worsened":
        return ChangeCategory.HARMED if is_clinical and not was_clinical else ChangeCategory.DETERIORATED
    return ChangeCategory.UNCHANGED


def _number(value: Exact) -> int | float:
    return int(value) if value.denominator == 1 else float(value)
