"""How few people share a course: what somebody who knows a little of a friend's check-ins can find in a release.

k over age and route says nothing of this: a series of weeks and totals points to one person by itself. Nothing here
changes the data; the sizes go through `risk` of classes.py into the manifest, for whoever decides on the release.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from itertools import combinations

from app.privacy.classes import group_sizes

CheckIn = tuple[int, float]  # week since the first dose, total


def week_pattern_sizes(courses: Iterable[Iterable[int]]) -> list[int]:
    """For each person, how many answered in exactly the same weeks, themselves included.

    The attacker knows every week in which a friend answered, and how often in each, and nothing of the answers.

    Units and range: people, at least 1; weeks are any integers and in any order.
    Missing data: people without a check-in look like each other.
    Raises: nothing.
    Source: counting; the attacker is our definition.

    >>> week_pattern_sizes([[0, 1, 3], [3, 1, 0], [0, 1], []])
    [2, 2, 1, 1]
    """
    return group_sizes([tuple(sorted(weeks)) for weeks in courses])


def two_totals_sizes(courses: Sequence[Collection[CheckIn]]) -> list[int]:
    """For each person, how many share the two check-ins of theirs that point to fewest, themselves included.

    The attacker knows two totals of a friend exactly, each with its week, and of all pairs it is the two worst to be
    known: an upper bound of what any two totals give away. The count is exact.

    Units and range: people, at least 1. The time grows with people times the square of their check-ins: 10,000 with 12
        each take about a second, with 52 each about twenty.
    Missing data: of a person with one check-in that one is known, of a person with none nothing, and everybody fits.
    Raises: nothing.
    Source: counting; the attacker is our definition.

    >>> two_totals_sizes([[(0, 19), (4, 9)], [(0, 19), (4, 9)], [(0, 19), (4, 12)], []])
    [2, 2, 1, 4]
    """
    bits: defaultdict[Hashable, int] = defaultdict(int)  # the people with a check-in, as a set in one integer
    for place, course in enumerate(courses):
        for check_in in set(course):
            bits[check_in] |= 1 << place
    everybody = (1 << len(courses)) - 1
    return [_smallest_crowd([bits[check_in] for check_in in set(course)], everybody) for course in courses]


def _smallest_crowd(crowds: Sequence[int], everybody: int) -> int:
    if len(crowds) < 2:
        return (crowds[0] if crowds else everybody).bit_count()
    smallest = everybody.bit_count()
    for one, other in combinations(sorted(crowds, key=int.bit_count), 2):  # rare ones first: most people end at 1 soon
        smallest = min(smallest, (one & other).bit_count())
        if smallest == 1:
            break
    return smallest
