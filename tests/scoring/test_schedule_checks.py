"""Plans that cannot be carried out, and plans whose forms tell less than they seem to."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring import schedule_checks
from app.scoring.registry import all_instruments, get_instrument
from app.scoring.schedule import (
    After,
    Anchor,
    PlanEntry,
    QuietHours,
    Repeat,
    Session,
    Window,
    ZoneFrom,
    expected_check_ins,
)
from app.scoring.schedule_checks import ASSUMED_DOSES, MAXIMUM_CHECK_INS, plan_faults, plan_warnings

NIGHT: Final = QuietHours(time(21), time(8))
NO_QUIET: Final = QuietHours(time(0), time(0))
WHOLE: Final = PlanEntry("form", "phq-9", Anchor.EACH_DOSE, After(days=1), Window(-6, 12, 24))


def changed(**changes: Any) -> PlanEntry:
    return replace(WHOLE, **changes)


def faults(*entries: PlanEntry, quiet: QuietHours = NIGHT) -> list[tuple[int, str, str]]:
    return [(fault.index, fault.field, fault.code) for fault in plan_faults(entries, quiet)]


def warnings(*entries: PlanEntry) -> list[tuple[int, str, str | None]]:
    return [(warning.index, warning.code, warning.offer) for warning in plan_warnings(entries)]


# --- Faults -----------------------------------------------------------------------------------------------------------


def test_a_whole_plan_and_an_empty_one() -> None:
    """Neither has a fault."""
    assert faults(WHOLE) == faults() == []


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (changed(code=""), [("code", "ill_formed")]),
        (changed(code="a/b"), [("code", "ill_formed")]),
        (changed(code="Day"), [("code", "ill_formed")]),
        (changed(code="day\n"), [("code", "ill_formed")]),
        (changed(code="d" * 65), [("code", "ill_formed")]),
        (changed(instrument="phq-10"), [("instrument", "unknown_instrument")]),
        (changed(instrument="phq-9@1"), [("instrument", "unknown_instrument")]),
        (changed(after=After()), [("after", "not_one_unit")]),
        (changed(after=After(hours=1, days=1)), [("after", "not_one_unit")]),
        (changed(after=After(hours=math.nan)), [("after", "not_one_unit"), ("after", "too_far")]),
        (changed(after=After(days=3661)), [("after", "too_far")]),
        (changed(after=After(months=-121)), [("after", "too_far")]),
        (changed(after=After(days=10**30)), [("after", "too_far")]),
        (changed(repeat=Repeat(every_days=100, times=50)), [("after", "too_far")]),
        (changed(repeat=Repeat()), [("repeat", "not_one_step")]),
        (changed(repeat=Repeat(every_days=1, every_months=1)), [("repeat", "not_one_step")]),
        (changed(repeat=Repeat(every_days=0, times=2)), [("repeat", "not_one_step")]),
        (changed(repeat=Repeat(every_days=1, times=0)), [("repeat", "out_of_range")]),
        (changed(repeat=Repeat(every_days=1, times=201)), [("repeat", "out_of_range")]),
        (changed(after=After(hours=1), at=time(9)), [("at", "not_with_hours")]),
        (changed(at=time(9, tzinfo=UTC)), [("at", "has_an_offset")]),
        (changed(window=Window(0, 0, 0)), [("window", "never_opens")]),
        (changed(window=Window(1, 1, 0)), [("window", "never_opens")]),
        (changed(window=Window(0, 0, 1e-12)), [("window", "never_opens")]),
        (changed(window=Window(0, -1, 5)), [("window", "overdue_outside")]),
        (changed(window=Window(0, 6, 5)), [("window", "overdue_outside")]),
        (changed(window=Window(math.nan, 6, 7)), [("window", "out_of_range")]),
        (changed(window=Window(0, 6, math.inf)), [("window", "out_of_range")]),
        (changed(anchor=Anchor.EPISODE, after=After(hours=-24)), [("window", "never_opens")]),
        (changed(anchor=Anchor.EPISODE, after=After(days=-7)), [("window", "never_opens")]),
        (changed(at=time(23), window=Window(0, 1, 2)), [("window", "window_in_quiet_hours")]),
    ],
)
def test_each_fault_is_found(entry: PlanEntry, found: list[tuple[str, str]]) -> None:
    """In its field, under its code, with a sentence that repeats nothing of what was sent."""
    assert faults(entry) == [(0, *each) for each in found]
    assert all(
        fault.message.endswith(".") and entry.instrument not in fault.message for fault in plan_faults([entry], NIGHT)
    )


@pytest.mark.parametrize(
    ("at", "window", "is_fault"),
    [
        (time(21), Window(0, 1, 11), True),  # the whole night, which is no fault of one minute more
        (time(21), Window(0, 1, 11.02), False),
        (time(21), Window(-0.02, 1, 11), False),
        (time(12), Window(-12, -8, -4), True),  # opens at midnight
        (time(12), Window(11, 12, 14), True),  # opens at 23
        (time(12), Window(59, 60, 61), True),  # two days on
        (time(12), Window(-4, 0, 9), False),  # the day
    ],
)
def test_windows_in_the_night(at: time, window: Window, is_fault: bool) -> None:
    """Only where no minute is left to remind in; never without quiet hours, or where the time of day is not known."""
    found = [(0, "window", "window_in_quiet_hours")] if is_fault else []
    assert faults(changed(at=at, window=window)) == found
    assert faults(changed(at=at, window=window), quiet=NO_QUIET) == []
    assert faults(changed(window=window)) == []


@pytest.mark.parametrize(
    ("after", "at", "is_fault"),
    [
        (After(hours=-24), None, True),  # closes at the opening, to the minute
        (After(hours=-23.9), None, False),
        (After(days=-2), time(23, 59), False),  # may close after it, when the episode opens early in the day
        (After(days=-4), time(23, 59), True),
        (After(months=-1), None, True),
        (After(days=1), None, False),
    ],
)
def test_a_window_before_the_episode(after: After, at: time | None, is_fault: bool) -> None:
    """Refused where it is over whatever the calendar; with a repetition only when the last one is."""
    early = changed(anchor=Anchor.EPISODE, after=after, at=at)
    assert faults(early) == ([(0, "window", "never_opens")] if is_fault else [])
    assert faults(replace(early, repeat=Repeat(every_days=30, times=3))) == []


def test_codes_are_unique() -> None:
    """Each repetition is named, the first is not."""
    later = changed(after=After(days=30))
    assert faults(WHOLE, later, changed(after=After(days=60))) == [
        (1, "code", "duplicate_code"),
        (2, "code", "duplicate_code"),
    ]


def test_faults_of_one_entry_come_before_those_of_several() -> None:
    """A broken entry is held against no other."""
    assert faults(WHOLE, WHOLE, changed(after=After())) == [(2, "after", "not_one_unit")]


@pytest.mark.parametrize(
    ("one", "other", "is_fault"),
    [
        (changed(), changed(), True),
        (changed(), changed(instrument="gad-7"), False),
        (changed(), changed(at=time(9)), False),
        (changed(after=After(hours=24)), changed(after=After(days=1)), False),  # not on the night with 25 hours
        (changed(after=After(hours=0)), changed(after=After(months=0)), True),
        (changed(after=After(days=14)), changed(after=After(days=7), repeat=Repeat(7, times=2)), True),
        (changed(after=After(days=21)), changed(after=After(days=7), repeat=Repeat(7, times=2)), False),
        (changed(), changed(anchor=Anchor.LAST_DOSE), True),  # the last dose is one of them
        (changed(), changed(anchor=Anchor.FIRST_DOSE), False),  # left out when the second dose comes first
        (changed(after=After(days=-1)), changed(after=After(days=-1), anchor=Anchor.FIRST_DOSE), True),
        (changed(after=After(days=-1)), changed(after=After(days=-1), anchor=Anchor.LAST_DOSE), False),
        (changed(anchor=Anchor.FIRST_DOSE), changed(anchor=Anchor.LAST_DOSE), False),  # of one dose alone
    ],
)
def test_one_instrument_is_not_asked_twice_at_once(one: PlanEntry, other: PlanEntry, is_fault: bool) -> None:
    """Where two entries have the same target in every course, the later of them is a fault."""
    found = [(1, "after", "coincides")] if is_fault else []
    assert faults(one, replace(other, code="other")) == found
    assert faults(replace(other, code="other"), one) == found


def test_a_course_has_at_most_two_hundred_check_ins() -> None:
    """Counted for twelve doses; the entry that passes the limit is named."""
    episode = changed(anchor=Anchor.EPISODE, repeat=Repeat(every_days=2, times=MAXIMUM_CHECK_INS), code="many")
    assert faults(episode) == []
    assert faults(episode, changed(anchor=Anchor.LAST_DOSE)) == [(1, "repeat", "too_many")]
    assert faults(changed(repeat=Repeat(every_days=2, times=16))) == []
    assert faults(changed(repeat=Repeat(every_days=2, times=17))) == [(0, "repeat", "too_many")]
    assert ASSUMED_DOSES * 16 <= MAXIMUM_CHECK_INS < ASSUMED_DOSES * 17


afters = st.one_of(
    st.builds(After, hours=st.one_of(st.none(), st.floats(-1e6, 1e6))),
    st.builds(After, days=st.integers(-4000, 4000)),
    st.builds(After, months=st.integers(-130, 130)),
)
repeats = st.one_of(
    st.none(),
    st.builds(
        Repeat, st.one_of(st.none(), st.integers(0, 400)), st.one_of(st.none(), st.integers(1, 9)), st.integers(0, 40)
    ),
)
hours = st.floats(-500, 500)
plans = st.lists(
    st.builds(
        PlanEntry,
        st.sampled_from(["a", "b", "c-d", "no/slash"]),
        st.sampled_from(["phq-9", "pcl-5-month", "pcl-5-week"]),
        st.sampled_from(Anchor),
        afters,
        st.builds(lambda ends: Window(*ends), st.lists(hours, min_size=3, max_size=3).map(sorted)),
        repeats,
        st.one_of(st.none(), st.times()),
    ),
    max_size=3,
)


@settings(deadline=None)
@given(plan=plans)
def test_a_plan_without_faults_can_be_carried_out(plan: Sequence[PlanEntry]) -> None:
    """No plan makes the checks fail, and one they pass gives forms with distinct keys whose windows open."""
    plan_warnings([each for each in plan if each.after != After() and not (each.repeat and each.repeat.times < 1)])
    if not plan_faults(plan, NIGHT):
        opened = datetime(2026, 3, 20, 12, tzinfo=UTC)
        doses = [Session(f"d{n}", opened + n * timedelta(days=5)) for n in range(4)]
        found = expected_check_ins(plan, opened, doses, [ZoneFrom(None, "Europe/Berlin")], NIGHT)
        assert len({form.key for form in found}) == len(found) <= MAXIMUM_CHECK_INS
        assert all(form.opens_at < form.closes_at for form in found)
        assert all(form.opens_at <= form.overdue_at <= form.closes_at for form in found)


# --- Warnings ---------------------------------------------------------------------------------------------------------


def once(code: str, instrument: str, anchor: Anchor, **after: Any) -> PlanEntry:
    return PlanEntry(code, instrument, anchor, After(**after), Window(-6, 12, 24))


def test_the_phq_9_the_day_after_a_dose() -> None:
    """It asks about two weeks: those of the baseline, and those before the dose. No shorter form is known."""
    baseline = once("before", "phq-9", Anchor.FIRST_DOSE, hours=-24)
    day_after = once("after", "phq-9", Anchor.EACH_DOSE, hours=24)
    assert warnings(baseline, day_after) == [
        (1, "asked_within_recall", None),
        (1, "recall_reaches_before_dose", None),
    ]
    again, before_dose = plan_warnings([baseline, day_after])
    assert again.message == (
        "phq-9 asks about 14 days and is asked again after 2 days: both answers speak of the same days. "
        "No form of the same questions over fewer days is known."
    )
    assert before_dose.message == (
        "phq-9 asks about 14 days and is asked 24 hours after the dose: the answer speaks of the time before it as "
        "well. No form of the same questions over fewer days is known."
    )


def test_the_monthly_pcl_5_every_week() -> None:
    """The weekly form is offered, and fits; asked in its place it needs no warning."""
    monthly = replace(once("weekly", "pcl-5-month", Anchor.EPISODE, days=0), repeat=Repeat(every_days=7, times=8))
    (warning,) = plan_warnings([monthly])
    assert (warning.code, warning.offer) == ("asked_within_recall", "pcl-5-week")
    assert warning.message.endswith("pcl-5-week asks the same about 7 days.")
    assert warnings(replace(monthly, instrument="pcl-5-week")) == []


def test_an_offer_that_is_shorter_and_still_too_long() -> None:
    """Three days after a dose the weekly PCL-5 is better than the monthly one, and told not to be right."""
    (warning,) = plan_warnings([once("after", "pcl-5-month", Anchor.EACH_DOSE, hours=72)])
    assert warning.offer == "pcl-5-week"
    assert warning.message.endswith("pcl-5-week asks the same about 7 days, which is shorter but still too long.")
    assert warnings(once("after", "pcl-5-week", Anchor.EACH_DOSE, hours=72)) == [
        (0, "recall_reaches_before_dose", None)
    ]


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        ([once("a", "pcl-5-month", Anchor.FIRST_DOSE, months=1)], []),  # 30 days asked, 30.4 days since
        ([once("a", "phq-9", Anchor.EACH_DOSE, days=14)], []),  # all of it after the dose
        ([once("a", "phq-9", Anchor.EACH_DOSE, days=0)], []),  # before the dose, and meant to be
        ([once("a", "phq-9", Anchor.EPISODE, days=3)], []),  # no dose to reach before
        (
            [once("a", "phq-9", Anchor.EPISODE, days=0), once("b", "phq-9", Anchor.EPISODE, days=14)],
            [],
        ),
        (
            [once("a", "phq-9", Anchor.EPISODE, days=0), once("b", "gad-7", Anchor.EPISODE, days=0)],
            [],
        ),
        (
            [once("a", "phq-9", Anchor.EPISODE, days=13), once("b", "phq-9", Anchor.EPISODE, days=0)],
            [(0, "asked_within_recall", None)],  # the later one, wherever it stands in the plan
        ),
        (
            [once("a", "phq-9", Anchor.FIRST_DOSE, days=20), once("b", "phq-9", Anchor.LAST_DOSE, days=21)],
            [],  # their distance is not known to a plan
        ),
        (
            [once("a", "phq-9", Anchor.EACH_DOSE, days=20), once("b", "phq-9", Anchor.LAST_DOSE, days=21)],
            [(1, "asked_within_recall", None)],
        ),
        ([once("a", "nothing", Anchor.EPISODE, days=3)], []),
    ],
)
def test_where_windows_of_recall_overlap(plan: list[PlanEntry], found: list[tuple[int, str, str | None]]) -> None:
    """On each line of time on which distances are known, and nowhere else."""
    assert warnings(*plan) == found


def test_each_warning_is_given_once_at_its_worst() -> None:
    """Forms after 13 and after 2 days: the 2 are told."""
    plan = [
        once("a", "phq-9", Anchor.EPISODE, days=0),
        replace(once("b", "phq-9", Anchor.EPISODE, days=13), repeat=Repeat(every_days=2, times=5)),
    ]
    (warning,) = plan_warnings(plan)
    assert (warning.index, "after 2 days" in warning.message) == (1, True)


def test_the_longest_window_that_fits_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a form for two weeks beside that for one: after 20 days the two weeks, after 10 and after 3 the one."""
    fortnight = replace(get_instrument("pcl-5-week"), id="pcl-5-fortnight", recall_days=14)
    monkeypatch.setattr(schedule_checks, "all_instruments", lambda: (*all_instruments(), fortnight))
    offers = [warnings(once("a", "pcl-5-month", Anchor.EACH_DOSE, days=days))[0][2] for days in (20, 10, 3)]
    assert offers == ["pcl-5-fortnight", "pcl-5-week", "pcl-5-week"]


@given(data=st.data())
def test_an_offer_measures_the_same_over_fewer_days(data: st.DataObject) -> None:
    """For every instrument there is, whatever the distance."""
    instrument = data.draw(st.sampled_from(all_instruments()))
    hours_after = data.draw(st.integers(1, 24 * 40))
    found = plan_warnings([once("a", instrument.id, Anchor.EACH_DOSE, hours=hours_after)])
    assert bool(found) is (hours_after < instrument.recall_days * 24)
    for warning in found:
        if warning.offer is not None:
            offer = get_instrument(warning.offer)
            assert (offer.measures, len(offer.scored_items)) == (instrument.measures, len(instrument.scored_items))
            assert offer.recall_days < instrument.recall_days
