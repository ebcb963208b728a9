"""Trends against scipy, pymannkendall, a plain list of all slopes, and every awkward series we could think of."""

import doctest
import itertools
import math
import random
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pymannkendall
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from app.scoring.model import Point, Validity
from app.scoring.trend import MannKendall, Reason, SlopeInterval, Trend, Withheld, trend

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
WEEK = 7.0  # days

# (days since the start, total): ties in neither, one or both columns
days = st.integers(0, 60)
totals = st.integers(0, 27)
series = st.lists(st.tuples(days, totals), min_size=3, max_size=40)


def points_of(rows: Sequence[tuple[float, float | None]]) -> list[Point]:
    return [
        Point(str(number), START + timedelta(days=day), total, Validity.VALID)
        for number, (day, total) in enumerate(rows)
    ]


def weekly(values: Sequence[float | None]) -> list[Point]:
    return points_of([(WEEK * week, value) for week, value in enumerate(values)])


def theil_sen(result: Trend) -> SlopeInterval:
    assert result.theil_sen is not None
    return result.theil_sen


def ols(result: Trend) -> SlopeInterval:
    assert result.ols is not None
    return result.ols


def mann_kendall(result: Trend) -> MannKendall:
    assert result.mann_kendall is not None
    return result.mann_kendall


def all_slopes(rows: Sequence[tuple[int, int]]) -> list[Fraction]:
    """Every pairwise slope, listed and sorted: the slow truth."""
    pairs = itertools.combinations(rows, 2)
    return sorted(Fraction(y2 - y1, x2 - x1) for (x1, y1), (x2, y2) in pairs if x1 != x2)


def test_the_page_about_it_is_true() -> None:
    """Every example of docs/statistics/trend.md gives what is printed there."""
    page = Path(__file__).parents[2] / "docs/statistics/trend.md"
    outcome = doctest.testfile(str(page), module_relative=False)
    assert outcome.attempted > 10
    assert outcome.failed == 0


@pytest.mark.parametrize("kind", ["ties", "no ties", "two levels", "one level", "equal times"])
def test_ten_thousand_points_do_not_block_a_worker(kind: str) -> None:
    """A trend of 10,000 points, however tied, stays far from the half minute that all pairs would take."""
    draw = random.Random(7)  # noqa: S311 - makes test data, guards nothing
    rows: dict[str, list[tuple[float, float | None]]] = {
        "ties": [(day, draw.randrange(28)) for day in range(10_000)],
        "no ties": [(draw.random() * 1e4, draw.randrange(10**9) / 64) for _ in range(10_000)],
        "two levels": [(day, 27 * (day > 5_000)) for day in range(10_000)],
        "one level": [(day, 5) for day in range(10_000)],
        "equal times": [(day // 100, draw.randrange(28)) for day in range(10_000)],
    }
    begin = time.process_time()
    assert trend(points_of(rows[kind])).n == 10_000
    assert time.process_time() - begin < 5  # measured 0.2 to 0.5 s; room for a slow machine, none for n squared


# --- Theil-Sen --------------------------------------------------------------------------------------------------------


@given(series)
@settings(max_examples=60, deadline=None)
def test_theil_sen_is_the_median_of_all_slopes(rows: list[tuple[int, int]]) -> None:
    """The slope is exactly the median of the pairwise slopes, as points per week."""
    result, slopes = trend(points_of(rows)), all_slopes(rows)
    if not slopes:
        assert result.theil_sen is None
        return
    median = statistics.median(slopes)
    assert theil_sen(result).per_week == float(7 * median)
    assert theil_sen(result).at_first == float(
        statistics.median(total - median * (day - min(rows)[0]) for day, total in rows)
    )


@given(st.lists(st.tuples(days, totals), min_size=6, max_size=40, unique_by=lambda row: row[0]))
@settings(max_examples=60, deadline=None)
def test_theil_sen_agrees_with_scipy(rows: list[tuple[int, int]]) -> None:
    """Slope, height and bounds are scipy's where both use the same variance: ties in the totals alone."""
    line = theil_sen(trend(points_of(rows)))
    xs, ys = [day / 7 for day, _ in rows], [total for _, total in rows]
    expected = stats.theilslopes(ys, [x - min(xs) for x in xs], 0.95, method="joint")
    assert line.per_week == pytest.approx(expected.slope, abs=1e-9)
    assert line.at_first == pytest.approx(expected.intercept, abs=1e-9)
    if line.low is not None:  # scipy gives the extreme slopes where the rule asks for ones beyond them: we give none
        assert (line.low, line.high) == pytest.approx((expected.low_slope, expected.high_slope), abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 200)), min_size=8, max_size=40))
