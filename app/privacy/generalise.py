"""Telling less of everybody, and leaving out whoever still stands out.

Every person stands on the same rung of a quasi-identifier's ladder. Going up merges classes and never splits one, so
nobody's group shrinks.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, pairwise, product
from operator import add

from app.privacy.cells import SMALLEST_CELL
from app.privacy.ladders import ANYTHING, Ladder, Value

Levels = tuple[int, ...]  # one rung for each ladder, 0 the finest
Key = tuple[Value, ...]  # one person's quasi-identifiers


@dataclass(frozen=True, slots=True)
class Generalised:
    """What may be told of each person, and what it cost."""

    levels: Mapping[str, int]  # rung by ladder's name
    keys: tuple[Key | None, ...]  # in the order of the people; None: left out
    loss_rate: float  # 0: everything told as finely as it can be; 1: nothing told, or nobody left


@dataclass(frozen=True, slots=True)
class _Coded:
    """The people as numbers: for each ladder and rung, each person's place among the values, spread to add up."""

    rungs: tuple[tuple[list[int], ...], ...]
    sensitive: tuple[Sequence[tuple[int, Value]], ...]  # person and known value, for each sensitive column
    k: int
    diversity: int  # l of l-diversity


def generalise(
    people: Sequence[Key],
    ladders: Sequence[Ladder],
    *,
    k: int = SMALLEST_CELL,
    diversity: int = 2,
    sensitive: Sequence[Sequence[Value]] = (),
    most_left_out_rate: float = 0.05,
) -> Generalised:
    """The least generalisation after which few enough people stand in unsafe classes, and these are left out.

    A class is safe with at least `k` people and at least `diversity` different known values (l of l-diversity) in
    every sensitive column. Of all combinations of rungs that leave out at most the given share, the one with the least
    loss is taken; of equals the one that leaves out fewer people, then the one with the lower rungs, in the order of
    the ladders. What comes out has safe classes only, or is empty. The same people in another order give the same.

    Loss is the mean over ladders of rung / last rung for whoever is told, and 1 for whoever is left out.

    Units and range: people, one entry for each. The share is from 0 to 1. At most the product of the ladders' lengths
        is looked at.
    Missing data: an unknown quasi-identifier is told as unknown, and makes alike whoever is unknown too, until the last
        rung. An unknown sensitive value protects nobody.

    Raises:
        ValueError: no ladders, columns of another length than the people, k or diversity below 1, a share outside 0 to
            1, or a ladder on which a coarser rung tells apart what a finer one made equal.

    Source: full-domain generalisation with suppression and its loss, Sweeney 2002, Int J Uncertain Fuzz 10:571-588;
    what is safe stays safe when classes merge, Machanavajjhala 2007, ACM Trans Knowl Discov Data 1(1):3.

    >>> from app.privacy.ladders import AGE
    >>> ages = [31, 32, 34, 38, 39, 71]
    >>> told = generalise([(age,) for age in ages], [AGE], k=2, most_left_out_rate=0.2)
    >>> told.keys, told.levels
    ((('30-34',), ('30-34',), ('30-34',), ('35-39',), ('35-39',), None), {'age': 0})
    """
    _check(people, ladders, sensitive, most_left_out_rate, min(k, diversity))
    tables = [_tables(ladder, {person[place] for person in people}) for place, ladder in enumerate(ladders)]
    coded = _coded(people, tables, sensitive, k, diversity)
    heights = [len(ladder.rungs) for ladder in ladders]
    levels, safe = _least(coded, heights, math.floor(len(people) * most_left_out_rate))
    chosen = [table[level] for table, level in zip(tables, levels, strict=True)]
    keys = [
        tuple(table[value] for table, value in zip(chosen, person, strict=True)) if is_safe else None
        for person, is_safe in zip(people, safe, strict=True)
    ]
    told_rate = Fraction(sum(safe), len(people)) if people else 1
    return Generalised(
        levels={ladder.name: level for ladder, level in zip(ladders, levels, strict=True)},
        keys=tuple(keys),
        loss_rate=float(1 - told_rate * (1 - _loss(levels, heights))),
    )


