"""Figures of a cohort: against counting by hand, the time points of cohort.py, scipy, statsmodels and lifelines."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from app.scoring.cohort import FollowUp, expected_and_observed
from app.scoring.cohort_course import (
    DOSE_BANDS,
    DOSE_COUNTS,
    TIME_POINTS,
    CohortFilter,
    CourseOutcome,
    CourseRecord,
    Finding,
    Outcome,
    Presence,
    Traits,
    band_of,
    course_baseline,
    course_outcome,
)
from app.scoring.cohort_outcomes import CohortOutcomes, Tally, cohort_outcomes, of_observed, of_treated
from app.scoring.durability import durability
from app.scoring.model import Point, Validity
from app.scoring.nhs import FirstLast
from app.scoring.registry import get_instrument
from app.scoring.session_effect import session_effects
from app.scoring.timeline import DAY, HOUR
from app.scoring.treatment import BaselineRule, Dose, choose_baseline

PHQ_9, WEEKLY = get_instrument("phq-9"), get_instrument("pcl-5-week")
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
LATER = START + 400 * DAY

Forms = Sequence[tuple[float, float | None]]


def points(forms: Forms) -> tuple[Point, ...]:
    return tuple(
        Point(f"{place:03}", START + day * DAY, total, Validity.INCOMPLETE if total is None else Validity.VALID)
        for place, (day, total) in enumerate(forms)
    )


def record(forms: Forms, doses: Sequence[float] = (0,), ends_on: float | None = None) -> CourseRecord:
    given_doses = tuple(Dose(f"{place:03}", START + day * DAY) for place, day in enumerate(doses))
    return CourseRecord(given_doses, points(forms), None if ends_on is None else START + ends_on * DAY)


def judged(course: CourseRecord, as_of: datetime = LATER) -> CourseOutcome:
    return course_outcome(PHQ_9, course, course_baseline(course), as_of)


def outcome(
    forms: Forms, doses: Sequence[float] = (0,), ends_on: float | None = None, until: float = 400
) -> CourseOutcome:
    return judged(record(forms, doses, ends_on), START + until * DAY)


PLACES = {point.code: place for place, point in enumerate(TIME_POINTS)}


def findings(found: CourseOutcome, code: str) -> dict[str, str]:
    look = found.looks[PLACES[code]]
    return {name.value: finding.value for name, finding in zip(Outcome, look.findings, strict=True)}


totals = st.one_of(st.none(), st.integers(0, 27))
forms = st.lists(st.tuples(st.floats(-40, 300), totals), max_size=12)
courses = st.builds(
    outcome,
    forms,
    st.lists(st.floats(0, 60), max_size=4).map(lambda days: (0, *days)),
    st.none() | st.floats(20, 300),
    st.floats(0, 400),
)


# --- One course -------------------------------------------------------------------------------------------------------


def test_time_points_do_not_overlap() -> None:
    """No form answers two of them."""
    for before, after in pairwise(TIME_POINTS):
        assert before.after + before.late < after.after - after.early


def test_a_course_without_a_dose_is_none() -> None:
    """The cohort begins with the first dose."""
    with pytest.raises(ValueError, match="begins with a dose"):
        course_baseline(CourseRecord((), (), None))


def test_the_day_after_a_dose_a_two_week_form_judges_nothing() -> None:
    """A weekly one of a week later does."""
    found = outcome([(-1, 18), (1, 4), (7, 4)])
    assert (found.looks[0].total, found.looks[0].judged) == (4, False)
    assert set(findings(found, "hours_24").values()) == {"unknown"}
    assert findings(found, "week_1")["remission"] == "met"


def test_a_form_that_may_speak_goes_before_a_nearer_one() -> None:
    """Six and a half days after, less than half of two weeks lies after the dose."""
    look = outcome([(-1, 18), (6.5, 4), (9, 12)]).looks[1]
    assert (look.total, look.judged) == (12, True)


def test_what_cannot_be_reached_is_not_applicable() -> None:
    """Remission of who is in it, and half of nothing; also of those who were not seen."""
    assert findings(outcome([(-1, 4)]), "week_1") == {
        "response": "unknown",
        "remission": "not_applicable",
        "reliable_improvement": "unknown",
        "reliable_deterioration": "unknown",
    }
    assert findings(outcome([(-1, 0), (8, 7)]), "week_1") == {
        "response": "not_applicable",
        "remission": "not_applicable",
        "reliable_improvement": "not_met",
        "reliable_deterioration": "met",
    }


def test_without_a_baseline_all_is_unknown() -> None:
    """And the form is shown."""
    found = outcome([(8, 3)])
    assert found.looks[1].total == 3
    assert set(findings(found, "week_1").values()) == {"unknown"}


@pytest.mark.parametrize(
    ("forms_", "ends_on", "until", "presence"),
    [
        ([(8, 9)], None, 20, Presence.OBSERVED),
        ([(8, None)], None, 20, Presence.MISSED),
        ([], None, 20, Presence.MISSED),
        ([], 8, 20, Presence.ENDED),
        ([(9, 9)], 8, 20, Presence.ENDED),  # that form is of the next course
        ([(6, 9)], 8, 20, Presence.OBSERVED),
        ([(8, 9)], None, 9, Presence.NOT_YET_DUE),  # the early alone would raise the rate
    ],
)
def test_everybody_is_in_one_place(forms_: Forms, ends_on: float | None, until: float, presence: Presence) -> None:
    """Dropping out is missing; only the person's next course ends the expectation."""
    assert outcome(forms_, ends_on=ends_on, until=until).looks[1].presence is presence


