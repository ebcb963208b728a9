"""Local times as instants: three zones over their daylight-saving weekends, and people who fly."""

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.local_time import WallClock, months_later, wall_clock, zone_of

MINUTE: Final = timedelta(minutes=1)
ZONES: Final = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")

# Zone, a local time that the change touches, and the instant that is meant.
CHANGES: Final = (
    ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T03:00+02:00"),
    ("Europe/Berlin", "2026-03-29T02:00", "2026-03-29T03:00+02:00"),
    ("Europe/Berlin", "2026-03-29T01:59", "2026-03-29T01:59+01:00"),
    ("Europe/Berlin", "2026-03-29T03:00", "2026-03-29T03:00+02:00"),
    ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T02:30+02:00"),
    ("Europe/Berlin", "2026-10-25T02:00", "2026-10-25T02:00+02:00"),
    ("Europe/Berlin", "2026-10-25T03:00", "2026-10-25T03:00+01:00"),
    ("Europe/Berlin", "2027-03-28T02:30", "2027-03-28T03:00+02:00"),
    ("Europe/Berlin", "2027-10-31T02:30", "2027-10-31T02:30+02:00"),
    ("America/New_York", "2026-03-08T02:30", "2026-03-08T03:00-04:00"),
    ("America/New_York", "2026-11-01T01:30", "2026-11-01T01:30-04:00"),
    ("America/New_York", "2026-11-01T02:00", "2026-11-01T02:00-05:00"),
    ("America/New_York", "2027-03-14T02:30", "2027-03-14T03:00-04:00"),
    ("America/New_York", "2027-11-07T01:30", "2027-11-07T01:30-04:00"),
    ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-05T01:45+11:00"),
    ("Australia/Lord_Howe", "2026-04-05T02:00", "2026-04-05T02:00+10:30"),
    ("Australia/Lord_Howe", "2026-10-04T02:10", "2026-10-04T02:30+11:00"),
    ("Australia/Lord_Howe", "2026-10-04T02:30", "2026-10-04T02:30+11:00"),
    ("Australia/Lord_Howe", "2027-04-04T01:45", "2027-04-04T01:45+11:00"),
    ("Australia/Lord_Howe", "2027-10-03T02:10", "2027-10-03T02:30+11:00"),
    ("Pacific/Apia", "2011-12-30T12:00", "2011-12-31T00:00+14:00"),  # a whole day that never was
)

# Days around which each of the three zones changes its clock.
CHANGE_DAYS: Final = tuple(sorted({date.fromisoformat(local[:10]) for zone, local, _ in CHANGES if zone in ZONES}))
minutes = st.builds(
    lambda day, minute: datetime.combine(day, datetime.min.time()) + minute * MINUTE,
    st.sampled_from(CHANGE_DAYS),
    st.integers(-24 * 60, 48 * 60),
)


def first_by_looking(clock: WallClock, local: datetime) -> datetime:
    """Goes through all minutes in which any place on earth could show this time."""
    at = local.replace(tzinfo=UTC) - timedelta(hours=27)
    while clock.shows(at) < local:
        at += MINUTE
    return at


@pytest.mark.parametrize(("zone", "local", "meant"), CHANGES)
def test_a_changing_clock(zone: str, local: str, meant: str) -> None:
    """What is jumped over becomes the moment of the jump; of what comes twice the first is meant."""
    found = wall_clock([(None, zone)]).first_at(datetime.fromisoformat(local))
    assert found == datetime.fromisoformat(meant)
    assert found.tzinfo is UTC


@settings(deadline=None, max_examples=60)
@given(local=minutes, moves=st.dictionaries(minutes, st.sampled_from(ZONES), max_size=3), home=st.sampled_from(ZONES))
def test_a_local_time_is_the_first_minute_that_shows_it(local: datetime, moves: dict[datetime, str], home: str) -> None:
    """Over changes of the clock and flights alike, the rule finds what looking at every minute finds."""
    clock = wall_clock([(None, home), *((at.replace(tzinfo=UTC), zone) for at, zone in moves.items())])
    assert clock.first_at(local) == first_by_looking(clock, local)


