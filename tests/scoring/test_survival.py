"""Kaplan-Meier against lifelines, published curves and arithmetic; all censored, all at once, nobody."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from lifelines.utils import qth_survival_time
from scipy import stats

from app.scoring.survival import MedianSurvival, Reason, kaplan_meier, median_survival

# Weeks to relapse under 6-mercaptopurine: Freireich 1963, Blood 21:699-716, in every textbook since
SIX_MP = [(6, True), (6, True), (6, True), (6, False), (7, True), (9, False), (10, True), (10, False), (11, False)]
SIX_MP += [(13, True), (16, True), (17, False), (19, False), (20, False), (22, True), (23, True), (25, False)]
SIX_MP += [(32, False), (32, False), (34, False), (35, False)]

people = st.lists(st.tuples(st.integers(0, 25), st.booleans()), min_size=1, max_size=40)


def fitted(durations: list[tuple[int, bool]], level: float = 0.95) -> KaplanMeierFitter:
    times, events = zip(*durations, strict=True)
    return KaplanMeierFitter(alpha=1 - level).fit(times, events)


def test_freireichs_curve_is_the_printed_one() -> None:
    """Survival after each relapse, as printed in Kalbfleisch and Prentice and in Collett."""
    steps = [step for step in kaplan_meier(SIX_MP).steps if step.events]
    printed = [(6, 21, 3, 0.857), (7, 17, 1, 0.807), (10, 15, 1, 0.753), (13, 12, 1, 0.690), (16, 11, 1, 0.627)]
    printed += [(22, 7, 1, 0.538), (23, 6, 1, 0.448)]
    assert [(step.time, step.at_risk, step.events, round(step.survival, 3)) for step in steps] == printed


def test_freireichs_median_and_interval() -> None:
    """Median 23 weeks; the log-log interval of SAS and Stata is 13 to open."""
    expected = MedianSurvival(n=21, events=9, median=23, low=13, high=None, level=0.95)
    assert median_survival(kaplan_meier(SIX_MP)) == expected


@given(people, st.sampled_from([0.8, 0.95]))
@settings(max_examples=60, deadline=None)
def test_curve_and_log_log_bounds_agree_with_lifelines(durations: list[tuple[int, bool]], level: float) -> None:
    """Counts, survival and log-log bounds are those of lifelines wherever the curve is between 0 and 1.

    At 1 and at 0 lifelines fills in bounds of 1; there is no spread to build any from, so we give none.
    """
    curve, oracle = kaplan_meier(durations, level), fitted(durations, level)
    table = oracle.event_table
    for step in curve.steps:
        row = table.loc[step.time]
        assert (step.at_risk, step.events, step.censored) == (row["at_risk"], row["observed"], row["censored"])
        assert step.survival == pytest.approx(oracle.survival_function_.loc[step.time].iloc[0], abs=1e-12)
        if 1e-9 < step.survival < 1 - 1e-9:
            bounds = oracle.confidence_interval_.loc[step.time]
            assert (step.low_log_log, step.high_log_log) == pytest.approx(tuple(bounds), abs=1e-9)
        else:
            assert step.low_log_log is step.high_log_log is step.low_log is step.high_log is None


@given(people)
@settings(max_examples=60, deadline=None)
def test_log_bounds_follow_greenwood(durations: list[tuple[int, bool]]) -> None:
    """The log bounds, which lifelines does not offer, by arithmetic on the raw list."""
    for step in kaplan_meier(durations).steps:
        if step.low_log is None:
            continue
        terms = []
        for time in sorted({t for t, event in durations if event and t <= step.time}):
            at_risk = sum(t >= time for t, _ in durations)
            failed = sum(t == time and event for t, event in durations)
            terms.append(failed / (at_risk * (at_risk - failed)))
        reach = stats.norm.ppf(0.975) * np.sqrt(sum(terms))
        assert math.log(step.survival) - math.log(step.low_log) == pytest.approx(reach)
        assert step.high_log == pytest.approx(min(1, step.survival * np.exp(reach)))


@given(people)
@settings(max_examples=60, deadline=None)
def test_median_agrees_with_lifelines(durations: list[tuple[int, bool]]) -> None:
    """The median is lifelines' median, except where its floating-point curve misses an exact half by a rounding."""
    curve = kaplan_meier(durations)
    answer, oracle = median_survival(curve), fitted(durations)
    at_half = any(step.survival == 0.5 for step in curve.steps)
    if not at_half:
        assert (math.inf if answer.median is None else answer.median) == oracle.median_survival_time_
    else:
        assert answer.median == min(step.time for step in curve.steps if step.survival == 0.5)