@given(forms, st.floats(0, 400))
def test_presence_is_that_of_expected_and_observed(given_forms: Forms, until: float) -> None:
    """The same windows by the function that counts them for one group at a time."""
    found = outcome(given_forms, until=until)
    seen = tuple(point.at for point in points(given_forms) if point.total is not None)
    counted = expected_and_observed([FollowUp(START, START + until * DAY, seen)], TIME_POINTS)
    for look, one in zip(found.looks, counted, strict=True):
        assert (look.presence is Presence.NOT_YET_DUE) == (one.not_yet_due == 1)
        assert (look.presence is Presence.OBSERVED) == (one.observed == 1)


@given(forms, st.lists(st.floats(0, 60), max_size=4))
def test_response_and_effects_are_those_of_a_trajectory(given_forms: Forms, more_doses: list[float]) -> None:
    """What one patient's page says is what counts in a cohort."""
    course = record(given_forms, (0, *more_doses))
    found = course_outcome(WEEKLY, course, course_baseline(course), LATER)
    baseline = choose_baseline(course.points, BaselineRule.PRE_TREATMENT, first_dose_at=START)
    spell = durability(course.points, baseline, course.doses, WEEKLY).response
    assert found.response_days == (None if spell.first_at is None else (spell.days_sustained, not spell.censored))
    effects = {
        (session.dose_number, after.window): after.effect
        for session in session_effects(course.points, course.doses, WEEKLY)
        for after in session.after
        if after.effect is not None
    }
    assert {(one.dose_number, one.window): one.points for one in found.effects} == effects


def test_only_finished_courses_are_paired() -> None:
    """Closed, with two sessions held; a missing second measure leaves recovery open."""
    base = record([(-1, 18), (40, 4)])
    done = replace(base, closed=True, contacts=2, companions={"gad-7": FirstLast(12, 3)})
    for course in (base, replace(done, closed=False), replace(done, contacts=1)):
        assert judged(course).pairs == ()
    assert [pair.recovery for pair in judged(done).pairs] == [True, None]


# --- Groups -----------------------------------------------------------------------------------------------------------


@given(st.lists(courses, max_size=25))
def test_nobody_is_lost_or_counted_twice(people: list[CourseOutcome]) -> None:
    """At every time point everybody is somewhere, and every tally adds up to those whose time had come."""
    found = cohort_outcomes(people)
    for point in found.time_points:
        assert sum(point.presences.values()) == len(people) == found.persons
        assert {sum((t.met, t.not_met, t.unknown, t.not_applicable)) for t in point.tallies.values()} == {point.due}
        assert (
            point.change.n == point.effect.n[0] == point.judged <= point.total.n == point.presences[Presence.OBSERVED]
        )


@given(st.lists(courses, min_size=1, max_size=25))
def test_attrition_cannot_flatter(people: list[CourseOutcome]) -> None:
    """Of all treated no good rate is higher than of those observed, and no bad one lower."""
    for point in cohort_outcomes(people).time_points:
        for name, tally in point.tallies.items():
            observed, treated = of_observed(tally).rate, of_treated(name, tally).rate
            if observed is not None and treated is not None:
                worse = -1 if name is Outcome.RELIABLE_DETERIORATION else 1
                assert worse * (observed - treated) >= -1e-12


@given(st.lists(courses, max_size=20), st.randoms())
def test_order_changes_nothing(people: list[CourseOutcome], draw: object) -> None:
    """A cohort is a set of people; sums of floats may differ in the last digit."""
    shuffled = list(people)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random of Hypothesis
    one, other = cohort_outcomes(people), cohort_outcomes(shuffled)
    assert [point.tallies for point in one.time_points] == [point.tallies for point in other.time_points]
    assert one.response == other.response


