"""Small counts in tables: hidden, together with as many others as it takes that no subtraction brings them back.

A table with its margins is a circulation: each cell carries its count from its row to its column, each row total brings
it back to the row by way of the grand total. Two tables agree on everything published exactly when they differ by a
circulation over hidden figures alone. So a hidden figure is safe when a cycle of hidden figures runs through it, round
which at least a threshold's worth of people can be pushed without any figure of the cycle falling below the lowest
count a hidden figure can have.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

SMALLEST_CELL: Final = 11  # people; cells of 1 to 10 are hidden: CMS cell size suppression policy

_OUTSIDE: Final = "outside"  # in the places of _Figure: the margin


@dataclass(frozen=True, slots=True)
class CountList:
    """Counts of one table of one line. None: hidden, whether small itself or to protect another."""

    counts: tuple[int | None, ...]
    total: int | None


@dataclass(frozen=True, slots=True)
class CountTable:
    """Counts of rows by columns with their margins. None: hidden."""

    cells: tuple[tuple[int | None, ...], ...]
    row_totals: tuple[int | None, ...]
    column_totals: tuple[int | None, ...]
    total: int | None


@dataclass(frozen=True, slots=True)
class _Figure:
    """One printed count as an arc of the circulation."""

    tail: Hashable
    head: Hashable
    count: int
    cost: int  # of hiding it: what the reader loses


@dataclass(frozen=True, slots=True)
class _Rule:
    threshold: int
    lowest: int  # least count a hidden figure can have


def hide_small_counts(counts: Sequence[int], threshold: int = SMALLEST_CELL, *, show_zeros: bool = False) -> CountList:
    """The counts of a partition of people and their total, small ones hidden so that they stay hidden.

    Holds what `hide_small_cells` holds.

    Units and range: people, at least 0.
    Missing data: people whose category is not known are a category, or are not in the table.

    Raises:
        ValueError: no counts, a negative one, or a threshold below 2.

    Source: see `hide_small_cells`.

    >>> hide_small_counts([40, 25, 3])
    CountList(counts=(40, None, None), total=68)
    >>> hide_small_counts([40, 25, 30]).counts
    (40, 25, 30)
    """
    _check([counts], threshold)
    whole = sum(counts)
    figures = [_Figure("people", "counted", count, count) for count in counts]
    figures.append(_Figure("counted", "people", whole, 2 * whole + 1))
    *shown, total = _published(figures, _rule(threshold, show_zeros=show_zeros))
    return CountList(tuple(shown), total)


def hide_small_cells(
    rows: Sequence[Sequence[int]], threshold: int = SMALLEST_CELL, *, show_zeros: bool = False
) -> CountTable:
    """A table of people with its margins, small figures hidden so that no published figure gives them back.

    Guaranteed, for whoever computes with all published figures of this one table: for each hidden figure there are two
    tables of whole, not negative counts that agree with everything published and differ in it by at least the
    threshold. So none follows exactly, nor that it is small, and every sum of figures that follows is 0 or at least the
    threshold. Not guaranteed: anything about several tables of the same people taken together, against somebody who
    knows some of the cells, or against somebody who runs this rule on all possible tables and drops those for which it
    would have hidden other figures. That much is known to all: where something is hidden, something is small.

    Zeros are hidden like other small counts, since "nobody here improved" says something about everybody in the margin.
    `show_zeros` prints them, for tables where it does not; a zero is then never hidden, and a hidden figure is at
    least 1.

    The cheapest cycle is hidden for one small figure after the other: few people hidden, not provably the fewest.
    Margins are hidden only where the cells alone cannot protect.

    Units and range: people, at least 0; every row as long as the first.
    Missing data: people whose row or column is not known are a row or column of their own, or are not in the table.

    Raises:
        ValueError: no cells, rows of different lengths, a negative count, or a threshold below 2.

    Source: CMS cell size suppression policy (1 to 10, not derivable either); circulations: Gusfield 1988, SIAM J Comput
        17:552-571.

    >>> hide_small_cells([[20, 30, 15], [4, 25, 18], [16, 12, 40]]).cells
    ((20, 30, 15), (None, None, 18), (None, None, 40))
    """
    _check(rows, threshold)
    figures = list(_figures(rows))
    shown = iter(_published(figures, _rule(threshold, show_zeros=show_zeros)))
    lines = [tuple(next(shown) for _ in range(len(rows[0]) + 1)) for _ in range(len(rows) + 1)]
    return CountTable(
        cells=tuple(line[:-1] for line in lines[:-1]),
        row_totals=tuple(line[-1] for line in lines[:-1]),
        column_totals=lines[-1][:-1],
        total=lines[-1][-1],
    )


def _check(rows: Sequence[Sequence[int]], threshold: int) -> None:
    if threshold < 2:
        raise ValueError("a threshold below 2 hides nothing")
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("a table has cells, as many in each row")
    if min(map(min, rows)) < 0:
        raise ValueError("counts are not negative")


def _rule(threshold: int, *, show_zeros: bool) -> _Rule:
    return _Rule(threshold, lowest=1 if show_zeros else 0)


def _figures(rows: Sequence[Sequence[int]]) -> Iterator[_Figure]:
    """The table as printed, line by line with the margins last."""
    columns = [sum(column) for column in zip(*rows, strict=True)]
    whole = sum(columns)
    dear = whole + 1  # any path through cells alone costs less
    for row, cells in enumerate(rows):
        yield from (_Figure(("row", row), ("column", column), cell, cell) for column, cell in enumerate(cells))
        yield _Figure(("column", _OUTSIDE), ("row", row), sum(cells), sum(cells) + dear)
    for column, total in enumerate(columns):
        yield _Figure(("column", column), ("row", _OUTSIDE), total, total + dear)
    yield _Figure(("row", _OUTSIDE), ("column", _OUTSIDE), whole, whole + dear)


def _published(figures: Sequence[_Figure], rule: _Rule) -> list[int | None]:
    small = [place for place, figure in enumerate(figures) if rule.lowest <= figure.count < rule.threshold]
    hidden = set(small)
    for place in small:
        hidden.update(_cheapest_cycle(figures, place, hidden, rule))
    return [None if place in hidden else figure.count for place, figure in enumerate(figures)]


def _cheapest_cycle(figures: Sequence[_Figure], place: int, hidden: set[int], rule: _Rule) -> list[int]:
    """The figures that balance a rise of one by the threshold, at the least cost of hiding (Dijkstra 1959).

    There always is one: the cell, its row total, the grand total and its column total can all rise together.
    """
    steps = _steps(figures, place, hidden, rule)
    goal = figures[place].tail
    cheapest = {figures[place].head: 0}
    came_by: dict[Hashable, tuple[Hashable, int]] = {}
    queue: list[tuple[int, int, Hashable]] = [(0, 0, figures[place].head)]
    order = 0
    while queue[0][2] != goal:
        cost, _, here = heappop(queue)
        for there, by, price in steps.get(here, ()):
            if cost + price < cheapest.get(there, cost + price + 1):
                cheapest[there], came_by[there] = cost + price, (here, by)
                heappush(queue, (cost + price, order := order + 1, there))
    cycle = []
    while goal != figures[place].head:
        goal, by = came_by[goal]
        cycle.append(by)
    return cycle


def _steps(
    figures: Sequence[_Figure], place: int, hidden: set[int], rule: _Rule
) -> dict[Hashable, list[tuple[Hashable, int, int]]]:
    """From each node: where to, by which figure, at what cost. Along a figure it rises, against it it falls."""
    steps: dict[Hashable, list[tuple[Hashable, int, int]]] = {}
    for by, figure in enumerate(figures):
        if by == place or figure.count < rule.lowest:
            continue
        price = 0 if by in hidden else figure.cost
        steps.setdefault(figure.tail, []).append((figure.head, by, price))
        if figure.count - rule.lowest >= rule.threshold:
            steps.setdefault(figure.head, []).append((figure.tail, by, price))
    return steps