@given(local=minutes, zone=st.sampled_from(ZONES), later=st.integers(0, 3000))
def test_later_on_the_wall_is_never_earlier_in_time(local: datetime, zone: str, later: int) -> None:
    """The order of local times is kept."""
    clock = wall_clock([(None, zone)])
    assert clock.first_at(local) <= clock.first_at(local + later * MINUTE)


def test_not_before_means_the_second_time_where_the_first_is_over() -> None:
    """Half past two of the longer night, asked for after it has come once."""
    clock, half_past = wall_clock([(None, "Europe/Berlin")]), datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert clock.first_at(half_past, not_before=first) == first
    assert clock.first_at(half_past, not_before=first + 40 * MINUTE) == first + 60 * MINUTE
    assert clock.first_at(half_past, not_before=first + 10 * MINUTE) == first + 10 * MINUTE  # shows more already
    assert clock.first_at(half_past, not_before=first + 90 * MINUTE) == first + 90 * MINUTE


def test_the_seconds_of_a_jump_are_kept() -> None:
    """A time with microseconds that is jumped over becomes the whole second of the jump."""
    local = datetime(2026, 3, 29, 2, 30, 59, 999_999)  # noqa: DTZ001
    assert wall_clock([(None, "Europe/Berlin")]).first_at(local) == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_the_last_move_that_has_begun_holds() -> None:
    """Order in the list does not matter but for two of one instant; the earliest holds from the beginning."""
    early, late = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    clock = wall_clock([(late, "Asia/Tokyo"), (early, "UTC"), (early, "America/New_York")])
    hours = [clock.shows(at).hour for at in (early - MINUTE, early, late - MINUTE, late)]
    assert hours == [19, 20, 19, 9]
    assert clock == wall_clock([(early, "UTC"), (early, "America/New_York"), (late, "Asia/Tokyo")])


@pytest.mark.parametrize(
    "name", ["", "Europe", "europe/berlin", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "a\0b", "x" * 300, "\ud800"]
)
def test_unknown_zones(name: str) -> None:
    """Whatever the name does to the file system, it is one error, and the name is not in it."""
    with pytest.raises(ValueError, match=r"^unknown time zone$"):
        zone_of(name)


def test_no_zone_and_no_offset() -> None:
    """A clock hangs somewhere, and moves at an instant."""
    with pytest.raises(ValueError, match="required"):
        wall_clock([])
    with pytest.raises(ValueError, match="offset"):
        wall_clock([(datetime(2026, 1, 1), "UTC")])  # noqa: DTZ001


@given(day=st.dates(date(1990, 1, 1), date(2090, 1, 1)), months=st.integers(-200, 200))
def test_months_keep_the_day_or_take_the_last(day: date, months: int) -> None:
    """The month is exact; the day is the same, or smaller and then the last of its month."""
    found = months_later(day, months)
    assert (found.year * 12 + found.month) - (day.year * 12 + day.month) == months
    assert found.day == day.day or (found.day < day.day and (found + timedelta(days=1)).day == 1)


def test_month_ends() -> None:
    """The last of January meets short months, leap years and the turn of the year."""
    last = date(2027, 1, 31)
    assert [months_later(last, n).isoformat() for n in (1, 3, 12, 13, -1, -2)] == [
        "2027-02-28",
        "2027-04-30",
        "2028-01-31",
        "2028-02-29",
        "2026-12-31",
        "2026-11-30",
    ]


def test_the_zone_data_are_those_installed() -> None:
    """Each zone of these tests is there, and Lord Howe changes by half an hour."""
    summer, winter = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 7))
    lord_howe = ZoneInfo("Australia/Lord_Howe")
    assert summer.astimezone(lord_howe).utcoffset() == timedelta(hours=11)
    assert winter.astimezone(lord_howe).utcoffset() == timedelta(hours=10.5)
