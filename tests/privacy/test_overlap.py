"""Releases of the same people: no combination of them leaves a few as a part of their own."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.overlap import Releases, few_with_others, tells_apart

K = 4  # small, so that few people make many cases
cohorts = st.lists(st.frozensets(st.integers(0, 23), min_size=K), min_size=1, max_size=6)


@given(cohorts)
@settings(max_examples=300, deadline=None)
def test_no_combination_of_releases_leaves_a_few(asked: list[frozenset[int]]) -> None:
    """Whatever is asked in whatever order: by all releases together, everybody looks like K others at least."""
    made: list[frozenset[int]] = []
    for cohort in asked:
        people = frozenset().union(*made)
        earlier: dict[int, Releases] = {
            one: tuple(place for place, release in enumerate(made) if one in release) for one in people
        }
        waiting = few_with_others(cohort, earlier, K)
        chosen = cohort - waiting
        if len(chosen) >= K and not tells_apart(chosen, earlier, K):
            made.append(chosen)
    kinds = Counter(tuple(one in release for release in made) for one in frozenset().union(*made))
    assert all(count >= K for count in kinds.values())


@pytest.mark.parametrize(
    ("chosen", "waiting", "refused"),
    [
        (range(60), 0, False),  # the very same people
        (range(65), 5, False),  # five are new: they wait, and it is the same people again
        (range(75), 0, False),  # fifteen are new
        (range(49), 0, False),  # eleven are missing
        (range(50), 0, True),  # ten are missing
        (range(55, 75), 5, False),  # five of before: their rows would be found in both
        (range(60, 80), 0, False),  # other people altogether
    ],
)
def test_beside_one_release_of_sixty(chosen: range, waiting: int, refused: bool) -> None:
    """A few who are new wait, a few who are missing refuse it."""
    earlier = dict.fromkeys(range(60), ("january",))
    few = few_with_others(chosen, earlier)
    assert len(few) == waiting
    assert tells_apart(set(chosen) - few, earlier) is refused


def test_three_releases_find_what_no_two_of_them_do() -> None:
    """All, those by vein, those of spring, each pair far apart: eight are in neither of the two, and known to be."""
    everybody, by_vein, spring = set(range(100)), set(range(60)), {*range(30, 60), *range(60, 92)}
    pairs = [(everybody, by_vein), (everybody, spring), (by_vein, spring)]
    assert all(len(part) >= 11 for one, other in pairs for part in (one - other, one & other))
    earlier = {one: ("all", "vein") if one in by_vein else ("all",) for one in everybody}
    assert tells_apart(spring, earlier)


def test_who_is_alone_of_a_kind_already_is_no_new_part() -> None:
    """As after a consent that was withdrawn and given again: taken or left out, nobody else is told by it."""
    earlier = dict.fromkeys(range(60), ("january", "june")) | {60: ("january",)}
    assert not tells_apart(range(61), earlier)
    assert not tells_apart(range(60), earlier)


def test_a_threshold_hides_somebody() -> None:
    with pytest.raises(ValueError, match="hides nobody"):
        few_with_others([], {}, 1)
