"""Courses a clinician would recognise, and the laws no course may break."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scoring.durability import (
    CONFIRMED_BY_SECOND_FORM,
    FIRST_FORM_WITHOUT,
    Durability,
    DurabilityRule,
    NoSpell,
    durability,
)
from app.scoring.model import Direction, Instrument, Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.treatment import Baseline, BaselineReason, BaselineRule, Dose, NoBaseline

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
PHQ_9: Final = get_instrument("phq-9")  # response: 50 % fall; remission: below 5; cut-point: 10; recall 14 days


def day(count: float) -> datetime:
    return DAY_ZERO + timedelta(days=count)


def form(at: float, total: float | None) -> Point:
    return Point(f"day {at}", day(at), total, Validity.INCOMPLETE if total is None else Validity.VALID)


def course(
    *forms: tuple[float, float | None],
    before: float | None = 18,
    doses: tuple[float, ...] = (0,),
    instrument: Instrument = PHQ_9,
    rule: DurabilityRule = FIRST_FORM_WITHOUT,
) -> Durability:
    """Baseline the day before the first dose, then (day, total)."""
    baseline = Baseline(form(-1, before), BaselineRule.PRE_TREATMENT)
    points = [baseline.point, *(form(at, total) for at, total in forms)]
    return durability(points, baseline, [Dose(f"dose {at}", day(at)) for at in doses], instrument, rule)


def test_fast_responder_relapsing_at_week_five() -> None:
    """Half in a week, below 5 in two, 12 at week five: response held 28 days, remission 21, both ends seen."""
    found = course((7, 8), (14, 4), (21, 4), (28, 3), (35, 12), (42, 15))
    response, remission = found.response, found.remission
    assert (response.first_at, response.hours_to, response.doses_to) == (day(7), 168.0, 1)
    assert (response.ended_at, response.last_with_at, response.days_sustained) == (day(35), day(28), 28.0)
    assert (response.days_sustained_low, response.days_sustained_high) == (21.0, 36.0)
    assert (response.censored, response.censored_at, response.reason) == (False, None, None)
    assert (remission.first_at, remission.ended_at, remission.days_sustained) == (day(14), day(35), 21.0)
    assert (response.rule, remission.rule, found.rule) == (
        "response_50_percent",
        "remission_5",
        "first_form_without@1",
    )


def test_slow_responder() -> None:
    """Half is reached at week five, somewhere after week four, and still holds a week later: seven days at least."""
    response = course((7, 16), (14, 15), (21, 13), (28, 11), (35, 9), (42, 8)).response
    assert (response.last_without_at, response.first_at, response.hours_to) == (day(28), day(35), 840.0)
    assert (response.censored, response.censored_at, response.days_sustained) == (True, day(42), 7.0)
    assert (response.ended_at, response.days_sustained_high) == (None, None)


def test_never() -> None:
    """Ten points down from 20 would be half; eleven left is not: no date, no days, and the reason."""
    found = course((7, 19), (14, 16), (21, 11), before=20)
    assert (found.response.first_at, found.response.days_sustained, found.response.censored) == (None, None, None)
    assert found.response.reason is found.remission.reason is NoSpell.NOT_REACHED
    assert found.observed_until == day(21)


def test_dropped_out() -> None:
    """A response seen once and then silence is censored on the day it was seen: no day of it is assumed."""
    found = course((7, 8), (14, None))
    assert (found.response.days_sustained, found.response.censored_at) == (0.0, day(7))
    assert (found.judged, found.incomplete) == (1, 1)


def test_response_to_the_second_of_two_doses() -> None:
    """Worse after the first dose, half after the second: two doses to response, hours from the first."""
    response = course((13, 22), (27, 9), (34, 14), doses=(0, 14)).response
    assert (response.doses_to, response.hours_to) == (2, 27 * 24)
    assert (response.ended_at, response.days_sustained) == (day(34), 7.0)


def test_sessions_after_the_last_form_change_nothing() -> None:
    """A dose nobody has answered after adds neither doses to response nor days."""
    forms = ((7, 8.0), (14, 8.0))
    assert course(*forms, doses=(0, 20, 27)) == course(*forms)


def test_two_sessions_on_one_day_are_two_doses() -> None:
    """Both had started before the response."""
    assert course((10, 8), doses=(0, 0.25)).response.doses_to == 2


@pytest.mark.parametrize(
    ("before", "after", "reached"), [(18, 9, True), (18, 10, False), (19, 10, False), (19, 9, True)]
)
def test_half_is_half(before: float, after: float, reached: bool) -> None:
    """50 % of 18 is 9 and counts; of 19 it is 9.5, which 10 does not reach."""
    assert (course((14, after), before=before).response.first_at is not None) == reached


def test_half_of_a_prorated_total_is_exact() -> None:
    """19 points on eight items prorate to 171/8; half of it, 171/16, is a response though no float holds it all."""
    assert course((14, 171 / 16), before=171 / 8).response.first_at == day(14)
    assert course((14, 95 / 9), before=190 / 9).response.first_at == day(14)


@pytest.mark.parametrize(("total", "relapsed"), [(9, False), (10, True)])
def test_relapse_is_at_the_cut_point(total: float, relapsed: bool) -> None:
    """From remission 9 is no longer remission and not yet a relapse; 10 is."""
    remission = course((14, 4), (28, total)).remission
    assert (remission.ended_at == day(28)) == relapsed
    assert remission.days_sustained == 14.0
    assert remission.censored is not relapsed


def test_remission_is_below_five() -> None:
    """5 is not remission, 4 is."""
    assert course((14, 5)).remission.reason is NoSpell.NOT_REACHED
    assert course((14, 4)).remission.first_at == day(14)


def test_zero_baseline() -> None:
    """From 0 no fall is possible: response is undefined, and remission cannot be entered by one who is in it."""
    found = course((14, 0), before=0)
    assert found.response.reason is NoSpell.ZERO_BASELINE
    assert found.remission.reason is NoSpell.IN_REMISSION_AT_BASELINE


def test_a_baseline_in_remission_may_still_respond() -> None:
    """From 4 to 2 is half, and said; remission has no date because it has no beginning."""
    found = course((14, 2), before=4)
    assert found.response.first_at == day(14)
    assert found.remission.reason is NoSpell.IN_REMISSION_AT_BASELINE


@pytest.mark.parametrize(("at", "judged"), [(1, 0), (6.99, 0), (7, 1)])
def test_forms_that_mostly_ask_about_the_time_before_the_dose_are_kept_out(at: float, judged: int) -> None:
    """PHQ-9: from the seventh day on half of its two weeks lies after the dose; before, it is counted as kept out."""
    found = course((at, 4))
    assert (found.judged, found.kept_out_by_recall) == (judged, 1 - judged)
    assert found.response.reason is (None if judged else NoSpell.RECALL_OVERLAPS_DOSING)


def test_the_recall_share_looks_at_the_latest_dose() -> None:
    """Twice a week for two weeks, weekly forms: only the form a week after the last dose may speak."""
    found = course((4, 5), (8, 5), (18, 5), doses=(0, 3, 7, 10))
    assert (found.kept_out_by_recall, found.response.first_at) == (2, day(18))


def test_a_form_kept_out_is_no_loss_either() -> None:
    """A high PHQ-9 a day after a booster dose is kept out both ways, and told as such."""
    found = course((14, 8), (22, 20), (35, 8), doses=(0, 21))
    assert (found.response.ended_at, found.kept_out_by_recall) == (None, 1)


def test_the_recall_rule_can_be_set_aside() -> None:
    """A clinic that accepts every form after a dose says so in the rule."""
    everything = replace(FIRST_FORM_WITHOUT, code="every_form", minimum_recall_after=0.0)
    found = course((1, 4), rule=everything)
    assert (found.response.hours_to, found.rule) == (24.0, "every_form@1")


def test_a_form_at_the_start_of_a_dose_speaks_of_the_time_before() -> None:
    """At the first dose it is no result of treatment; at the second it is one of the first dose alone."""
    assert course((0, 4)).response.reason is NoSpell.NO_FORM_AFTER_DOSE
    assert course((14, 4), doses=(0, 14)).response.doses_to == 1


def test_one_bad_form_and_two() -> None:
    """The plain rule ends at the first form without response; the confirmed one needs a second, and dates the first."""
    blip, loss = ((7, 8.0), (14, 12.0), (21, 8.0)), ((7, 8.0), (14, 12.0), (21, 13.0))
    assert course(*blip).response.ended_at == day(14)
    kept = course(*blip, rule=CONFIRMED_BY_SECOND_FORM).response
    assert (kept.ended_at, kept.days_sustained, kept.censored) == (None, 14.0, True)
    lost = course(*loss, rule=CONFIRMED_BY_SECOND_FORM).response
    assert (lost.ended_at, lost.days_sustained, lost.last_with_at) == (day(14), 7.0, day(7))


def test_an_unconfirmed_loss_at_the_end_proves_no_more_days() -> None:
    """One bad last form is no loss under the confirmed rule, and no success: censored at the form before it."""
    response = course((7, 8), (14, 8), (21, 12), rule=CONFIRMED_BY_SECOND_FORM).response
    assert (response.ended_at, response.censored_at, response.days_sustained) == (None, day(14), 7.0)


def test_the_pcl_5_by_its_own_rules() -> None:
    """PCL-5 weekly: ten points are a response, below 33 remission, 33 again a relapse."""
    found = course((7, 45), (14, 32), (21, 32), (28, 33), (35, 46), before=55, instrument=get_instrument("pcl-5-week"))
    assert (found.response.first_at, found.response.ended_at) == (day(7), day(35))
    assert (found.remission.first_at, found.remission.ended_at) == (day(14), day(28))


@pytest.mark.parametrize(
    ("forms", "reason"),
    [
        ((), NoSpell.NO_FORM_AFTER_DOSE),
        (((14, None),), NoSpell.INCOMPLETE),
        (((1, 4.0), (14, None)), NoSpell.RECALL_OVERLAPS_DOSING),
        (((14, 18.0),), NoSpell.NOT_REACHED),
    ],
)
def test_why_there_is_no_response(forms: tuple[tuple[float, float | None], ...], reason: NoSpell) -> None:
    """No form, no total, no usable window and no response are four different things."""
    assert course(*forms).response.reason is reason


def test_what_a_course_needs() -> None:
    """Without a dose, a baseline, or a rule, both spells say what is missing."""
    forms = [form(14, 4)]
    dose = Dose("a", day(0))
    none = NoBaseline(BaselineRule.PRE_TREATMENT, BaselineReason.TOO_OLD)
    before = Baseline(form(-1, 18), BaselineRule.PRE_TREATMENT)
    assert durability(forms, none, [dose], PHQ_9).response.reason is NoSpell.NO_BASELINE
    assert durability(forms, before, [], PHQ_9).response.reason is NoSpell.NO_DOSE
    bare = durability(forms, before, [dose], replace(PHQ_9, thresholds=()))
    assert bare.response.reason is bare.remission.reason is NoSpell.NO_RULE
    uncut = durability([*forms, form(28, 25)], before, [dose], replace(PHQ_9, screens=())).remission
    assert (uncut.reason, uncut.first_at, uncut.days_sustained, uncut.ended_at) == (
        NoSpell.NO_CUT_POINT,
        day(14),
        0.0,
        None,
    )


def test_where_higher_is_better_all_turns_round() -> None:
    """The PHQ-9 read from the other end gives the same dates."""
    top = PHQ_9.maximum
    cut = replace(PHQ_9.screens[0], total_at_least=None, total_at_most=top - 10)
    half = next(each for each in PHQ_9.thresholds if each.rule == "response")
    mirrored = replace(PHQ_9, direction=Direction.HIGHER_IS_BETTER, thresholds=(half,), screens=(cut,))
    forms = ((7, 16.0), (14, 9.0), (21, 10.0))
    there = course(*((at, top - total) for at, total in forms), before=top - 18, instrument=mirrored)
    assert there.response == course(*forms).response


@pytest.mark.parametrize("zone", ["Europe/Vienna", "America/Los_Angeles", "Australia/Lord_Howe"])
def test_a_clock_change_within_a_course_changes_nothing(zone: str) -> None:
    """Days are 24 hours of elapsed time; the same course told in a zone with daylight saving has the same durations."""
    clock = ZoneInfo(zone)
    points = [form(at, total) for at, total in ((-1, 18), (7, 8), (28, 8), (35, 14))]
    local = [point._replace(at=point.at.astimezone(clock)) for point in points]
    dose = Dose("a", day(0))
    here, there = (
        durability(each, Baseline(each[0], BaselineRule.FIRST), [replace(dose, started_at=start)], PHQ_9)
        for each, start in ((points, dose.started_at), (local, dose.started_at.astimezone(clock)))
    )
    assert here == there
    assert here.response.days_sustained == 28.0


totals = st.one_of(st.integers(0, 27), st.integers(6, 12))
series = st.lists(st.tuples(st.integers(1, 120), totals), max_size=10, unique_by=lambda pair: pair[0])
rules = st.sampled_from([FIRST_FORM_WITHOUT, CONFIRMED_BY_SECOND_FORM])
extra_doses = st.lists(st.integers(1, 100), max_size=3, unique=True)


@given(drawn=series, more=extra_doses, rule=rules, shift=st.integers(-100_000, 100_000), data=st.data())
def test_durability_is_shift_and_order_invariant(
    drawn: list[tuple[int, int]], more: list[int], rule: DurabilityRule, shift: int, data: st.DataObject
) -> None:
    """Moving all times by a constant, and any order of forms and doses, changes no duration, count or reason."""
    by = timedelta(minutes=shift)
    baseline = form(-1, 18)
    points = [baseline, *(form(at, total) for at, total in drawn)]
    doses = [Dose(str(at), day(at)) for at in (0, *more)]
    moved = [point._replace(at=point.at + by) for point in data.draw(st.permutations(points))]
    later = [replace(dose, started_at=dose.started_at + by) for dose in data.draw(st.permutations(doses))]
    here = durability(points, Baseline(baseline, BaselineRule.FIRST), doses, PHQ_9, rule)
    there = durability(moved, Baseline(baseline._replace(at=baseline.at + by), BaselineRule.FIRST), later, PHQ_9, rule)
    for mine, other in ((here.response, there.response), (here.remission, there.remission)):
        assert mine.first_at is None or mine.first_at + by == other.first_at
        assert mine.ended_at is None or mine.ended_at + by == other.ended_at
        assert (mine.hours_to, mine.doses_to, mine.days_sustained, mine.days_sustained_low, mine.reason) == (
            other.hours_to,
            other.doses_to,
            other.days_sustained,
            other.days_sustained_low,
            other.reason,
        )


@given(drawn=series, rule=rules, later=st.integers(1, 40), total=totals)
def test_a_form_after_the_loss_never_moves_it_earlier(
    drawn: list[tuple[int, int]], rule: DurabilityRule, later: int, total: int
) -> None:
    """What happens after a loss is a new chapter; under the plain rule the old one does not change at all."""
    found = course(*drawn, rule=rule).response
    if found.ended_at is None:
        return
    at = (found.ended_at - DAY_ZERO) / timedelta(days=1) + later + 0.5
    extended = course(*drawn, (at, total), rule=rule).response
    assert extended.ended_at is None or extended.ended_at >= found.ended_at
    if rule is FIRST_FORM_WITHOUT:
        assert extended == found


@given(drawn=series, rule=rules, at=st.integers(1, 120))
def test_a_missed_form_is_nothing(drawn: list[tuple[int, int]], rule: DurabilityRule, at: int) -> None:
    """An expected form that came back empty changes no date and no day of either spell."""
    with_gap = course(*drawn, (at + 0.5, None), rule=rule)
    without = course(*drawn, rule=rule)
    if without.judged:
        assert (with_gap.response, with_gap.remission) == (without.response, without.remission)


@given(drawn=series, rule=rules, until=st.integers(1, 120))
def test_dropping_out_never_improves_durability(drawn: list[tuple[int, int]], rule: DurabilityRule, until: int) -> None:
    """Whoever stops answering is never shown to have held longer than the same person who goes on."""
    whole = course(*drawn, rule=rule)
    stopped = course(*((at, total) for at, total in drawn if at <= until), rule=rule)
    for full, part in ((whole.response, stopped.response), (whole.remission, stopped.remission)):
        if part.days_sustained is not None:
            assert full.days_sustained is not None
            assert part.days_sustained <= full.days_sustained
            assert part.censored or part.ended_at == full.ended_at


@given(before=st.integers(0, 5), held=st.integers(1, 5), after=st.integers(0, 5), data=st.data())
def test_a_missed_form_never_adds_days_that_were_shown(before: int, held: int, after: int, data: st.DataObject) -> None:
    """One response, once lost: leaving out any forms never makes the days it was seen to hold more."""
    pattern = [15] * before + [8] * held + [15] * after
    forms = [(7.0 * (week + 1), float(total)) for week, total in enumerate(pattern)]
    kept = data.draw(st.lists(st.sampled_from(forms), unique=True))
    full, thinned = course(*forms).response, course(*kept).response
    assert (thinned.days_sustained_low or 0) <= (full.days_sustained_low or 0)


@given(drawn=series, rule=rules)
def test_bounds_enclose_what_is_told(drawn: list[tuple[int, int]], rule: DurabilityRule) -> None:
    """Shown at least, told, possible at most; a spell is either ended or censored; onset lies in its interval."""
    for spell in (course(*drawn, rule=rule).response, course(*drawn, rule=rule).remission):
        if spell.first_at is None:
            assert spell.reason is not None
            continue
        assert spell.last_without_at is not None
        assert spell.last_without_at < spell.first_at
        assert spell.days_sustained is not None
        assert spell.days_sustained_low is not None
        assert spell.days_sustained_low <= spell.days_sustained
        assert spell.censored == (spell.ended_at is None) == (spell.days_sustained_high is None)
        assert spell.days_sustained_high is None or spell.days_sustained <= spell.days_sustained_high
