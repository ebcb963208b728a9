"""Standard errors, reliable change in points, and the three cut-offs."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize, stats

from app.scoring.measurement import (
    ONE_SIDED,
    TWO_SIDED,
    CutoffKind,
    CutoffOutsideScaleError,
    Distribution,
    NormMissingError,
    Norms,
    PsychometricsError,
    criterion_value,
    error_variance,
    measurement_error,
    norms_of,
    reliable_change_index,
    s_diff,
    sem,
    smallest_reliable_change,
)
from app.scoring.model import Answer, Direction, Instrument, Item, MissingRule, Psychometrics

LOWER, HIGHER = Direction.LOWER_IS_BETTER, Direction.HIGHER_IS_BETTER
PHQ9_NORMS = Norms(0, 27, clinical=Distribution(17.1, 6.1), functional=Distribution(3.3, 3.8))  # Kroenke 2001

spreads = st.floats(0.5, 30)
reliabilities = st.floats(0, 0.99)


def scale(*samples: Psychometrics) -> Instrument:
    return Instrument(
        id="scale",
        version=1,
        title="",
        measures="depression",
        instruction="",
        items=(Item(1, "", tuple(Answer(value, "") for value in range(28))),),
        recall_days=14,
        recall_label="",
        direction=LOWER,
        missing=MissingRule(0, ""),
        copyright="",
        licence="",
        source="",
        psychometrics=samples,
    )


def test_jacobson_and_truax_own_example() -> None:
    """Their 1991 example: SD 7.5, r .80, 32.5 to 47.5 gives SEM 3.35, S_diff 4.74, index 3.16."""
    assert round(sem(7.5, 0.80), 2) == 3.35
    assert round(s_diff(7.5, 0.80), 2) == 4.74
    assert round(reliable_change_index(32.5, 47.5, sd=7.5, reliability=0.80), 2) == 3.16


@pytest.mark.parametrize(
    ("sd", "reliability", "points"),
    [(6.1, 0.84, 6.76), (6.1, 0.89, 5.61), (5.4, 0.84, 5.99), (14, 0.94, 9.5), (14, 0.82, 16.5), (14, 0.84, 15.5)],
)
def test_reliable_change_in_points(sd: float, reliability: float, points: float) -> None:
    """PHQ-9 and PCL-5: the coefficient, more than anything else, makes the threshold."""
    assert round(smallest_reliable_change(sd, reliability), 2 if points != round(points, 1) else 1) == points


def test_published_school_example() -> None:
    """Piers-Harris 2, SEM 3.07: S_diff 4.34, and more than 8.51 points are reliable (Univ. of Arizona, appendix E)."""
    sd = 3.07 / math.sqrt(1 - 0.75)
    assert round(s_diff(sd, 0.75), 2) == 4.34
    assert round(smallest_reliable_change(sd, 0.75), 2) == 8.51


def test_critical_values_are_those_of_the_normal_curve() -> None:
    """1.96 and 1.645 are the printed two-sided and one-sided 5 % points."""
    assert round(stats.norm.ppf(0.975), 2) == TWO_SIDED
    assert round(stats.norm.ppf(0.95), 3) == ONE_SIDED


@given(spreads, reliabilities)
def test_s_diff_is_the_spread_of_the_difference_of_two_errors(sd: float, reliability: float) -> None:
    """From the covariance of two parallel forms with equal true score: contrast variance less true variance."""
    observed = sd**2 * np.array([[1, reliability], [reliability, 1]])
    contrast = np.array([1.0, -1.0])
    assert s_diff(sd, reliability) == pytest.approx(np.sqrt(contrast @ observed @ contrast), rel=1e-6)
    assert sem(sd, reliability) == pytest.approx(s_diff(sd, reliability) / np.sqrt(2), rel=1e-9)


@given(st.integers(0, 27), st.integers(0, 27), spreads, reliabilities)
def test_index_is_antisymmetric(pre: int, post: int, sd: float, reliability: float) -> None:
    """Swapping the two forms turns the sign of the index."""
    there = reliable_change_index(pre, post, sd=sd, reliability=reliability)
    assert reliable_change_index(post, pre, sd=sd, reliability=reliability) == -there


@pytest.mark.parametrize("sd", [0, -1, math.nan, math.inf])
def test_impossible_spread_is_refused(sd: float) -> None:
    """A standard deviation is a finite number above 0."""
    with pytest.raises(PsychometricsError, match="standard deviation"):
        sem(sd, 0.8)
    with pytest.raises(PsychometricsError, match="standard deviation"):
        Distribution(10, sd)


@pytest.mark.parametrize("reliability", [-0.01, 1.01, math.nan])
def test_impossible_reliability_is_refused(reliability: float) -> None:
    """A reliability lies between 0 and 1."""
    with pytest.raises(PsychometricsError, match="between 0 and 1"):
        error_variance(6.1, reliability)


def test_a_perfect_instrument_has_no_index() -> None:
    """With reliability 1 the standard error is 0 and nothing can be counted in it."""
    assert sem(6.1, 1) == 0
    with pytest.raises(PsychometricsError, match="below 1"):
        reliable_change_index(18, 9, sd=6.1, reliability=1)


def test_phq9_cutoffs() -> None:
    """From Kroenke's norms: a 4.9, b 10.9, c 8.60; b takes the functional SD."""
    assert [round(criterion_value(PHQ9_NORMS, kind, LOWER), 2) for kind in CutoffKind] == [4.9, 10.9, 8.6]