@settings(max_examples=60, deadline=None)
def test_bounds_follow_sens_rule_with_ties_in_both(rows: list[tuple[int, int]]) -> None:
    """The bounds are the slopes of ranks (N -/+ C) / 2 with Kendall's full variance.

    scipy's theilslopes leaves out the two terms for pairs tied in time and total together, so with ties in both the
    variance is taken from the definition here: the mean of S squared over shufflings would be too slow.
    """
    line = trend(points_of(rows)).theil_sen
    slopes = all_slopes(rows)
    if line is None or line.low is None or line.high is None:
        return
    half_width = stats.norm.ppf(0.975) * math.sqrt(kendall_variance(rows))
    rank = round((len(slopes) - half_width) / 2)
    assert line.low == float(7 * slopes[rank - 1])
    assert line.high == float(7 * slopes[-rank])


def kendall_variance(rows: Sequence[tuple[int, int]]) -> float:
    """Variance of S under shuffling, from the general formula for sums of a_ij * b_ij (Daniels 1944)."""
    n = len(rows)
    a = [[(x > u) - (x < u) for u, _ in rows] for x, _ in rows]
    b = [[(y > v) - (y < v) for _, v in rows] for _, y in rows]

    def triple(m: list[list[int]]) -> int:
        return sum(sum(row) ** 2 for row in m) - sum(map(sum, ([v * v for v in row] for row in m)))

    def square(m: list[list[int]]) -> int:
        return sum(v * v for row in m for v in row)

    # Twice S is the double sum over all ordered pairs.
    doubled = 4 * triple(a) * triple(b) / (n * (n - 1) * (n - 2)) + 2 * square(a) * square(b) / (n * (n - 1))
    return doubled / 4


def test_bounds_begin_at_six_points() -> None:
    """Five points have a slope without bounds, and say why; six have both."""
    five, six = trend(weekly([20, 17, 18, 12, 9])), trend(weekly([20, 17, 18, 12, 9, 8]))
    assert theil_sen(five).low is None
    assert theil_sen(five).high is None
    assert theil_sen(five).reason is Reason.TOO_FEW_POINTS
    assert theil_sen(six).reason is None
    assert (theil_sen(six).low, theil_sen(six).high) == (-4.5, -1.0)


def test_bounds_that_would_lie_beyond_all_slopes_are_withheld() -> None:
    """With most pairs at one time there are too few slopes for bounds."""
    line = theil_sen(trend(points_of([(0, 9), (0, 12), (0, 3), (0, 8), (0, 10), (0, 4), (7, 5)])))
    assert line.low is None
    assert line.reason is Reason.BOUNDS_BEYOND_SLOPES


def test_one_odd_form_does_not_move_theil_sen() -> None:
    """A single wild total leaves the median slope alone, not the least squares one."""
    calm, wild = trend(weekly([20, 19, 18, 17, 16, 15, 14])), trend(weekly([20, 19, 18, 17, 16, 27, 14]))
    assert theil_sen(calm).per_week == theil_sen(wild).per_week == -1
    assert ols(calm).per_week == -1
    assert ols(wild).per_week != -1


# --- Least squares ----------------------------------------------------------------------------------------------------


