"""Jacobson-Truax, and five relatives for research: is one person's change larger than measurement error explains?

One inequality for all of them: reliable when the index lies strictly beyond the critical value. It is decided on exact
squares, so that no square root is rounded on the way.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from app.scoring.change import ChangeCategory, Shift, categorise, exact
from app.scoring.measurement import (
    ONE_SIDED,
    TWO_SIDED,
    CutoffKind,
    Distribution,
    Norms,
    PsychometricsError,
    criterion_value,
    error_variance,
    exact_reliability,
    standardise,
)
from app.scoring.model import Direction


@dataclass(frozen=True, slots=True)
class ClassicResult:
    """One index of change and what it means. The index keeps the scale's sign: negative is a fall."""

    method: str
    pre: float
    post: float
    direction: Direction
    index: float  # standard errors
    standard_error: float  # points; what the index is counted in
    critical: float  # reliable when the index lies strictly beyond it
    reliable: Shift
    sd_form: str  # which standard deviation stands in the denominator
    relative_to_group: bool = False  # True: distance from the group's mean change, not the person's own change
    cutoff: CutoffKind | None = None
    criterion_value: float | None = None  # points
    norms_origin: Literal["published", "sample"] | None = None
    category: ChangeCategory | None = None


def classify(result: ClassicResult, norms: Norms, cutoff: CutoffKind = CutoffKind.C) -> ClassicResult:
    """The same result with the clinical cut-off and the category filled in.

    A total exactly on the cut-off is in the clinical range. Recovered needs a pre score there.

    Units and range: points. Missing data: none.

    Raises:
        PsychometricsError: the criterion cannot be computed (see `criterion_value`), or the result measures distance
            from the group's mean change, which says nothing of a person's own improvement or deterioration.

    Source: Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19.

    >>> norms = Norms(0, 27, clinical=Distribution(17.1, 6.1), functional=Distribution(3.3, 3.8))
    >>> result = edwards_nunnally(20, 6, before=norms.clinical, reliability=0.84, direction=Direction.LOWER_IS_BETTER)
    >>> classify(result, norms).category
    <ChangeCategory.RECOVERED: 'recovered'>
    """
    if result.relative_to_group:
        raise PsychometricsError("distance from the group's mean change is not a person's own change")
    value = criterion_value(norms, cutoff, result.direction)
    category = categorise(
        result.reliable,
        was_clinical=_on_clinical_side(result.pre, value, result.direction),
        is_clinical=_on_clinical_side(result.post, value, result.direction),
    )
    return replace(result, cutoff=cutoff, criterion_value=value, norms_origin=norms.origin, category=category)


def jacobson_truax(
    pre: float,
    post: float,
    *,
    sd: float,
    reliability: float,
    norms: Norms,
    direction: Direction,
    cutoff: CutoffKind = CutoffKind.C,
    critical: float = TWO_SIDED,
) -> ClassicResult:
    """Reliable change and the clinical cut-off together: RCI = (post - pre) / S_diff, category from both.

    Reliable when abs(RCI) > 1.96, strictly, as the paper writes it. A total exactly on the cut-off is clinical.

    Units and range: totals and SD in points, reliability 0 up to but not 1; give the pre-treatment SD and a retest
    coefficient. Missing data: not defined; leave the pair out.

    Raises:
        PsychometricsError: an ingredient is out of range, a norm is missing, or the cut-off lies outside the scale.

    Source: Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19, whose example is the doctest.

    >>> norms = Norms(0, 100, clinical=Distribution(40, 7.5), functional=Distribution(60, 7.5))
    >>> result = jacobson_truax(32.5, 47.5, sd=7.5, reliability=0.80, norms=norms, direction=Direction.HIGHER_IS_BETTER)
    >>> round(result.index, 2), result.criterion_value, result.category
    (3.16, 50.0, <ChangeCategory.IMPROVED: 'improved'>)
    """
    measured = _Measured("jacobson_truax", pre, post, direction, critical, "pre")
    result = measured.result(exact(post) - exact(pre), 2 * error_variance(sd, reliability))
    return classify(result, norms, cutoff)


