"""How well people hide among each other: k-anonymity, l-diversity, t-closeness, and the risk that is left.

People who look alike on what an outsider may know (their quasi-identifiers) form a class. One entry for one person:
counting rows instead would take somebody with twelve check-ins for a crowd of twelve.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.privacy.cells import SMALLEST_CELL

Class = tuple[int, ...]  # places of the people who look alike
Distance = Callable[[Sequence[Any], Sequence[Any]], float | None]


@dataclass(frozen=True, slots=True)
class Risk:
    """How likely it is to pick out the right person. All None when there is nobody."""

    people: int
    k: int | None  # size of the smallest group anybody is in
    highest_risk: float | None  # 1 / k, 0 to 1: of being picked out of that group by a guess
    mean_risk: float | None  # mean over people of 1 / size of their group
    alone_rate: float | None  # share of people whose group is themselves
    small_rate: float | None  # share of people in a group below the threshold
    threshold: int


def equivalence_classes(people: Iterable[Hashable]) -> tuple[Class, ...]:
    """The people grouped by equal quasi-identifiers, in order of first appearance.

    Units and range: places from 0 in the order given; each person is in one class.
    Missing data: an unknown is a value like others: who is unknown on something looks like those who are too.
    Raises: nothing.
    Source: Sweeney 2002, Int J Uncertain Fuzz 10:557-570.

    >>> equivalence_classes([("30-39", "oral"), ("40-49", "oral"), ("30-39", "oral")])
    ((0, 2), (1,))
    """
    classes: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place, person in enumerate(people):
        classes[person].append(place)
    return tuple(map(tuple, classes.values()))


def group_sizes(people: Sequence[Hashable]) -> list[int]:
    """For each person, how many look like them, themselves included.

    Units and range: people, at least 1; in the order given.
    Missing data: an unknown is a value like others.
    Raises: nothing.
    Source: counting.

    >>> group_sizes(["a", "b", "a"])
    [2, 1, 2]
    """
    sizes = Counter(people)
    return [sizes[person] for person in people]


def risk(sizes: Sequence[int], threshold: int = SMALLEST_CELL) -> Risk:
    """What the sizes of people's groups come to: k, the highest and mean risk, shares alone and in small groups.

    Units and range: sizes as `group_sizes` gives them, at least 1; risks and shares from 0 to 1.
    Missing data: nobody: no k and no risk.

    Raises:
        ValueError: a size is below 1.

    Source: prosecutor and average risk, El Emam and Dankar 2008, J Am Med Inform Assoc 15:627-637.

    >>> risk(group_sizes(["a", "a", "a", "b"]), threshold=2)  # doctest: +NORMALIZE_WHITESPACE
    Risk(people=4, k=1, highest_risk=1.0, mean_risk=0.5, alone_rate=0.25, small_rate=0.25, threshold=2)
    """
    if not sizes:
        return Risk(0, None, None, None, None, None, threshold)
    k, n = min(sizes), len(sizes)
    if k < 1:
        raise ValueError("everybody is at least in a group with themselves")
    return Risk(
        people=n,
        k=k,
        highest_risk=1 / k,
        mean_risk=math.fsum(1 / size for size in sizes) / n,
        alone_rate=sum(size == 1 for size in sizes) / n,
        small_rate=sum(size < threshold for size in sizes) / n,
        threshold=threshold,
    )


def distinct_l(classes: Iterable[Class], sensitive: Sequence[Hashable]) -> int | None:
    """The least number of different known values of something sensitive within a class.

    With 1, whoever finds a person's class knows that person's value, however large the class.

    Units and range: at least 1.
    Missing data: an unknown value (None) protects nobody and is not counted; where all are unknown that is their one
        value. Nobody: None.
    Raises: nothing.
    Source: Machanavajjhala 2007, ACM Trans Knowl Discov Data 1(1):3.

    >>> distinct_l([(0, 1, 2), (3, 4)], ["better", "better", "worse", "better", None])
    1
    """
    return min((len(_known(members, sensitive)) or 1 for members in classes), default=None)


def t_closeness(classes: Iterable[Class], sensitive: Sequence[Any], distance: Distance) -> float | None:
    """How far the class least like everybody is from everybody: the largest distance of the two distributions.

    Units and range: 0 (every class is a small copy of the whole) to 1; `distance` is `equal_distance` for categories.
    Missing data: as the distance has it; classes it cannot judge are left out. None when none is left.
    Raises: nothing.
    Source: Li 2007, IEEE 23rd Int Conf Data Eng, 106-115.

    >>> t_closeness([(0, 1), (2, 3)], ["a", "b", "b", "a"], equal_distance)
    0.0
    """
    distances = (distance([sensitive[place] for place in members], sensitive) for members in classes)
    return max((found for found in distances if found is not None), default=None)


def equal_distance(some: Sequence[Hashable], everybody: Sequence[Hashable]) -> float | None:
    """Earth mover's distance of values without an order, all equally far apart: the variational distance.

    Units and range: 0 to 1, half the sum of the differences of the shares.
    Missing data: unknown is one more category: that somebody has no value may itself say something. None when one side
        is empty.
    Raises: nothing.
    Source: Li 2007, IEEE 23rd Int Conf Data Eng, 106-115: equal distance of categorical attributes.

    >>> equal_distance(["a", "a"], ["a", "a", "b", "b"])
    0.5
    """
    if not some or not everybody:
        return None
    here, there = Counter(some), Counter(everybody)
    gaps = (here[value] * len(everybody) - there[value] * len(some) for value in here | there)
    return sum(map(abs, gaps)) / (2 * len(some) * len(everybody))


def _known(members: Class, sensitive: Sequence[Hashable]) -> Counter[Hashable]:
    return Counter(value for place in members if (value := sensitive[place]) is not None)
