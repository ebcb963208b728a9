"""Group measures against statsmodels, scipy and published tables; every empty and equal group has a defined answer."""

import doctest
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from app.scoring.cohort import (
    Attendance,
    FollowUp,
    Pair,
    Reason,
    TimePoint,
    expected_and_observed,
    hedges_g,
    hedges_g_between,
    mean_change,
    small_sample_correction,
    wilson,
)

totals = st.integers(0, 80)
pairs = st.lists(st.tuples(st.none() | totals, st.none() | totals), max_size=30)


def with_moments(n: int, means: tuple[float, float], sds: tuple[float, float], r: float) -> list[Pair]:
    """As many pairs as asked, with exactly these means, standard deviations and correlation."""
    first = np.arange(n) - (n - 1) / 2
    second = first**2
    second -= second.mean()  # orthogonal to the first by symmetry
    first, second = (column / column.std(ddof=1) for column in (first, second))
    after = r * first + math.sqrt(1 - r * r) * second
    return [(float(means[0] + sds[0] * x), float(means[1] + sds[1] * y)) for x, y in zip(first, after, strict=True)]


def test_the_page_about_it_is_true() -> None:
    """Every example of docs/statistics/cohort.md gives what is printed there."""
    page = Path(__file__).parents[2] / "docs/statistics/cohort.md"
    outcome = doctest.testfile(str(page), module_relative=False)
    assert outcome.attempted > 10
    assert outcome.failed == 0


# --- Mean change ------------------------------------------------------------------------------------------------------


