"""Figures about a cohort as they may be told: a count, a rate, a mean. Hidden where few people stand behind them.

Also a rate and a mean are cells. 3 of 30 is a cell of 3, 27 of 30 is one too, and a mean over 4 people is a cell of 4.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from statistics import fmean
from typing import Final

from app.privacy.cells import SMALLEST_CELL
from app.privacy.noise import noisy_count

MEAN_STEP: Final = 0.5  # points; judgement: finer than any threshold of a questionnaire, coarser than one person of 11


class Hidden(StrEnum):
    """Why a figure is not told."""

    TOO_FEW = "too_few"  # people behind it, in its numerator, or in what its numerator leaves out
    ALL_ALIKE = "all_alike"  # the figure would be everybody's own value


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
    """A mean in steps, with a noisy count of the people behind it. None: hidden."""

    mean: float | None
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


def told_rate(
    numerator: int, denominator: int, key: bytes, question: bytes, figure: str, threshold: int = SMALLEST_CELL
) -> ToldRate:
    """A share, where both who is in it and who is not are enough people to be told as counts.

    Each of the two gets its own noise; the denominator is their sum. A share of nobody or of everybody is hidden too:
    it would be a statement about each of them.

    Units and range: people, 0 <= numerator <= denominator; the rate is strictly between 0 and 1.
    Missing data: people whose outcome is not known are in neither number.

    Raises:
        ValueError: the numerator is not within 0 and the denominator, or the key too short.

    Source: CMS cell size suppression policy: no percentage from which a small cell follows.

    >>> told_rate(33, 60, bytes(range(32)), b"{}", "remission")
    ToldRate(numerator=30, denominator=54, rate=0.5555555555555556, hidden=None)
    >>> told_rate(57, 60, bytes(range(32)), b"{}", "remission").hidden.value
    'too_few'
    """
    if not 0 <= numerator <= denominator:
        raise ValueError("a numerator is between 0 and its denominator")
    inside = told_count(numerator, key, question, f"{figure}/in", threshold).count
    outside = told_count(denominator - numerator, key, question, f"{figure}/out", threshold).count
    if inside is None or outside is None:
        return ToldRate(None, None, None, Hidden.TOO_FEW)
    return ToldRate(inside, inside + outside, inside / (inside + outside), None)


def told_mean(
    values: Iterable[float | None],
    key: bytes,
    question: bytes,
    figure: str,
    threshold: int = SMALLEST_CELL,
    step: float = MEAN_STEP,
) -> ToldMean:
    """A mean rounded to steps, where enough people stand behind it and they are not all alike.

    It bears no noise: as much as one person needs would drown the mean of thirty. What guards it is that cohorts near
    to each other are not both answered (`budget`).

    Units and range: the values' unit, `step` above 0 in the same.
    Missing data: people without a value are left out.

    Raises:
        ValueError: the step is not above 0, a value is not finite, or the key too short.

    Source: judgement.

    >>> told_mean([-8, -6, None, *range(-14, 0)], bytes(range(32)), b"{}", "change")
    ToldMean(mean=-7.5, n=13, hidden=None)
    >>> told_mean([-8, -6], bytes(range(32)), b"{}", "change").hidden.value
    'too_few'
    """
    known = [value for value in values if value is not None]
    n = told_count(len(known), key, question, f"{figure}/n", threshold)
    if n.hidden:
        return ToldMean(None, None, n.hidden)
    if len(set(known)) < 2:
        return ToldMean(None, None, Hidden.ALL_ALIKE)
    return ToldMean(to_nearest(fmean(known), step), n.count, None)


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
