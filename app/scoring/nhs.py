"""The pair rules of NHS Talking Therapies: one depression and one anxiety measure, first score and last score.

A person counts as recovered only when both measures agree, so the rules live beside the instruments, not in them.
What is not known stays None: an unanswered last GAD-7 neither helps nor harms a service's figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.scoring.change import exact
from app.scoring.model import Point


@dataclass(frozen=True, slots=True)
class MeasureRule:
    """When one measure counts as a case, and how far it must move to count as moved. Lower is better."""

    instrument_id: str
    caseness_at_least: int  # total, inclusive
    reliable_change: int  # points, inclusive, either way


@dataclass(frozen=True, slots=True)
class PairProfile:
    """A named pair of measures with its numbers. `note` says what in it is not the NHS's own published figure."""

    code: str
    depression: MeasureRule
    anxiety: MeasureRule  # GAD-7, or the measure of the specific problem
    source: str
    version: int = 1
    note: str | None = None


PHQ9: Final = MeasureRule(
    "phq-9",
    caseness_at_least=10,  # total 0-27; "> 9" in BMC Psychiatry 2018 s12888-018-1987-1 Table 1; one trust page says 9
    reliable_change=6,  # points; same Table 1; Clark 2018 PMC5942544
)
GAD7: Final = MeasureRule(
    "gad-7",
    caseness_at_least=8,  # total 0-21; "> 7" in BMC Psychiatry 2018 s12888-018-1987-1 Table 1
    reliable_change=4,  # points; same Table 1
)
PCL5: Final = MeasureRule(
    "pcl-5-month",
    caseness_at_least=32,  # total 0-80; convention quoted for NHS Talking Therapies, its own text not read
    reliable_change=10,  # points; convention often quoted for NHS Talking Therapies, its own text not read
)

PHQ9_GAD7: Final = PairProfile(
    "nhs_phq9_gad7",
    depression=PHQ9,
    anxiety=GAD7,
    source="BMC Psychiatry 2018 s12888-018-1987-1 Table 1; Clark 2018 PMC5942544",
    note="That a reliable deterioration on the other measure undoes reliable improvement is the usual reading.",
)
PHQ9_PCL5: Final = PairProfile(
    "nhs_phq9_pcl5",
    depression=PHQ9,
    anxiety=PCL5,
    source="PHQ-9 as in nhs_phq9_gad7; PCL-5 values by convention",
    note="The PCL-5 cut-off 32 and change of 10 are conventions, not read in a text of the NHS.",
)


@dataclass(frozen=True, slots=True)
class FirstLast:
    """First and last total of one measure in a course; None where there is none to judge."""

    first: int | float | None
    last: int | float | None


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """The five statements about one course; None where the scores at hand cannot settle it.

    `recovery` and `reliable_recovery` are False for a person who was not at caseness: divide by those who were.
    """

    profile: str
    version: int
    caseness: bool | None
    recovery: bool | None
    reliable_improvement: bool | None
    reliable_deterioration: bool | None
    reliable_recovery: bool | None


def first_and_last(points: Sequence[Point]) -> FirstLast:
    """The earliest and the latest scored point of one measure; one point alone is a first without a last.

    Units and range: totals in points of the scale, order by time and then id.
    Missing data: points without a total are passed over, as they are never judged.
    Source: first and last available scores, Clark 2018 PMC5942544; passing over incomplete forms is judgement.

    >>> from datetime import UTC, datetime
    >>> from app.scoring.model import Validity
    >>> days = [(1, 18, Validity.VALID), (8, 9, Validity.VALID), (15, None, Validity.INCOMPLETE)]
    >>> first_and_last([Point(str(day), datetime(2026, 1, day, tzinfo=UTC), total, how) for day, total, how in days])
    FirstLast(first=18, last=9)
    """
    in_order = sorted(points, key=lambda point: (point.at, point.id))
    totals = [point.total for point in in_order if point.total is not None]
    return FirstLast(totals[0] if totals else None, totals[-1] if len(totals) > 1 else None)


def judge_pair(profile: PairProfile, depression: FirstLast, anxiety: FirstLast) -> PairOutcome:
    """Caseness, recovery, reliable improvement, reliable deterioration and reliable recovery of one course.

    Caseness: at or above the cut-off on either measure at first. Recovery: caseness at first, below on both at last.
    Reliable improvement: better by the reliable amount on either, and not worse by it on the other. Reliable
    deterioration is its mirror image. Reliable recovery: both recovery and reliable improvement.

    Units and range: totals in points of each scale, lower is better.
    Missing data: a comparison that lacks a score is unknown; the statement built on it is None unless the other
    comparisons settle it. A last total above the cut-off on one measure settles "not recovered" whatever the other
    was; a missing second measure leaves improvement open, as it might have deteriorated.

    Raises:
        ValueError: a total is infinite or not a number.

    Source: BMC Psychiatry 2018 s12888-018-1987-1 Table 1; "not worse on the other" is the usual reading.

    >>> outcome = judge_pair(PHQ9_GAD7, FirstLast(15, 9), FirstLast(12, 7))
    >>> outcome.caseness, outcome.recovery, outcome.reliable_improvement, outcome.reliable_recovery
    (True, True, True, True)
    >>> judge_pair(PHQ9_GAD7, FirstLast(15, 9), FirstLast(12, None)).recovery is None
    True
    """
    rules = ((profile.depression, depression), (profile.anxiety, anxiety))
    caseness = _any(*(_case(rule, pair.first) for rule, pair in rules))
    recovery = _all(caseness, *(_not(_case(rule, pair.last)) for rule, pair in rules))
    better = _any(*(_fell(rule, pair.first, pair.last) for rule, pair in rules))
    worse = _any(*(_fell(rule, pair.last, pair.first) for rule, pair in rules))
    improved = _all(better, _not(worse))
    return PairOutcome(
        profile=profile.code,
        version=profile.version,
        caseness=caseness,
        recovery=recovery,
        reliable_improvement=improved,
        reliable_deterioration=_all(worse, _not(better)),
        reliable_recovery=_all(recovery, improved),
    )


def _case(rule: MeasureRule, total: float | None) -> bool | None:
    return None if total is None else exact(total) >= rule.caseness_at_least


def _fell(rule: MeasureRule, start: float | None, end: float | None) -> bool | None:
    return None if start is None or end is None else exact(start) - exact(end) >= rule.reliable_change


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _any(*values: bool | None) -> bool | None:
    return True if True in values else None if None in values else False


def _all(*values: bool | None) -> bool | None:
    return _not(_any(*(_not(value) for value in values)))
