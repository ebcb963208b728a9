"""What is asked when: the plan as a function of sessions and zones."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time
from time import perf_counter
from typing import Final

import pytest

from app.scoring.local_time import wall_clock
from app.scoring.schedule import After, Anchor, Expected, Repeat, Session, Window, ZoneFrom
from tests.scoring.plans import BERLIN, DAY, HOUR, NIGHT, OPENED, asked, dose, entry


def targets(forms: Sequence[Expected], zone: str = "Europe/Berlin") -> list[str]:
    """Local times, to the minute."""
    clock = wall_clock([(None, zone)])
    return [clock.shows(form.target_at).isoformat(timespec="minutes") for form in forms]


# --- Anchors ----------------------------------------------------------------------------------------------------------


def test_each_anchor_counts_from_its_own() -> None:
    """Opening, first, each and last dose, with keys that say so."""
    doses = [dose("a", "2026-02-02T10:00+01:00"), dose("b", "2026-02-09T10:00+01:00")]
    plan = [replace(entry(anchor, After(hours=24)), code=anchor.value) for anchor in Anchor]
    found = {form.key: form.target_at for form in asked(plan, doses)}
    assert found == {
        "episode/episode/1": OPENED + DAY,
        "first_dose/a/1": doses[0].at + DAY,
        "each_dose/a/1": doses[0].at + DAY,
        "each_dose/b/1": doses[1].at + DAY,
        "last_dose/b/1": doses[1].at + DAY,
    }


def test_without_sessions_only_the_episode_asks() -> None:
    """No dose: nothing that is counted from one."""
    plan = [replace(entry(anchor, After(hours=24)), code=anchor.value) for anchor in Anchor]
    assert [form.session_id for form in asked(plan)] == [None]


def test_forms_that_would_speak_of_another_dose_are_left_out() -> None:
    """At or after the next dose, and at or before the previous one; the other doses keep theirs."""
    doses = [dose("a", "2026-02-02T10:00+01:00"), dose("b", "2026-02-05T10:00+01:00")]
    week, three_days = entry(Anchor.EACH_DOSE, After(hours=168)), entry(Anchor.EACH_DOSE, After(hours=72))
    assert [form.session_id for form in asked(week, doses)] == ["b"]
    assert [form.session_id for form in asked(three_days, doses)] == ["b"]  # at the very start of the next
    assert len(asked(replace(three_days, after=After(hours=71.5)), doses)) == 2
    before = entry(Anchor.EACH_DOSE, After(hours=-72))
    assert [form.session_id for form in asked(before, doses)] == ["a"]
    assert len(asked(replace(before, after=After(hours=-71)), doses)) == 2


def test_a_window_ends_where_the_next_dose_begins() -> None:
    """Six days on, a form open to the ninth day closes with the dose of the eighth; overdue moves in with it."""
    doses = [Session("a", OPENED), Session("b", OPENED + 8 * DAY)]
    week = replace(entry(Anchor.EACH_DOSE, After(hours=168)), window=Window(-24, 36, 48))
    first, last = asked(week, doses)
    assert (first.overdue_at, first.closes_at) == (doses[1].at, doses[1].at)
    assert (last.overdue_at, last.closes_at) == (last.target_at + 36 * HOUR, last.target_at + 48 * HOUR)
    assert [form.session_id for form in asked(replace(week, window=Window(24, 36, 48)), doses)] == ["b"]
    before = replace(week, after=After(hours=-168), window=Window(-48, -36, 0))
    assert asked(before, doses, opened=OPENED - 99 * DAY)[1].opens_at == OPENED
    assert asked(before, doses, opened=OPENED - 99 * DAY)[1].overdue_at == OPENED


def test_a_moved_session_takes_its_forms_along_and_keeps_the_keys() -> None:
    """Moved by five hours: the same keys, five hours later."""
    plan = [entry(Anchor.EACH_DOSE, After(hours=hours)) for hours in (4, 24, 72)]
    plan = [replace(each, code=f"form-{n}") for n, each in enumerate(plan)]
    first = Session("a", OPENED + 20 * DAY)
    before, after = asked(plan, [first]), asked(plan, [replace(first, at=first.at + 5 * HOUR)])
    assert [form.key for form in before] == [form.key for form in after]
    assert [form.target_at + 5 * HOUR for form in before] == [form.target_at for form in after]


def test_a_cancelled_session_leaves_nothing_behind() -> None:
    """The last dose is then the one before, and the first form of the other dose is back."""
    plan = [replace(entry(anchor, After(days=7)), code=anchor.value) for anchor in (Anchor.EACH_DOSE, Anchor.LAST_DOSE)]
    doses = [dose("a", "2026-02-02T10:00+01:00"), dose("b", "2026-02-05T10:00+01:00")]
    assert {form.session_id for form in asked(plan, doses)} == {"b"}
    assert {form.key for form in asked(plan, doses[:1])} == {"each_dose/a/1", "last_dose/a/1"}


def test_nothing_is_asked_that_closed_before_the_episode_opened() -> None:
    """A window that closes at the opening is over; one that reaches past it is asked as it stands."""
    first = Session("a", OPENED + DAY)
    early = replace(entry(Anchor.FIRST_DOSE, After(hours=-36)), window=Window(-24, 0, 12))
    assert asked(early, [first]) == ()
    (form,) = asked(replace(early, window=Window(-24, 0, 13)), [first])
    assert form.opens_at < OPENED < form.closes_at


# --- Time -------------------------------------------------------------------------------------------------------------

# Zone; a dose the day before the clock changes; then the targets after 24 h, 1 day, 48 h and 2 days.
WEEKENDS: Final = (
    (
        "Europe/Berlin",
        "2026-03-28T02:30+01:00",
        ("2026-03-29T03:30+02:00", "2026-03-29T03:00+02:00", "2026-03-30T03:30+02:00", "2026-03-30T02:30+02:00"),
    ),
    (
        "Europe/Berlin",
        "2026-10-24T02:30+02:00",
        ("2026-10-25T02:30+02:00", "2026-10-25T02:30+02:00", "2026-10-26T01:30+01:00", "2026-10-26T02:30+01:00"),
    ),
    (
        "Europe/Berlin",
        "2027-03-27T14:00+01:00",
        ("2027-03-28T15:00+02:00", "2027-03-28T14:00+02:00", "2027-03-29T15:00+02:00", "2027-03-29T14:00+02:00"),
    ),
    (
        "Europe/Berlin",
        "2027-10-30T14:00+02:00",
        ("2027-10-31T13:00+01:00", "2027-10-31T14:00+01:00", "2027-11-01T13:00+01:00", "2027-11-01T14:00+01:00"),
    ),
    (
        "America/New_York",
        "2026-03-07T02:30-05:00",
        ("2026-03-08T03:30-04:00", "2026-03-08T03:00-04:00", "2026-03-09T03:30-04:00", "2026-03-09T02:30-04:00"),
    ),
    (
        "America/New_York",
        "2026-10-31T01:30-04:00",
        ("2026-11-01T01:30-04:00", "2026-11-01T01:30-04:00", "2026-11-02T00:30-05:00", "2026-11-02T01:30-05:00"),
    ),
    (
        "America/New_York",
        "2027-03-13T14:00-05:00",
        ("2027-03-14T15:00-04:00", "2027-03-14T14:00-04:00", "2027-03-15T15:00-04:00", "2027-03-15T14:00-04:00"),
    ),
    (
        "America/New_York",
        "2027-11-06T14:00-04:00",
        ("2027-11-07T13:00-05:00", "2027-11-07T14:00-05:00", "2027-11-08T13:00-05:00", "2027-11-08T14:00-05:00"),
    ),
    (
        "Australia/Lord_Howe",
        "2026-04-04T01:45+11:00",
        ("2026-04-05T01:45+11:00", "2026-04-05T01:45+11:00", "2026-04-06T01:15+10:30", "2026-04-06T01:45+10:30"),
    ),
    (
        "Australia/Lord_Howe",
        "2026-10-03T02:10+10:30",
        ("2026-10-04T02:40+11:00", "2026-10-04T02:30+11:00", "2026-10-05T02:40+11:00", "2026-10-05T02:10+11:00"),
    ),
    (
        "Australia/Lord_Howe",
        "2027-04-03T14:00+11:00",
        ("2027-04-04T13:30+10:30", "2027-04-04T14:00+10:30", "2027-04-05T13:30+10:30", "2027-04-05T14:00+10:30"),
    ),
    (
        "Australia/Lord_Howe",
        "2027-10-02T14:00+10:30",
        ("2027-10-03T14:30+11:00", "2027-10-03T14:00+11:00", "2027-10-04T14:30+11:00", "2027-10-04T14:00+11:00"),
    ),
)


@pytest.mark.parametrize(("zone", "given_at", "meant"), WEEKENDS)
def test_over_the_weekends_on_which_clocks_change(zone: str, given_at: str, meant: tuple[str, ...]) -> None:
    """Hours pass as they do, days keep the time of day; what is jumped over moves to the end of the jump."""
    plan = [After(hours=24), After(days=1), After(hours=48), After(days=2)]
    found = [
        asked(entry(Anchor.EACH_DOSE, after), [dose("a", given_at)], [ZoneFrom(None, zone)])[0].target_at
        for after in plan
    ]
    assert found == [datetime.fromisoformat(each) for each in meant]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_two_years_of_weeks_keep_the_time_of_day(zone: str) -> None:
    """A hundred weekly forms at nine, over four changes of the clock."""
    weekly = entry(Anchor.EPISODE, After(days=0), Repeat(every_days=7, times=100), at=time(9))
    found = asked(weekly, zones=[ZoneFrom(None, zone)])
    assert len(found) == 100
    assert {each[11:] for each in targets(found, zone)} == {"09:00"}


def test_months_keep_the_day_each_by_itself() -> None:
    """February is short, March is not: the 31st comes back."""
    monthly = entry(Anchor.FIRST_DOSE, After(months=1), Repeat(every_months=1, times=3))
    found = asked(monthly, [dose("a", "2027-01-31T10:00+01:00")])
    assert targets(found) == ["2027-02-28T10:00", "2027-03-31T10:00", "2027-04-30T10:00"]
    assert [form.key for form in found] == ["form/a/1", "form/a/2", "form/a/3"]


def test_mixed_units() -> None:
    """Weeks after a month, months after a week, days after hours, and a time of day of one's own."""
    given_at = [dose("a", "2027-01-31T10:00+01:00")]
    first = Anchor.FIRST_DOSE
    assert targets(asked(entry(first, After(months=1), Repeat(every_days=7, times=2)), given_at)) == [
        "2027-02-28T10:00",
        "2027-03-07T10:00",
    ]
    assert targets(asked(entry(first, After(days=7), Repeat(every_months=1, times=2)), given_at)) == [
        "2027-02-07T10:00",
        "2027-03-07T10:00",
    ]
    assert targets(asked(entry(first, After(hours=4), Repeat(every_days=1, times=2)), given_at)) == [
        "2027-01-31T14:00",
        "2027-02-01T14:00",
    ]
    assert targets(asked(entry(first, After(days=-1), at=time(18, 30)), given_at)) == ["2027-01-30T18:30"]


