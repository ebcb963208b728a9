"""Jacobson-Truax and its relatives, against the same quantities derived another way."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.scoring.measurement import (
    CutoffKind,
    CutoffOutsideScaleError,
    Distribution,
    NormMissingError,
    Norms,
    PsychometricsError,
)
from app.scoring.model import Direction
from app.scoring.reliable_change import (
    ClassicResult,
    classify,
    edwards_nunnally,
    gulliksen_lord_novick,
    hageman_arrindell,
    hsu_linn_lord,
    jacobson_truax,
    nunnally_kotsch,
)

LOWER, HIGHER = Direction.LOWER_IS_BETTER, Direction.HIGHER_IS_BETTER
PHQ9_NORMS = Norms(0, 27, clinical=Distribution(17.1, 6.1), functional=Distribution(3.3, 3.8))  # Kroenke 2001
BEFORE, AFTER = Distribution(17.1, 6.1), Distribution(10.0, 6.5)

scores = st.integers(0, 80)
groups = st.builds(Distribution, st.integers(20, 60), st.integers(4, 20))
coefficients = st.integers(50, 98).map(lambda hundredths: hundredths / 100)

METHODS: dict[str, Callable[[float, float, Direction], ClassicResult]] = {
    "jacobson_truax": lambda pre, post, way: jacobson_truax(
        pre, post, sd=6.1, reliability=0.84, norms=PHQ9_NORMS, direction=way, cutoff=CutoffKind.B
    ),
    "gulliksen_lord_novick": lambda pre, post, way: gulliksen_lord_novick(
        pre, post, before=BEFORE, reliability=0.84, direction=way
    ),
    "hsu_linn_lord": lambda pre, post, way: hsu_linn_lord(
        pre, post, before=BEFORE, mean_after=7.0, reliability=0.84, direction=way
    ),
    "edwards_nunnally": lambda pre, post, way: edwards_nunnally(
        pre, post, before=BEFORE, reliability=0.84, direction=way
    ),
    "nunnally_kotsch": lambda pre, post, way: nunnally_kotsch(
        pre, post, before=BEFORE, reliability=0.84, reliability_after=0.8, sd_after=6.5, direction=way
    ),
    "hageman_arrindell": lambda pre, post, way: hageman_arrindell(
        pre, post, before=BEFORE, after=AFTER, reliability=0.84, correlation=0.4, direction=way
    ),
}


def jt(pre: float, post: float, cutoff: CutoffKind = CutoffKind.C) -> ClassicResult:
    return jacobson_truax(pre, post, sd=6.1, reliability=0.84, norms=PHQ9_NORMS, direction=LOWER, cutoff=cutoff)


@pytest.mark.parametrize(
    ("pre", "post", "category"),
    [
        (15, 8, "recovered"),
        (16, 9, "improved"),
        (14, 8, "unchanged"),
        (8, 1, "improved"),
        (8, 15, "harmed"),
        (9, 16, "deteriorated"),
        (1, 8, "deteriorated"),
        (8, 14, "unchanged"),
        (12, 12, "unchanged"),
    ],
)
def test_phq9_categories(pre: int, post: int, category: str) -> None:
    """More than 6.76 points and criterion c at 8.60, at every corner."""
    result = jt(pre, post)
    assert (result.category, result.cutoff, result.norms_origin) == (category, CutoffKind.C, "published")
    assert result.criterion_value == pytest.approx(8.5970, abs=1e-4)


def test_jacobson_truax_published_example() -> None:
    """Their client rises from 32.5 to 47.5: index 3.16, reliable, but short of criterion c at 50."""
    norms = Norms(0, 100, clinical=Distribution(40, 7.5), functional=Distribution(60, 7.5))
    outcomes = {
        cutoff: jacobson_truax(32.5, 47.5, sd=7.5, reliability=0.80, norms=norms, direction=HIGHER, cutoff=cutoff)
        for cutoff in CutoffKind
    }
    assert {round(result.index, 2) for result in outcomes.values()} == {3.16}
    assert [outcomes[kind].category for kind in CutoffKind] == ["improved", "recovered", "improved"]


@pytest.mark.parametrize(
    ("fall", "reliable"), [(1.959, "none"), (1.96, "none"), (1.961, "improved"), (-1.96, "none"), (-1.961, "worsened")]
)
def test_index_exactly_at_the_critical_value_is_not_reliable(fall: float, reliable: str) -> None:
    """With S_diff exactly 1 point, 1.96 is not more than 1.96."""
    result = jacobson_truax(10, 10 - fall, sd=1, reliability=0.5, norms=PHQ9_NORMS, direction=LOWER)
    assert result.reliable == reliable


def test_critical_value_is_a_parameter() -> None:
    """At 1.645 a fall of six PHQ-9 points is reliable, at 1.96 it is not."""
    loose = jacobson_truax(
        15, 9, sd=6.1, reliability=0.84, norms=PHQ9_NORMS, direction=LOWER, critical=1.645, cutoff=CutoffKind.B
    )
    assert (loose.reliable, loose.critical, loose.category) == ("improved", 1.645, "recovered")
    assert jt(15, 9).reliable == "none"


@pytest.mark.parametrize(
    ("pre", "post", "category"),
    [(30, 20, "improved"), (30, 19.9, "recovered"), (20, 5, "recovered"), (19.9, 5, "improved")],
)
def test_a_total_on_the_cutoff_is_in_the_clinical_range(pre: float, post: float, category: str) -> None:
    """At equality a person is still clinical, before and after."""
    norms = Norms(0, 63, clinical=Distribution(30, 10), functional=Distribution(10, 10))
    result = jacobson_truax(pre, post, sd=2, reliability=0.9, norms=norms, direction=LOWER)
    assert (result.criterion_value, result.category) == (20, category)


@pytest.mark.parametrize(("post", "category"), [(40, "improved"), (40.1, "recovered")])
def test_a_total_on_the_cutoff_is_clinical_where_higher_is_better(post: float, category: str) -> None:
    """The same at the mirrored cut-off."""
    norms = Norms(0, 63, clinical=Distribution(30, 10), functional=Distribution(50, 10))
    assert jacobson_truax(20, post, sd=2, reliability=0.9, norms=norms, direction=HIGHER).category == category


def test_criterion_a_below_the_scale_is_refused() -> None:
    """On a mild sample criterion a falls below 0: no category is made from it."""
    norms = Norms(0, 27, clinical=Distribution(8, 5), functional=Distribution(3, 3))
    with pytest.raises(CutoffOutsideScaleError, match="criterion a is -2"):
        jacobson_truax(15, 2, sd=5, reliability=0.84, norms=norms, direction=LOWER, cutoff=CutoffKind.A)


def test_criterion_c_needs_both_norms() -> None:
    """Without a functional population there is no c."""
    with pytest.raises(NormMissingError, match="functional"):
        jacobson_truax(15, 2, sd=5, reliability=0.84, norms=Norms(0, 27, clinical=BEFORE), direction=LOWER)


@given(scores, scores, groups, coefficients)
def test_gulliksen_lord_novick_is_the_standardised_conditional(
    pre: int, post: int, before: Distribution, reliability: float
) -> None:
    """Post given pre in a bivariate normal with correlation r and one spread, by its Schur complement."""
    result = gulliksen_lord_novick(pre, post, before=before, reliability=reliability, direction=LOWER)
    covariance = before.sd**2 * np.array([[1, reliability], [reliability, 1]])
    slope = covariance[1, 0] / covariance[0, 0]
    spread = np.sqrt(1 / np.linalg.inv(covariance)[1, 1])
    assert result.index == pytest.approx((post - (before.mean + slope * (pre - before.mean))) / spread)
    assert result.standard_error == pytest.approx(spread)


@given(scores, scores, groups, coefficients, st.integers(5, 60))
def test_hsu_linn_lord_is_the_residual_about_the_group(
    pre: int, post: int, before: Distribution, reliability: float, mean_after: int
) -> None:
    """The same conditional, about the group's own mean after treatment."""
    result = hsu_linn_lord(pre, post, before=before, mean_after=mean_after, reliability=reliability, direction=LOWER)
    residual = np.polyval([reliability, mean_after - reliability * before.mean], pre)
    spread = np.sqrt(np.linalg.det([[1, reliability], [reliability, 1]])) * before.sd
    assert result.index == pytest.approx((post - residual) / spread)


