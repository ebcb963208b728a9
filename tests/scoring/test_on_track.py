"""The flag "not on track": a fifth by the fourth check-in, and no reliable worsening at any time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scoring.model import Point, Validity
from app.scoring.on_track import FOURTH_CHECK_IN, OnTrack, OnTrackReason, on_track
from app.scoring.registry import get_instrument
from app.scoring.treatment import Baseline, BaselineReason, BaselineRule, NoBaseline

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
PHQ_9: Final = get_instrument("phq-9")  # reliable change: 6 points
IN_TIME, LATE, WORSE, EARLY = (
    OnTrackReason.IMPROVED_IN_TIME,
    OnTrackReason.NO_IMPROVEMENT_IN_TIME,
    OnTrackReason.RELIABLE_WORSENING,
    OnTrackReason.TOO_EARLY,
)


def week(count: float) -> datetime:
    return DAY_ZERO + timedelta(weeks=count)


def form(at: float, total: float | None) -> Point:
    return Point(f"week {at}", week(at), total, Validity.INCOMPLETE if total is None else Validity.VALID)


def weekly(*totals: float | None, before: float | None = 15) -> OnTrack:
    """Baseline in week 0, then one form a week."""
    forms = [form(at, total) for at, total in enumerate(totals, start=1)]
    return on_track(forms, Baseline(form(0, before), BaselineRule.FIRST), PHQ_9)


@pytest.mark.parametrize(
    ("totals", "met", "reason"),
    [
        ((), None, EARLY),
        ((15,), None, EARLY),
        ((15, 14, 13), None, EARLY),  # three check-ins and no fifth: wait for the fourth
        ((15, 14, 13, 13), False, LATE),
        ((15, 14, 13, 12), True, IN_TIME),  # 3 of 15 is 20 %
        ((12,), True, IN_TIME),
        ((12, 15, 15, 15, 15), True, IN_TIME),  # shown once in time
        ((15, 14, 13, 13, 5), False, LATE),  # slow: right, but after the fourth
        ((21,), False, WORSE),  # 6 up
        ((20,), None, EARLY),
        ((12, 10, 8, 6, 4, 21), False, WORSE),  # at any time
        ((None, None, None, None, None), None, EARLY),  # missed check-ins are not check-ins
        ((15, None, 14, None, 14, 14), False, LATE),
    ],
)
def test_the_rule_case_by_case(totals: tuple[float | None, ...], met: bool | None, reason: OnTrackReason) -> None:
    """On track, flagged, or too early to tell."""
    found = weekly(*totals)
    assert (found.met, found.reason) == (met, reason)


def test_the_flag_carries_its_date_and_where_the_person_stands_now() -> None:
    """Flagged at the fourth check-in; the sixth shows the improvement, and both are told."""
    found = weekly(15, 15, 14, 14, 13, 6)
    assert (found.flagged_at, found.latest_improved, found.check_ins) == (week(4), True, 6)


def test_the_first_reason_to_flag_is_the_one_given() -> None:
    """Worsening in week two comes before the fourth check-in; at the same check-in worsening is named."""
    assert (weekly(15, 21, 15, 15).reason, weekly(15, 21, 15, 15).flagged_at) == (WORSE, week(2))
    assert weekly(15, 15, 15, 21).reason is WORSE
    assert (weekly(15, 15, 15, 15, 21).reason, weekly(15, 15, 15, 15, 21).flagged_at) == (LATE, week(4))


def test_zero_baseline() -> None:
    """A percent of nothing is undefined, never an improvement and never a failure; worsening still counts."""
    assert (weekly(0, 1, 2, 3, before=0).met, weekly(0, 1, 2, 3, before=0).reason) == (
        None,
        OnTrackReason.ZERO_BASELINE,
    )
    assert weekly(0, 6, before=0).reason is WORSE


def test_no_baseline() -> None:
    """Nothing to count from: not told, and not too early either."""
    none = NoBaseline(BaselineRule.PRE_TREATMENT, BaselineReason.NO_DOSE)
    assert on_track([form(1, 20)], none, PHQ_9).reason is OnTrackReason.NO_BASELINE


def test_check_ins_before_the_first_dose_are_not_treatment() -> None:
    """Four forms while waiting prove nothing about treatment that has not begun."""
    forms = [form(at, 15) for at in (1, 2, 3, 4)]
    found = on_track(forms, Baseline(form(0, 15), BaselineRule.FIRST), PHQ_9, first_dose_at=week(4))
    assert (found.check_ins, found.met) == (0, None)


def test_the_rule_stands_next_to_the_flag_in_its_own_numbers() -> None:
    """The sentence is made of the numbers that judge."""
    assert "first 4 treatment check-ins" in FOURTH_CHECK_IN.statement
    assert "at least 20 %" in FOURTH_CHECK_IN.statement
    own = replace(FOURTH_CHECK_IN, by_check_in=2, minimum_improvement_rate=0.125)
    found = on_track([form(1, 15), form(2, 14)], Baseline(form(0, 16), BaselineRule.FIRST), PHQ_9, rule=own)
    assert (found.met, found.statement) == (True, own.statement)
    assert "first 2 treatment check-ins" in found.statement
    assert "12.5 %" in found.statement


def test_without_a_reliable_change_rule_only_the_first_half_is_judged() -> None:
    """No worsening can be told, and the empty rule code says so."""
    bare = replace(PHQ_9, thresholds=())
    found = on_track([form(1, 27)], Baseline(form(0, 15), BaselineRule.FIRST), bare)
    assert (found.met, found.worsening_rule) == (None, None)


def test_where_higher_is_better_the_rule_turns_round() -> None:
    """WHO-5 from 40: the way to the best is 60 points, a fifth of it is 12."""
    before = Baseline(form(0, 40), BaselineRule.FIRST)
    assert on_track([form(1, 52)], before, get_instrument("who-5")).met is True
    assert on_track([form(1, 16)], before, get_instrument("who-5")).reason is WORSE


@given(totals=st.lists(st.one_of(st.none(), st.integers(0, 27)), max_size=8), data=st.data())
def test_a_missed_form_and_the_order_of_forms_change_nothing(totals: list[int | None], data: st.DataObject) -> None:
    """Leaving the incomplete forms out, and shuffling the rest, gives the same answer."""
    forms = [form(at, total) for at, total in enumerate(totals, start=1)]
    complete = data.draw(st.permutations([point for point in forms if point.total is not None]))
    before = Baseline(form(0, 15), BaselineRule.FIRST)
    assert on_track(forms, before, PHQ_9) == on_track(complete, before, PHQ_9)


@given(totals=st.lists(st.integers(0, 27), max_size=8), more=st.integers(0, 27))
def test_a_flag_stays(totals: list[int], more: int) -> None:
    """Another check-in never lifts a flag or moves its date."""
    found = weekly(*totals)
    if found.met is False:
        again = weekly(*totals, more)
        assert (again.met, again.reason, again.flagged_at) == (False, found.reason, found.flagged_at)
