"""Doses in order, the place of a form among them, and the baseline, all by instants and not by wall clocks."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scoring.model import Point, Validity
from app.scoring.timeline import in_time_order, instant
from app.scoring.treatment import (
    MAXIMUM_BASELINE_AGE_DAYS,
    Baseline,
    BaselineReason,
    BaselineRule,
    Context,
    Dose,
    NoBaseline,
    choose_baseline,
    context,
    dose_line,
    doses_before,
    numbered,
    recall_share,
    straddles_dose,
)

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
ZONES: Final = ("Europe/Vienna", "America/Los_Angeles", "Australia/Lord_Howe")  # the last one moves by half an hour
# The last noon before a clock change, and the hours a patient lives through until the next noon.
SHORT_DAYS: Final = {
    "Europe/Vienna": (date(2026, 3, 28), 23.0),
    "America/Los_Angeles": (date(2026, 3, 7), 23.0),
    "Australia/Lord_Howe": (date(2026, 10, 3), 23.5),
}
LONG_DAYS: Final = {
    "Europe/Vienna": (date(2026, 10, 24), 25.0),
    "America/Los_Angeles": (date(2026, 10, 31), 25.0),
    "Australia/Lord_Howe": (date(2026, 4, 4), 24.5),
}
minutes = st.integers(-100_000, 100_000)


def hours(count: float) -> datetime:
    return DAY_ZERO + timedelta(hours=count)


def dose(start: float, name: str = "") -> Dose:
    return Dose(name or f"dose {start}", hours(start))


def form(start: float, total: float | None = 18) -> Point:
    return Point(f"form {start}", hours(start), total, Validity.INCOMPLETE if total is None else Validity.VALID)


def test_doses_are_numbered_by_start_then_id() -> None:
    """Two sessions on one day, and two at one instant, are separate doses in a fixed order."""
    doses = [dose(8), dose(0), dose(240, "b"), dose(240, "a")]
    assert [(each.number, each.dose.id) for each in numbered(doses)] == [
        (1, "dose 0"),
        (2, "dose 8"),
        (3, "a"),
        (4, "b"),
    ]


def test_a_form_a_day_after_a_dose_speaks_of_the_time_before() -> None:
    """PHQ-9, 25.5 hours after the second dose: the published example of the interface, 0.08 of two weeks."""
    found = context(hours(25.5), [dose(-168), dose(0)], recall_days=14)
    assert (found.dose_number, found.hours_since_dose) == (2, 25.5)
    assert found.recall_after_dose == pytest.approx(25.5 / 336)
    assert round(found.recall_after_dose or 0, 4) == 0.0759


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (-0.001, Context(None, None, None)),
        (0, Context(1, 0.0, 0.0)),
        (84, Context(1, 84.0, 0.5)),
        (168, Context(1, 168.0, 1.0)),
        (500, Context(1, 500.0, 1.0)),
    ],
)
def test_context_at_its_boundaries(at: float, expected: Context) -> None:
    """At the very start a form is numbered with the dose at share 0; a whole window later the share is exactly 1."""
    assert context(hours(at), [dose(0)], recall_days=7) == expected


def test_a_session_after_the_form_changes_nothing() -> None:
    """A later dose is no part of what an earlier form can speak of."""
    assert context(hours(30), [dose(0), dose(31)], 7) == context(hours(30), [dose(0)], 7)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("season", [SHORT_DAYS, LONG_DAYS])
def test_hours_are_elapsed_time_when_the_clock_changes(zone: str, season: dict[str, tuple[date, float]]) -> None:
    """From noon to noon the patient lives through 23, 25, 23.5 or 24.5 hours, and that is what is counted."""
    day, lived = season[zone]
    started = datetime.combine(day, time(12), ZoneInfo(zone))
    at = started + timedelta(days=1)  # Python adds on the wall clock: noon again
    found = context(at, [Dose("a", started)], recall_days=7)
    assert found.hours_since_dose == lived
    assert found.recall_after_dose == pytest.approx(lived / 168)


def test_an_hour_that_happens_twice_keeps_its_order() -> None:
    """02:30 before and 02:30 after the clock went back are an hour apart: a dose between them belongs to the second."""
    vienna = ZoneInfo("Europe/Vienna")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=vienna)
    second = first.replace(fold=1)
    assert context(second, [Dose("a", first)], 7).hours_since_dose == 1.0
    assert context(first, [Dose("a", second)], 7).dose_number is None
    points = [Point("a", second, 5, Validity.VALID), Point("b", first, 6, Validity.VALID)]
    assert [point.id for point in in_time_order(points)] == ["b", "a"]


@given(starts=st.lists(minutes, max_size=5), at=minutes, zone=st.sampled_from(ZONES))
def test_the_zone_a_time_is_written_in_changes_nothing(starts: list[int], at: int, zone: str) -> None:
    """The same instants in another zone give the same context."""
    doses = [Dose(str(index), DAY_ZERO + timedelta(minutes=start)) for index, start in enumerate(starts)]
    local = [Dose(each.id, each.started_at.astimezone(ZoneInfo(zone))) for each in doses]
    moment = DAY_ZERO + timedelta(minutes=at)
    assert context(moment, doses, 14) == context(moment.astimezone(ZoneInfo(zone)), local, 14)


@given(starts=st.lists(minutes, max_size=5), at=minutes, shift=minutes, recall=st.integers(1, 30))
def test_context_is_shift_and_order_invariant(starts: list[int], at: int, shift: int, recall: int) -> None:
    """Moving everything by a constant, or giving the doses in another order, changes nothing."""
    moment, moved = (DAY_ZERO + timedelta(minutes=at + by) for by in (0, shift))
    doses = [Dose(str(index), DAY_ZERO + timedelta(minutes=start)) for index, start in enumerate(starts)]
    later = [Dose(each.id, each.started_at + timedelta(minutes=shift)) for each in reversed(doses)]
    assert context(moment, doses, recall) == context(moved, later, recall)
    assert straddles_dose(moment, doses, recall) == straddles_dose(moved, later, recall)


@given(starts=st.lists(minutes, max_size=6), at=minutes, zone=st.sampled_from(ZONES), recall=st.integers(1, 30))
def test_a_line_of_doses_answers_as_going_through_all_of_them(
    starts: list[int], at: int, zone: str, recall: int
) -> None:
    """Ordered once and searched by halves, the doses give what comparing with each of them gives."""
    form_at, every = hours(at / 60).astimezone(ZoneInfo(zone)), [dose(start / 60) for start in [*starts, at]]
    line = dose_line(every)
    strictly = [each for each in numbered(every) if each.dose.started_at < hours(at / 60)]
    assert line.before(form_at) == tuple(strictly)
    nearest = [each for each in numbered(every) if each.dose.started_at <= hours(at / 60)][-1]
    since = instant(form_at) - nearest.dose.started_at
    share = recall_share(form_at, nearest.dose.started_at, recall)
    assert line.context(form_at, recall) == Context(nearest.number, since / timedelta(hours=1), share)


@given(
    starts=st.lists(minutes, max_size=5),
    times=st.lists(minutes, max_size=8),
    after=minutes,
    recall=st.integers(1, 30),
    least=st.sampled_from([0, 0.1, 0.5, 0.75, 1]),
)
def test_who_may_speak_is_told_as_by_the_share_of_each_form(
    starts: list[int], times: list[int], after: int, recall: int, least: float
) -> None:
    """Also of forms and doses at one instant, and of doses that follow each other before a form may speak."""
    line = dose_line(dose(start / 60) for start in starts)
    edges = [start + round(least * recall * 24 * 60) for start in starts]
    forms = in_time_order(form(at / 60) for at in {*times, *starts, *edges})
    expected = [
        each
        for each in forms
        if each.at > hours(after / 60)
        and (before := line.before(each.at))
        and recall_share(each.at, before[-1].dose.started_at, recall) >= least
    ]
    assert line.speaking(forms, hours(after / 60), recall, least) == expected


@given(
    times=st.lists(st.integers(0, 40), max_size=8),
    opens=st.integers(0, 40),
    length=st.integers(-5, 20),
    zone=st.sampled_from(ZONES),
)
def test_points_in_order_are_cut_as_by_looking_at_each(times: list[int], opens: int, length: int, zone: str) -> None:
    """A stretch of points in order of time holds those whose instant lies in it, whatever zone it is asked in."""
    ordered = in_time_order([Point(str(place), hours(at), 5, Validity.VALID) for place, at in enumerate(times)])
    start, end = (hours(at).astimezone(ZoneInfo(zone)) for at in (opens, opens + length))
    assert in_time_order(ordered) is ordered
    assert ordered.between(start, end) == tuple(p for p in ordered if hours(opens) <= p.at <= hours(opens + length))
    assert ordered.until(start) == tuple(p for p in ordered if p.at <= hours(opens))
    assert ordered.after(start) == tuple(p for p in ordered if p.at > hours(opens))


@given(start=minutes, first=minutes, second=minutes, recall=st.integers(1, 30))
def test_recall_share_is_a_share_and_grows(start: int, first: int, second: int, recall: int) -> None:
    """The share lies in 0 to 1 and never shrinks while time passes after a dose."""
    started = DAY_ZERO + timedelta(minutes=start)
    early, late = sorted(DAY_ZERO + timedelta(minutes=at) for at in (first, second))
    shares = recall_share(early, started, recall), recall_share(late, started, recall)
    assert 0 <= shares[0] <= shares[1] <= 1


@given(start=minutes, at=minutes, recall=st.integers(1, 30))
def test_one_dose_is_straddled_exactly_when_the_share_is_a_true_part(start: int, at: int, recall: int) -> None:
    """A window mixes before and after when its share after the dose is neither none nor all."""
    only = Dose("a", DAY_ZERO + timedelta(minutes=start))
    moment = DAY_ZERO + timedelta(minutes=at)
    assert straddles_dose(moment, [only], recall) == (0 < recall_share(moment, only.started_at, recall) < 1)


def test_any_dose_inside_the_window_is_straddled() -> None:
    """A dose before the nearest one counts as well, also when the nearest starts with the form."""
    assert straddles_dose(hours(100), [dose(50), dose(100)], recall_days=7)
    assert not straddles_dose(hours(100), [dose(100), dose(100 - 168)], recall_days=7)


def test_a_form_cannot_speak_of_a_dose_that_starts_with_it() -> None:
    """Doses before a form are those that started strictly before it."""
    assert [each.number for each in doses_before(hours(10), [dose(10), dose(0)])] == [1]


@pytest.mark.parametrize("recall", [0, -1, float("nan")])
def test_a_recall_window_has_a_length(recall: float) -> None:
    """No window, no share: refused even while there is no dose."""
    with pytest.raises(ValueError, match="recall window"):
        context(DAY_ZERO, [], recall)


def test_a_time_without_an_offset_is_refused() -> None:
    """A wall-clock time has no place on the time line."""
    with pytest.raises(ValueError, match="offset"):
        instant(DAY_ZERO.replace(tzinfo=None))
    with pytest.raises(ValueError, match="offset"):
        context(DAY_ZERO, [Dose("a", DAY_ZERO.replace(tzinfo=None))], 7)


PRE: Final = BaselineRule.PRE_TREATMENT
LIMIT: Final = MAXIMUM_BASELINE_AGE_DAYS * 24


@pytest.mark.parametrize(
    ("forms", "expected"),
    [
        ([form(-200), form(-3), form(1)], "form -3"),
        ([form(-3), form(0)], "form 0"),  # at the very start of the dose is before it
        ([form(-30), form(-3, None)], "form -30"),  # an incomplete form is passed over
        ([form(-LIMIT)], f"form {-LIMIT}"),  # the limit itself is not too old
        ([form(-LIMIT - 0.01)], BaselineReason.TOO_OLD),
        ([form(-LIMIT - 1), form(-3, None)], BaselineReason.TOO_OLD),
        ([form(-3, None), form(1)], BaselineReason.INCOMPLETE),
        ([form(1)], BaselineReason.NONE_BEFORE_FIRST_DOSE),
        ([], BaselineReason.NONE_BEFORE_FIRST_DOSE),
    ],
)
def test_pre_treatment_baseline(forms: list[Point], expected: str | BaselineReason) -> None:
    """The last form with a total at or before the first dose, no older than the limit, or the reason there is none."""
    found = choose_baseline(forms, PRE, first_dose_at=hours(0))
    if isinstance(expected, BaselineReason):
        assert found == NoBaseline(PRE, expected)
    else:
        assert isinstance(found, Baseline)
        assert (found.point.id, found.rule) == (expected, PRE)


def test_pre_treatment_needs_a_dose() -> None:
    """Without a dose there is no "before treatment"."""
    assert choose_baseline([form(0)], PRE) == NoBaseline(PRE, BaselineReason.NO_DOSE)


def test_a_clinic_may_set_its_own_limit() -> None:
    """The age limit is a parameter in days."""
    found = choose_baseline([form(-50)], PRE, first_dose_at=hours(0), maximum_age_days=2)
    assert found == NoBaseline(PRE, BaselineReason.TOO_OLD)


def test_first_baseline() -> None:
    """The first form with a total, wherever the doses are; its reasons tell none from none complete."""
    rule = BaselineRule.FIRST
    assert choose_baseline([form(30), form(5, None), form(9)], rule) == Baseline(form(9), rule)
    assert choose_baseline([form(5, None)], rule) == NoBaseline(rule, BaselineReason.INCOMPLETE)
    assert choose_baseline([], rule) == NoBaseline(rule, BaselineReason.NOT_FOUND)


def test_named_baseline() -> None:
    """The named form and no other; an incomplete one is refused, an unknown one not found."""
    rule = BaselineRule.NAMED
    forms = [form(5), form(9, None)]
    assert choose_baseline(forms, rule, assessment_id="form 5") == Baseline(form(5), rule)
    assert choose_baseline(forms, rule, assessment_id="form 9") == NoBaseline(rule, BaselineReason.INCOMPLETE)
    assert choose_baseline(forms, rule, assessment_id="x") == NoBaseline(rule, BaselineReason.NOT_FOUND)
    assert choose_baseline(forms, rule) == NoBaseline(rule, BaselineReason.NOT_FOUND)


@given(
    times=st.lists(st.integers(-2000, 2000), unique=True, max_size=8),
    shift=minutes,
    rule=st.sampled_from([BaselineRule.PRE_TREATMENT, BaselineRule.FIRST]),
    data=st.data(),
)
def test_baseline_is_shift_and_order_invariant(
    times: list[int], shift: int, rule: BaselineRule, data: st.DataObject
) -> None:
    """The same form is chosen from a shuffled and shifted series."""
    by = timedelta(minutes=shift)
    forms = [form(at, None if at % 3 == 0 else 10) for at in times]
    shuffled = [
        Point(point.id, point.at + by, point.total, point.validity) for point in data.draw(st.permutations(forms))
    ]
    here = choose_baseline(forms, rule, first_dose_at=hours(0))
    there = choose_baseline(shuffled, rule, first_dose_at=hours(0) + by)
    if isinstance(here, Baseline):
        assert isinstance(there, Baseline)
        assert here.point.id == there.point.id
    else:
        assert here == there
