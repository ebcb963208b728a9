"""Releases of the same people: no combination of them leaves a few as a part of their own."""

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.classes import group_sizes, risk
from app.privacy.overlap import Beside, Releases, Told, beside_earlier, few_with_others, tells_apart

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


# --- Classes of several releases together -----------------------------------------------------------------------------


def told(**classes: Mapping[int, int | None]) -> dict[int, Told]:
    """Who is in which release with which class, from one column for each release."""
    people = {person for column in classes.values() for person in column}
    return {one: tuple((name, column[one]) for name, column in classes.items() if one in column) for one in people}


def test_ages_in_one_release_and_routes_in_another() -> None:
    """Twelve of each kind but one: each release hides everybody among eleven others, and both find him."""
    cells = [("30", "vein")] * 12 + [("30", "mouth")] * 12 + [("40", "vein")] * 12 + [("40", "mouth")]
    ages = {place: int(age == "40") for place, (age, _) in enumerate(cells)}
    routes = {place: int(route == "mouth") for place, (_, route) in enumerate(cells)}
    assert min(group_sizes([*ages.values()]) + group_sizes([*routes.values()])) == 13
    assert beside_earlier(routes, told(january=ages)) == Beside(1, risk(group_sizes(cells)), None)


@pytest.mark.parametrize(
    ("new", "releases", "k", "small", "others_k"),
    [
        ({one: one // 30 for one in range(60)}, 1, 30, 0, None),  # the same classes again
        ({one: one // 15 for one in range(60)}, 1, 15, 0, None),  # each cut in two
        (dict.fromkeys(range(60), 0), 1, 30, 0, None),  # told more coarsely: January still tells
        (dict.fromkeys(range(60)), 1, 30, 0, None),  # nothing told of persons
        ({one: one // 30 for one in range(66)}, 1, 6, 6, None),  # six are new
        ({one: one // 30 for one in range(56)}, 1, 26, 0, 4),  # four are missing
        ({one: one // 30 for one in range(30)}, 1, 30, 0, None),  # a whole class is missing
        ({one: one // 20 for one in range(60, 100)}, 0, 20, 0, None),  # others altogether
        ({}, 0, None, 0, None),
    ],
)
def test_beside_one_release_of_two_classes(
    new: dict[int, int | None], releases: int, k: int | None, small: int, others_k: int | None
) -> None:
    """Of thirty each."""
    found = beside_earlier(new, told(january={one: one // 30 for one in range(60)}))
    assert (found.releases, found.risk.k, found.others_k) == (releases, k, others_k)
    assert (found.risk.small_rate or 0) * len(new) == pytest.approx(small)


def test_an_earlier_release_counts_even_if_it_tells_nothing_of_persons() -> None:
    """By who is in it."""
    earlier = told(january=dict.fromkeys(range(20), None), march=dict.fromkeys(range(15, 40), 3))
    found = beside_earlier(dict.fromkeys(range(40), 0), earlier)
    assert (found.releases, found.risk.k, found.risk.small_rate) == (2, 5, 5 / 40)


columns = st.dictionaries(st.integers(0, 15), st.none() | st.integers(0, 2))


@given(columns, st.lists(columns, max_size=4))
@settings(max_examples=300, deadline=None)
def test_groups_are_those_who_look_alike_everywhere(
    new: dict[int, int | None], made: list[dict[int, int | None]]
) -> None:
    """Counted person by person; and nobody hides better in all releases than in one of them."""
    earlier = told(**{str(place): column for place, column in enumerate(made)})
    found = beside_earlier(new, earlier)

    def alike(one: int, other: int, releases: list[dict[int, int | None]]) -> bool:
        return all(each.get(one, "absent") == each.get(other, "absent") for each in releases)

    sizes = [sum(alike(one, other, [*made, new]) for other in new) for one in new]
    assert found.risk == risk(sizes)
    assert found.releases == sum(not new.keys().isdisjoint(column) for column in made)
    left = [other for other in earlier if other not in new and any(alike(one, other, made) for one in new)]
    assert found.others_k == min((sum(alike(one, other, made) for other in left) for one in left), default=None)
    for one, size in zip(new, sizes, strict=True):
        for column in (each for each in [*made, new] if one in each):
            assert size <= sum(value == column[one] for value in column.values())
