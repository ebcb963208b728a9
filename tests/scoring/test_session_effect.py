"""One dose, a form before it, forms after it: which are paired, and what cannot be estimated and why."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scoring.model import Instrument, Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.session_effect import STANDARD_PAIRING, NotEstimable, SessionEffect, session_effects
from app.scoring.treatment import Dose

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
PHQ_9: Final = get_instrument("phq-9")  # recall 14 days
PCL_WEEK: Final = get_instrument("pcl-5-week")  # recall 7 days
DAILY: Final = replace(PHQ_9, recall_days=1)  # the same sheet asked about the last 24 hours


def hours(count: float) -> datetime:
    return DAY_ZERO + timedelta(hours=count)


def dose(start: float) -> Dose:
    return Dose(f"dose {start}", hours(start))


def form(start: float, total: float | None) -> Point:
    return Point(f"form {start}", hours(start), total, Validity.INCOMPLETE if total is None else Validity.VALID)


def one(points: list[Point], instrument: Instrument = DAILY, doses: tuple[float, ...] = (0,)) -> SessionEffect:
    """The effect of the first dose."""
    return session_effects(points, [dose(start) for start in doses], instrument)[0]


def reason_of(effect: SessionEffect, window: str) -> NotEstimable | None:
    return next(each.not_estimable for each in effect.after if each.window == window)


def test_a_whole_session() -> None:
    """Before 20; 12 after a day, 10 after three, 9 after a week, 15 after four: each is told, the earliest leads."""
    points = [form(-2, 20), form(25, 12), form(70, 10), form(168, 9), form(700, 15)]
    effect = one(points)
    assert [(each.window, each.effect, each.hours_after) for each in effect.after] == [
        ("24h", -8, 25.0),
        ("72h", -10, 70.0),
        ("7d", -11, 168.0),
        ("28d", -5, 700.0),
    ]
    assert (effect.effect, effect.effect_window, effect.not_estimable) == (-8, "24h", None)
    assert (effect.before, effect.hours_before, effect.rules) == (points[0], 2.0, "around_one_dose@1")


def test_the_standard_error_is_that_of_a_difference() -> None:
    """PHQ-9, SD 6.1 and retest reliability .84: sqrt(2) * 6.1 * sqrt(.16), as worked by hand 3.45 points."""
    error = one([form(-2, 20), form(25, 12)]).standard_error
    assert error == pytest.approx(math.sqrt(2) * 6.1 * math.sqrt(0.16))
    assert round(error or 0, 2) == 3.45


def test_no_reliability_no_standard_error() -> None:
    """An instrument without a declared spread still has an effect, with nothing invented beside it."""
    effect = one([form(-2, 12), form(170, 5)], replace(get_instrument("gad-7"), recall_days=1))
    assert (effect.effect, effect.standard_error) == (-7, None)


@pytest.mark.parametrize("at", [24, 72, 168, 216, 335.9])
def test_two_weeks_of_recall_cannot_see_one_dose_within_two_weeks(at: float) -> None:
    """PHQ-9 forms up to 14 days after a dose still ask about the time before it; four weeks after they do not."""
    soon = one([form(-2, 20), form(at, 12)], PHQ_9)
    assert soon.effect is None
    assert soon.not_estimable is (NotEstimable.RECALL_STRADDLES_DOSE if at <= 216 else NotEstimable.NONE_AFTER)
    late = one([form(-2, 20), form(at, 12), form(672, 14)], PHQ_9)
    assert (late.effect, late.effect_window) == (-6, "28d")


@pytest.mark.parametrize(("at", "effect"), [(167.99, None), (168, -13), (216, -13)])
def test_the_weekly_pcl_sees_a_dose_from_the_seventh_day_on(at: float, effect: int | None) -> None:
    """Exactly seven days after, the whole past week lies after the dose; a moment sooner it does not."""
    assert one([form(-2, 48), form(at, 35)], PCL_WEEK).effect == effect


def test_a_usable_form_is_preferred_to_a_nearer_one_that_straddles() -> None:
    """167 h is nearer to a week than 175 h, and still asks about the hour before the dose."""
    effect = one([form(-2, 48), form(167, 20), form(175, 35)], PCL_WEEK)
    assert (effect.effect, effect.effect_window) == (-13, "7d")


def test_a_clinic_may_accept_a_little_overlap() -> None:
    """The share that must lie after the dose is part of the declared rules."""
    lenient = replace(STANDARD_PAIRING, code="lenient", minimum_recall_after=0.9)
    (effect,) = session_effects([form(-2, 48), form(160, 35)], [dose(0)], PCL_WEEK, lenient)
    assert (effect.effect, effect.rules) == (-13, "lenient@1")


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([form(25, 12)], NotEstimable.NO_FORM_BEFORE),
        ([form(-168.01, 20), form(25, 12)], NotEstimable.NO_FORM_BEFORE),
        ([form(-2, None), form(25, 12)], NotEstimable.INVALID_FORM),
        ([form(-2, 20), form(25, None)], NotEstimable.INVALID_FORM),
        ([form(-2, 20)], NotEstimable.NONE_AFTER),
        ([form(-2, 20), form(17.9, 12), form(36.1, 12)], NotEstimable.NONE_AFTER),
        ([], NotEstimable.NO_FORM_BEFORE),
    ],
)
def test_what_is_missing_is_named(points: list[Point], reason: NotEstimable) -> None:
    """No form before, none after, none complete, or just outside the window: a reason and no number."""
    effect = one(points)
    assert (effect.effect, effect.standard_error, effect.not_estimable) == (None, None, reason)


@pytest.mark.parametrize("edge", [60, 96])
def test_both_ends_of_a_window_belong_to_it(edge: float) -> None:
    """Windows are closed: 60 and 96 hours are both "72 h after"; a week before is still "before"."""
    assert one([form(-168, 20), form(edge, 12)]).effect == -8


def test_the_last_form_before_is_taken_and_an_incomplete_one_passed_over() -> None:
    """The state this dose met is the last one that can be judged, the start of the dose included."""
    assert one([form(-100, 27), form(-5, 20), form(-1, None), form(25, 12)]).effect == -8
    assert one([form(-5, 20), form(0, 18), form(25, 12)]).effect == -6


def test_the_nearest_form_is_taken_and_the_earlier_of_two() -> None:
    """70 h and 74 h are equally near to three days: the earlier is taken, in whatever order they come."""
    points = [form(74, 11), form(-2, 20), form(70, 12), form(80, 3)]
    assert one(points).after[1].point == points[2]
    assert one(points[::-1]).after[1].point == points[2]


def test_another_dose_in_between_is_never_part_of_an_effect() -> None:
    """With a second dose after 48 h only the first day can be told for the first; what follows belongs to both."""
    points = [form(-2, 20), form(25, 12), form(47, 14), form(72, 5), form(168, 5)]
    first, second = session_effects(points, [dose(0), dose(48)], DAILY)
    assert first.effect == -8
    assert [reason_of(first, window) for window in ("72h", "7d", "28d")] == [NotEstimable.NEXT_DOSE_BEFORE_WINDOW] * 3
    assert (second.before, second.effect, second.effect_window) == (points[2], -9, "24h")


def test_a_dose_inside_the_window_cuts_it() -> None:
    """A form up to the next dose counts, one at its very start too; a later one does not."""
    before = form(-2, 20)
    assert one([before, form(30, 12)], doses=(0, 30)).effect == -8
    assert one([before, form(60, 12)], doses=(0, 60)).effect == -8  # the window opens with the next dose
    late = one([before, form(31, 12)], doses=(0, 30))
    assert reason_of(late, "24h") is NotEstimable.NEXT_DOSE_BEFORE_FORM


def test_two_sessions_on_one_day_cannot_be_told_apart() -> None:
    """With no form between them neither dose has an effect of its own; with one between, the second has."""
    points = [form(-2, 20), form(30, 12)]
    first, second = session_effects(points, [dose(0), dose(4)], DAILY)
    assert first.not_estimable is NotEstimable.NEXT_DOSE_BEFORE_WINDOW
    assert second.not_estimable is NotEstimable.PREVIOUS_DOSE_AFTER_FORM
    _, still = session_effects([*points, form(0, 19)], [dose(0), dose(4)], DAILY)
    assert still.effect is None  # at the start of the first dose is before both
    _, parted = session_effects([*points, form(3, 19)], [dose(0), dose(4)], DAILY)
    assert parted.effect == -7


def test_two_doses_at_one_instant_are_one_event_to_every_form() -> None:
    """Neither can be told from the other."""
    effects = session_effects([form(-2, 20), form(25, 12)], [dose(0), Dose("other", hours(0))], DAILY)
    assert [each.effect for each in effects] == [None, None]


def test_a_session_after_the_last_form_has_no_effect_yet() -> None:
    """The form before is there; nothing after it is made up."""
    _, last = session_effects([form(-2, 20), form(25, 12)], [dose(0), dose(100)], DAILY)
    assert (last.before, last.not_estimable) == (form(25, 12), NotEstimable.NONE_AFTER)


def test_no_doses_no_effects() -> None:
    """There is nothing to pair around."""
    assert session_effects([form(0, 5)], [], DAILY) == ()


def test_a_night_in_which_the_clock_changes_is_as_long_as_it_was() -> None:
    """Noon to noon of a 23-hour day lies 23 hours after the dose."""
    noon = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo("Europe/Vienna"))
    points = [Point("a", noon, 20, Validity.VALID), Point("b", noon.replace(day=29), 12, Validity.VALID)]
    (effect,) = session_effects(points, [Dose("d", noon)], DAILY)
    assert effect.after[0].hours_after == 23.0


forms = st.lists(
    st.tuples(st.integers(-300, 1000), st.one_of(st.none(), st.integers(0, 27))), max_size=12, unique_by=lambda f: f[0]
)
starts = st.lists(st.integers(-100, 400), max_size=4, unique=True)


@given(drawn=forms, begins=starts, shift=st.integers(-10_000, 10_000), data=st.data())
def test_effects_are_shift_and_order_invariant(
    drawn: list[tuple[int, int | None]], begins: list[int], shift: int, data: st.DataObject
) -> None:
    """Moving all times by a constant, and giving forms and doses in any order, changes nothing but the times."""
    points = [form(at, total) for at, total in drawn]
    doses = [dose(start) for start in begins]
    moved = [point._replace(at=point.at + timedelta(minutes=shift)) for point in data.draw(st.permutations(points))]
    later = [
        replace(each, started_at=each.started_at + timedelta(minutes=shift))
        for each in data.draw(st.permutations(doses))
    ]

    def told(effects: tuple[SessionEffect, ...]) -> list[object]:
        return [
            (
                (each.dose_id, each.effect, each.not_estimable, each.before and each.before.id),
                [(after.point and after.point.id, after.effect, after.not_estimable) for after in each.after],
            )
            for each in effects
        ]

    assert told(session_effects(points, doses, DAILY)) == told(session_effects(moved, later, DAILY))


@given(drawn=forms, begins=starts)
def test_every_number_has_its_forms_and_every_gap_its_reason(
    drawn: list[tuple[int, int | None]], begins: list[int]
) -> None:
    """An effect is after minus before, with no other dose between the two and no recall before the dose."""
    doses = sorted(begins)
    for effect in session_effects([form(at, total) for at, total in drawn], [dose(start) for start in begins], DAILY):
        start = doses[effect.dose_number - 1]
        for after in effect.after:
            assert (after.effect is None) == (after.not_estimable is not None)
            if after.effect is None:
                continue
            assert effect.before is not None
            assert after.point is not None
            assert effect.before.total is not None
            assert after.point.total is not None
            assert after.effect == after.point.total - effect.before.total
            assert [other for other in doses if effect.before.at <= hours(other) < after.point.at] == [start]
            assert after.point.at - timedelta(days=DAILY.recall_days) >= hours(start)


@given(drawn=forms, begins=starts, at=st.integers(-300, 1000))
def test_a_missed_form_never_makes_a_number(drawn: list[tuple[int, int | None]], begins: list[int], at: int) -> None:
    """An incomplete form adds no effect and changes none."""
    points = [form(when, total) for when, total in drawn if when != at]
    doses = [dose(start) for start in begins]
    before = [[after.effect for after in each.after] for each in session_effects(points, doses, DAILY)]
    missed = session_effects([*points, form(at, None)], doses, DAILY)
    assert [[after.effect for after in each.after] for each in missed] == before
