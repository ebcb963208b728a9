"""Points, percent and the five category words."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scoring.change import Change, ChangeCategory, Shift, categorise, change, exact, holds, improvement
from app.scoring.model import Answer, Direction, Inequality, Instrument, Item, MissingRule

TOP = 27
totals = st.integers(0, TOP)
directions = st.sampled_from(Direction)


def scale(direction: Direction = Direction.LOWER_IS_BETTER, lowest: int = 0, highest: int = TOP) -> Instrument:
    return Instrument(
        id="scale",
        version=1,
        title="",
        measures="depression",
        instruction="",
        items=(Item(1, "", tuple(Answer(value, "") for value in range(lowest, highest + 1))),),
        recall_days=14,
        recall_label="",
        direction=direction,
        missing=MissingRule(0, ""),
        copyright="",
        licence="",
        source="",
    )


def test_points_are_latest_minus_baseline() -> None:
    """A fall is negative on every scale, whichever way is better."""
    assert [change(scale(direction), 18, 9).points for direction in Direction] == [-9, -9]


def test_percent_is_of_the_distance_to_the_best_total() -> None:
    """Lower is better: percent of the baseline. Higher is better: percent of what was missing to the maximum."""
    assert change(scale(), 18, 9).percent_change == -50.0
    assert change(scale(Direction.HIGHER_IS_BETTER, highest=100), 40, 70).percent_change == 50.0


def test_percent_respects_a_scale_that_does_not_start_at_zero() -> None:
    """On a scale from 17 the points above 17 are what can be lost."""
    assert change(scale(lowest=17, highest=85), 57, 37).percent_change == -50.0


@pytest.mark.parametrize(("direction", "best", "worse"), [("lower_is_better", 0, 3), ("higher_is_better", TOP, 24)])
def test_percent_from_the_best_total_is_undefined(direction: str, best: int, worse: int) -> None:
    """From the best total there is nothing to take a percent of, but the points stand."""
    assert change(scale(Direction(direction)), best, worse) == Change(worse - best, None, "zero_baseline")


@pytest.mark.parametrize(("baseline", "latest"), [(None, 9), (18, None), (None, None)])
def test_change_of_an_incomplete_form_is_unknown(baseline: int | None, latest: int | None) -> None:
    """A missing total on either side leaves neither points nor percent."""
    assert change(scale(), baseline, latest) == Change(None, None, "incomplete")


def test_whole_points_are_integers_and_prorated_points_are_not() -> None:
    """The difference of two prorated totals is a whole number when arithmetic says so."""
    whole = change(scale(), 20 * 19 / 18, 20 * 10 / 18)
    assert whole.points == -10
    assert isinstance(whole.points, int)
    assert change(scale(), 19.125, 9).points == -10.125


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_total_that_is_no_number_is_refused(value: float) -> None:
    """Infinity and not-a-number never reach a comparison."""
    with pytest.raises(ValueError, match="finite"):
        exact(value)


@given(st.integers(0, 2_000), st.integers(1, 60))
def test_exact_recovers_every_prorated_total(points: int, answered: int) -> None:
    """A quotient of small integers comes back as that quotient, whatever the float lost."""
    assert exact(points / answered) == Fraction(points, answered)


@given(st.floats(0, 100), st.floats(0, 100))
def test_exact_keeps_order(one: float, other: float) -> None:
    """Removing noise never swaps two numbers."""
    if one <= other:
        assert exact(one) <= exact(other)


@pytest.mark.parametrize(
    ("inequality", "below", "at", "above"),
    [(">=", False, True, True), (">", False, False, True), ("<=", True, True, False), ("<", True, False, False)],
)
def test_each_inequality_at_its_boundary(inequality: str, below: bool, at: bool, above: bool) -> None:
    """Every inequality answers just below, exactly at and just above its bound as written."""
    bound, step = Fraction(5), Fraction(1, 1_000)
    seen = [holds(value, Inequality(inequality), bound) for value in (bound - step, bound, bound + step)]
    assert seen == [below, at, above]


@given(directions, totals, totals)
def test_improvement_is_antisymmetric(direction: Direction, one: int, other: int) -> None:
    """There and back again is no change."""
    assert improvement(direction, one, other) == -improvement(direction, other, one)


@given(totals, totals)
def test_change_on_the_mirrored_scale_is_the_mirror_image(baseline: int, latest: int) -> None:
    """Counting health in place of illness turns the sign of points and percent, and nothing else."""
    plain = change(scale(), baseline, latest)
    mirror = change(scale(Direction.HIGHER_IS_BETTER), TOP - baseline, TOP - latest)
    assert plain.points is not None
    assert mirror.points == -plain.points
    assert mirror.percent_change == (None if plain.percent_change is None else -plain.percent_change)
    assert mirror.reason == plain.reason


@pytest.mark.parametrize(
    ("shift", "was", "now", "category"),
    [
        ("improved", True, False, "recovered"),
        ("improved", True, True, "improved"),
        ("improved", False, False, "improved"),
        ("improved", False, True, "improved"),
        ("none", True, False, "unchanged"),
        ("none", True, True, "unchanged"),
        ("none", False, False, "unchanged"),
        ("none", False, True, "unchanged"),
        ("worsened", True, True, "deteriorated"),
        ("worsened", True, False, "deteriorated"),
        ("worsened", False, False, "deteriorated"),
        ("worsened", False, True, "harmed"),
    ],
)
def test_category_table(shift: Shift, was: bool, now: bool, category: str) -> None:
    """Recovered and harmed need both the reliable change and the crossing; every other pair is told by change alone."""
    assert categorise(shift, was_clinical=was, is_clinical=now) is ChangeCategory(category)