def test_jacobson_and_truax_cutoffs() -> None:
    """Clinical 40, functional 60, both SD 7.5, higher is better: a 55, b 45, c 50."""
    norms = Norms(0, 100, clinical=Distribution(40, 7.5), functional=Distribution(60, 7.5))
    assert [criterion_value(norms, kind, HIGHER) for kind in CutoffKind] == [55, 45, 50]


def test_published_bdi_cutoff() -> None:
    """The R package clinicalsignificance prints criterion a = 19.16 for BDI-II 35.48 (SD 8.16)."""
    norms = Norms(0, 63, clinical=Distribution(35.48, 8.16), origin="sample")
    assert criterion_value(norms, CutoffKind.A, LOWER) == 19.16


means = st.integers(300, 700).map(lambda tenths: tenths / 10)


@given(means, means, spreads, spreads)
def test_criterion_c_is_equally_far_from_both(clinical: float, functional: float, sd_c: float, sd_f: float) -> None:
    """Counted in each population's own SD, c is as far from one mean as from the other."""
    assume(clinical > functional)
    norms = Norms(0, 100, clinical=Distribution(clinical, sd_c), functional=Distribution(functional, sd_f))
    root = optimize.brentq(lambda x: (x - functional) / sd_f - (clinical - x) / sd_c, functional, clinical)
    assert criterion_value(norms, CutoffKind.C, LOWER) == pytest.approx(root, abs=1e-6)


@given(st.sampled_from(CutoffKind), st.integers(50, 70), st.integers(30, 45), st.integers(1, 10), st.integers(1, 10))
def test_cutoffs_mirror_with_the_scale(kind: CutoffKind, clinical: int, functional: int, sd_c: int, sd_f: int) -> None:
    """On the mirrored scale the cut-off is the mirror image."""
    plain = Norms(0, 100, clinical=Distribution(clinical, sd_c), functional=Distribution(functional, sd_f))
    mirror = Norms(0, 100, clinical=Distribution(100 - clinical, sd_c), functional=Distribution(100 - functional, sd_f))
    assert criterion_value(mirror, kind, HIGHER) == pytest.approx(100 - criterion_value(plain, kind, LOWER))


@pytest.mark.parametrize(
    ("kind", "mean", "sd", "direction"),
    [
        (CutoffKind.A, 8, 5, LOWER),
        (CutoffKind.A, 10, 5, LOWER),
        (CutoffKind.A, 18, 5, HIGHER),
        (CutoffKind.A, 17, 5, HIGHER),
        (CutoffKind.B, 20, 5, LOWER),
        (CutoffKind.B, 5, 5, HIGHER),
    ],
)
def test_a_cutoff_that_nobody_can_cross_is_refused(
    kind: CutoffKind, mean: float, sd: float, direction: Direction
) -> None:
    """Criterion a at or past the best total, or b past the worst, is no cut-off."""
    group = Distribution(mean, sd)
    with pytest.raises(CutoffOutsideScaleError, match=f"criterion {kind}"):
        criterion_value(Norms(0, 27, clinical=group, functional=group), kind, direction)