@given(people)
@settings(max_examples=60, deadline=None)
def test_median_interval_agrees_with_lifelines(durations: list[tuple[int, bool]]) -> None:
    """The interval is where lifelines' bounds cross one half; compared where its bounds are bounds at every step."""
    curve = kaplan_meier(durations)
    bounds = fitted(durations).confidence_interval_
    if curve.steps[-1].survival == 0 or not all(bounds[column].is_monotonic_decreasing for column in bounds):
        return
    answer = median_survival(curve)
    for mine, column in ((answer.low, bounds.iloc[:, 0]), (answer.high, bounds.iloc[:, 1])):
        assert (math.inf if mine is None else mine) == qth_survival_time(0.5, column)


@given(people)
@settings(max_examples=60, deadline=None)
def test_curve_falls_and_its_bounds_enclose_it(durations: list[tuple[int, bool]]) -> None:
    """Survival never rises, everyone is accounted for, and each pair of bounds holds the curve."""
    steps = kaplan_meier(durations).steps
    assert [step.survival for step in steps] == sorted((step.survival for step in steps), reverse=True)
    assert sum(step.events + step.censored for step in steps) == len(durations)
    for step in steps:
        if step.low_log is not None and step.high_log is not None:
            assert 0 <= step.low_log <= step.survival <= step.high_log <= 1
        if step.low_log_log is not None and step.high_log_log is not None:
            assert 0 <= step.low_log_log <= step.survival <= step.high_log_log <= 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_without_censoring_the_curve_is_the_share_still_there(times: list[int]) -> None:
    """With everyone seen to the end survival is exactly the share of people beyond each time."""
    for step in kaplan_meier([(time, True) for time in times]).steps:
        assert step.survival == sum(time > step.time for time in times) / len(times)


def test_nobody_has_no_curve_and_no_median() -> None:
    """Empty input is an answer, not an exception."""
    curve = kaplan_meier([])
    assert (curve.n, curve.events, curve.steps) == (0, 0, ())
    assert median_survival(curve) == MedianSurvival(0, 0, None, None, None, 0.95, Reason.NOBODY)


def test_all_censored_stays_at_1() -> None:
    """No event: the curve stays up, without bounds, and there is no median."""
    curve = kaplan_meier([(5, False), (9, False), (9, False)])
    assert {step.survival for step in curve.steps} == {1}
    assert {step.low_log_log for step in curve.steps} == {None}
    assert median_survival(curve).reason is Reason.NO_EVENTS


def test_all_events_at_one_time() -> None:
    """One drop from 1 to 0: a median, and no spread for an interval."""
    curve = kaplan_meier([(8, True)] * 4)
    assert [(step.time, step.survival, step.low_log) for step in curve.steps] == [(8, 0, None)]
    assert median_survival(curve) == MedianSurvival(4, 4, 8, None, None, 0.95)


def test_one_person() -> None:
    """One person with an event has a median of that time; censored, none."""
    assert median_survival(kaplan_meier([(8, True)])).median == 8
    assert median_survival(kaplan_meier([(8, False)])).median is None


def test_more_than_half_well_to_the_end_has_no_median() -> None:
    """The median is not reached, and says so, though the lower bound may be."""
    answer = median_survival(kaplan_meier([(3, True), (5, False), (6, False), (9, False)]))
    assert (answer.median, answer.reason) == (None, Reason.MEDIAN_NOT_REACHED)


def test_an_event_at_the_time_of_a_censoring_comes_first() -> None:
    """Who is censored at a time is at risk for the events of that time."""
    (step,) = kaplan_meier([(4, True), (4, False)]).steps
    assert (step.at_risk, step.survival) == (2, 0.5)


def test_an_event_at_the_start_counts() -> None:
    """A duration of 0 is a time like any other."""
    first, _ = kaplan_meier([(0, True), (4, True)]).steps
    assert (first.time, first.survival) == (0, 0.5)


def test_rounding_does_not_move_the_median() -> None:
    """Ten events of which five lead to exactly one half, reached by shares that floats cannot hold."""
    durations = [(time, True) for time in range(1, 11)]
    assert median_survival(kaplan_meier(durations)).median == 5
    assert median_survival(kaplan_meier([(k, True) for k in range(1, 50)] + [(60, False)] * 49)).median == 49


@pytest.mark.parametrize("time", [-1, math.nan, math.inf])
def test_a_duration_that_cannot_be_is_refused(time: float) -> None:
    """Negative, not a number, without end: errors of the caller."""
    with pytest.raises(ValueError, match="duration"):
        kaplan_meier([(time, True)])


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_0_and_1_is_refused(level: float) -> None:
    """95 is not a level; 0.95 is."""
    with pytest.raises(ValueError, match="level"):
        kaplan_meier([], level)