@pytest.fixture(scope="module")
def sample() -> list[CourseOutcome]:
    """Forty people, some of them missing."""
    people = []
    for number in range(40):
        before, after = 12 + number % 13, 3 + (number * 7) % 15
        seen = [(-1, before)] + [(day + 0.5, after + day // 28) for day in (7, 14, 28, 56, 91) if (number + day) % 5]
        people.append(outcome(seen, doses=(0, 7)[: 1 + number % 2]))
    return people


@pytest.fixture(scope="module")
def group(sample: list[CourseOutcome]) -> CohortOutcomes:
    return cohort_outcomes(sample)


@pytest.mark.parametrize("code", ["week_1", "week_4", "month_3"])
def test_means_and_rates_are_those_of_scipy_and_statsmodels(
    sample: list[CourseOutcome], group: CohortOutcomes, code: str
) -> None:
    """Mean and interval, g by its definition, Wilson's bounds."""
    place = PLACES[code]
    point = group.time_points[place]
    pairs = [(c.baseline, c.looks[place].total) for c in sample if c.looks[place].judged and c.baseline is not None]
    changes = [after - before for before, after in pairs if after is not None]
    interval = stats.t.interval(0.95, len(changes) - 1, loc=sum(changes) / len(changes), scale=stats.sem(changes))
    assert (point.change.low, point.change.high) == pytest.approx(interval)
    df = len(changes) - 1
    correction = math.gamma(df / 2) / (math.sqrt(df / 2) * math.gamma((df - 1) / 2))
    sd_before = stats.tstd([before for before, _ in pairs])
    assert point.effect.g == pytest.approx(correction * sum(changes) / len(changes) / sd_before)
    tally = point.tallies[Outcome.RESPONSE]
    low, high = proportion_confint(tally.met, tally.observed, method="wilson")
    assert (of_observed(tally).low, of_observed(tally).high) == pytest.approx((low, high))
    counted = Counter(course.looks[place].findings[0] for course in sample)
    assert tally == Tally(*(counted[finding] for finding in Finding))


def test_time_to_loss_of_response_is_that_of_lifelines(sample: list[CourseOutcome], group: CohortOutcomes) -> None:
    """Censored at the last form that still held."""
    days = [course.response_days for course in sample if course.response_days is not None]
    fitted = KaplanMeierFitter().fit([time for time, _ in days], [event for _, event in days])
    assert group.response.n == len(days) > 10
    for step in group.response.steps:
        assert step.survival == pytest.approx(fitted.predict(step.time))


def test_effects_are_told_by_dose_and_window(sample: list[CourseOutcome], group: CohortOutcomes) -> None:
    """With how many had such a dose, whether or not its effect can be estimated."""
    persons = {figures.number: figures.persons for figures in group.doses}
    assert persons[1] == 40
    assert {one.window for one in group.doses} == {"28d"}  # of a two-week form the others always straddle the dose
    assert sum(one.change.n for one in group.doses) == sum(len(course.effects) for course in sample)


def test_nobody_gives_no_number() -> None:
    """Zero persons: every figure None with its reason."""
    found = cohort_outcomes([])
    assert (found.persons, found.baseline.mean, found.response.n, found.doses, found.measures) == (0, None, 0, (), ())
    assert {point.change.reason for point in found.time_points} == {found.baseline.reason}


# --- Who belongs ------------------------------------------------------------------------------------------------------


def test_a_filter_admits_by_every_trait_it_names() -> None:
    """Months with both ends; an unknown severity is no severity."""
    mine = Traits("2026-03", "emdr", "oral", "under_50_mg", "1", None)
    assert CohortFilter().admits(mine)
    assert CohortFilter("2026-03", "2026-03", "emdr", "oral", "under_50_mg", "1").admits(mine)
    for no in (
        CohortFilter(first_dose_from="2026-04"),
        CohortFilter(first_dose_to="2026-02"),
        CohortFilter(modality="medication"),
        CohortFilter(route="sublingual"),
        CohortFilter(dose_band="150_mg_or_more"),
        CohortFilter(doses="2_to_3"),
        CohortFilter(severity="moderate"),
    ):
        assert not no.admits(mine)


@given(st.floats(0, 5_000))
def test_every_dose_has_one_band(dose_mg: float) -> None:
    """The highest that begins at or below it."""
    band = band_of(dose_mg, DOSE_BANDS)
    assert DOSE_BANDS[band] <= dose_mg
    assert all(begins <= DOSE_BANDS[band] or begins > dose_mg for begins in DOSE_BANDS.values())
    assert set(DOSE_COUNTS) == {band_of(count, DOSE_COUNTS) for count in range(1, 30)}


def test_hours_are_elapsed_ones() -> None:
    """18 hours after a dose the first window opens, both ends included."""
    for hours, presence in ((17.9, "missed"), (18, "observed"), (36, "observed"), (36.1, "missed")):
        form = (timedelta(hours=hours) / DAY, 5)
        assert outcome([form]).looks[0].presence == presence
    assert TIME_POINTS[0].after == 24 * HOUR
