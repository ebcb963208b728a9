"""How precise an instrument is, and where its clinical range ends: the figures change is measured with.

Everyday judgement uses published thresholds (`judgement.py`). These functions are for those who bring a standard
deviation, a reliability and norms of their own.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final, Literal

from app.scoring.change import exact
from app.scoring.model import Direction, Instrument, Psychometrics

TWO_SIDED: Final = 1.96  # standard normal quantile, 5 % two-sided; Jacobson & Truax 1991
ONE_SIDED: Final = 1.645  # standard normal quantile, 5 % one-sided; Hageman & Arrindell 1999


class PsychometricsError(ValueError):
    """The figures given cannot produce the quantity."""


class NormMissingError(PsychometricsError):
    """The criterion needs a population that was not supplied."""


class CutoffOutsideScaleError(PsychometricsError):
    """The criterion leaves no total on one of its sides, so nobody could ever cross it."""


class CutoffKind(StrEnum):
    """Jacobson and Truax's three criteria for where the clinical range ends."""

    A = "a"  # two SD from the clinical mean, towards health
    B = "b"  # two SD from the functional mean, towards illness
    C = "c"  # where both populations are equally many SD away


@dataclass(frozen=True, slots=True)
class Distribution:
    """Mean and standard deviation of a group, both in points."""

    mean: float
    sd: float

    def __post_init__(self) -> None:
        """Refuse what is not a spread.

        Raises:
            PsychometricsError: the SD is not a positive finite number, or the mean is not finite.
        """
        if not (math.isfinite(self.mean) and math.isfinite(self.sd) and self.sd > 0):
            raise PsychometricsError("a group needs a finite mean and a standard deviation above 0")


@dataclass(frozen=True, slots=True)
class Norms:
    """The populations a person is compared with, and the ends of the scale. `origin` is told with every result."""

    minimum: float  # points
    maximum: float  # points
    clinical: Distribution | None = None
    functional: Distribution | None = None
    origin: Literal["published", "sample"] = "published"


@dataclass(frozen=True, slots=True)
class MeasurementError:
    """How precise an instrument is, with where both ingredients come from and which coefficient it was."""

    sd: float  # points
    reliability: float  # 0 to 1
    coefficient: Literal["retest", "alpha"]
    sem: float  # points
    s_diff: float  # points
    sd_source: str
    reliability_source: str


def sem(sd: float, reliability: float) -> float:
    """Standard error of measurement: how far a single total strays from the person's true one.

    SEM = SD * sqrt(1 - r). Units and range: points; SD above 0, reliability 0 to 1.
    Missing data: none.

    Raises:
        PsychometricsError: an ingredient is out of range.

    Source: classical test theory, as in Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19.

    >>> round(sem(7.5, 0.80), 2)
    3.35
    """
    return math.sqrt(error_variance(sd, reliability))


def s_diff(sd: float, reliability: float) -> float:
    """Standard error of the difference between two totals of a person who did not change.

    S_diff = sqrt(2 * SEM^2). Units and range: points; SD above 0, reliability 0 to 1.
    Missing data: none.

    Raises:
        PsychometricsError: an ingredient is out of range.

    Source: Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19.

    >>> round(s_diff(6.1, 0.84), 2)
    3.45
    """
    return math.sqrt(2 * error_variance(sd, reliability))


def reliable_change_index(pre: float, post: float, *, sd: float, reliability: float) -> float:
    """The change in standard errors of the difference: RCI = (post - pre) / S_diff.

    Units and range: standard errors, negative for a fall. SD above 0, reliability 0 up to but not 1.
    Missing data: not defined; leave the pair out.

    Raises:
        PsychometricsError: an ingredient is out of range, or there is no measurement error to count in.

    Source: Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19, whose example is the doctest.

    >>> round(reliable_change_index(32.5, 47.5, sd=7.5, reliability=0.80), 2)
    3.16
    """
    return standardise(exact(post) - exact(pre), 2 * error_variance(sd, reliability))