@given(scores, scores, groups, coefficients)
def test_edwards_nunnally_is_a_z_score_about_the_estimated_true_score(
    pre: int, post: int, before: Distribution, reliability: float
) -> None:
    """Kelley's weighted mean of the score and the group, and the standard error of measurement."""
    result = edwards_nunnally(pre, post, before=before, reliability=reliability, direction=LOWER)
    true = np.average([pre, before.mean], weights=[reliability, 1 - reliability])
    assert result.index == pytest.approx((post - true) / (before.sd * (1 - reliability) ** 0.5))


@given(scores, scores, groups, coefficients, coefficients, st.none() | st.integers(4, 20))
def test_nunnally_kotsch_propagates_both_errors(
    pre: int, post: int, before: Distribution, reliability: float, later: float, sd_after: int | None
) -> None:
    """Variance of (post error minus r times pre error), the post error from the SD form that was asked for."""
    result = nunnally_kotsch(
        pre, post, before=before, reliability=reliability, reliability_after=later, sd_after=sd_after, direction=LOWER
    )
    second = before.sd if sd_after is None else sd_after
    errors = np.diag([before.sd**2 * (1 - reliability), second**2 * (1 - later)])
    weights = np.array([-reliability, 1])
    true = np.average([pre, before.mean], weights=[reliability, 1 - reliability])
    assert result.index == pytest.approx((post - true) / np.sqrt(weights @ errors @ weights))
    assert ("post" in result.sd_form) is (sd_after is not None)