def test_nothing_after_the_anchor_is_the_anchor() -> None:
    """Also in the hour that comes twice: a dose in its second half past two is not asked about an hour before."""
    twice = dose("a", "2026-10-25T02:30+01:00")
    for after in (After(hours=0), After(days=0), After(months=0)):
        assert asked(entry(Anchor.EACH_DOSE, after), [twice])[0].target_at == twice.at


def test_a_patient_who_flies() -> None:
    """Dosed in Berlin at ten, in New York from the fourth day: hours as they pass, days at ten where the patient is."""
    given_at = dose("a", "2026-03-20T10:00+01:00")
    zones = [ZoneFrom(datetime(2026, 3, 24, 12, tzinfo=UTC), "America/New_York"), *BERLIN]
    plan = [
        replace(entry(Anchor.EACH_DOSE, after), code=f"form-{n}")
        for n, after in enumerate([After(days=3), After(hours=72), After(days=7), After(hours=168)])
    ]
    found = {form.code: form.target_at for form in asked(plan, [given_at], zones)}
    assert found == {
        "form-0": datetime.fromisoformat("2026-03-23T10:00+01:00"),
        "form-1": datetime.fromisoformat("2026-03-23T10:00+01:00"),
        "form-2": datetime.fromisoformat("2026-03-27T10:00-04:00"),
        "form-3": datetime.fromisoformat("2026-03-27T05:00-04:00"),
    }


