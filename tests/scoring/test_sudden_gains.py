"""Sudden gains: each criterion alone, missing check-ins, both directions, the published package's examples."""

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from app.scoring.model import Direction, Point, Validity
from app.scoring.sudden_gains import CRITICAL_VALUES, SuddenChange, sudden_gains

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
LOWER, HIGHER = Direction.LOWER_IS_BETTER, Direction.HIGHER_IS_BETTER
TOP = 63  # points

series = st.lists(st.one_of(st.none(), st.integers(0, TOP)), max_size=14)


def weekly(totals: Sequence[float | None]) -> list[Point]:
    return [Point(str(week), START + timedelta(weeks=week), t, Validity.VALID) for week, t in enumerate(totals)]


def changes(totals: Sequence[float | None], cutoff: float = 7, direction: Direction = LOWER) -> list[tuple[str, str]]:
    return [(change.kind, change.before_id) for change in sudden_gains(weekly(totals), cutoff, direction)]


def only(totals: Sequence[float | None], cutoff: float = 7, direction: Direction = LOWER) -> SuddenChange:
    (change,) = sudden_gains(weekly(totals), cutoff, direction)
    return change


@pytest.mark.parametrize("n", CRITICAL_VALUES)
def test_critical_values_are_the_five_percent_points_of_t(n: int) -> None:
    """The published constants are two-sided t values with two degrees of freedom fewer than totals."""
    assert CRITICAL_VALUES[n] == round(float(stats.t.ppf(0.975, n - 2)), 3)


def test_the_packages_worked_example_is_a_gain() -> None:
    """32, 31, 33 before and 5, 6, 7 after: the example of the suddengains package (Wiedemann 2020)."""
    gain = only([32, 31, 33, 5, 6, 7])
    assert (gain.kind, gain.before_id, gain.after_id, gain.before, gain.after) == ("gain", "2", "3", 33, 5)
    assert (gain.magnitude, gain.cutoff, gain.change_rate, gain.days) == (28, 7, 28 / 33, 7)
    assert (gain.n_before, gain.n_after, gain.mean_before, gain.mean_after) == (3, 3, 32, 6)
    assert (gain.critical_value, gain.must_exceed, gain.reversed_by) == (2.776, 2.776, None)


def test_the_packages_worked_example_with_a_missing_total_is_a_loss() -> None:
    """5, none, 7 before and 16, 12, 14 after (Wiedemann 2020): 8 points exceed 3.182 * sqrt((2 + 8) / 3) = 5.81."""
    loss = only([5, None, 7, 16, 12, 14])
    assert (loss.kind, loss.magnitude, loss.n_before, loss.critical_value) == ("loss", 9, 2, 3.182)
    assert loss.must_exceed == pytest.approx(3.182 * (10 / 3) ** 0.5)
    assert loss.mean_after - loss.mean_before == 8


@pytest.mark.parametrize(("cutoff", "found"), [(7, 1), (7.01, 0)])
def test_the_first_criterion_includes_its_cutoff(cutoff: float, found: int) -> None:
    """A change of exactly the cut-off counts."""
    assert len(changes([20, 20, 20, 13, 13, 13], cutoff)) == found


@pytest.mark.parametrize(("before", "found"), [(28, 1), (29, 0)])
def test_the_second_criterion_includes_a_quarter(before: int, found: int) -> None:
    """7 of 28 is a quarter and counts; 7 of 29 is less."""
    after = before - 7
    assert len(changes([before, before, before, after, after, after])) == found


def test_the_third_criterion_asks_the_totals_around_the_step() -> None:
    """With spread, a large step that the totals around it do not keep is no gain."""
    assert changes([20, 12, 20, 10, 17, 12]) == []
    assert changes([20, 19, 20, 10, 11, 10]) == [("gain", "2")]


def test_totals_without_any_spread_pass_the_third_criterion() -> None:
    """A step between two level stretches exceeds a spread of 0."""
    assert only([20, 20, 20, 10, 10, 10]).must_exceed == 0


@pytest.mark.parametrize(
    ("totals", "critical"),
    [
        ([20, 20, 20, 10, 10, 10], 2.776),
        ([None, 20, 20, 10, 10, 10], 3.182),
        ([20, 20, 20, 10, None, 10], 3.182),
        ([20, None, 20, 10, None, 10], 4.303),
        ([20, 20, 10, 10], 4.303),
    ],
)
def test_missing_check_ins_raise_the_critical_value(totals: list[float | None], critical: float) -> None:
    """Each total missing from a window costs one degree of freedom, at the ends of a series as well."""
    assert only(totals).critical_value == critical


@pytest.mark.parametrize(
    "totals",
    [
        [],
        [20],
        [20, 10],
        [20, 10, 10, 10],  # one total before
        [20, 20, 20, 10],  # one total after
        [None, None, 20, 10, 10, 10],
        [20, 20, 20, 10, None, None],
        [20, 20, 20, None, 10, 10, 10],  # nothing is read across a gap
    ],
)
def test_a_window_needs_two_totals_and_neighbours_that_exist(totals: list[float | None]) -> None:
    """Where it cannot be judged there is no sudden gain."""
    assert changes(totals) == []


def test_a_fall_is_a_loss_where_higher_is_better() -> None:
    """The direction of the instrument names the change."""
    assert changes([20, 20, 20, 10, 10, 10], direction=HIGHER) == [("loss", "2")]
    assert changes([10, 10, 10, 20, 20, 20], direction=HIGHER) == [("gain", "2")]