@given(series)
@settings(max_examples=60, deadline=None)
def test_least_squares_agrees_with_scipy(rows: list[tuple[int, int]]) -> None:
    """Slope, height and t interval are those of scipy's linregress."""
    line = trend(points_of(rows)).ols
    if len({day for day, _ in rows}) == 1:
        assert line is None
        return
    assert line is not None
    weeks = [(day - min(rows)[0]) / 7 for day, _ in rows]
    expected = stats.linregress(weeks, [total for _, total in rows])
    assert line.per_week == pytest.approx(expected.slope, abs=1e-9)
    assert line.at_first == pytest.approx(expected.intercept, abs=1e-9)
    if line.low is not None and line.high is not None:
        half_width = stats.t.ppf(0.975, len(rows) - 2) * expected.stderr
        assert (line.high - line.low) / 2 == pytest.approx(half_width, rel=1e-6, abs=1e-6)
        assert (line.high + line.low) / 2 == pytest.approx(line.per_week, abs=1e-9)


def test_points_on_a_line_give_no_interval() -> None:
    """A perfect line has a slope, but no spread to say how sure it is."""
    line = ols(trend(weekly([20, 15, 10])))
    assert (line.per_week, line.at_first) == (-5, 20)
    assert (line.low, line.high, line.reason) == (None, None, Reason.NO_SPREAD_AROUND_LINE)


def test_other_levels_move_the_bounds_as_scipy_says() -> None:
    """The level is a parameter, not a habit."""
    values = [19, 17, 18, 13, 11, 12, 8, 9, 9, 4]
    result = trend(weekly(values), level=0.8)
    expected = stats.theilslopes(values, range(10), 0.8)
    assert (theil_sen(result).low, theil_sen(result).high) == pytest.approx((expected.low_slope, expected.high_slope))
    line = stats.linregress(range(10), values)
    assert ols(result).high == pytest.approx(line.slope + stats.t.ppf(0.9, 8) * line.stderr)
    assert ols(result).level == 0.8


# --- Mann-Kendall -----------------------------------------------------------------------------------------------------


@given(st.lists(totals, min_size=4, max_size=40))
@settings(max_examples=60, deadline=None)
def test_mann_kendall_agrees_with_pymannkendall(values: list[int]) -> None:
    """S, its variance, z and the normal p are those of pymannkendall, which knows ties in the totals."""
    result = mann_kendall(trend(weekly(values)))
    expected = pymannkendall.original_test(values)
    assert result.s == expected.s
    assert result.variance == pytest.approx(expected.var_s)
    assert result.z == pytest.approx(expected.z)
    assert result.p_normal == pytest.approx(expected.p)


@given(series.filter(lambda rows: len(rows) >= 4))
@settings(max_examples=60, deadline=None)
def test_s_and_variance_hold_with_equal_times(rows: list[tuple[int, int]]) -> None:
    """Pairs at one instant add nothing to S, and the variance is corrected for ties in both."""
    result = trend(points_of(rows)).mann_kendall
    if result is None:
        assert len({day for day, _ in rows}) == 1
        return
    pairs = itertools.combinations(sorted(rows), 2)
    assert result.s == sum(((d > y) - (d < y)) * (c > x) for (x, y), (c, d) in pairs)
    assert result.variance == pytest.approx(kendall_variance(rows))


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=4, max_size=25))
@settings(max_examples=40, deadline=None)
def test_variance_with_ties_agrees_with_scipy(rows: list[tuple[int, int]]) -> None:
    """Scipy's kendalltau uses the same variance; it leaves out the continuity correction, so that is taken off."""
    result = trend(points_of(rows)).mann_kendall
    if result is None or result.s == 0:
        return
    expected = stats.kendalltau([d for d, _ in rows], [t for _, t in rows], method="asymptotic")
    uncorrected = result.s / math.sqrt(result.variance)
    assert math.erfc(abs(uncorrected) / math.sqrt(2)) == pytest.approx(expected.pvalue)


@given(st.lists(totals, min_size=4, max_size=10, unique=True))
@settings(max_examples=40, deadline=None)
def test_exact_p_agrees_with_scipy(values: list[int]) -> None:
    """Up to ten points without ties p is the exact one of scipy's kendalltau."""
    result = mann_kendall(trend(weekly(values)))
    expected = stats.kendalltau(range(len(values)), values, method="exact").pvalue
    assert result.method == "exact"
    assert result.p == result.p_exact == pytest.approx(expected)


