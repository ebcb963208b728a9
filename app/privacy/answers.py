"""Figures about a cohort as they may be told: counts, rates, means. Hidden where few people stand behind them.

Also a rate and a mean are cells. 3 of 30 is a cell of 3, 27 of 30 is one too, and a mean over 4 people is a cell of 4.

Whatever else is told of the cohort has to be computed from what is told here, or rounded as intervals are here: the
width of an exact one gives back the exact number of people.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from app.privacy.cells import SMALLEST_CELL, hide_small_counts
from app.privacy.noise import noisy_count
from app.scoring.cohort import EffectSize, MeanChange

MEAN_STEP: Final = 0.5  # points; judgement: finer than any threshold of a questionnaire, coarser than one person of 11
EFFECT_STEP: Final = 0.05  # standard deviations; judgement: half a point where people spread by ten


class Hidden(StrEnum):
    """Why a figure is not told."""

    TOO_FEW = "too_few"  # people behind it, behind what it leaves out, or behind another figure it would give away
    ALL_ALIKE = "all_alike"  # the spread rounds to nothing: the mean would be nearly everybody's own value


@dataclass(frozen=True, slots=True)
class ToldRate:
    """A share made of two counts with noise, so that it says no more than they do."""

    numerator: int
    denominator: int
    rate: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class ToldMean:
    """A mean, its standard deviation and interval in steps, and a noisy count of the people behind them."""

    n: int
    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ToldEffect:
    """Hedges' g and its interval in steps, and a noisy count of the people behind them."""

    n: int
    g: float
    low: float
    high: float


def told_count(count: int, key: bytes, question: bytes, figure: str) -> int | Hidden:
    """A count with the noise of its question, or that it is too small: exactly, or as it would be printed.

    Units and range: people, at least 0; what is told is at least `SMALLEST_CELL`. Zero is too small like others.
    Missing data: none.

    Raises:
        ValueError: the count is negative, or the key too short.

    Source: CMS cell size suppression policy (1 to 10); that zero is hidden with them is judgement.

    >>> told_count(40, bytes(range(32)), b"{}", "responders"), told_count(10, bytes(32), b"{}", "responders")
    (40, <Hidden.TOO_FEW: 'too_few'>)
    """
    noisy = noisy_count(count, key, question, figure)
    return Hidden.TOO_FEW if min(count, noisy) < SMALLEST_CELL else noisy


def told_parts(counts: Mapping[str, int], key: bytes, question: bytes) -> dict[str, int | Hidden]:
    """How many people of a cohort are in each of its parts, where the number of them all may be known.

    Small parts are hidden, and enough others with them that none follows from the total; why a part is hidden is the
    same for both. What is left bears the noise of its name; the parts need not add up to the total.

    Units and range: people, at least 0; each person is in one part.
    Missing data: people of whom the part is not known are a part.

    Raises:
        ValueError: no parts, a negative count, or the key too short.

    Source: `hide_small_counts` and `told_count`.

    >>> told = told_parts({"improved": 60, "unchanged": 35, "deteriorated": 4}, bytes(range(32)), b"{}")
    >>> [(part, str(figure)) for part, figure in told.items()]
    [('improved', '61'), ('unchanged', 'too_few'), ('deteriorated', 'too_few')]
    """
    shown = hide_small_counts(list(counts.values()))
    return {
        part: Hidden.TOO_FEW if count is None else told_count(count, key, question, part)
        for part, count in zip(counts, shown, strict=True)
    }


def told_rate(
    numerator: int,
    denominator: int,
    key: bytes,
    question: bytes,
    figure: str,
    among: str,
) -> ToldRate | Hidden:
    """A share, where both who is in it and who is not are enough people to be told as counts.

    A share of nobody or of everybody is hidden too: it would be a statement about each of them. `among` names the
    people of the denominator: figures about the same people share its noise, or each would be one more look at it.

    Units and range: people, 0 <= numerator <= denominator; the rate is strictly between 0 and 1.
    Missing data: people whose outcome is not known are in neither number.

    Raises:
        ValueError: the numerator is not within 0 and the denominator, or the key too short.

    Source: CMS cell size suppression policy: no percentage from which a small cell follows.

    >>> told_rate(33, 60, bytes(range(32)), b"{}", "remission", "week 4")
    ToldRate(numerator=33, denominator=57, rate=0.5789473684210527)
    >>> told_rate(57, 60, bytes(range(32)), b"{}", "remission", "week 4").value
    'too_few'
    """
    if not 0 <= numerator <= denominator:
        raise ValueError("a numerator is between 0 and its denominator")
    part = told_count(numerator, key, question, figure)
    whole = told_count(denominator, key, question, among)
    if (
        isinstance(part, Hidden)
        or isinstance(whole, Hidden)
        or min(denominator - numerator, whole - part) < SMALLEST_CELL
    ):
        return Hidden.TOO_FEW
    return ToldRate(part, whole, part / whole)