def gulliksen_lord_novick(
    pre: float,
    post: float,
    *,
    before: Distribution,
    reliability: float,
    direction: Direction,
    critical: float = TWO_SIDED,
) -> ClassicResult:
    """Change beyond the expected regression to the mean: [(x2 - m1) - r (x1 - m1)] / (s1 sqrt(1 - r^2)).

    Units and range: totals in points; `before` is the group at pre. Reliable strictly beyond `critical`.
    Missing data: not defined; leave the pair out.

    Raises:
        PsychometricsError: an ingredient is out of range.

    Source: Gulliksen 1950, Lord & Novick 1968; formula as in the R package clinicalsignificance.

    >>> result = gulliksen_lord_novick(20, 9, before=Distribution(17.1, 6.1), reliability=0.84,
    ...                                direction=Direction.LOWER_IS_BETTER)
    >>> round(result.index, 2)
    -3.18
    """
    r, mean = exact_reliability(reliability), exact(before.mean)
    numerator = (exact(post) - mean) - r * (exact(pre) - mean)
    measured = _Measured("gulliksen_lord_novick", pre, post, direction, critical, "pre")
    return measured.result(numerator, exact(before.sd) ** 2 * (1 - r**2))


def hsu_linn_lord(
    pre: float,
    post: float,
    *,
    before: Distribution,
    mean_after: float,
    reliability: float,
    direction: Direction,
    critical: float = TWO_SIDED,
) -> ClassicResult:
    """Distance from the group's own mean change: [(x2 - m2) - r (x1 - m1)] / (s1 sqrt(1 - r^2)).

    Who improves less than the group comes out as worse. The result says so (`relative_to_group`), and `classify`
    refuses it: it is not the deterioration of a person.

    Units and range: totals in points; `before` and `mean_after` are the group at pre and post. Reliable strictly
    beyond `critical`. Missing data: not defined; leave the pair out.

    Raises:
        PsychometricsError: an ingredient is out of range.

    Source: Hsu 1989, Linn & Slinde 1977, Lord 1963; formula as in the R package clinicalsignificance.

    >>> result = hsu_linn_lord(20, 16, before=Distribution(17.1, 6.1), mean_after=7.0, reliability=0.84,
    ...                        direction=Direction.LOWER_IS_BETTER)
    >>> round(result.index, 2), result.reliable, result.relative_to_group
    (1.98, 'worsened', True)
    """
    r = exact_reliability(reliability)
    numerator = (exact(post) - exact(mean_after)) - r * (exact(pre) - exact(before.mean))
    measured = _Measured("hsu_linn_lord", pre, post, direction, critical, "pre", relative_to_group=True)
    return measured.result(numerator, exact(before.sd) ** 2 * (1 - r**2))


def edwards_nunnally(
    pre: float,
    post: float,
    *,
    before: Distribution,
    reliability: float,
    direction: Direction,
    critical: float = TWO_SIDED,
) -> ClassicResult:
    """Post score against the interval round the estimated true pre score: [x2 - (r (x1 - m1) + m1)] / SEM.

    Units and range: totals in points; `before` is the group at pre. Reliable strictly beyond `critical`; some papers
    take 2 in place of 1.96, pass it then. Missing data: not defined; leave the pair out.

    Raises:
        PsychometricsError: an ingredient is out of range.

    Source: Edwards, Yarvis, Mueller, Zingale & Wagman 1978, and Speer 1992, J Consult Clin Psychol 60:402-408; formula
    as in the R package clinicalsignificance.

    >>> before = Distribution(17.1, 6.1)
    >>> round(edwards_nunnally(20, 9, before=before, reliability=0.84, direction=Direction.LOWER_IS_BETTER).index, 2)
    -4.32
    """
    numerator = exact(post) - _true_score(pre, before, reliability)
    measured = _Measured("edwards_nunnally", pre, post, direction, critical, "pre")
    return measured.result(numerator, error_variance(before.sd, reliability))


def nunnally_kotsch(
    pre: float,
    post: float,
    *,
    before: Distribution,
    reliability: float,
    reliability_after: float,
    direction: Direction,
    sd_after: float | None = None,
    critical: float = TWO_SIDED,
) -> ClassicResult:
    """As Edwards-Nunnally, with an error of its own for each occasion.

    [x2 - (r1 (x1 - m1) + m1)] / sqrt(r1^2 s1^2 (1 - r1) + s^2 (1 - r2)). In the second term s is `sd_after`, the
    textbook form, if given; otherwise the pre SD, the form of common software. `sd_form` of the result says which.

    Units and range: totals in points; `before` is the group at pre. Reliable strictly beyond `critical`.
    Missing data: not defined; leave the pair out.

    Raises:
        PsychometricsError: an ingredient is out of range.

    Source: Nunnally & Kotsch 1983; pre-SD form as in the R package clinicalsignificance.

    >>> result = nunnally_kotsch(20, 9, before=Distribution(17.1, 6.1), reliability=0.84, reliability_after=0.84,
    ...                          direction=Direction.LOWER_IS_BETTER)
    >>> round(result.index, 2), result.sd_form
    (-3.31, 'pre in both terms')
    """
    r = exact_reliability(reliability)
    form = "pre in both terms" if sd_after is None else "pre in the first term, post in the second"
    second = error_variance(before.sd if sd_after is None else sd_after, reliability_after)
    measured = _Measured("nunnally_kotsch", pre, post, direction, critical, form)
    numerator = exact(post) - _true_score(pre, before, reliability)
    return measured.result(numerator, r**2 * error_variance(before.sd, reliability) + second)