@pytest.mark.parametrize(("mean", "direction", "value"), [(17, LOWER, 27), (10, HIGHER, 0)])
def test_criterion_b_may_stand_on_the_worst_total(mean: float, direction: Direction, value: float) -> None:
    """The worst total alone is still a clinical range."""
    assert criterion_value(Norms(0, 27, functional=Distribution(mean, 5)), CutoffKind.B, direction) == value


@pytest.mark.parametrize(
    ("kind", "norms", "name"),
    [
        (CutoffKind.A, Norms(0, 27, functional=Distribution(3.3, 3.8)), "clinical"),
        (CutoffKind.B, Norms(0, 27, clinical=Distribution(17.1, 6.1)), "functional"),
        (CutoffKind.C, Norms(0, 27, clinical=Distribution(17.1, 6.1)), "functional"),
        (CutoffKind.C, Norms(0, 27, functional=Distribution(3.3, 3.8)), "clinical"),
    ],
)
def test_a_missing_population_is_named(kind: CutoffKind, norms: Norms, name: str) -> None:
    """Each criterion says which population it lacks."""
    with pytest.raises(NormMissingError, match=name):
        criterion_value(norms, kind, LOWER)


def test_norms_the_wrong_way_round_are_refused() -> None:
    """A functional population sicker than the clinical one is a mistake in the direction."""
    with pytest.raises(PsychometricsError, match="healthy side"):
        criterion_value(PHQ9_NORMS, CutoffKind.C, HIGHER)


CLINICAL = Psychometrics("major depression", "paper one", 41, 17.1, 6.1, role="clinical", is_default=True)
OTHER = Psychometrics("other depression", "paper one", 65, 10.4, 5.4, role="clinical")
FUNCTIONAL = Psychometrics("none", "paper one", 474, 3.3, 3.8, role="functional", is_default=True)
RETEST = Psychometrics("primary care", "paper two", sd=5.0, alpha=0.89, retest=0.84, is_default=True)
ALPHA = Psychometrics("primary care", "paper two", sd=5.0, alpha=0.89, is_default=True)


def test_norms_of_an_instrument_are_its_defaults() -> None:
    """The marked clinical and functional samples, with the ends of the scale."""
    assert norms_of(scale(OTHER, CLINICAL, FUNCTIONAL)) == PHQ9_NORMS
    assert norms_of(scale(OTHER, RETEST)) == Norms(0, 27)


def test_measurement_error_prefers_retest_and_says_so() -> None:
    """The clinical SD with the retest coefficient, each with its source."""
    error = measurement_error(scale(CLINICAL, RETEST))
    assert error is not None
    assert (error.sd, error.reliability, error.coefficient) == (6.1, 0.84, "retest")
    assert (error.sd_source, error.reliability_source) == ("paper one", "paper two")
    assert (round(error.sem, 2), round(error.s_diff, 2)) == (2.44, 3.45)


def test_measurement_error_falls_back_on_alpha_and_the_samples_own_sd() -> None:
    """Without retest it is alpha by name; without a clinical sample the SD is that of the reliability sample."""
    error = measurement_error(scale(ALPHA))
    assert error is not None
    assert (error.sd, error.reliability, error.coefficient) == (5.0, 0.89, "alpha")


@pytest.mark.parametrize(
    "samples",
    [
        (),
        (CLINICAL,),
        (Psychometrics("x", "y", retest=0.8, is_default=True),),
        (CLINICAL, Psychometrics("x", "y", is_default=True)),
    ],
)
def test_measurement_error_needs_a_spread_and_a_coefficient(samples: tuple[Psychometrics, ...]) -> None:
    """What the declaration lacks is not invented."""
    assert measurement_error(scale(*samples)) is None
