"""How few people share a course: what somebody who knows a little of a friend's check-ins can find in a release.

k over age and route says nothing of this: a series of weeks and totals points to one person by itself. Nothing here
changes the data; the sizes go through `risk` of classes.py into the manifest, for whoever decides on the release.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, combinations, count, pairwise
from typing import Any, Final, Protocol

from app.privacy.classes import group_sizes

Row = tuple[Any, ...]
CheckIn = tuple[Any, ...]  # which form and when, as far as it is told, such as questionnaire and week; last its total

_ROWS_KNOWN: Final = 16_384  # different rows whose check-in is kept
_CROWDS_BYTES: Final = 2**20  # of memory for sets of people at once
_SOON: Final = 16  # pairs


class People(Protocol):
    """The check-ins of each person, to be gone through more than once."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Collection[Hashable]]: ...


class Courses:
    """Check-ins of many people, each kept as a number of four bytes.

    Units and range: `check_in_of` says of a row what it shows; any values: what is equal an attacker takes for equal.
    Missing data: a check-in whose total is None is among the moments and not among the totals.
    Raises: nothing.
    Source: none; it is storage.

    >>> courses = Courses(lambda row: row)
    >>> courses.add([[("phq-9@1", 0, 19), ("phq-9@1", 4, None)], []])
    >>> [list(moments) for moments in courses.moments()], [len(totals) for totals in courses.totals()]
    ([[0, 1], []], [1, 0])
    """

    def __init__(self, check_in_of: Callable[[Row], CheckIn]) -> None:
        numbers: defaultdict[CheckIn, int] = defaultdict(count().__next__)
        self._numbers = numbers
        self._number = lru_cache(maxsize=_ROWS_KNOWN)(lambda row: numbers[check_in_of(row)])
        self._check_ins = array("I")  # one person's after the other's
        self._ends = array("Q")  # where each person's end

    def add(self, people: Iterable[Iterable[Row]]) -> None:
        """The next people, each with all their rows."""
        for rows in people:
            self._check_ins.extend(map(self._number, rows))
            self._ends.append(len(self._check_ins))

    def moments(self) -> Iterator[Iterable[int]]:
        """Those of one person after the other, as numbers."""
        moments: defaultdict[CheckIn, int] = defaultdict(count().__next__)
        moment_of = array("I", (moments[check_in[:-1]] for check_in in self._numbers))
        return (map(moment_of.__getitem__, mine) for mine in _Parts(self._check_ins, self._ends))

    def totals(self) -> People:
        """Of each person, as numbers that stand for moment and total."""
        every = _Parts(self._check_ins, self._ends)
        without = {number for check_in, number in self._numbers.items() if check_in[-1] is None}
        if not without:
            return every
        kept, ends = array("I"), array("Q")
        for mine in every:
            kept.extend(number for number in mine if number not in without)
            ends.append(len(kept))
        return _Parts(kept, ends)


class _Parts:
    """An array in parts, each made when it is looked at."""

    def __init__(self, whole: "array[int]", ends: "array[int]") -> None:
        self._whole, self._ends = whole, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator["array[int]"]:
        return (self._whole[begin:end] for begin, end in pairwise(chain([0], self._ends)))


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


def two_totals_sizes(courses: People) -> list[int]:
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
    crowds = _Crowds(courses)
    return [crowds.smallest(place, course) or len(courses) for place, course in enumerate(courses)]


class _Crowds:
    """Who has which check-in, by their places among the people."""

    def __init__(self, courses: People) -> None:
        self._people: defaultdict[Hashable, array[int]] = defaultdict(lambda: array("I"))
        twice: defaultdict[Hashable, array[int]] = defaultdict(lambda: array("I"))
        for place, course in enumerate(courses):
            for check_in in course:
                places = self._people[check_in]
                (twice[check_in] if places and places[-1] == place else places).append(place)
        self._how_many = {check_in: len(places) for check_in, places in self._people.items()}
        self._fewest_twice = _fewest(twice.values())
        self._bytes = len(courses) // 8 + 1
        self._bits = lru_cache(maxsize=_CROWDS_BYTES // self._bytes + 64)(self._in_bits)

    def smallest(self, place: int, course: Collection[Hashable]) -> int:
        """Of all crowds that share two check-ins with this person, or the one there is; 0 without check-ins."""
        rarest = sorted(set(course), key=self._how_many.__getitem__)
        smallest = min((self._how_many[one] for one in rarest[:1]), default=0)
        smallest = min(smallest, self._fewest_twice.get(place, smallest))
        for number, (one, other) in enumerate(combinations(rarest, 2)):
            if smallest == 1:
                break
            # Rare ones first: most people end at 1 soon, and for these few it is not worth to make bits of the crowds.
            smallest = min(smallest, self._listed(one, other) if number < _SOON else self._counted(one, other))
        return smallest

    def _listed(self, one: Hashable, other: Hashable) -> int:
        return len(set(self._people[one]).intersection(self._people[other]))

    def _counted(self, one: Hashable, other: Hashable) -> int:
        return (self._bits(one) & self._bits(other)).bit_count()

    def _in_bits(self, check_in: Hashable) -> int:
        """A set of people in one integer."""
        bits = bytearray(self._bytes)
        for place in self._people[check_in]:
            bits[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(bits, "little")


def _fewest(crowds: Iterable[Sequence[int]]) -> dict[int, int]:
    """For each person, how many are in the smallest of the crowds that the person is in, once or more often."""
    fewest: dict[int, int] = {}
    for crowd in crowds:
        people = set(crowd)
        for place in people:
            fewest[place] = min(fewest.get(place, len(people)), len(people))
    return fewest