def test_a_flight_over_the_target() -> None:
    """Eastward the time of day may be jumped over: landing is the moment. Westward it comes twice: the first counts."""
    given_at = dose("a", "2026-01-12T10:00+01:00")
    lands = datetime(2026, 1, 13, 8, 30, tzinfo=UTC)  # 09:30 in Berlin, 17:30 in Tokyo
    east = asked(entry(Anchor.EACH_DOSE, After(days=1)), [given_at], [*BERLIN, ZoneFrom(lands, "Asia/Tokyo")])
    assert east[0].target_at == lands
    lands += 2 * HOUR  # 11:30 in Berlin, 05:30 in New York
    west = asked(entry(Anchor.EACH_DOSE, After(days=1)), [given_at], [*BERLIN, ZoneFrom(lands, "America/New_York")])
    assert west[0].target_at == datetime.fromisoformat("2026-01-13T10:00+01:00")


def test_windows_are_elapsed_time() -> None:
    """Twelve hours either side stay twelve hours in the night that has thirteen."""
    (form,) = asked(entry(Anchor.EACH_DOSE, After(days=1)), [dose("a", "2026-10-24T02:30+02:00")])
    spans = [at - form.target_at for at in (form.opens_at, form.overdue_at, form.closes_at)]
    assert spans == [-12 * HOUR, 6 * HOUR, 12 * HOUR]


