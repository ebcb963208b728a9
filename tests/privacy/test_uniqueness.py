"""Group sizes of courses against a count by hand that compares everybody with everybody."""

from collections import Counter
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.classes import risk
from app.privacy.uniqueness import CheckIn, pattern_sizes, two_totals_sizes

courses_of = st.lists(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 2)), max_size=5), max_size=12)


def by_hand(courses: list[list[CheckIn]]) -> list[int]:
    """The attacker at work: every pair of each person's check-ins, looked for in every course."""
    return [
        min(
            sum(Counter(known) <= Counter(course) for course in courses)
            for known in combinations(mine, min(2, len(mine)))
        )
        for mine in courses
    ]


@given(courses_of)
@settings(max_examples=100, deadline=None)
def test_two_known_totals_leave_as_many_as_a_search_finds(courses: list[list[CheckIn]]) -> None:
    """The smallest crowd over all pairs, counted by comparing everybody with everybody."""
    assert two_totals_sizes(courses) == by_hand(courses)


@given(courses_of)
@settings(max_examples=50, deadline=None)
def test_a_pattern_of_weeks_is_shared_or_not(courses: list[list[CheckIn]]) -> None:
    """In whatever order the weeks are given; twice in a week is another pattern than once."""
    weeks = [[week for week, _ in course] for course in courses]
    assert pattern_sizes([list(reversed(one)) for one in weeks]) == [
        sum(Counter(one) == Counter(other) for other in weeks) for one in weeks
    ]


def test_the_shares_a_manifest_prints() -> None:
    """Of twelve people with one course and one with another, one is alone, and only that one is in a small group."""
    usual: list[CheckIn] = [(0, 19), (4, 9)]
    courses = [usual] * 12 + [[(0, 19.0), (4, 10.0)]]
    found = risk(two_totals_sizes(courses))
    assert (found.alone_rate, found.small_rate, found.k) == (1 / 13, 1 / 13, 1)
    assert risk(pattern_sizes([[week for week, _ in course] for course in courses])).k == 13