def told_mean(found: MeanChange, key: bytes, question: bytes, among: str) -> ToldMean | Hidden:
    """A mean with its spread and interval, each rounded, where enough people stand behind it and not nearly all alike.

    They bear no noise: as much as one person needs would drown the mean of thirty. What guards them is that cohorts
    near to each other are not both answered (`budget`). `among` names the people, as in `told_rate`.

    Units and range: points, in steps of `MEAN_STEP`; people at least `SMALLEST_CELL`.
    Missing data: people without a value are not in the mean, nor in its count.

    Raises:
        ValueError: the key is too short.

    Source: judgement.

    >>> from app.scoring.cohort import mean_change
    >>> found = mean_change([(0, change) for change in (-8, -6, *range(-14, 0))])
    >>> told_mean(found, bytes(range(32)), b"{}", "week 4")
    ToldMean(n=13, mean=-7.5, sd=4.0, low=-9.5, high=-5.5)
    >>> told_mean(mean_change([(20, 12), (18, 12)]), bytes(range(32)), b"{}", "week 4").value
    'too_few'
    """
    n = told_count(found.n, key, question, among)
    if isinstance(n, Hidden):
        return n
    if found.mean is None or found.low is None or found.high is None or not to_nearest(found.sd or 0, MEAN_STEP):
        return Hidden.ALL_ALIKE
    mean, sd, low, high = (to_nearest(one, MEAN_STEP) for one in (found.mean, found.sd or 0, found.low, found.high))
    return ToldMean(n, mean, sd, low, high)


def told_effect(found: EffectSize, key: bytes, question: bytes, among: str) -> ToldEffect | Hidden:
    """A change in standard deviations with its interval, each rounded, where enough people stand behind it.

    Without noise, as `told_mean`. `among` names the people, as there.

    Units and range: standard deviations, in steps of `EFFECT_STEP`; people at least `SMALLEST_CELL`.
    Missing data: people without both totals are not in the effect, nor in its count.

    Raises:
        ValueError: the key is too short.

    Source: judgement.

    >>> from app.scoring.cohort import hedges_g
    >>> found = hedges_g([(12 + person % 11, 6 + person % 13) for person in range(40)])
    >>> told_effect(found, bytes(range(32)), b"{}", "week 4")
    ToldEffect(n=37, g=-1.5, low=-2.05, high=-0.95)
    """
    n = told_count(found.n[0], key, question, among)
    if isinstance(n, Hidden):
        return n
    if found.g is None or found.low is None or found.high is None:
        return Hidden.ALL_ALIKE
    g, low, high = (to_nearest(one, EFFECT_STEP) for one in (found.g, found.low, found.high))
    return ToldEffect(n, g, low, high)


def to_nearest(value: float, step: float) -> float:
    """A number rounded to the nearest step; half way, upwards. Each by itself: rounded parts need not add up.

    Rounding alone protects little: two cohorts a person apart round alike or not, and which of the two tells.

    Units and range: the value's unit; `step` above 0 and finite. Missing data: none.

    Raises:
        ValueError: the step is not above 0, or a number is not finite.

    Source: arithmetic.

    >>> to_nearest(17, 5), to_nearest(18, 5), to_nearest(-7.25, 0.5), to_nearest(0.32, 0.05)
    (15.0, 20.0, -7.0, 0.3)
    """
    if not (0 < step < math.inf and math.isfinite(value)):
        raise ValueError("a step is above 0, and numbers are finite")
    exact = Fraction(str(step))  # as it is written: no float is 0.05
    return float(math.floor(Fraction(value) / exact + Fraction(1, 2)) * exact)
