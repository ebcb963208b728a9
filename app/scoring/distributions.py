"""The few distribution functions the statistics need: normal and Student t, without a numerical library.

All take and give plain floats. Agreement with scipy to 9 digits is held by tests/scoring/test_distributions.py.
"""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final

LEVEL: Final = 0.95  # coverage of intervals unless another is asked for; convention
_STANDARD_NORMAL: Final = NormalDist()
_FRACTION_STEPS: Final = 10_000  # terms; the continued fraction needs about sqrt(max(a, b)) of them
_SETTLED: Final = 1e-16  # relative change of the continued fraction at which it is final
_TINY: Final = 1e-300  # stands in for a zero denominator (Lentz's method)


def normal_quantile(probability: float) -> float:
    """The z below which a share `probability` of the standard normal lies.

    Units and range: probability strictly between 0 and 1; the result is in standard deviations.
    Missing data: none, a number is required.
    Raises: ValueError when the probability is not strictly between 0 and 1.
    Source: Wichura 1988, Applied Statistics 37:477-484 (AS 241), as in Python's statistics module.

    >>> round(normal_quantile(0.975), 4)
    1.96
    """
    _require_probability(probability)
    return _STANDARD_NORMAL.inv_cdf(probability)


def normal_two_sided_p(z: float) -> float:
    """The probability that a standard normal value lies at least as far from 0 as `z`, on either side.

    Units and range: z in standard deviations, any sign; the result is from 0 to 1.
    Missing data: none, a number is required.
    Raises: nothing.
    Source: definition; by erfc, which keeps its digits far out in the tail where 1 - cdf loses them.

    >>> round(normal_two_sided_p(-1.96), 3)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2))


def t_cdf(t: float, df: float) -> float:
    """The share of Student's t distribution with `df` degrees of freedom that lies below `t`.

    Units and range: t is any number; df above 0, whole or not; the result is from 0 to 1.
    Missing data: none, a number is required.
    Raises: ValueError when df is not above 0.
    Source: Abramowitz and Stegun 1964, 26.7.1, by the incomplete beta function.

    >>> round(t_cdf(2.776, 4), 4)
    0.975
    """
    upper = _t_upper_tail(abs(t), df)
    return 1 - upper if t > 0 else upper


@lru_cache(maxsize=4096)
def t_quantile(probability: float, df: float) -> float:
    """The t below which a share `probability` of Student's t distribution lies.

    Units and range: probability strictly between 0 and 1; df above 0.
    Missing data: none, a number is required.
    Raises: ValueError when the probability is not strictly between 0 and 1, or df is not above 0.
    Source: inverse of `t_cdf` by bisection to the last bit; the tables of critical values give the same digits.

    >>> [round(t_quantile(0.975, df), 3) for df in (2, 3, 4)]
    [4.303, 3.182, 2.776]
    """
    _require_probability(probability)
    if probability < 0.5:
        return -_t_at_upper_tail(probability, df)
    return _t_at_upper_tail(1 - probability, df)


def two_sided_z(level: float) -> float:
    """The z that encloses a share `level` of the standard normal between -z and z.

    Units and range: level strictly between 0 and 1; the result is in standard deviations.
    Missing data: none, a number is required.
    Raises: ValueError when the level is not strictly between 0 and 1.
    Source: definition.

    >>> round(two_sided_z(0.95), 3)
    1.96
    """
    return normal_quantile(_upper_end(level))


def two_sided_t(level: float, df: float) -> float:
    """The t that encloses a share `level` of Student's t distribution between -t and t.

    Units and range: level strictly between 0 and 1; df above 0.
    Missing data: none, a number is required.
    Raises: ValueError when the level is not strictly between 0 and 1, or df is not above 0.
    Source: definition.

    >>> round(two_sided_t(0.95, 4), 3)
    2.776
    """
    return t_quantile(_upper_end(level), df)


def _upper_end(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError("a level strictly between 0 and 1 is needed")
    return (1 + level) / 2


def _t_at_upper_tail(tail: float, df: float) -> float:
    """The t that leaves `tail` (at most one half) above it."""
    if tail == 0.5:
        _t_upper_tail(0.0, df)  # refuses a df that is not above 0
        return 0.0
    low, high = 0.0, 1.0
    while _t_upper_tail(high, df) > tail:
        low, high = high, 2 * high
    while True:
        middle = (low + high) / 2
        if middle in (low, high):  # neighbours: no float lies between
            return middle
        if _t_upper_tail(middle, df) > tail:
            low = middle
        else:
            high = middle


def _t_upper_tail(t: float, df: float) -> float:
    if not df > 0:
        raise ValueError("degrees of freedom must be above 0")
    square = t * t
    if math.isinf(square):
        return 0.0
    near, far = df / (df + square), square / (df + square)  # both divided out: 1 - the other would lose digits
    if square < 1:  # far from the tail, where the half below 0 is the larger part
        return 0.5 - 0.5 * _incomplete_beta(0.5, df / 2, far, near)
    return 0.5 * _incomplete_beta(df / 2, 0.5, near, far)


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """Regularised incomplete beta function I_x(a, b); y = 1 - x."""
    if x <= 0 or y <= 0:
        return 0.0 if x <= 0 else 1.0
    log_x, log_y = (math.log(x), math.log1p(-x)) if x < y else (math.log1p(-y), math.log(y))
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * log_x + b * log_y)
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, y) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function by Lentz's method (Numerical Recipes, 6.4)."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _FRACTION_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for term in (even, odd):
            c = _not_zero(1 + term / c)
            d = 1 / _not_zero(1 + term * d)
            value *= c * d
        if abs(value - before) <= _SETTLED * abs(value):
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _require_probability(probability: float) -> None:
    if not 0 < probability < 1:
        raise ValueError("a probability strictly between 0 and 1 is needed")