@given(pairs, st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_mean_change_agrees_with_statsmodels(people: list[tuple[int | None, int | None]], level: float) -> None:
    """Mean, spread and t interval of the complete pairs are those of statsmodels."""
    answer = mean_change(people, level)
    changes = [after - before for before, after in people if before is not None and after is not None]
    assert (answer.n, answer.left_out) == (len(changes), len(people) - len(changes))
    if answer.low is None or answer.high is None:
        assert len(set(changes)) <= 1
        return
    oracle = DescrStatsW(changes)
    assert answer.mean == pytest.approx(oracle.mean)
    assert answer.sd == pytest.approx(np.std(changes, ddof=1))
    assert (answer.low, answer.high) == pytest.approx(oracle.tconfint_mean(1 - level), abs=1e-9)


@pytest.mark.parametrize(
    ("people", "n", "mean", "reason"),
    [
        ([], 0, None, Reason.NOBODY),
        ([(10, None), (None, 4), (None, None)], 0, None, Reason.NOBODY),
        ([(10, 4)], 1, -6, Reason.TOO_FEW_PEOPLE),
        ([(10, 4), (12, 6), (9.1, 3.1)], 3, -6, Reason.NO_SPREAD),
    ],
)
def test_mean_change_without_spread_has_no_interval(
    people: list[Pair], n: int, mean: float | None, reason: Reason
) -> None:
    """Nobody, one person, and equal changes: what is known is given, the rest is withheld with its reason."""
    answer = mean_change(people)
    assert (answer.n, answer.mean, answer.reason) == (n, mean, reason)
    assert answer.low is answer.high is None


# --- Hedges' g --------------------------------------------------------------------------------------------------------

# Treatment groups of Morris 2008, Organ Res Methods 11:364-386, table 1, with the values that metafor's
# escalc("SMCR") gives for them (metafor-project.org, "Morris (2008)").
MORRIS = [
    (20, (30.6, 38.5), (15.0, 11.6), 0.47, 0.5056, 0.0594),
    (50, (23.5, 26.8), (3.1, 4.1), 0.64, 1.0481, 0.0254),
    (9, (0.5, 0.7), (0.1, 0.1), 0.77, 1.8054, 0.2322),
    (10, (53.4, 75.9), (14.5, 4.4), 0.89, 1.4181, 0.1225),
    (14, (35.6, 36.0), (4.7, 4.6), 0.44, 0.0801, 0.0802),
]

# Hospital stay, Normand 1999, Stat Med 18:321-359, table 5, with metafor's escalc("SMD") for them.
NORMAND = [
    (155, 55, 47, 156, 75, 64, -0.3552, 0.0131),
    (31, 27, 7, 32, 29, 4, -0.3479, 0.0645),
    (75, 64, 17, 71, 119, 29, -2.3176, 0.0458),
]


@pytest.mark.parametrize(("n", "means", "sds", "r", "g", "variance"), MORRIS)
def test_paired_g_gives_the_published_values(
    n: int, means: tuple[float, float], sds: tuple[float, float], r: float, g: float, variance: float
) -> None:
    """Standardised by the spread before, with the exact correction: the values of Morris's five groups."""
    answer = hedges_g(with_moments(n, means, sds, r))
    assert answer.g is not None
    assert answer.low is not None
    assert answer.high is not None
    assert round(answer.g, 4) == g
    assert round(((answer.high - answer.low) / 2 / 1.959964) ** 2, 4) == variance
    assert (answer.n, answer.standardiser) == ((n,), "sd_before")


@pytest.mark.parametrize(("n1", "m1", "sd1", "n2", "m2", "sd2", "g", "variance"), NORMAND)
def test_between_g_gives_the_published_values(
    n1: int, m1: float, sd1: float, n2: int, m2: float, sd2: float, g: float, variance: float
) -> None:
    """Pooled spread, exact correction: the values of three of Normand's studies."""
    treated = [total for total, _ in with_moments(n1, (m1, 0), (sd1, 1), 0) if total is not None]
    control = [total for total, _ in with_moments(n2, (m2, 0), (sd2, 1), 0) if total is not None]
    answer = hedges_g_between(treated, control)
    assert answer.g is not None
    assert answer.low is not None
    assert answer.high is not None
    assert round(answer.g, 4) == g
    assert round(((answer.high - answer.low) / 2 / 1.959964) ** 2, 4) == variance
    assert (answer.n, answer.standardiser) == ((n1, n2), "sd_pooled")
    # statsmodels corrects by 1 - 3 / (4 n - 9), the usual approximation of J: equal to 4 digits from 60 people on
    assert answer.g == pytest.approx(effectsize_smd(m1, sd1, n1, m2, sd2, n2)[0], rel=1e-4)


@pytest.mark.parametrize("df", [2, 3, 5, 19, 100, 10_000])
def test_small_sample_correction_is_the_ratio_of_gammas(df: int) -> None:
    """J is gamma(df/2) / (sqrt(df/2) gamma((df-1)/2)), near 1 - 3 / (4 df - 1)."""
    assert small_sample_correction(df) == pytest.approx(special.poch((df - 1) / 2, 0.5) / math.sqrt(df / 2), rel=1e-9)
    assert small_sample_correction(df) == pytest.approx(1 - 3 / (4 * df - 1), abs=0.01)


def test_small_sample_correction_needs_two_degrees_of_freedom() -> None:
    """With one degree of freedom J would be 0."""
    with pytest.raises(ValueError, match="2 degrees"):
        small_sample_correction(1)


@pytest.mark.parametrize(
    ("people", "reason"),
    [
        ([], Reason.NOBODY),
        ([(9, 4), (8, 3)], Reason.TOO_FEW_PEOPLE),
        ([(9, 4), (8, 3), (None, 2)], Reason.TOO_FEW_PEOPLE),
        ([(9, 4), (9, 3), (9, 2)], Reason.NO_SPREAD),
    ],
)
def test_paired_g_is_withheld_with_a_reason(people: list[Pair], reason: Reason) -> None:
    """Under 3 people or without spread before there is no g."""
    answer = hedges_g(people)
    assert (answer.g, answer.low, answer.high, answer.reason) == (None, None, None, reason)


def test_paired_g_without_spread_after_has_no_interval() -> None:
    """Everyone at 0 afterwards: the correlation is undefined, g is not."""
    answer = hedges_g([(9, 0), (7, 0), (5, 0)])
    assert answer.g == pytest.approx(-small_sample_correction(2) * 7 / 2)
    assert (answer.low, answer.high, answer.reason) == (None, None, Reason.NO_SPREAD)


def test_paired_g_with_a_perfect_correlation_has_an_interval() -> None:
    """Rounding must not make the variance of a perfect line negative."""
    answer = hedges_g([(0.1 * k, 0.3 * k) for k in range(1, 8)])
    assert answer.low is not None
    assert answer.g is not None
    assert answer.low < answer.g


@pytest.mark.parametrize(
    ("treated", "control", "reason"),
    [
        ([], [], Reason.NOBODY),
        ([1.0], [], Reason.TOO_FEW_PEOPLE),
        ([1.0], [2.0, 3.0], Reason.TOO_FEW_PEOPLE),
        ([1.0, 1.0], [2.0, 2.0], Reason.NO_SPREAD),
    ],
)
def test_between_g_is_withheld_with_a_reason(treated: list[float], control: list[float], reason: Reason) -> None:
    """Small or level groups have no g."""
    answer = hedges_g_between(treated, control)
    assert (answer.g, answer.reason) == (None, reason)


# --- Wilson -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95]))
@settings(max_examples=80, deadline=None)
def test_wilson_agrees_with_statsmodels(counts: tuple[int, int], level: float) -> None:
    """The interval is that of statsmodels, the ends of the scale included."""
    successes, n = counts
    answer = wilson(successes, n, level)
    expected = proportion_confint(successes, n, 1 - level, method="wilson")
    assert (answer.low, answer.high) == pytest.approx(expected, abs=1e-12)
    assert answer.rate == successes / n
    assert answer.low is not None
    assert answer.high is not None
    assert 0 <= answer.low <= answer.rate <= answer.high <= 1


def test_wilson_gives_newcombes_example() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, Stat Med 17:857-872, table I)."""
    answer = wilson(81, 263)
    assert answer.low is not None
    assert answer.high is not None
    assert (round(answer.low, 4), round(answer.high, 4)) == (0.2553, 0.3662)


def test_a_share_of_nobody_is_not_zero() -> None:
    """0 of 0 has no rate, and says so."""
    answer = wilson(0, 0)
    assert (answer.rate, answer.low, answer.high, answer.reason) == (None, None, None, Reason.NOBODY)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (1, 0)])
def test_more_successes_than_people_are_refused(successes: int, n: int) -> None:
    """Counts that cannot be are an error of the caller."""
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_0_and_1_is_refused(level: float) -> None:
    """Also where there is nobody: a wrong call fails on the first day, not with the first patient."""
    for refuse in (
        lambda: mean_change([], level),
        lambda: hedges_g([], level),
        lambda: hedges_g_between([], [], level),
        lambda: wilson(0, 0, level),
    ):
        with pytest.raises(ValueError, match="level"):
            refuse()


# --- Expected and observed --------------------------------------------------------------------------------------------

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
DAY7 = TimePoint("day7", timedelta(days=7), early=timedelta(days=1), late=timedelta(days=2))


def person(until: float | None, *seen: float) -> FollowUp:
    """Someone followed until so many days after the start, seen on these days."""
    end = None if until is None else START + timedelta(days=until)
    return FollowUp(START, end, tuple(START + timedelta(days=day) for day in seen))


def attendance(*people: FollowUp) -> Attendance:
    (answer,) = expected_and_observed(people, [DAY7])
    return answer


@pytest.mark.parametrize(
    ("who", "expected", "observed", "not_yet_due", "unknown"),
    [
        (person(30, 7), 1, 1, 0, 0),
        (person(30, 6), 1, 1, 0, 0),  # both ends of the window count
        (person(30, 9), 1, 1, 0, 0),
        (person(30, 5.99, 9.01), 1, 0, 0, 0),  # seen, but not then
        (person(30, 6.5, 7, 8), 1, 1, 0, 0),  # three times is once
        (person(30), 1, 0, 0, 0),
        (person(9), 1, 0, 0, 0),  # the window closed at the very end
        (person(8.99, 7), 0, 0, 1, 0),  # open window: early birds alone would raise the rate
        (person(2), 0, 0, 1, 0),
        (person(None, 7), 0, 0, 0, 1),  # unknown is unknown
    ],
)
def test_each_person_is_counted_once(
    who: FollowUp, expected: int, observed: int, not_yet_due: int, unknown: int
) -> None:
    """Expected, not yet due or unknown; and of the expected, observed or missed."""
    answer = attendance(who)
    assert (answer.expected, answer.observed, answer.not_yet_due, answer.unknown) == (
        expected,
        observed,
        not_yet_due,
        unknown,
    )
    assert answer.missed == expected - observed


@given(
    st.lists(
        st.builds(
            lambda until, seen: person(until, *seen),
            st.none() | st.integers(0, 20),
            st.lists(st.integers(0, 20), max_size=3),
        ),
        max_size=20,
    )
)
@settings(max_examples=40, deadline=None)
def test_the_counts_add_up_to_the_people(people: list[FollowUp]) -> None:
    """Nobody is lost and nobody is counted twice."""
    answer = attendance(*people)
    assert answer.expected + answer.not_yet_due + answer.unknown == len(people)
    assert answer.observed + answer.missed == answer.expected
    assert (answer.observed_rate is None) == (answer.expected == 0)


def test_each_time_point_is_answered_in_the_order_declared() -> None:
    """Nobody at all still gives an answer per time point."""
    points = [DAY7, TimePoint("h24", timedelta(hours=24))]
    answers = expected_and_observed([], points)
    assert [answer.code for answer in answers] == ["day7", "h24"]
    assert {answer.observed_rate for answer in answers} == {None}


def test_24_hours_are_24_hours_when_the_clock_changes() -> None:
    """The day of the change to summer time has 23: noon to noon is an hour early."""
    vienna = ZoneInfo("Europe/Vienna")
    dose = datetime(2025, 3, 29, 12, tzinfo=vienna)
    noon = FollowUp(dose, dose + timedelta(days=5), (dose.replace(day=30),))
    one = FollowUp(dose, dose + timedelta(days=5), (dose.replace(day=30, hour=13),))
    (answer,) = expected_and_observed([noon, one], [TimePoint("h24", timedelta(hours=24))])
    assert (answer.expected, answer.observed) == (2, 1)


def test_a_negative_window_is_refused() -> None:
    """A window that ends before it begins is an error of the caller."""
    with pytest.raises(ValueError, match="window"):
        expected_and_observed([], [TimePoint("odd", timedelta(days=1), early=timedelta(days=-1))])


def test_a_time_without_offset_is_refused() -> None:
    """A wall-clock time has no place on the time line."""
    with pytest.raises(ValueError, match="offset"):
        attendance(FollowUp(START.replace(tzinfo=None), START, ()))


def test_paired_t_interval_is_that_of_scipy() -> None:
    """The interval of the mean change is the one of the paired t test."""
    before, after = [20, 18, 15, 22, 17], [12, 9, 11, 10, 14]
    answer = mean_change(list(zip(before, after, strict=True)))
    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert (answer.low, answer.high) == pytest.approx((expected.low, expected.high))