def test_a_rise_from_nothing_has_no_rate() -> None:
    """A share of 0 is undefined; the criterion of points decides."""
    assert only([0, 0, 0, 9, 9, 9]).change_rate is None


@pytest.mark.parametrize(
    ("later", "reversed_by"), [([15], "6"), ([14.99], None), ([11, 12, 16, 9], "8"), ([None, 20], "7"), ([], None)]
)
def test_a_gain_is_reversed_when_half_of_it_is_lost(later: list[float | None], reversed_by: str | None) -> None:
    """From 20 to 10: a later 15 or more reverses it, and the first one is named."""
    gain = sudden_gains(weekly([20, 20, 20, 10, 10, 10, *later]), 7, LOWER)[0]
    assert gain.reversed_by == reversed_by


def test_a_loss_is_reversed_by_falling_back() -> None:
    """The mirror of a reversed gain."""
    assert only([10, 10, 10, 20, 20, 20, 15]).reversed_by == "6"


def test_days_are_elapsed_days_across_a_clock_change() -> None:
    """A week with the change to summer time is an hour short."""
    vienna = ZoneInfo("Europe/Vienna")
    first = datetime(2025, 3, 10, 9, tzinfo=vienna)
    points = [
        Point(str(week), first + timedelta(weeks=week), total, Validity.VALID)
        for week, total in enumerate([20, 20, 20, 10, 10])
    ]
    (gain,) = sudden_gains(points, 7, LOWER)
    assert gain.days == 7 - 1 / 24


@given(series)
@settings(max_examples=60, deadline=None)
def test_losses_are_the_gains_of_the_other_direction(totals: list[int | None]) -> None:
    """Turning the direction renames every change and moves no number."""
    names = {"gain": "loss", "loss": "gain"}
    turned = [(names[kind], before) for kind, before in changes(totals, direction=HIGHER)]
    assert changes(totals) == turned


def test_the_order_of_the_points_does_not_matter() -> None:
    """Points are put in order of time first."""
    points = weekly([20, 21, 20, 10, 11, 9, 19, 20, 20])
    found = sudden_gains(points, 7, LOWER)
    assert [change.kind for change in found] == ["gain", "loss"]
    assert sudden_gains(points[::-1], 7, LOWER) == found


@given(series)
@settings(max_examples=80, deadline=None)
def test_all_three_criteria_hold_by_independent_arithmetic(totals: list[int | None]) -> None:
    """Every step is found or not found as plain arithmetic on the windows says."""
    expected = []
    for place in range(1, len(totals)):
        before, after = totals[place - 1], totals[place]
        left = [t for t in totals[max(0, place - 3) : place] if t is not None]
        right = [t for t in totals[place : place + 3] if t is not None]
        if before is None or after is None or min(len(left), len(right)) < 2 or abs(before - after) < 7:
            continue
        sign = 1 if after < before else -1
        df = len(left) + len(right) - 2
        pooled = ((len(left) - 1) * statistics.variance(left) + (len(right) - 1) * statistics.variance(right)) / df
        apart = sign * (sum(left) / len(left) - sum(right) / len(right))
        if abs(before - after) >= before / 4 and apart > {4: 2.776, 3: 3.182, 2: 4.303}[df] * pooled**0.5:
            expected.append(("gain" if sign == 1 else "loss", str(place - 1)))
    assert changes(totals) == expected


@given(st.lists(st.none() | st.sampled_from([5, 5.0, 9, 16, 17, 27, 20 * 9 / 8, 30 * 20 / 19, 0.1]), max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_is_told_is_what_fractions_give(totals: list[float | None]) -> None:
    """Whole units decide as fractions do, and every number told is the fraction rounded once, prorated totals too."""
    for change in sudden_gains(weekly(totals), 0.1, LOWER):
        place = int(change.after_id)
        before, after = (Fraction(total) for total in (change.before, change.after))
        left = [Fraction(t) for t in totals[max(0, place - 3) : place] if t is not None]
        right = [Fraction(t) for t in totals[place : place + 3] if t is not None]
        squares = (len(left) - 1) * statistics.variance(left) + (len(right) - 1) * statistics.variance(right)
        pooled = squares / (len(left) + len(right) - 2)
        apart = statistics.mean(left) - statistics.mean(right)
        assert (change.before, change.after) == (totals[place - 1], totals[place])
        assert (change.magnitude, change.change_rate) == (
            float(abs(before - after)),
            float(abs(before - after) / before),
        )
        assert (change.mean_before, change.mean_after) == (
            float(statistics.mean(left)),
            float(statistics.mean(right)),
        )
        assert change.must_exceed == change.critical_value * float(pooled) ** 0.5
        assert apart**2 > Fraction(change.critical_value) ** 2 * pooled
        assert (apart > 0) == (before > after)


@pytest.mark.parametrize("cutoff", [0, -7])
def test_a_cutoff_is_above_0(cutoff: float) -> None:
    """Losses are found by mirroring, not by a negative cut-off."""
    with pytest.raises(ValueError, match="above 0"):
        sudden_gains([], cutoff, LOWER)


def test_a_time_without_offset_is_refused() -> None:
    """A wall-clock time has no place on the time line."""
    naive = datetime(2025, 3, 3, 9)  # noqa: DTZ001 - the point of the test
    with pytest.raises(ValueError, match="offset"):
        sudden_gains([Point("a", naive, 5, Validity.VALID)], 7, LOWER)
