"""How few people share a course: what somebody who knows a little of a friend's check-ins can find in a release.

k over age and route says nothing of this: a series of weeks and totals points to one person by itself. Nothing here
changes the data; the sizes go through `risk` of classes.py into the manifest, for whoever decides on the release.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations, count
from typing import Any, Final

from app.privacy.classes import group_sizes

CheckIn = tuple[Any, ...]  # which form and when, as far as it is told, such as questionnaire and week; last its total

_CROWDS_BYTES: Final = 2**20  # of memory for sets of people at once
_TWICE: Final = "twice"


class Courses:
    """Check-ins of many people, each kept as a number of four bytes.

    Units and range: any values; what is equal an attacker takes for equal.
    Missing data: a check-in whose total is None is among the moments and not among the totals.
    Raises: nothing.
    Source: none; it is storage.

    >>> courses = Courses()
    >>> courses.add([2, 0], [("phq-9@1", 0, 19), ("phq-9@1", 4, None)])
    >>> [len(moments) for moments in courses.moments()], [len(totals) for totals in courses.totals()]
    ([2, 0], [1, 0])
    """

    def __init__(self) -> None:
        self._numbers: defaultdict[CheckIn, int] = defaultdict(count().__next__)
        self._people: list[array[int]] = []

    def add(self, people: Iterable[int], check_ins: Iterable[CheckIn]) -> None:
        """The next people: how many check-ins each has, and all of these, one person's after the other's."""
        numbers, begin = array("I", map(self._numbers.__getitem__, check_ins)), 0
        for size in people:
            self._people.append(numbers[begin : begin + size])
            begin += size

    def moments(self) -> Iterator[Iterable[int]]:
        """Those of one person after the other, as numbers."""
        moments: defaultdict[CheckIn, int] = defaultdict(count().__next__)
        moment_of = array("I", (moments[check_in[:-1]] for check_in in self._numbers))
        return ([moment_of[number] for number in mine] for mine in self._people)

    def totals(self) -> list[Collection[int]]:
        """Of each person, as numbers that stand for moment and total."""
        without = {number for check_in, number in self._numbers.items() if check_in[-1] is None}
        return [
            mine if without.isdisjoint(mine) else array("I", (number for number in mine if number not in without))
            for mine in self._people
        ]


def pattern_sizes(courses: Iterable[Iterable[int]]) -> list[int]:
    """For each person, how many have exactly the same moments, themselves included.

    The attacker knows all moments of a friend, and nothing of the answers: in which weeks the friend answered, and how
    often in each; or which sessions there were, and when.

    Units and range: people, at least 1; moments are integers below 2**63 and in any order.
    Missing data: people without a moment look like each other.
    Raises: nothing.
    Source: counting; the attacker is our definition.

    >>> pattern_sizes([[0, 1, 3], [3, 1, 0], [0, 1], []])
    [2, 2, 1, 1]
    """
    return group_sizes([_digest(moments) for moments in courses])


def _digest(moments: Iterable[int]) -> bytes:
    """Sixteen bytes for a pattern that may have hundreds; of a billion patterns no two share theirs."""
    return blake2b(array("q", sorted(moments)).tobytes(), digest_size=16).digest()


def two_totals_sizes(courses: Sequence[Collection[Hashable]]) -> list[int]:
    """For each person, how many share the two check-ins of theirs that point to fewest, themselves included.

    The attacker knows two totals of a friend exactly, each with its moment, and of all pairs it is the two worst to be
    known: an upper bound of what any two totals give away. The count is exact. Two equal check-ins are two.

    Units and range: people, at least 1. The time grows with people times the square of their check-ins when everybody
        is in a crowd, and with their check-ins when most are alone; the memory with the check-ins, four bytes each.
    Missing data: of a person with one check-in that one is known, of a person with none nothing, and everybody fits.
    Raises: nothing.
    Source: counting; the attacker is our definition.

    >>> two_totals_sizes([[(0, 19), (4, 9)], [(0, 19), (4, 9)], [(0, 19), (4, 12)], []])
    [2, 2, 1, 4]
    >>> two_totals_sizes([[(0, 19)], [(0, 19), (0, 19)]])
    [2, 1]
    """
    people: defaultdict[Hashable, array[int]] = defaultdict(lambda: array("I"))  # with a check-in, by their places
    for place, course in enumerate(courses):
        for check_in, times in Counter(course).items():
            people[check_in].append(place)
            if times > 1:
                people[check_in, _TWICE].append(place)
    bytes_of_crowd = len(courses) // 8 + 1

    @lru_cache(maxsize=_CROWDS_BYTES // bytes_of_crowd + 64)
    def crowd(check_in: Hashable) -> int:
        """The people with a check-in, as a set in one integer."""
        bits = bytearray(bytes_of_crowd)
        for place in people[check_in]:
            bits[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(bits, "little")

    how_many = {check_in: len(places) for check_in, places in people.items()}
    return [_smallest(Counter(course), how_many, crowd) or len(courses) for course in courses]


def _smallest(
    course: Mapping[Hashable, int], how_many: Mapping[Hashable, int], crowd: Callable[[Hashable], int]
) -> int | None:
    if not course:
        return None
    rarest = sorted(course, key=how_many.__getitem__)
    twice = (how_many[check_in, _TWICE] for check_in, times in course.items() if times > 1)
    smallest = min([how_many[rarest[0]], *twice])
    for one, other in combinations(rarest, 2):  # rare ones first: most people end at 1 soon
        if smallest == 1:
            break
        smallest = min(smallest, (crowd(one) & crowd(other)).bit_count())
    return smallest
