"""How few people share a course: what somebody who knows a little of a friend's check-ins can find in a release.

k over age and route says nothing of this: a series of weeks and totals points to one person by itself. Nothing here
changes the data; the sizes go through `risk` of classes.py into the manifest, for whoever decides on the release.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, Final

from app.privacy.classes import group_sizes

CheckIn = tuple[int, float]  # week since the first dose, total

_CROWDS_BYTES: Final = 4 * 2**20  # of memory for sets of people at once


class Courses:
    """Check-ins of many people, each kept as a number of four bytes.

    Units and range: weeks are any integers; a total is whatever is equal when an attacker takes it for equal.
    Missing data: a check-in whose total is None is in `weeks` and not in `totals`.
    Raises: nothing.
    Source: none; it is storage.

    >>> courses = Courses()
    >>> courses.add([0, 4], [19, None])
    >>> [list(weeks) for weeks in courses.weeks()], [len(totals) for totals in courses.totals]
    ([[0, 4]], [1])
    """

    def __init__(self) -> None:
        self.totals: list[Collection[int]] = []  # of each person, as numbers that stand for week and total
        self._without: list[Collection[int]] = []  # of each person, numbers of weeks without a total
        self._numbers: dict[tuple[int, Any], int] = {}

    def add(self, weeks: Iterable[int], totals: Iterable[Any]) -> None:
        """The next person."""
        known, without = array("I"), array("I")
        for check_in in zip(weeks, totals, strict=True):
            number = self._numbers.setdefault(check_in, len(self._numbers))
            (without if check_in[1] is None else known).append(number)
        self.totals.append(known)
        self._without.append(without or ())

    def weeks(self) -> Iterator[Iterable[int]]:
        """Those of one person after the other."""
        of_number = array("i", (week for week, _ in self._numbers))
        for known, without in zip(self.totals, self._without, strict=True):
            yield [of_number[number] for number in (*known, *without)]


def week_pattern_sizes(courses: Iterable[Iterable[int]]) -> list[int]:
    """For each person, how many answered in exactly the same weeks, themselves included.

    The attacker knows every week in which a friend answered, and how often in each, and nothing of the answers.

    Units and range: people, at least 1; weeks are integers below 2**31 and in any order.
    Missing data: people without a check-in look like each other.
    Raises: nothing.
    Source: counting; the attacker is our definition.

    >>> week_pattern_sizes([[0, 1, 3], [3, 1, 0], [0, 1], []])
    [2, 2, 1, 1]
    """
    return group_sizes([array("i", sorted(weeks)).tobytes() for weeks in courses])


def two_totals_sizes(courses: Sequence[Collection[Hashable]]) -> list[int]:
    """For each person, how many share the two check-ins of theirs that point to fewest, themselves included.

    The attacker knows two totals of a friend exactly, each with its week, and of all pairs it is the two worst to be
    known: an upper bound of what any two totals give away. The count is exact.

    Units and range: people, at least 1. The time grows with people times the square of their check-ins when everybody
        is in a crowd, and with their check-ins when most are alone; the memory with the check-ins, four bytes each.
    Missing data: of a person with one check-in that one is known, of a person with none nothing, and everybody fits.
    Raises: nothing.
    Source: counting; the attacker is our definition.

    >>> two_totals_sizes([[(0, 19), (4, 9)], [(0, 19), (4, 9)], [(0, 19), (4, 12)], []])
    [2, 2, 1, 4]
    """
    people: defaultdict[Hashable, array[int]] = defaultdict(lambda: array("I"))  # with a check-in, by their places
    for place, course in enumerate(courses):
        for check_in in set(course):
            people[check_in].append(place)
    bytes_of_crowd = len(courses) // 8 + 1

    @lru_cache(maxsize=_CROWDS_BYTES // bytes_of_crowd + 64)
    def crowd(check_in: Hashable) -> int:
        """The people with a check-in, as a set in one integer."""
        bits = bytearray(bytes_of_crowd)
        for place in people[check_in]:
            bits[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(bits, "little")

    return [_smallest(set(course), people, crowd) or len(courses) for course in courses]


def _smallest(
    course: Collection[Hashable], people: "defaultdict[Hashable, array[int]]", crowd: Callable[[Hashable], int]
) -> int | None:
    rarest = sorted(course, key=lambda check_in: len(people[check_in]))
    if not rarest:
        return None
    smallest = len(people[rarest[0]])
    for one, other in combinations(rarest, 2):  # rare ones first: most people end at 1 soon
        if smallest == 1:
            break
        smallest = min(smallest, (crowd(one) & crowd(other)).bit_count())
    return smallest
