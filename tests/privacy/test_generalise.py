"""The search against one that tries everything, its promises, and its time."""

import random
import time
from collections import Counter
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.generalise import Key, generalise
from app.privacy.ladders import (
    AGE,
    ANYTHING,
    DOSE_MG,
    MODALITY,
    ROUTE,
    YEAR,
    Ladder,
    Value,
    bands_of,
    groups_of,
)

LADDERS = (bands_of("age", (5, 10, 30), top=90), groups_of("colour", {"red": "warm", "orange": "warm", "blue": "cold"}))
person = st.tuples(st.none() | st.integers(18, 99), st.sampled_from(["red", "orange", "blue", None]))
people_with_secrets = st.lists(st.tuples(person, st.sampled_from(["better", "worse", None])), max_size=40)


def unsafe(keys: list[Key], secrets: list[str | None], k: int, diversity: int) -> list[bool]:
    sizes = Counter(keys)
    values = {key: len({s for k_, s in zip(keys, secrets, strict=True) if k_ == key} - {None}) or 1 for key in sizes}
    return [sizes[key] < k or values[key] < diversity for key in keys]


def told(person: Key, levels: tuple[int, ...]) -> Key:
    return tuple(
        ladder.rungs[level](value) if level < len(ladder.rungs) else ANYTHING
        for ladder, level, value in zip(LADDERS, levels, person, strict=True)
    )


@given(people_with_secrets, st.integers(1, 5), st.integers(1, 2), st.sampled_from([0, 0.1, 0.5]))
@settings(max_examples=60, deadline=None)
def test_no_other_choice_of_rungs_loses_less(
    found: list[tuple[Key, str | None]],
    k: int,
    diversity: int,
    share: float,
) -> None:
    """Every combination is tried by hand: none that leaves out few enough loses less, or as little and fewer people."""
    people, secrets = [one for one, _ in found], [secret for _, secret in found]
    answer = generalise(people, LADDERS, k=k, diversity=diversity, sensitive=[secrets], most_left_out_rate=share)
    fit = []
    for levels in product(range(4), range(3)):
        left_out = sum(unsafe([told(one, levels) for one in people], secrets, k, diversity))
        if left_out <= len(people) * share:
            fit.append((Fraction(levels[0], 3) + Fraction(levels[1], 2), left_out, levels))
    mine = (answer.levels["age"], answer.levels["colour"])
    assert mine == (min(fit)[2] if fit else (3, 2))
    assert [key is None for key in answer.keys] == unsafe([told(one, mine) for one in people], secrets, k, diversity)


@given(people_with_secrets, st.integers(1, 12), st.integers(1, 2), st.sampled_from([0, 0.05, 0.5, 1]))
@settings(max_examples=60, deadline=None)
def test_what_comes_out_is_as_safe_as_was_asked(
    found: list[tuple[Key, str | None]],
    k: int,
    diversity: int,
    share: float,
) -> None:
    """Every class that is left has enough people and values."""
    people, secrets = [one for one, _ in found], [secret for _, secret in found]
    answer = generalise(people, LADDERS, k=k, diversity=diversity, sensitive=[secrets], most_left_out_rate=share)
    kept = [(key, secret) for key, secret in zip(answer.keys, secrets, strict=True) if key is not None]
    assert not any(unsafe([key for key, _ in kept], [secret for _, secret in kept], k, diversity))
    assert (1 - len(kept) / len(people) if people else 0) - 1e-9 <= answer.loss_rate <= 1


