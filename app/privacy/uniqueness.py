"""How few people share a course: what somebody who knows a little of a friend's check-ins can find in a release.

k over age and route says nothing of this: a series of weeks and totals points to one person by itself. Nothing here
changes the data; the sizes go through `risk` of classes.py into the manifest, for whoever decides on the release.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from itertools import combinations

from app.privacy.classes import group_sizes

CheckIn = tuple[Hashable, float]  # which form and when, as far as it is told, such as the week; and its total


def pattern_sizes(courses: Iterable[Iterable[Hashable]]) -> list[int]:
    """For each person, how many have exactly the same moments, themselves included.

    The attacker knows all moments of a friend, and nothing of the answers: in which weeks the friend answered, and how
    often in each; or which sessions there were, and when.

    Units and range: people, at least 1; moments are any values and in any order.
    Missing data: people without a moment look like each other.
    Raises: nothing.
    Source: counting; the attacker is our definition.

    >>> pattern_sizes([[0, 1, 3], [3, 1, 0], [0, 1], []])
    [2, 2, 1, 1]
    """
    return group_sizes([frozenset(Counter(moments).items()) for moments in courses])


def two_totals_sizes(courses: Sequence[Collection[CheckIn]]) -> list[int]:
    """For each person, how many share the two check-ins of theirs that point to fewest, themselves included.

    The attacker knows two totals of a friend exactly, each with its moment, and of all pairs it is the two worst to be
    known: an upper bound of what any two totals give away. The count is exact. Two equal check-ins are two.

    Units and range: people, at least 1. The time grows with people times the square of their check-ins: 10,000 with 12
        each take about a second, with 52 each about twenty.
    Missing data: of a person with one check-in that one is known, of a person with none nothing, and everybody fits.
    Raises: nothing.
    Source: counting; the attacker is our definition.

    >>> two_totals_sizes([[(0, 19), (4, 9)], [(0, 19), (4, 9)], [(0, 19), (4, 12)], []])
    [2, 2, 1, 4]
    >>> two_totals_sizes([[(0, 19)], [(0, 19), (0, 19)]])
    [2, 1]
    """
    counted = [Counter(course) for course in courses]
    once: defaultdict[Hashable, int] = defaultdict(int)  # the people with a check-in, as a set in one integer
    twice: defaultdict[Hashable, int] = defaultdict(int)  # those who have it at least twice
    for place, course in enumerate(counted):
        for check_in, times in course.items():
            once[check_in] |= 1 << place
            if times > 1:
                twice[check_in] |= 1 << place
    everybody = (1 << len(courses)) - 1
    return [
        _smallest_crowd(
            [once[check_in] for check_in in course],
            [twice[check_in] for check_in, times in course.items() if times > 1],
            everybody,
        )
        for course in counted
    ]


def _smallest_crowd(once: Sequence[int], twice: Sequence[int], everybody: int) -> int:
    if len(once) == 1 and not twice:
        return once[0].bit_count()
    smallest = min(map(int.bit_count, (everybody, *twice)))
    for one, other in combinations(sorted(once, key=int.bit_count), 2):  # rare ones first: most people end at 1 soon
        smallest = min(smallest, (one & other).bit_count())
        if smallest == 1:
            break
    return smallest
