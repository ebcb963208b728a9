"""Several releases of the same people: whoever has them finds equal courses of totals in each, whatever the names are.

So of everybody in a release it is known in which other releases they are, and that is one more quasi-identifier: a few
people who are in all releases but the one of a single route are known by their route. Those who are in the same
releases are a kind. A new release may take a kind as a whole, leave it out, or cut it into parts that are large enough.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

from app.privacy.cells import SMALLEST_CELL

Person = TypeVar("Person", bound=Hashable)
Releases = tuple[Hashable, ...]  # in which somebody is, always in the same order; empty: in none


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