@pytest.mark.parametrize(
    "after_and_repeat",
    [
        (After(), None),
        (After(hours=1, days=1), None),
        (After(days=1), Repeat()),
        (After(days=1), Repeat(every_days=1, every_months=1)),
    ],
)
def test_an_entry_has_one_unit(after_and_repeat: tuple[After, Repeat | None]) -> None:
    """None and two are refused, not guessed at."""
    with pytest.raises(ValueError, match="one of them"):
        asked(entry(Anchor.EPISODE, *after_and_repeat))


def test_a_zone_that_is_not_there_and_a_time_without_offset() -> None:
    """Refused before anything is worked out."""
    with pytest.raises(ValueError, match="unknown time zone"):
        asked(entry(Anchor.EPISODE, After(days=1)), zones=[ZoneFrom(None, "Mars/Olympus")])
    with pytest.raises(ValueError, match="offset"):
        asked(entry(Anchor.EPISODE, After(days=1)), opened=OPENED.replace(tzinfo=None))


# --- Speed ------------------------------------------------------------------------------------------------------------


def test_sixty_entries_take_a_few_milliseconds() -> None:
    """The best of several runs, with room for a slow machine."""
    plan = [replace(entry(Anchor.FIRST_DOSE, After(days=day)), code=f"form-{day}") for day in range(60)]
    given_at = [dose("a", "2026-02-02T22:00+01:00")]

    def taken() -> float:
        begin = perf_counter()
        assert len(asked(plan, given_at, quiet=NIGHT)) == 60
        return perf_counter() - begin

    assert min(taken() for _ in range(5)) < 0.02
