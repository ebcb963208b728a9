"""Expected, received, late, missing: each form once, against a search of all matchings."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scoring.completeness import WEEKLY_CHECK_IN, CheckInWindow, Completeness, completeness

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)


def hours(*counts: float) -> list[datetime]:
    return [DAY_ZERO + timedelta(hours=count) for count in counts]


def weekly(*received: float, as_of: float | None = None) -> Completeness:
    """Four forms due at 168, 336, 504 and 672 hours."""
    moment = None if as_of is None else hours(as_of)[0]
    return completeness(hours(168, 336, 504, 672), WEEKLY_CHECK_IN, hours(*received), as_of=moment)


def test_all_in_time() -> None:
    """Four expected, four received."""
    assert weekly(170, 330, 504, 700) == Completeness(4, 4, 0, 0, 0, 0, 1.0)


def test_dropped_out_after_two() -> None:
    """Silence is missing, not success."""
    assert weekly(168, 336) == Completeness(4, 2, 0, 2, 0, 0, 0.5)


def test_late_is_received_and_said() -> None:
    """Four days after the last expected time is late; eight days after is no longer an answer to it."""
    assert weekly(672 + 96) == Completeness(4, 1, 1, 3, 0, 0, 0.25)
    assert weekly(672 + 169) == Completeness(4, 0, 0, 4, 0, 1, 0.0)


@pytest.mark.parametrize(
    ("at", "received", "late"), [(95.9, 0, 0), (96, 1, 0), (240, 1, 0), (240.1, 1, 1), (336, 1, 1), (336.1, 0, 0)]
)
def test_the_ends_of_a_window_belong_to_it(at: float, received: int, late: int) -> None:
    """72 hours before to 72 after is in time, then late up to a week after."""
    found = completeness(hours(168), WEEKLY_CHECK_IN, hours(at))
    assert (found.received, found.late) == (received, late)


def test_two_forms_for_one_time_are_one_check_in() -> None:
    """The second is unexpected; it does not fill the gap of another week."""
    assert weekly(168, 169) == Completeness(4, 1, 0, 3, 0, 1, 0.25)


def test_a_form_in_time_for_one_is_not_spent_as_late_for_another() -> None:
    """At 300 h one form could be late for the first week or in time for the second: in time it is."""
    assert weekly(300) == Completeness(4, 1, 0, 3, 0, 0, 0.25)


def test_more_received_comes_before_fewer_late() -> None:
    """Two forms in the second week fill both: one late for the first, one in time for the second."""
    assert weekly(300, 330) == Completeness(4, 2, 1, 2, 0, 0, 0.5)


def test_what_is_not_over_is_not_missing() -> None:
    """At 500 h the first week is over, the second can still come late until 504 h, two are ahead."""
    assert weekly(as_of=500) == Completeness(1, 0, 0, 1, 3, 0, 0.0)
    assert weekly(336, as_of=500) == Completeness(2, 1, 0, 1, 2, 0, 0.5)


def test_nothing_expected_has_no_rate() -> None:
    """0 of 0 is not a share."""
    assert completeness([], WEEKLY_CHECK_IN, hours(5)) == Completeness(0, 0, 0, 0, 0, 1, None)
    assert weekly(as_of=0).received_rate is None


def test_a_clock_change_inside_a_window_changes_nothing() -> None:
    """72 hours are 72 hours in the week the clock went forward."""
    due = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo("Europe/Vienna"))
    wall = due + timedelta(hours=73)  # three days and an hour on the wall, 72 hours lived
    assert completeness([due], WEEKLY_CHECK_IN, [wall]).late == 0


@pytest.mark.parametrize("window", [CheckInWindow(-1, 5, 5), CheckInWindow(1, -1, 5), CheckInWindow(1, 5, 4)])
def test_a_window_must_be_in_order(window: CheckInWindow) -> None:
    """Late cannot end before in time."""
    with pytest.raises(ValueError, match="window hours"):
        completeness([], window, [])


def best_by_search(due: list[int], window: tuple[int, int, int], came: list[int]) -> tuple[int, int]:
    """Most received over every assignment of forms to expected times; then most in time, of those in order of time."""
    before, after, late = window
    slots: list[int | None] = [*came, *([None] * len(due))]
    received, in_order = 0, (0, 0)
    for chosen in set(permutations(slots, len(due))):
        pairs = sorted((at, form) for at, form in zip(due, chosen, strict=True) if form is not None)
        if not all(-before <= form - at <= late for at, form in pairs):
            continue
        received = max(received, len(pairs))
        if all(form < later for (_, form), (_, later) in pairwise(pairs)):
            in_order = max(in_order, (len(pairs), sum(form - at <= after for at, form in pairs)))
    return received, in_order[1]


def test_a_later_form_never_fills_an_earlier_place() -> None:
    """Late for the first and late for the second: crossing them would make one of them in time, out of order."""
    found = completeness(hours(27, 28), CheckInWindow(before_hours=0, after_hours=8, late_hours=10), hours(36, 37))
    assert (found.received, found.late) == (2, 2)


@given(
    due=st.lists(st.integers(0, 30), max_size=3, unique=True),
    before=st.integers(0, 8),
    after=st.integers(0, 8),
    more=st.integers(0, 8),
    came=st.lists(st.integers(-8, 45), max_size=3, unique=True),
)
def test_the_matching_is_the_best_there_is(due: list[int], before: int, after: int, more: int, came: list[int]) -> None:
    """As many received as any assignment gives, and as few late as one in order of time; nothing is counted twice."""
    found = completeness(hours(*due), CheckInWindow(before, after, after + more), hours(*came))
    received, in_time = best_by_search(due, (before, after, after + more), came)
    assert (found.received, found.late) == (received, received - in_time)
    assert found.expected == found.received + found.missing == len(due)
    assert found.received + found.unexpected == len(came)


def best_of_all(due: list[int], window: tuple[int, int, int], came: list[int], as_of: int) -> tuple[int, int, int]:
    """Received, in time and still open, by going through every form for every expected time: the slow truth."""
    before, after, late = window
    row = [(0, 0, 0)] * (len(came) + 1)
    for at in due:
        still_open = as_of <= at + late
        above, row = row, []
        for count in range(len(came) + 1):
            received, in_time, pending = above[count]
            options = [(received, in_time, pending + still_open), *row[-1:]]
            if count and -before <= came[count - 1] - at <= late:
                received, in_time, pending = above[count - 1]
                options.append((received + 1, in_time + (came[count - 1] - at <= after), pending))
            row.append(max(options))
    return row[-1]


@given(
    due=st.lists(st.integers(0, 90), max_size=12),
    window=st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 12)),
    came=st.lists(st.integers(-8, 110), max_size=20),
    as_of=st.integers(0, 120),
)
def test_forms_outside_a_span_may_be_passed_over(
    due: list[int], window: tuple[int, int, int], came: list[int], as_of: int
) -> None:
    """Looking at the forms inside each span alone gives what looking at all of them gives."""
    before, after, more = window
    (moment,) = hours(as_of)
    found = completeness(hours(*due), CheckInWindow(before, after, after + more), hours(*came), as_of=moment)
    received, in_time, still_open = best_of_all(sorted(due), (before, after, after + more), sorted(came), as_of)
    assert (found.received, found.late, found.pending) == (received, received - in_time, still_open)
