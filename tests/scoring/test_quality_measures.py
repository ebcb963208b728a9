"""Yearly measures in the style of the published ones: the edges of their windows, and what is not known."""

from datetime import UTC, datetime, timedelta

import pytest

from app.scoring.model import Point, Validity
from app.scoring.quality_measures import Measured, measured
from app.scoring.registry import get_instrument
from app.scoring.timeline import DAY, in_time_order
from app.scoring.treatment import Baseline, BaselineReason, BaselineRule, NoBaseline

INDEX = datetime(2024, 3, 1, 23, tzinfo=UTC)
LONG_AFTER = INDEX + 600 * DAY


def judge(*forms: tuple[float, float | None], index: int = 18, as_of: datetime = LONG_AFTER) -> Measured:
    first = Point("index", INDEX, index, Validity.VALID)
    later = [
        Point(str(day), INDEX + timedelta(days=day), total, Validity.INCOMPLETE if total is None else Validity.VALID)
        for day, total in forms
    ]
    found = measured(
        get_instrument("phq-9"), Baseline(first, BaselineRule.PRE_TREATMENT), in_time_order([first, *later]), as_of
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("day", "met"),
    [(304, False), (305, True), (365, True), (425, True), (426, False)],  # index + 12 months is day 365; 60 either side
)
def test_remission_is_looked_for_around_twelve_months(day: float, met: bool) -> None:
    """Both ends included."""
    assert judge((day, 4)).cms159_remission is met


def test_the_last_score_decides_and_none_is_not_met() -> None:
    """A later high score undoes an earlier low one; five is not below five."""
    assert judge((350, 2), (380, 9)).cms159_remission is False
    assert judge((350, 9), (380, 2)).cms159_remission is True
    assert judge((350, 5)).cms159_remission is False
    assert judge((350, None)).cms159_remission is False
    assert judge().cms159_remission is False


@pytest.mark.parametrize(("day", "followed"), [(119, False), (120, True), (240, True), (241, False)])
def test_follow_up_is_at_four_to_eight_months(day: float, followed: bool) -> None:
    """Both ends included."""
    assert judge((day, 12)).drre_follow_up is followed


def test_response_is_half_of_the_index() -> None:
    """Of the most recent score."""
    assert judge((150, 9)).drre_response is True
    assert judge((150, 9), (200, 10)).drre_response is False
    assert judge((150, 4)).drre_remission is True


def test_an_index_of_nine_is_in_no_denominator() -> None:
    """Nor is who has no baseline."""
    assert judge((150, 2), index=9) == Measured(None, None, None, None)
    none = NoBaseline(BaselineRule.PRE_TREATMENT, BaselineReason.TOO_OLD)
    assert measured(get_instrument("phq-9"), none, in_time_order([]), LONG_AFTER) == Measured(None, None, None, None)
    assert measured(get_instrument("gad-7"), none, in_time_order([]), LONG_AFTER) is None


def test_a_period_that_is_not_over_is_not_judged() -> None:
    """Not even when its answer is there already."""
    assert judge((150, 4), as_of=INDEX + 240 * DAY) == Measured(None, None, None, None)
    assert judge((150, 4), as_of=INDEX + 241 * DAY) == Measured(None, True, True, True)
    assert judge((400, 4), as_of=INDEX + 425 * DAY).cms159_remission is None


def test_a_leap_day_has_a_year() -> None:
    """29 February counts to 28 February."""
    index = Point("index", datetime(2024, 2, 29, tzinfo=UTC), 18, Validity.VALID)
    last = Point("last", datetime(2025, 4, 29, tzinfo=UTC), 2, Validity.VALID)
    baseline = Baseline(index, BaselineRule.PRE_TREATMENT)
    found = measured(get_instrument("phq-9"), baseline, in_time_order([index, last]), LONG_AFTER)
    assert found is not None
    assert found.cms159_remission is True