def _check(
    people: Sequence[Key], ladders: Sequence[Ladder], sensitive: Sequence[Sequence[Value]], rate: float, least: int
) -> None:
    if not ladders or any(len(person) != len(ladders) for person in people):
        raise ValueError("each person has one value for each ladder")
    if any(len(column) != len(people) for column in sensitive):
        raise ValueError("each column has one value for each person")
    if least < 1 or not 0 <= rate <= 1:
        raise ValueError("k and diversity are at least 1, and a share is from 0 to 1")


def _tables(ladder: Ladder, values: set[Value]) -> list[dict[Value, Value]]:
    """For each rung what becomes of each value, not telling it being the last."""
    tables = [{value: rung(value) for value in values} for rung in ladder.rungs]
    tables.append(dict.fromkeys(values, ANYTHING))
    for finer, coarser in pairwise(tables):
        if len({(finer[value], coarser[value]) for value in values}) > len(set(finer.values())):
            raise ValueError(f"a coarser rung of {ladder.name} tells apart what a finer one made equal")
    return tables


def _coded(
    people: Sequence[Key],
    tables: Sequence[Sequence[Mapping[Value, Value]]],
    sensitive: Sequence[Sequence[Value]],
    k: int,
    diversity: int,
) -> _Coded:
    rungs, spread = [], 1
    for place, ladder in enumerate(tables):
        values = [person[place] for person in people]
        rungs.append(tuple(_codes(values, table, spread) for table in ladder))
        spread *= len(ladder[0]) or 1
    known = tuple([(p, value) for p, value in enumerate(column) if value is not None] for column in sensitive)
    return _Coded(tuple(rungs), known, k, diversity)


def _codes(values: Sequence[Value], table: Mapping[Value, Value], spread: int) -> list[int]:
    places = {told: place * spread for place, told in enumerate(dict.fromkeys(table.values()))}
    by_value = {value: places[told] for value, told in table.items()}
    return [by_value[value] for value in values]


def _least(coded: _Coded, heights: Sequence[int], most_left_out: int) -> tuple[Levels, list[bool]]:
    by_loss = sorted(_candidates(coded, heights, most_left_out), key=lambda levels: (_loss(levels, heights), levels))
    for _, equals in groupby(by_loss, key=lambda levels: _loss(levels, heights)):
        found = [(levels, _safe(coded, levels)) for levels in equals]
        fit = [one for one in found if one[1].count(False) <= most_left_out]
        if fit:
            return min(fit, key=lambda one: one[1].count(False))
    nothing = tuple(heights)
    return nothing, _safe(coded, nothing)


def _candidates(coded: _Coded, heights: Sequence[int], most_left_out: int) -> Iterator[Levels]:
    """All combinations but those with a rung too fine for its ladder even when nothing else is told."""
    lowest = []
    for place in range(len(heights)):
        alone = ((*heights[:place], level, *heights[place + 1 :]) for level in range(heights[place] + 1))
        fits = (levels[place] for levels in alone if _safe(coded, levels).count(False) <= most_left_out)
        lowest.append(next(fits, heights[place]))
    return product(*(range(low, height + 1) for low, height in zip(lowest, heights, strict=True)))


def _loss(levels: Levels, heights: Sequence[int]) -> Fraction:
    return sum(map(Fraction, levels, heights), Fraction(0)) / len(heights)


def _safe(coded: _Coded, levels: Levels) -> list[bool]:
    """For each person whether their class has enough people and values."""
    first, *others = (ladder[level] for ladder, level in zip(coded.rungs, levels, strict=True))
    classes = first
    for codes in others:
        classes = list(map(add, classes, codes))
    safe = {found for found, size in Counter(classes).items() if size >= coded.k}
    for column in coded.sensitive:
        values = Counter(found for found, _ in {(classes[person], value) for person, value in column})
        safe = {found for found in safe if (values[found] or 1) >= coded.diversity}
    return [found in safe for found in classes]
