"""The pair rules of NHS Talking Therapies."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scoring.model import Point, Validity
from app.scoring.nhs import PHQ9_GAD7, PHQ9_PCL5, FirstLast, first_and_last, judge_pair

phq9 = st.integers(0, 27)
gad7 = st.integers(0, 21)
maybe_phq9 = st.none() | phq9
maybe_gad7 = st.none() | gad7
FIELDS = ("caseness", "recovery", "reliable_improvement", "reliable_deterioration", "reliable_recovery")


@pytest.mark.parametrize(
    ("phq", "gad", "caseness"), [(9, 7, False), (10, 7, True), (9, 8, True), (10, 8, True), (9.9, 7.9, False)]
)
def test_caseness_boundary(phq: float, gad: float, caseness: bool) -> None:
    """PHQ-9 from 10 or GAD-7 from 8 is a case."""
    assert judge_pair(PHQ9_GAD7, FirstLast(phq, 0), FirstLast(gad, 0)).caseness is caseness


@pytest.mark.parametrize(
    ("phq", "gad", "recovery"), [(9, 7, True), (10, 7, False), (9, 8, False), (10, 8, False), (0, 0, True)]
)
def test_recovery_needs_both_below_at_last(phq: int, gad: int, recovery: bool) -> None:
    """A case has recovered when both last scores are below caseness."""
    assert judge_pair(PHQ9_GAD7, FirstLast(15, phq), FirstLast(12, gad)).recovery is recovery


def test_recovery_needs_caseness_at_first() -> None:
    """Who was never at caseness does not recover, however much better."""
    outcome = judge_pair(PHQ9_GAD7, FirstLast(9, 0), FirstLast(7, 0))
    assert (outcome.recovery, outcome.reliable_improvement, outcome.reliable_recovery) == (False, True, False)


@pytest.mark.parametrize(
    ("phq", "gad", "improved", "deteriorated"),
    [
        ((15, 9), (12, 12), True, False),
        ((15, 10), (12, 12), False, False),
        ((15, 15), (12, 8), True, False),
        ((15, 15), (12, 9), False, False),
        ((15, 9), (12, 15), True, False),
        ((15, 9), (12, 16), False, False),
        ((15, 21), (12, 8), False, False),
        ((15, 20), (12, 8), True, False),
        ((15, 21), (12, 12), False, True),
        ((15, 20), (12, 15), False, False),
        ((15, 15), (12, 16), False, True),
    ],
)
def test_reliable_change_boundaries(
    phq: tuple[int, int], gad: tuple[int, int], improved: bool, deteriorated: bool
) -> None:
    """Six points of PHQ-9 or four of GAD-7, unless the other moved as reliably the other way."""
    outcome = judge_pair(PHQ9_GAD7, FirstLast(*phq), FirstLast(*gad))
    assert (outcome.reliable_improvement, outcome.reliable_deterioration) == (improved, deteriorated)


def test_recovery_without_reliable_improvement() -> None:
    """Crossing the line by two points is recovery, but not reliable recovery."""
    outcome = judge_pair(PHQ9_GAD7, FirstLast(10, 8), FirstLast(7, 6))
    assert (outcome.recovery, outcome.reliable_improvement, outcome.reliable_recovery) == (True, False, False)


def test_pcl5_may_stand_for_the_anxiety_measure() -> None:
    """With PCL-5 the second measure turns at 32 and at ten points, and the profile says whose figures these are."""
    at, below = (judge_pair(PHQ9_PCL5, FirstLast(9, 9), FirstLast(first, first - 10)) for first in (32, 31))
    assert (at.caseness, at.recovery, at.reliable_improvement) == (True, True, True)
    assert below.caseness is False
    assert judge_pair(PHQ9_PCL5, FirstLast(9, 9), FirstLast(32, 23)).reliable_improvement is False
    assert PHQ9_PCL5.note is not None
    assert "convention" in PHQ9_PCL5.note


@pytest.mark.parametrize(
    ("phq", "gad", "expected"),
    [
        ((15, 9), (12, None), (True, None, None, False, None)),
        ((15, 12), (12, None), (True, False, None, None, False)),
        ((None, 9), (12, 7), (True, True, None, False, None)),
        ((None, 9), (7, 7), (None, None, None, None, None)),
        ((9, None), (7, 7), (False, False, None, None, False)),
        ((None, None), (None, None), (None, None, None, None, None)),
    ],
)
def test_what_is_unknown_stays_unknown(
    phq: tuple[int | None, int | None], gad: tuple[int | None, int | None], expected: tuple[bool | None, ...]
) -> None:
    """A missing score opens exactly the statements that the other scores do not settle."""
    outcome = judge_pair(PHQ9_GAD7, FirstLast(*phq), FirstLast(*gad))
    assert tuple(getattr(outcome, field) for field in FIELDS) == expected


@given(maybe_phq9, maybe_phq9, maybe_gad7, maybe_gad7, phq9, phq9, gad7, gad7)
def test_filling_a_gap_never_overturns_a_statement(
    p1: int | None, p2: int | None, g1: int | None, g2: int | None, q1: int, q2: int, h1: int, h2: int
) -> None:
    """Whatever the missing scores turn out to be, what was said without them stands."""
    filled = [
        known if known is not None else other for known, other in zip((p1, p2, g1, g2), (q1, q2, h1, h2), strict=True)
    ]
    before = judge_pair(PHQ9_GAD7, FirstLast(p1, p2), FirstLast(g1, g2))
    after = judge_pair(PHQ9_GAD7, FirstLast(*filled[:2]), FirstLast(*filled[2:]))
    for field in FIELDS:
        assert getattr(before, field) in (None, getattr(after, field))


@given(phq9, phq9, gad7, gad7)
def test_complete_pairs_follow_the_published_sentences(p1: int, p2: int, g1: int, g2: int) -> None:
    """With four scores every statement is the plain sentence of the NHS table."""
    outcome = judge_pair(PHQ9_GAD7, FirstLast(p1, p2), FirstLast(g1, g2))
    caseness, at_last = p1 > 9 or g1 > 7, p2 > 9 or g2 > 7
    improved = (p1 - p2 > 5 and g2 - g1 < 4) or (g1 - g2 > 3 and p2 - p1 < 6)
    deteriorated = (p2 - p1 > 5 and g1 - g2 < 4) or (g2 - g1 > 3 and p1 - p2 < 6)
    recovery = caseness and not at_last
    expected = (caseness, recovery, improved, deteriorated, recovery and improved)
    assert tuple(getattr(outcome, field) for field in FIELDS) == expected


def point(day: int, total: int | None, name: str = "a") -> Point:
    validity = Validity.INCOMPLETE if total is None else Validity.VALID
    return Point(name, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day), total, validity)


def test_first_and_last_pass_over_incomplete_forms() -> None:
    """The pair is the earliest and latest total by time, whatever the order given."""
    points = [point(21, None), point(14, 7), point(7, 18), point(0, None), point(10, 3)]
    assert first_and_last(points) == FirstLast(18, 7)


def test_one_scored_form_is_a_first_without_a_last() -> None:
    """One point is no pair, and none is nothing."""
    assert first_and_last([point(0, 18), point(7, None)]) == FirstLast(18, None)
    assert first_and_last([]) == FirstLast(None, None)