@pytest.mark.parametrize(("n", "p"), [(4, 2 / 24), (5, 2 / 120), (6, 2 / 720)])
def test_a_strict_run_has_the_smallest_possible_p(n: int, p: float) -> None:
    """Two of n! orders are strict runs: below 5 points no series can reach p < 0.05."""
    assert mann_kendall(trend(weekly(list(range(n))))).p == pytest.approx(p)


@pytest.mark.parametrize("values", [[5, 4, 4, 2], list(range(11))])
def test_ties_and_more_than_ten_points_use_the_normal_approximation(values: list[int]) -> None:
    """The result says which p it gives."""
    result = mann_kendall(trend(weekly(values)))
    assert result.method == "normal"
    assert result.p_exact is None
    assert result.p == result.p_normal


# --- Time -------------------------------------------------------------------------------------------------------------


def test_time_is_elapsed_time_not_visit_number() -> None:
    """Moving a form in time moves the slope."""
    even, uneven = points_of([(0, 20), (7, 15), (14, 10)]), points_of([(0, 20), (7, 15), (70, 10)])
    assert ols(trend(even)).per_week == -5
    assert ols(trend(uneven)).per_week > -1


def test_a_day_of_changing_clocks_has_23_hours() -> None:
    """Three forms at noon, Vienna time, around the change to summer time: the slopes differ by an hour in 24."""
    vienna = ZoneInfo("Europe/Vienna")
    points = [
        Point(str(day), datetime(2025, 3, day, 12, tzinfo=vienna), total, Validity.VALID)
        for day, total in ((28, 20), (29, 10), (30, 0))
    ]
    result = trend(points)
    assert result.span_days == 47 / 24
    assert theil_sen(result).per_week == float(
        statistics.median([Fraction(-70), Fraction(-70 * 24, 23), -140 * 24 / Fraction(47)])
    )


def test_the_repeated_hour_of_autumn_is_two_hours() -> None:
    """02:30 before and 02:30 after the clocks go back are an hour apart, in the right order."""
    vienna = ZoneInfo("Europe/Vienna")
    first = datetime(2025, 10, 26, 2, 30, tzinfo=vienna)
    result = trend(
        [
            Point("later", first.replace(fold=1), 8, Validity.VALID),
            Point("earlier", first, 9, Validity.VALID),
            Point("last", first + timedelta(hours=1), 7, Validity.VALID),
        ]
    )
    assert result.span_days == 2 / 24
    assert ols(result).per_week == pytest.approx(-168)


@given(series, st.integers(-12, 14), st.randoms())
@settings(max_examples=30, deadline=None)
def test_neither_zone_nor_order_of_the_points_matters(
    rows: list[tuple[int, int]], hours: int, shuffler: random.Random
) -> None:
    """The same instants give the same trend, however written and in whatever order."""
    points = points_of(rows)
    zone = timezone(timedelta(hours=hours))
    moved = [Point(p.id, p.at.astimezone(zone), p.total, p.validity) for p in points]
    shuffler.shuffle(moved)
    assert trend(moved) == trend(points)


def test_a_time_without_offset_is_refused() -> None:
    """A wall-clock time has no place on the time line."""
    naive = datetime(2025, 3, 3, 9)  # noqa: DTZ001 - the point of the test
    with pytest.raises(ValueError, match="offset"):
        trend([Point("a", naive, 5, Validity.VALID)])


# --- Laws and edges ---------------------------------------------------------------------------------------------------


@given(series)
@settings(max_examples=40, deadline=None)
def test_turning_the_scale_turns_the_trend(rows: list[tuple[int, int]]) -> None:
    """Counting from the other end of the scale changes signs and nothing else."""
    one, other = trend(points_of(rows)), trend(points_of([(day, 27 - total) for day, total in rows]))
    assert one.reasons == other.reasons
    if one.theil_sen and other.theil_sen:
        assert one.theil_sen.per_week == -other.theil_sen.per_week
        assert (one.theil_sen.low is None) == (other.theil_sen.high is None)
        if one.theil_sen.low is not None:
            assert other.theil_sen.high == -one.theil_sen.low
    if one.mann_kendall and other.mann_kendall:
        assert one.mann_kendall.s == -other.mann_kendall.s
        assert one.mann_kendall.p == other.mann_kendall.p