@given(scores, scores, st.integers(5, 60), st.integers(10, 20), st.integers(10, 20), st.integers(-30, 60))
def test_hageman_arrindell_shrinks_by_the_reliability_of_differences(
    pre: int, post: int, mean_after: int, sd_before: int, sd_after: int, percent: int
) -> None:
    """True over observed variance of the difference, each as a contrast of its covariance matrix."""
    before, after, r12, reliability = (
        Distribution(40, sd_before),
        Distribution(mean_after, sd_after),
        percent / 100,
        0.9,
    )
    observed = np.array([[sd_before**2, r12 * sd_before * sd_after], [r12 * sd_before * sd_after, sd_after**2]])
    error = sd_before**2 * (1 - reliability) * np.eye(2)
    contrast = np.array([-1.0, 1.0])
    r_dd = contrast @ (observed - error) @ contrast / (contrast @ observed @ contrast)
    shrunk = np.average([post - pre, mean_after - 40], weights=[r_dd, 1 - r_dd])
    result = hageman_arrindell(
        pre, post, before=before, after=after, reliability=reliability, correlation=r12, direction=LOWER
    )
    assert result.index == pytest.approx(shrunk / np.sqrt(r_dd * contrast @ error @ contrast))
    assert round(stats.norm.sf(result.critical), 3) == 0.05


def test_hageman_arrindell_is_judged_one_sided() -> None:
    """An index of -1.65 is reliable here and would not be at 1.96."""
    result = METHODS["hageman_arrindell"](18.5, 13.5, LOWER)
    assert -1.96 < result.index < -1.645
    assert result.reliable == "improved"


@pytest.mark.parametrize(("correlation", "reliability", "match"), [(1.01, 0.84, "correlation"), (0.95, 0.5, "noisy")])
def test_hageman_arrindell_refuses_impossible_figures(correlation: float, reliability: float, match: str) -> None:
    """A correlation above 1, or differences that are all noise, give no index."""
    with pytest.raises(PsychometricsError, match=match):
        hageman_arrindell(
            20, 9, before=BEFORE, after=AFTER, reliability=reliability, correlation=correlation, direction=LOWER
        )


def test_the_average_person_has_not_moved_by_the_groups_own_measure() -> None:
    """Who moves as the group moves stands at 0 with Hsu-Linn-Lord; less than the group reads as worse, marked so."""
    average = METHODS["hsu_linn_lord"](17.1, 7.0, LOWER)
    less = METHODS["hsu_linn_lord"](20, 17, LOWER)
    assert average.index == 0
    assert (less.reliable, less.relative_to_group) == ("worsened", True)


def test_distance_from_the_group_is_never_made_a_category() -> None:
    """A person who improved less than average is not called deteriorated."""
    with pytest.raises(PsychometricsError, match="group"):
        classify(METHODS["hsu_linn_lord"](20, 17, LOWER), PHQ9_NORMS)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "hsu_linn_lord"])
def test_every_method_of_own_change_can_be_classified(name: str) -> None:
    """From 20 to 3 a person has recovered by every method, with the criterion told."""
    result = classify(METHODS[name](20, 3, LOWER), PHQ9_NORMS)
    assert (result.method, result.category) == (name, "recovered")
    assert result.criterion_value == pytest.approx(8.5970, abs=1e-4)


@given(st.sampled_from([name for name in METHODS if name != "jacobson_truax"]), st.integers(0, 27), st.integers(0, 27))
def test_direction_alone_turns_improved_into_worsened(name: str, pre: int, post: int) -> None:
    """The index is the scale's; only its reading depends on which way is better."""
    lower, higher = METHODS[name](pre, post, LOWER), METHODS[name](pre, post, HIGHER)
    assert lower.index == higher.index
    swap = {"improved": "worsened", "worsened": "improved", "none": "none"}
    assert higher.reliable == swap[lower.reliable]


@given(st.sampled_from(sorted(METHODS)), st.integers(0, 27), st.integers(0, 27), st.integers(0, 27))
def test_a_lower_post_score_never_loses_an_improvement(name: str, pre: int, post: int, other: int) -> None:
    """Lower is better: what is reliable improvement at a total is so at every lower one."""
    low, high = sorted((post, other))
    if METHODS[name](pre, high, LOWER).reliable == "improved":
        assert METHODS[name](pre, low, LOWER).reliable == "improved"


@given(st.integers(0, 27), st.integers(0, 27))
def test_jacobson_truax_mirrors_with_the_scale(pre: int, post: int) -> None:
    """On the mirrored scale with mirrored norms the category is the same."""
    mirrored = Norms(0, 27, clinical=Distribution(9.9, 6.1), functional=Distribution(23.7, 3.8))
    mirror = jacobson_truax(27 - pre, 27 - post, sd=6.1, reliability=0.84, norms=mirrored, direction=HIGHER)
    plain = jt(pre, post)
    assert (mirror.category, mirror.reliable) == (plain.category, plain.reliable)
    assert mirror.index == -plain.index
