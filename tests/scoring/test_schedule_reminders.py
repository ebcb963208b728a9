"""When a patient is reminded, and the laws that hold for every plan."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.local_time import wall_clock
from app.scoring.schedule import After, Anchor, PlanEntry, QuietHours, Repeat, Session, Window, ZoneFrom
from tests.scoring.plans import BERLIN, DAY, HOUR, NIGHT, OPENED, asked, dose, entry

# --- Reminders --------------------------------------------------------------------------------------------------------


def reminder(target: str, window: Window, quiet: QuietHours = NIGHT, zones: Sequence[ZoneFrom] = BERLIN) -> str | None:
    """When the patient is reminded, as the local clock shows it."""
    each = replace(entry(Anchor.EACH_DOSE, After(hours=0)), window=window)
    (form,) = asked(each, [dose("a", target)], zones, quiet)
    clock = wall_clock([(zone.valid_from, zone.zone) for zone in zones])
    return None if form.remind_at is None else clock.shows(form.remind_at).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("target", "window", "meant"),
    [
        ("2026-02-02T14:00+01:00", Window(-6, 6, 12), "2026-02-02T14:00"),
        ("2026-02-02T21:00+01:00", Window(-6, 6, 12), "2026-02-03T08:00"),  # quiet from its first moment
        ("2026-02-03T08:00+01:00", Window(-6, 6, 12), "2026-02-03T08:00"),  # and up to its last
        ("2026-02-02T23:00+01:00", Window(-6, 6, 12), "2026-02-03T08:00"),
        ("2026-02-03T02:00+01:00", Window(-6, 6, 12), "2026-02-03T08:00"),
        ("2026-02-02T23:00+01:00", Window(-6, 6, 9), "2026-02-02T20:59"),  # closes when the night ends
        ("2026-02-03T02:00+01:00", Window(-6, 3, 5), "2026-02-02T20:59"),
        ("2026-02-02T21:00+01:00", Window(-30, 3, 5), "2026-02-02T20:59"),  # of this night, not of the one before
        ("2026-02-03T02:00+01:00", Window(-5.0, 3, 5), None),  # opens when the night begins
        ("2026-02-02T23:00+01:00", Window(-2.005, 3, 5), "2026-02-02T20:59"),  # 18 s before: at the opening
        ("2026-02-02T12:00+01:00", Window(2, 3, 5), "2026-02-02T14:00"),  # not open at the target
        ("2026-02-02T12:00+01:00", Window(10, 20, 30), "2026-02-03T08:00"),
        ("2026-02-02T12:00+01:00", Window(-3, -1, 0), "2026-02-02T09:00"),  # closed at the target
    ],
)
def test_reminders_keep_out_of_the_night(target: str, window: Window, meant: str | None) -> None:
    """At the target; else when the night ends; else just before it begins; else never."""
    assert reminder(target, window) == meant


def test_quiet_hours_by_day_and_none() -> None:
    """A quiet noon spans no midnight; the same hour twice is no quiet at all."""
    siesta = QuietHours(time(12), time(15))
    assert reminder("2026-02-02T14:00+01:00", Window(-6, 6, 12), siesta) == "2026-02-02T15:00"
    assert reminder("2026-02-02T03:00+01:00", Window(-6, 6, 12), siesta) == "2026-02-02T03:00"
    assert reminder("2026-02-02T14:00+01:00", Window(-6, 6, 12), QuietHours(time(14), time(14))) == "2026-02-02T14:00"


def test_the_night_ends_by_the_clock_on_the_wall() -> None:
    """At eight, in the short night, in the long one, and where the patient wakes up."""
    assert reminder("2026-03-29T01:00+01:00", Window(-1, 6, 12)) == "2026-03-29T08:00"
    assert reminder("2026-10-25T01:00+02:00", Window(-1, 6, 12)) == "2026-10-25T08:00"
    flies = [*BERLIN, ZoneFrom(datetime.fromisoformat("2026-02-03T05:00+01:00"), "Asia/Tokyo")]
    assert reminder("2026-02-02T23:00+01:00", Window(-1, 6, 12), zones=flies) == "2026-02-03T13:00"  # lands at one
    back = [ZoneFrom(None, "Asia/Tokyo"), ZoneFrom(datetime.fromisoformat("2026-02-03T06:00+09:00"), "Europe/Berlin")]
    assert reminder("2026-02-03T05:00+09:00", Window(-1, 6, 12), zones=back) == "2026-02-03T08:00"  # a second night


def test_a_night_that_a_flight_cuts_short_or_begins_again() -> None:
    """Landing in the evening ends the night; before a night in New York is the evening there, not that in Berlin."""
    lands = datetime.fromisoformat("2026-02-03T01:00+01:00")
    flies = [*BERLIN, ZoneFrom(lands, "America/New_York")]
    assert reminder("2026-02-02T23:00+01:00", Window(-1, 4, 6), zones=flies) == "2026-02-02T19:00"
    assert reminder("2026-02-02T23:00-05:00", Window(-3, 4, 6), zones=flies) == "2026-02-02T20:59"


def test_the_night_of_the_second_pass() -> None:
    """In the hour that comes twice, the end of the night that is still ahead counts, not the one that is over."""
    each = replace(entry(Anchor.EACH_DOSE, After(hours=0)), window=Window(0, 1, 2))
    (form,) = asked(each, [dose("a", "2026-10-25T02:10+01:00")], quiet=QuietHours(time(22), time(2, 30)))
    assert form.remind_at == datetime.fromisoformat("2026-10-25T02:30+01:00")


# --- Laws -------------------------------------------------------------------------------------------------------------

AROUND_A_CHANGE: Final = datetime(2026, 10, 24, 20, tzinfo=UTC)
zone_names = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo"])
instants = st.integers(-6 * 24 * 4, 6 * 24 * 4).map(lambda quarters: AROUND_A_CHANGE + quarters * HOUR / 4)
travels = st.builds(
    lambda home, moves: [ZoneFrom(None, home), *(ZoneFrom(at, zone) for at, zone in moves.items())],
    zone_names,
    st.dictionaries(instants, zone_names, max_size=2),
)
full_hours = st.integers(0, 23).map(time)
quiets = st.builds(QuietHours, full_hours, full_hours)
windows = st.builds(
    lambda opens, length: Window(opens / 4, (opens + length) / 4, (opens + length) / 4),
    st.integers(-120, 40),
    st.integers(1, 160),
)
afters = st.one_of(
    st.integers(-100, 1000).map(lambda hours: After(hours=hours)),
    st.integers(-5, 60).map(lambda days: After(days=days)),
    st.integers(0, 12).map(lambda months: After(months=months)),
)
repeats = st.one_of(
    st.none(),
    st.builds(lambda step, times: Repeat(every_days=step, times=times), st.integers(1, 30), st.integers(1, 6)),
    st.builds(lambda step, times: Repeat(every_months=step, times=times), st.integers(1, 3), st.integers(1, 6)),
)
plans = st.lists(
    st.builds(PlanEntry, st.just(""), st.just("phq-9"), st.sampled_from(Anchor), afters, windows, repeats), max_size=4
).map(lambda plan: [replace(each, code=f"form-{n}") for n, each in enumerate(plan)])
sessions = st.lists(instants, max_size=4).map(lambda starts: [Session(f"dose-{n}", at) for n, at in enumerate(starts)])


@settings(deadline=None)
@given(plan=plans, doses=sessions, zones=travels, quiet=quiets, data=st.data())
def test_laws_of_every_plan(
    plan: list[PlanEntry], doses: list[Session], zones: list[ZoneFrom], quiet: QuietHours, data: st.DataObject
) -> None:
    """Keys are unique, sessions known, the order theirs; reminders inside the window and outside the quiet hours."""
    found = asked(plan, doses, zones, quiet)
    assert len({form.key for form in found}) == len(found)
    assert {form.session_id for form in found} <= {None, *(each.id for each in doses)}
    assert list(found) == sorted(found, key=lambda form: (form.opens_at, form.key))
    clock = wall_clock([(zone.valid_from, zone.zone) for zone in zones])
    for form in found:
        if form.remind_at is not None:
            assert form.opens_at <= form.remind_at < form.closes_at
            assert not quiet.hold(clock.shows(form.remind_at).time())
    drawn = data.draw(st.permutations(plan)), data.draw(st.permutations(doses)), data.draw(st.permutations(zones))
    assert asked(*drawn, quiet) == found


@settings(deadline=None, max_examples=60)
@given(window=windows, at=instants, zones=travels, quiet=quiets)
def test_no_reminder_only_where_the_whole_window_is_quiet(
    window: Window, at: datetime, zones: list[ZoneFrom], quiet: QuietHours
) -> None:
    """Each minute of a window without a reminder is a quiet one."""
    each = replace(entry(Anchor.EACH_DOSE, After(hours=0)), window=window)
    (form,) = asked(each, [Session("a", at)], zones, quiet, opened=at - 365 * DAY)
    if form.remind_at is None:
        clock = wall_clock([(zone.valid_from, zone.zone) for zone in zones])
        length = int((form.closes_at - form.opens_at) / timedelta(minutes=1))
        assert all(quiet.hold(clock.shows(form.opens_at + n * timedelta(minutes=1)).time()) for n in range(length))


@settings(deadline=None)
@given(plan=plans, doses=sessions, zones=travels, gone=st.integers(0, 3))
def test_a_withdrawn_session_leaves_no_key(
    plan: list[PlanEntry], doses: list[Session], zones: list[ZoneFrom], gone: int
) -> None:
    """Nothing that is asked without it names it."""
    left = [each for each in doses if each.id != f"dose-{gone}"]
    assert all(f"dose-{gone}" not in form.key for form in asked(plan, left, zones))


@settings(deadline=None)
@given(hours=st.lists(st.integers(1, 500), min_size=1, max_size=3), at=instants, moved=st.integers(-2000, 2000))
def test_moving_the_only_session_moves_all_and_renames_none(hours: list[int], at: datetime, moved: int) -> None:
    """Whatever the distance in hours, each target moves by as much."""
    plan = [replace(entry(Anchor.EACH_DOSE, After(hours=each)), code=f"form-{n}") for n, each in enumerate(hours)]
    long_ago = OPENED - 365 * DAY
    before = {form.key: form.target_at for form in asked(plan, [Session("a", at)], opened=long_ago)}
    after = {form.key: form.target_at for form in asked(plan, [Session("a", at + moved * HOUR)], opened=long_ago)}
    assert after == {key: target + moved * HOUR for key, target in before.items()}