@given(series)
@settings(max_examples=40, deadline=None)
def test_bounds_enclose_the_slope(rows: list[tuple[int, int]]) -> None:
    """Where there are bounds, the slope lies between them; where there are none, there is a reason."""
    result = trend(points_of(rows))
    for line in (result.theil_sen, result.ols):
        if line and line.low is not None and line.high is not None:
            assert line.low <= line.per_week <= line.high
            assert line.reason is None
        elif line:
            assert line.low is line.high is None
            assert line.reason is not None


def test_prorated_totals_are_taken_as_the_fractions_they_are() -> None:
    """Two floats of one prorated total tie, though their last bits differ."""
    ninety_sevenths = 90 / 7
    neighbour = math.nextafter(ninety_sevenths, 0)
    result = mann_kendall(trend(weekly([ninety_sevenths, 13, neighbour, 13])))
    assert result.s == 2
    assert result.method == "normal"


def test_prorated_totals_give_exact_slopes() -> None:
    """A slope of prorated totals is the nearest float to the true fraction."""
    values = [Fraction(90, 7), Fraction(45, 4), Fraction(81, 8), Fraction(9)]
    result = trend(weekly([float(value) for value in values]))
    slopes = [(late - early) / (j - i) for (i, early), (j, late) in itertools.combinations(enumerate(values), 2)]
    assert theil_sen(result).per_week == float(statistics.median(slopes))


def test_points_without_a_total_are_left_out_and_counted() -> None:
    """An incomplete form neither moves the slope nor the dates."""
    points = weekly([None, 20, 15, None, 5, None])
    result = trend(points)
    assert (result.n, result.left_out) == (3, 3)
    assert (result.first_at, result.last_at, result.span_days) == (points[1].at, points[4].at, 21)
    assert ols(result).per_week == -5


def test_nothing_gives_nothing_with_reasons() -> None:
    """No points: no numbers, no exception, and each quantity says why."""
    reasons = tuple(Withheld(quantity, Reason.TOO_FEW_POINTS) for quantity in ("theil_sen", "ols", "mann_kendall"))
    assert trend([]) == Trend(0, 0, None, None, 0.0, None, None, None, reasons)


@pytest.mark.parametrize(("n", "withheld"), [(1, 3), (2, 3), (3, 1), (4, 0)])
def test_each_quantity_begins_at_its_own_number_of_points(n: int, withheld: int) -> None:
    """Slopes begin at 3 points, Mann-Kendall at 4."""
    result = trend(weekly([9, 4, 6, 2][:n]))
    assert len(result.reasons) == withheld
    assert {why.reason for why in result.reasons} <= {Reason.TOO_FEW_POINTS}


def test_one_instant_has_no_trend() -> None:
    """Many forms at one time say nothing about time."""
    result = trend(points_of([(3, total) for total in (4, 9, 2, 7, 5, 1, 8)]))
    assert (result.theil_sen, result.ols, result.mann_kendall) == (None, None, None)
    assert {why.reason for why in result.reasons} == {Reason.NO_SPREAD_IN_TIME}


@pytest.mark.parametrize("level", [0, 12, 27])
def test_equal_totals_are_a_level_line_without_bounds(level: int) -> None:
    """A series stuck at one total, the scale's ends included, has slope 0 and no claim to be sure of it."""
    result = trend(weekly([level] * 8))
    for line in (theil_sen(result), ols(result)):
        assert (line.per_week, line.at_first) == (0, level)
        assert (line.low, line.high, line.reason) == (None, None, Reason.NO_SPREAD_IN_TOTALS)
    test = mann_kendall(result)
    assert (test.s, test.variance, test.z, test.p, test.method) == (0, 0, 0, 1, "normal")


@pytest.mark.parametrize("total", [math.nan, math.inf, -math.inf])
def test_a_total_that_is_no_number_is_refused(total: float) -> None:
    """Nothing is made of a total that is not finite."""
    with pytest.raises(ValueError, match="finite"):
        trend(weekly([1, 2, total]))


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_0_and_1_is_refused(level: float) -> None:
    """95 is not a level; 0.95 is."""
    with pytest.raises(ValueError, match="level"):
        trend([], level=level)