def smallest_reliable_change(sd: float, reliability: float, critical: float = TWO_SIDED) -> float:
    """The change in points that must be exceeded to be reliable: critical * S_diff.

    Units and range: points. SD above 0, reliability 0 to 1. Use a retest coefficient: alpha makes it too small.
    Missing data: none.

    Raises:
        PsychometricsError: an ingredient is out of range.

    Source: Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19; PHQ-9 figures of Kroenke 2001.

    >>> round(smallest_reliable_change(6.1, 0.84), 2), round(smallest_reliable_change(6.1, 0.89), 2)
    (6.76, 5.61)
    """
    return critical * s_diff(sd, reliability)


def criterion_value(norms: Norms, kind: CutoffKind, direction: Direction) -> float:
    """Where the clinical range ends, by criterion a, b or c.

    a = clinical mean, two clinical SD towards health. b = functional mean, two *functional* SD towards illness.
    c = (S_c * M_f + S_f * M_c) / (S_c + S_f). A total exactly on the value belongs to the clinical range (judgement).

    Units and range: points, strictly inside the scale on the healthy side so that someone can be beyond it.
    Missing data: none.

    Raises:
        NormMissingError: a needs the clinical, b the functional, c both populations.
        CutoffOutsideScaleError: one side of the value holds no total of the scale.
        PsychometricsError: the functional mean is not on the healthy side of the clinical mean.

    Source: Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19; PHQ-9 norms of Kroenke 2001 in the doctest.

    >>> norms = Norms(0, 27, clinical=Distribution(17.1, 6.1), functional=Distribution(3.3, 3.8))
    >>> [round(criterion_value(norms, kind, Direction.LOWER_IS_BETTER), 2) for kind in CutoffKind]
    [4.9, 10.9, 8.6]
    """
    value = _criterion(norms, kind, direction)
    low, high = exact(norms.minimum), exact(norms.maximum)
    inside = low < value <= high if direction is Direction.LOWER_IS_BETTER else low <= value < high
    if not inside:
        raise CutoffOutsideScaleError(
            f"criterion {kind} is {float(value):g}: no total from {norms.minimum:g} to {norms.maximum:g} "
            "lies on one of its sides"
        )
    return float(value)


def norms_of(instrument: Instrument) -> Norms:
    """The instrument's default clinical and functional populations, as published.

    Units and range: points. Missing data: a population the declaration does not have, or has without mean and SD, is
    None; a criterion that needs it will refuse.
    Source: each `Psychometrics` names its own.

    >>> from app.scoring.model import Answer, Item, MissingRule
    >>> text = dict.fromkeys(("title", "measures", "instruction", "recall_label", "copyright", "licence", "source"), "")
    >>> items = (Item(1, "", tuple(Answer(value, "") for value in range(28))),)
    >>> ill = Psychometrics("major depression", "Kroenke 2001", 41, 17.1, 6.1, role="clinical", is_default=True)
    >>> scale = Instrument(id="x", version=1, items=items, recall_days=14, direction=Direction.LOWER_IS_BETTER,
    ...                    missing=MissingRule(0, ""), psychometrics=(ill,), **text)
    >>> norms_of(scale).clinical, norms_of(scale).functional
    (Distribution(mean=17.1, sd=6.1), None)
    """
    return Norms(
        minimum=instrument.minimum,
        maximum=instrument.maximum,
        clinical=_distribution(_default_sample(instrument, "clinical")),
        functional=_distribution(_default_sample(instrument, "functional")),
    )


