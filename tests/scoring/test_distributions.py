"""Normal and Student t against scipy and printed tables."""

import math
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from app.scoring.distributions import (
    normal_quantile,
    normal_two_sided_p,
    t_cdf,
    t_quantile,
    two_sided_t,
    two_sided_z,
)

DEGREES = [0.5, 1, 2, 3, 4, 5.5, 10, 30, 118, 1_000, 9_998, 1e6]
PROBABILITIES = [1e-12, 1e-6, 0.0005, 0.001, 0.025, 0.2, 0.4999, 0.5, 0.5001, 0.8, 0.95, 0.975, 0.999, 1 - 1e-9]


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("t", [-1e9, -40, -3, -1e-3, 0, 0.3, 1, 2.776, 8, 1e3])
def test_t_cdf_agrees_with_scipy(t: float, df: float) -> None:
    """The t distribution function has scipy's digits, far tails included."""
    assert t_cdf(t, df) == pytest.approx(float(stats.t.cdf(t, df)), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("t", [-1e15, -3, -1e-8, 1e-300, 1e-12, 0.7, 1, 40])
def test_t_cdf_agrees_with_its_closed_forms(t: float) -> None:
    """With 1 and 2 degrees of freedom the function is elementary (near 0 scipy 1.17 has 9 digits only)."""
    assert t_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, rel=1e-12, abs=1e-15)
    assert t_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.hypot(math.sqrt(2), t)), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("probability", PROBABILITIES)
def test_t_quantile_agrees_with_scipy(probability: float, df: float) -> None:
    """The t quantile has scipy's digits."""
    # scipy's own inverse is good to about 9 digits far out for df below 1, hence the tolerance
    assert t_quantile(probability, df) == pytest.approx(float(stats.t.ppf(probability, df)), rel=1e-8, abs=1e-12)


@given(st.floats(0.001, 0.999), st.floats(0.6, 1e5))
@settings(max_examples=50, deadline=None)
def test_quantile_and_cdf_are_inverse(probability: float, df: float) -> None:
    """Going to the quantile and back gives the probability."""
    assert t_cdf(t_quantile(probability, df), df) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize(
    ("df", "printed"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042)]
)
def test_printed_table_of_critical_values(df: int, printed: float) -> None:
    """The two-sided 5 % points are those of every textbook's table."""
    assert round(two_sided_t(0.95, df), 3) == printed


@pytest.mark.parametrize("z", [0, 1e-9, 0.5, 1.96, -3, 10, 30])
def test_normal_tail_agrees_with_scipy(z: float) -> None:
    """The two-sided p keeps its digits in the far tail."""
    assert normal_two_sided_p(z) == pytest.approx(2 * float(stats.norm.sf(abs(z))), rel=1e-12)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_two_sided_z_agrees_with_scipy(level: float) -> None:
    """The enclosing z is scipy's."""
    assert two_sided_z(level) == pytest.approx(float(stats.norm.interval(level)[1]), rel=1e-12)


@pytest.mark.parametrize("outside", [0, 1, -0.1, 1.1, math.nan])
def test_a_probability_outside_0_and_1_is_refused(outside: float) -> None:
    """Nothing is made of a probability or level that cannot be one."""
    for refuse in (normal_quantile, two_sided_z, partial(t_quantile, df=3), partial(two_sided_t, df=3)):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            refuse(outside)


@pytest.mark.parametrize("df", [0, -1, math.nan])
def test_degrees_of_freedom_must_be_above_0(df: float) -> None:
    """Nothing is made of degrees of freedom that cannot be."""
    for refuse in (partial(t_cdf, 1, df), partial(t_quantile, 0.9, df), partial(t_quantile, 0.5, df)):
        with pytest.raises(ValueError, match="degrees of freedom"):
            refuse()
