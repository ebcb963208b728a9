"""Several releases of the same people: whoever has them finds equal courses of totals in each, whatever the names are.

So of everybody in a release it is known in which other releases they are, and that is one more quasi-identifier: a few
people who are in all releases but the one of a single route are known by their route. Those who are in the same
releases are a kind. A new release may take a kind as a whole, leave it out, or cut it into parts that are large enough.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from app.privacy.cells import SMALLEST_CELL
from app.privacy.classes import Risk, risk

Person = TypeVar("Person", bound=Hashable)
Releases = tuple[Hashable, ...]  # in which somebody is, always in the same order; empty: in none
Told = tuple[tuple[Hashable, int | None], ...]  # the same releases, each with the class somebody is in there


@dataclass(frozen=True, slots=True)
class Beside:
    """How well people hide from whoever has the earlier releases, too."""

    releases: int = field(compare=False)  # earlier ones with somebody of the new one in; a twin more changes nothing
    risk: Risk  # of the people of the new one
    others_k: int | None  # size of the smallest group that is left of a class which the new one cuts; None: cuts none


def few_with_others(
    chosen: Collection[Person], earlier: Mapping[Person, Releases], threshold: int = SMALLEST_CELL
) -> frozenset[Person]:
    """Those chosen for a new release who have to wait: a few newcomers, and a few of a kind that is else left out.

    Units and range: `earlier` are all people who are in any earlier release and still count, with the releases.
    Missing data: people who are not in `earlier` are newcomers; before the first release nobody is one.

    Raises:
        ValueError: the threshold is below 2.

    Source: judgement, from k-anonymity (Sweeney 2002, Int J Uncertain Fuzz 10:557-570) with the releases as one column.

    >>> before = {person: ("january",) for person in range(20)}
    >>> sorted(few_with_others(range(23), before))
    [20, 21, 22]
    >>> few_with_others(range(40), before), few_with_others(range(3), {})
    (frozenset(), frozenset())
    """
    if threshold < 2:
        raise ValueError("a threshold below 2 hides nobody")
    if not earlier:
        return frozenset()
    there, taken = Counter(earlier.values()), Counter(earlier.get(person, ()) for person in chosen)
    few = {kind for kind, count in taken.items() if count < threshold and count != there[kind]}
    return frozenset(person for person in chosen if earlier.get(person, ()) in few)


def tells_apart(chosen: Collection[Person], earlier: Mapping[Person, Releases], threshold: int = SMALLEST_CELL) -> bool:
    """Whether a new release of these people would, beside the earlier ones, show a few of them as a part of their own.

    Units and range: as `few_with_others`. Missing data: as there.

    Raises:
        ValueError: the threshold is below 2.

    Source: as `few_with_others`.

    >>> before = {person: ("january",) for person in range(60)}
    >>> tells_apart(range(60), before), tells_apart(range(55), before), tells_apart(range(40), before)
    (False, True, False)
    """
    there, taken = Counter(earlier.values()), Counter(earlier.get(person, ()) for person in chosen)
    missing = (there[kind] - count for kind, count in taken.items() if kind)
    return bool(few_with_others(chosen, earlier, threshold)) or any(0 < count < threshold for count in missing)


def beside_earlier(classes: Mapping[Person, int | None], earlier: Mapping[Person, Told]) -> Beside:
    """How small the groups are in which people look alike in a new release and all earlier ones together.

    Releases that are safe one by one are not together: ages in one and routes in another are ages with routes. Only
    those look alike who are in the same releases, and in the same class of each. That rows of one person find each
    other in all of them is taken for sure, so the risk is an upper bound.

    Units and range: `classes` are the people of the new release with their class in it; `earlier` are all people who
        are in any earlier one and still count. No group is larger than the smallest of the classes that it lies in.
    Missing data: a class of None says that nothing is told of persons there: everybody looks alike. Newcomers look like
        the newcomers of their class. Nobody in the new release: no risk.
    Raises: nothing.
    Source: intersection of independent releases, Ganta, Kasiviswanathan and Smith 2008, Proc 14th ACM SIGKDD, 265-273.

    >>> ages = {person: (("january", person // 20),) for person in range(40)}  # two classes of twenty
    >>> routes = {person: person % 20 // 19 for person in range(40)}  # 38 and 2
    >>> found = beside_earlier(routes, ages)
    >>> found.releases, found.risk.k, found.risk.alone_rate, found.others_k
    (1, 1, 0.05, None)
    >>> beside_earlier(dict.fromkeys(range(37), 0), ages).others_k
    3
    """
    groups = Counter(_looks(classes, earlier))
    there, taken = Counter(earlier.values()), Counter(earlier.get(person, ()) for person in classes)
    left = (there[told] - count for told, count in taken.items() if told)
    return Beside(
        releases=len({release for told in taken for release, _ in told}),
        risk=risk([groups[look] for look in _looks(classes, earlier)]),
        others_k=min(filter(None, left), default=None),
    )


def _looks(classes: Mapping[Person, int | None], earlier: Mapping[Person, Told]) -> Iterator[tuple[int | None, Told]]:
    return ((own, earlier.get(person, ())) for person, own in classes.items())