def measurement_error(instrument: Instrument) -> MeasurementError | None:
    """The instrument's own standard errors, from its default clinical SD and its default reliability.

    A retest coefficient is taken where the declaration has one; alpha only in its absence, and `coefficient` says so.

    Units and range: points. Missing data: None if the declaration lacks a standard deviation or any coefficient.

    Raises:
        PsychometricsError: the declared figures are out of range.

    Source: each `Psychometrics` names its own; both sources are in the result.

    >>> from app.scoring.model import Answer, Item, MissingRule
    >>> text = dict.fromkeys(("title", "measures", "instruction", "recall_label", "copyright", "licence", "source"), "")
    >>> items = (Item(1, "", tuple(Answer(value, "") for value in range(28))),)
    >>> samples = (Psychometrics("major depression", "Kroenke 2001", 41, 17.1, 6.1, role="clinical", is_default=True),
    ...            Psychometrics("primary care", "Kroenke 2001", alpha=0.89, retest=0.84, is_default=True))
    >>> scale = Instrument(id="x", version=1, items=items, recall_days=14, direction=Direction.LOWER_IS_BETTER,
    ...                    missing=MissingRule(0, ""), psychometrics=samples, **text)
    >>> error = measurement_error(scale)
    >>> error.coefficient, round(error.sem, 2), round(error.s_diff, 2)
    ('retest', 2.44, 3.45)
    """
    clinical, reliability = (_default_sample(instrument, role) for role in ("clinical", "reliability"))
    spread = clinical if clinical is not None and clinical.sd is not None else reliability
    if spread is None or spread.sd is None or reliability is None:
        return None
    coefficient: Literal["retest", "alpha"] = "alpha" if reliability.retest is None else "retest"
    value = reliability.alpha if reliability.retest is None else reliability.retest
    if value is None:
        return None
    return MeasurementError(
        sd=spread.sd,
        reliability=value,
        coefficient=coefficient,
        sem=sem(spread.sd, value),
        s_diff=s_diff(spread.sd, value),
        sd_source=spread.source,
        reliability_source=reliability.source,
    )


def exact_reliability(value: float) -> Fraction:
    """A reliability coefficient as the fraction it was written as.

    Units and range: 0 to 1. Missing data: none.

    Raises:
        PsychometricsError: outside 0 to 1.

    Source: arithmetic.

    >>> exact_reliability(0.84)
    Fraction(21, 25)
    """
    if not 0 <= value <= 1:
        raise PsychometricsError("a reliability lies between 0 and 1")
    return exact(value)


def error_variance(sd: float, reliability: float) -> Fraction:
    """SEM squared, exactly: SD^2 * (1 - r).

    Units and range: points squared; SD above 0, reliability 0 to 1. Missing data: none.

    Raises:
        PsychometricsError: an ingredient is out of range.

    Source: classical test theory, as in Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19.

    >>> error_variance(10, 0.75)
    Fraction(25, 1)
    """
    if not (math.isfinite(sd) and sd > 0):
        raise PsychometricsError("a standard deviation is a finite number above 0")
    return exact(sd) ** 2 * (1 - exact_reliability(reliability))


def standardise(numerator: Fraction, variance: Fraction) -> float:
    """A difference counted in standard errors: numerator / sqrt(variance).

    Units and range: points and points squared in, standard errors out. Missing data: none.

    Raises:
        PsychometricsError: the variance is not above 0, so there is no error to count in.

    Source: arithmetic.

    >>> standardise(Fraction(15), Fraction(25))
    3.0
    """
    if variance <= 0:
        raise PsychometricsError("no measurement error is left to count in: the reliability must be below 1")
    return float(numerator) / math.sqrt(variance)


def _criterion(norms: Norms, kind: CutoffKind, direction: Direction) -> Fraction:
    towards_health = -1 if direction is Direction.LOWER_IS_BETTER else 1
    if kind is CutoffKind.A:
        clinical = _need(norms.clinical, kind, "clinical")
        return exact(clinical.mean) + towards_health * 2 * exact(clinical.sd)
    functional = _need(norms.functional, kind, "functional")
    mean_f, sd_f = exact(functional.mean), exact(functional.sd)
    if kind is CutoffKind.B:
        return mean_f - towards_health * 2 * sd_f
    clinical = _need(norms.clinical, kind, "clinical")
    mean_c, sd_c = exact(clinical.mean), exact(clinical.sd)
    if (mean_f - mean_c) * towards_health <= 0:
        raise PsychometricsError("the functional mean must lie on the healthy side of the clinical mean")
    return (sd_c * mean_f + sd_f * mean_c) / (sd_c + sd_f)


def _need(group: Distribution | None, kind: CutoffKind, name: str) -> Distribution:
    if group is None:
        raise NormMissingError(f"criterion {kind} needs the mean and standard deviation of a {name} population")
    return group


def _default_sample(instrument: Instrument, role: str) -> Psychometrics | None:
    return next((sample for sample in instrument.psychometrics if sample.role == role and sample.is_default), None)


def _distribution(sample: Psychometrics | None) -> Distribution | None:
    if sample is None or sample.mean is None or sample.sd is None:
        return None
    return Distribution(sample.mean, sample.sd)