@given(people_with_secrets, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_people_changes_nothing(found: list[tuple[Key, str | None]], shuffler: random.Random) -> None:
    """Each person is told the same, wherever they stand."""
    order = list(range(len(found)))
    shuffler.shuffle(order)
    straight = generalise([one for one, _ in found], LADDERS, k=3, most_left_out_rate=0.2)
    shuffled = generalise([found[place][0] for place in order], LADDERS, k=3, most_left_out_rate=0.2)
    assert shuffled.levels == straight.levels
    assert list(shuffled.keys) == [straight.keys[place] for place in order]


@given(st.lists(person, min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_nobodys_group_shrinks_up_the_ladders(people: list[Key]) -> None:
    """At any rung, k is at most k one rung up, on every ladder."""
    for levels in product(range(3), range(2)):
        here = Counter(told(one, levels) for one in people)
        for up in ((levels[0] + 1, levels[1]), (levels[0], levels[1] + 1)):
            above = Counter(told(one, up) for one in people)
            assert all(above[told(one, up)] >= here[told(one, levels)] for one in people)


def test_too_few_people_are_all_left_out() -> None:
    """Ten people can never be eleven, and the loss is total."""
    answer = generalise([(30, "red")] * 10, LADDERS)
    assert (answer.keys, answer.loss_rate) == ((None,) * 10, 1.0)
    nobody = generalise([], LADDERS)
    assert (nobody.keys, nobody.loss_rate) == ((), 0.0)


def test_a_class_where_all_share_the_secret_is_not_safe() -> None:
    """Twenty people in one class tell each one's secret when they have the same."""
    people: list[Key] = [(30, "red")] * 20
    assert set(generalise(people, LADDERS, sensitive=[["worse"] * 20]).keys) == {None}
    assert None not in generalise(people, LADDERS, sensitive=[["worse"] * 19 + ["better"]]).keys


def test_the_ladders_of_a_release() -> None:
    """From fine to coarse, unknown staying unknown and unheard-of routes being others."""
    assert [rung(92) for rung in AGE.rungs] == ["90+", "90+", "90+"]
    assert [rung(62.5) for rung in DOSE_MG.rungs] == ["50-74", "50-99", "0-99"]
    assert [rung(1200) for rung in DOSE_MG.rungs] == ["400+"] * 3
    assert [rung(2026) for rung in YEAR.rungs] == ["2026", "2026-2027", "2024-2027"]
    assert [rung("rectal") for rung in ROUTE.rungs] == ["rectal", "other"]
    assert [rung(None) for ladder in (AGE, DOSE_MG, YEAR, MODALITY, ROUTE) for rung in ladder.rungs] == [None] * 12


CROSSED = bands_of("age", (4, 6))
WORDS: list[Key] = [("thirty",)]


@pytest.mark.parametrize(
    ("people", "ladders", "more", "says"),
    [
        ([(1,), (5,), (6,)], (CROSSED,), {}, "apart"),
        (WORDS, (AGE,), {}, "number"),
        ([(1, 2)], (AGE,), {}, "one value"),
        ([()], (), {}, "one value"),
        ([(1,)], (AGE,), {"sensitive": [[]]}, "column"),
        ([(1,)], (AGE,), {"k": 0}, "at least 1"),
        ([(1,)], (AGE,), {"most_left_out_rate": 1.1}, "share"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    people: list[tuple[Value, ...]], ladders: tuple[Ladder, ...], more: dict[str, object], says: str
) -> None:
    """Before anything is told."""
    with pytest.raises(ValueError, match=says):
        generalise(people, ladders, **more)  # type: ignore[arg-type]  # wrong on purpose


def test_ten_thousand_people_take_seconds() -> None:
    """Six quasi-identifiers, unrelated to each other: the worst that can be. Three seconds alone on two cores."""
    draw = random.Random(20_261_121)  # noqa: S311 - made-up people
    ladders = (AGE, DOSE_MG, MODALITY, ROUTE, YEAR, groups_of("sex"))
    routes, sexes = ("oral", "intravenous", "intranasal", "sublingual"), ("f", "m", "x", None)
    people: list[Key] = [
        (
            draw.randrange(18, 96),
            draw.randrange(20, 500),
            draw.choice("abcd"),
            draw.choice(routes),
            draw.randrange(2018, 2027),
            draw.choice(sexes),
        )
        for _ in range(10_000)
    ]
    secrets = [draw.choice(["improved", "unchanged", "deteriorated", None]) for _ in people]
    began = time.perf_counter()
    answer = generalise(people, ladders, sensitive=[secrets])
    assert time.perf_counter() - began < 15  # a machine with others on it
    assert answer.keys.count(None) <= 500
    assert min(Counter(key for key in answer.keys if key is not None).values()) >= 11
