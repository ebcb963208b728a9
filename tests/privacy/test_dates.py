"""No calendar date survives; weeks, years, ages and bands at their edges."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.bands import band
from app.privacy.dates import WEEK, age_on, week_index
from app.privacy.ladders import AGE

DOSE = datetime(2026, 3, 2, 9, tzinfo=UTC)
days = st.dates(date(1900, 1, 1), date(2026, 12, 31))
moments = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


@pytest.mark.parametrize(
    ("after", "week"),
    [
        (timedelta(0), 0),
        (WEEK - timedelta(microseconds=1), 0),
        (WEEK, 1),
        (-timedelta(microseconds=1), -1),
        (-WEEK, -1),
        (-WEEK - timedelta(microseconds=1), -2),
    ],
)
def test_a_week_begins_where_168_hours_have_passed(after: timedelta, week: int) -> None:
    """Weeks before the dose are negative, and none is named 0 twice."""
    assert week_index(DOSE, DOSE + after) == week


def test_weeks_are_elapsed_time_across_a_change_of_clocks() -> None:
    """A week with a lost hour is over an hour later by the clock on the wall."""
    vienna = ZoneInfo("Europe/Vienna")
    before = datetime(2025, 3, 27, 9, tzinfo=vienna)
    assert week_index(before, datetime(2025, 4, 3, 9, tzinfo=vienna)) == 0
    assert week_index(before, datetime(2025, 4, 3, 10, tzinfo=vienna)) == 1


@given(moments, moments, st.integers(-3000, 3000))
@settings(max_examples=50, deadline=None)
def test_weeks_do_not_know_the_calendar(start: datetime, at: datetime, shift: int) -> None:
    """Moving dose and form together changes nothing: two people of different years look alike."""
    moved = timedelta(days=shift)
    assert week_index(start + moved, at + moved) == week_index(start, at)


def test_unknown_stays_unknown_and_no_offset_is_refused() -> None:
    """Nothing stands in for a missing dose or birth, and a time without an offset is no time."""
    assert (week_index(None, DOSE), age_on(None, DOSE.date())) == (None, None)
    with pytest.raises(ValueError, match="offset"):
        week_index(DOSE.replace(tzinfo=None), DOSE)


@given(days, days)
@settings(max_examples=50, deadline=None)
def test_an_age_is_the_number_of_birthdays_that_have_passed(born: date, day: date) -> None:
    """Counted one by one, a birthday on 29 February being kept on 1 March of other years."""
    if day < born:
        with pytest.raises(ValueError, match="before birth"):
            age_on(born, day)
        return
    later_years = range(born.year + 1, day.year + 1)
    leap_day = (born.month, born.day) == (2, 29)
    birthdays = [date(y, 3, 1) if leap_day and y % 4 != 0 else date(y, born.month, born.day) for y in later_years]
    assert age_on(born, day) == sum(birthday <= day for birthday in birthdays)


@given(st.integers(0, 130))
@settings(max_examples=50, deadline=None)
def test_nobody_is_told_to_be_older_than_ninety(age: int) -> None:
    """Whatever the band's width, 90 and 119 are the same, and no band reaches over 90."""
    for width, rung in zip((5, 10, 30), AGE.rungs, strict=True):
        told = str(rung(age))
        if age >= 90:
            assert told == "90+"
        else:
            first, last = map(int, told.split("-"))
            assert first <= age <= last <= 89
            assert (first % width, last - first) == (0, width - 1)


@pytest.mark.parametrize(
    ("value", "width", "top"), [(-1, 10, None), (float("nan"), 10, None), (5, 0, None), (5, 7, 90)]
)
def test_a_band_that_cannot_be_is_refused(value: float, width: int, top: int | None) -> None:
    """A width that does not end at the open band would make two bands of one."""
    with pytest.raises(ValueError, match="band"):
        band(value, width, top)