def hageman_arrindell(
    pre: float,
    post: float,
    *,
    before: Distribution,
    after: Distribution,
    reliability: float,
    correlation: float,
    direction: Direction,
    critical: float = ONE_SIDED,
) -> ClassicResult:
    """Change shrunk towards the group's by the reliability of differences, one-sided at 1.645.

    r_dd = (s1^2 r_1 + s2^2 r_2 - 2 s1 s2 r12) / (s1^2 + s2^2 - 2 s1 s2 r12) with r_k = (s_k^2 - SEM^2) / s_k^2;
    index = [(x2 - x1) r_dd + (m2 - m1)(1 - r_dd)] / [sqrt(r_dd) sqrt(2 SEM^2)]. SEM is from the pre SD.

    Units and range: totals in points; `correlation` between pre and post, -1 to 1. Reliable strictly beyond `critical`.
    Missing data: not defined; leave the pair out.

    Raises:
        PsychometricsError: an ingredient is out of range, or differences have no reliability left (r_dd not above 0).

    Source: Hageman & Arrindell 1999, Behav Res Ther 37:1169-1193; formula as in the R package clinicalsignificance.

    >>> result = hageman_arrindell(20, 9, before=Distribution(17.1, 6.1), after=Distribution(10.0, 6.5),
    ...                            reliability=0.84, correlation=0.4, direction=Direction.LOWER_IS_BETTER)
    >>> round(result.index, 2), result.reliable
    (-3.35, 'improved')
    """
    error = error_variance(before.sd, reliability)
    r_dd = _difference_reliability(before, after, error, correlation)
    numerator = (exact(post) - exact(pre)) * r_dd + (exact(after.mean) - exact(before.mean)) * (1 - r_dd)
    measured = _Measured("hageman_arrindell", pre, post, direction, critical, "pre and post")
    return measured.result(numerator, r_dd * 2 * error)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What every method shares, so that one place decides what is reliable."""

    method: str
    pre: float
    post: float
    direction: Direction
    critical: float
    sd_form: str
    relative_to_group: bool = False

    def result(self, numerator: Fraction, variance: Fraction) -> ClassicResult:
        return ClassicResult(
            method=self.method,
            pre=self.pre,
            post=self.post,
            direction=self.direction,
            index=standardise(numerator, variance),
            standard_error=math.sqrt(variance),
            critical=self.critical,
            reliable=self._reliable(numerator, variance),
            sd_form=self.sd_form,
            relative_to_group=self.relative_to_group,
        )

    def _reliable(self, numerator: Fraction, variance: Fraction) -> Shift:
        if numerator**2 <= exact(self.critical) ** 2 * variance:
            return "none"
        is_fall = numerator < 0
        return "improved" if is_fall == (self.direction is Direction.LOWER_IS_BETTER) else "worsened"


def _true_score(pre: float, before: Distribution, reliability: float) -> Fraction:
    mean = exact(before.mean)
    return exact_reliability(reliability) * (exact(pre) - mean) + mean


def _difference_reliability(before: Distribution, after: Distribution, error: Fraction, correlation: float) -> Fraction:
    if not -1 <= correlation <= 1:
        raise PsychometricsError("a correlation lies between -1 and 1")
    sd_before, sd_after = exact(before.sd), exact(after.sd)
    observed = sd_before**2 + sd_after**2 - 2 * sd_before * sd_after * exact(correlation)
    true = observed - 2 * error  # s_k^2 r_k is s_k^2 - SEM^2, once for each occasion
    if true <= 0:
        raise PsychometricsError("differences this noisy have no reliability left")
    return true / observed


def _on_clinical_side(total: float, value: float, direction: Direction) -> bool:
    beyond = exact(total) - exact(value)
    return beyond >= 0 if direction is Direction.LOWER_IS_BETTER else beyond <= 0
