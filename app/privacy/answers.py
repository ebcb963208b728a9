"""Figures about a cohort as they may be told: counts, rates, means. Hidden where few people stand behind them.

Also a rate and a mean are cells. 3 of 30 is a cell of 3, 27 of 30 is one too, and a mean over 4 people is a cell of 4.

Whatever else is told of the cohort, such as an interval or an effect size, has to be computed from what is told here:
the width of an interval around an exact mean gives back the exact number of people.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from statistics import fmean, stdev
from typing import Final

from app.privacy.cells import SMALLEST_CELL, hide_small_counts
from app.privacy.noise import noisy_count

MEAN_STEP: Final = 0.5  # points; judgement: finer than any threshold of a questionnaire, coarser than one person of 11


class Hidden(StrEnum):
    """Why a figure is not told."""

    TOO_FEW = "too_few"  # people behind it, behind what it leaves out, or behind another figure it would give away
    ALL_ALIKE = "all_alike"  # the spread rounds to nothing: the mean would be nearly everybody's own value


@dataclass(frozen=True, slots=True)
class ToldCount:
    """A count with noise; None: hidden."""

    count: int | None
    hidden: Hidden | None


@dataclass(frozen=True, slots=True)
class ToldRate:
    """A share made of two counts with noise, so that it says no more than they do. All None: hidden."""

    numerator: int | None
    denominator: int | None
    rate: float | None  # 0 to 1
    hidden: Hidden | None


@dataclass(frozen=True, slots=True)
class ToldMean:
    """A mean and standard deviation in steps, and a noisy count of the people behind them. All None: hidden."""

    mean: float | None
    sd: float | None
    n: int | None
    hidden: Hidden | None


def told_count(count: int, key: bytes, question: bytes, figure: str, threshold: int = SMALLEST_CELL) -> ToldCount:
    """A count with the noise of its question, or that it is too small: exactly, or as it would be printed.

    Units and range: people, at least 0; what is told is at least the threshold. Zero is too small like others.
    Missing data: none.

    Raises:
        ValueError: the count is negative, or the key too short.

    Source: CMS cell size suppression policy (1 to 10); that zero is hidden with them is judgement.

    >>> told_count(40, bytes(range(32)), b"{}", "responders").count, told_count(10, bytes(32), b"{}", "responders")
    (40, ToldCount(count=None, hidden=<Hidden.TOO_FEW: 'too_few'>))
    """
    noisy = noisy_count(count, key, question, figure)
    if min(count, noisy) < threshold:
        return ToldCount(None, Hidden.TOO_FEW)
    return ToldCount(noisy, None)


def told_parts(
    counts: Mapping[str, int], key: bytes, question: bytes, threshold: int = SMALLEST_CELL
) -> dict[str, ToldCount]:
    """How many people of a cohort are in each of its parts, where the number of them all may be known.

    Small parts are hidden, and enough others with them that none follows from the total; why a part is hidden is the
    same for both. What is left bears the noise of its name; the parts need not add up to the total.

    Units and range: people, at least 0; each person is in one part.
    Missing data: people of whom the part is not known are a part.

    Raises:
        ValueError: no parts, a negative count, or the key too short.

    Source: `hide_small_counts` and `told_count`.

    >>> told = told_parts({"improved": 60, "unchanged": 35, "deteriorated": 4}, bytes(range(32)), b"{}")
    >>> [(part, figure.count) for part, figure in told.items()]
    [('improved', 61), ('unchanged', None), ('deteriorated', None)]
    """
    shown = hide_small_counts(list(counts.values()), threshold).counts
    return {
        part: ToldCount(None, Hidden.TOO_FEW) if count is None else told_count(count, key, question, part, threshold)
        for part, count in zip(counts, shown, strict=True)
    }


def told_rate(
    numerator: int,
    denominator: int,
    key: bytes,
    question: bytes,
    figure: str,
    among: str,
    threshold: int = SMALLEST_CELL,
) -> ToldRate:
    """A share, where both who is in it and who is not are enough people to be told as counts.

    A share of nobody or of everybody is hidden too: it would be a statement about each of them. `among` names the
    people of the denominator: figures about the same people share its noise, or each would be one more look at it.

    Units and range: people, 0 <= numerator <= denominator; the rate is strictly between 0 and 1.
    Missing data: people whose outcome is not known are in neither number.

    Raises:
        ValueError: the numerator is not within 0 and the denominator, or the key too short.

    Source: CMS cell size suppression policy: no percentage from which a small cell follows.

    >>> told_rate(33, 60, bytes(range(32)), b"{}", "remission", "week 4")
    ToldRate(numerator=33, denominator=57, rate=0.5789473684210527, hidden=None)
    >>> told_rate(57, 60, bytes(range(32)), b"{}", "remission", "week 4").hidden.value
    'too_few'
    """
    if not 0 <= numerator <= denominator:
        raise ValueError("a numerator is between 0 and its denominator")
    part = told_count(numerator, key, question, figure, threshold).count
    whole = told_count(denominator, key, question, among, threshold).count
    if part is None or whole is None or min(denominator - numerator, whole - part) < threshold:
        return ToldRate(None, None, None, Hidden.TOO_FEW)
    return ToldRate(part, whole, part / whole, None)


def told_mean(
    values: Iterable[float | None],
    key: bytes,
    question: bytes,
    among: str,
    threshold: int = SMALLEST_CELL,
    step: float = MEAN_STEP,
) -> ToldMean:
    """A mean and its spread rounded to steps, where enough people stand behind them and not nearly all are alike.

    They bear no noise: as much as one person needs would drown the mean of thirty. What guards them is that cohorts
    near to each other are not both answered (`budget`). `among` names the people, as in `told_rate`.

    Units and range: the values' unit, `step` above 0 in the same.
    Missing data: people without a value are left out.

    Raises:
        ValueError: the step is not above 0, a value is not finite, or the key too short.

    Source: judgement.

    >>> told_mean([-8, -6, None, *range(-14, 0)], bytes(range(32)), b"{}", "week 4")
    ToldMean(mean=-7.5, sd=4.0, n=13, hidden=None)
    >>> told_mean([-8, -6], bytes(range(32)), b"{}", "week 4").hidden.value
    'too_few'
    """
    known = [value for value in values if value is not None]
    n = told_count(len(known), key, question, among, threshold)
    if n.hidden:
        return ToldMean(None, None, None, n.hidden)
    sd = to_nearest(stdev(known), step)
    if not sd:
        return ToldMean(None, None, None, Hidden.ALL_ALIKE)
    return ToldMean(to_nearest(fmean(known), step), sd, n.count, None)


def to_nearest(value: float, step: float = 5) -> float:
    """A number rounded to the nearest step; half way, upwards. Each by itself: rounded parts need not add up.

    Rounding alone protects little: two cohorts a person apart round alike or not, and which of the two tells.

    Units and range: the value's unit; `step` above 0 and finite. Missing data: none.

    Raises:
        ValueError: the step is not above 0, or a number is not finite.

    Source: arithmetic.

    >>> to_nearest(17), to_nearest(18), to_nearest(-7.25, 0.5)
    (15.0, 20.0, -7.0)
    """
    if not (0 < step < math.inf and math.isfinite(value)):
        raise ValueError("a step is above 0, and numbers are finite")
    exact = Fraction(step)
    return float(math.floor(Fraction(value) / exact + Fraction(1, 2)) * exact)
