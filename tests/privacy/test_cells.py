"""No published or derivable small count, proven by an independent oracle: linear programmes over what is published."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import null_space
from scipy.optimize import linprog

from app.privacy.cells import SMALLEST_CELL, CountList, CountTable, hide_small_cells, hide_small_counts

counts = st.one_of(st.integers(0, 14), st.integers(0, 90), st.just(0))
tables = st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda size: st.lists(st.lists(counts, min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0])
)


def figures(height: int, width: int) -> np.ndarray:
    """Each printed figure as a sum of cells: one line of ones and zeros, cells first, then margins."""
    cells = np.eye(height * width)
    grid = cells.reshape(height, width, -1)
    return np.vstack([cells, grid.sum(axis=1), grid.sum(axis=0), cells.sum(axis=0)])


def printed(table: CountTable) -> list[int | None]:
    return [*(cell for row in table.cells for cell in row), *table.row_totals, *table.column_totals, table.total]


def range_of(figure: np.ndarray, known: np.ndarray, values: list[int], hidden: np.ndarray, lowest: int) -> float:
    """How far apart the least and the most are that a hidden figure can be, given all that is published."""
    ends = []
    for sign in (1, -1):
        found = linprog(
            sign * figure,
            A_eq=known if len(known) else None,
            b_eq=values if len(known) else None,
            A_ub=-hidden,
            b_ub=np.full(len(hidden), -lowest),
        )
        if found.status == 3:  # without bound
            return float("inf")
        assert found.status == 0
        ends.append(sign * found.fun)
    return float(ends[1] - ends[0])


def widths(table: CountTable, lowest: int) -> list[float]:
    lines = figures(len(table.cells), len(table.cells[0]))
    shown = printed(table)
    known = np.array([line for line, value in zip(lines, shown, strict=True) if value is not None])
    hidden = np.array([line for line, value in zip(lines, shown, strict=True) if value is None])
    values = [value for value in shown if value is not None]
    return [range_of(line, known, values, hidden, lowest) for line in hidden]


def smallest_derivable_sum(rows: list[list[int]], table: CountTable) -> int | None:
    """The least sum above 0 over any set of cells that follows from what is published, by linear algebra."""
    lines = figures(len(rows), len(rows[0]))
    known = np.array([line for line, value in zip(lines, printed(table), strict=True) if value is not None])
    if not len(known):
        return None
    free = null_space(known)
    sets = np.array(list(product((0, 1), repeat=lines.shape[1])))
    fixed = sets[np.all(np.abs(sets @ free) < 1e-9, axis=1)] if free.size else sets
    sums = fixed @ np.array(rows).reshape(-1)
    return min((int(found) for found in sums if found > 0), default=None)


@given(tables, st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_hidden_figure_can_be_many_things(rows: list[list[int]], show_zeros: bool) -> None:
    """Given all that is published, the least and the most each hidden figure can be lie a threshold apart."""
    table = hide_small_cells(rows, show_zeros=show_zeros)
    assert all(width >= SMALLEST_CELL - 1e-6 for width in widths(table, lowest=1 if show_zeros else 0))


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)).flatmap(
        lambda size: st.lists(st.lists(counts, min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0])
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_derivable_sum_is_small(rows: list[list[int]], show_zeros: bool) -> None:
    """Every set of cells is tried: if its sum follows from what is published, it is 0 or at least the threshold."""
    smallest = smallest_derivable_sum(rows, hide_small_cells(rows, show_zeros=show_zeros))
    assert smallest is None or smallest >= SMALLEST_CELL


@given(tables, st.booleans())
@settings(max_examples=50, deadline=None)
def test_what_is_published_is_true_and_not_small(rows: list[list[int]], show_zeros: bool) -> None:
    """Figures are left as they are or left out, and no small one is left; zeros go by what was asked."""
    table = hide_small_cells(rows, show_zeros=show_zeros)
    true = figures(len(rows), len(rows[0])) @ np.array(rows).reshape(-1)
    for value, figure in zip(true.astype(int), printed(table), strict=True):
        assert figure is None or figure == value
        if 1 <= value < SMALLEST_CELL:
            assert figure is None
        if value == 0:
            assert figure == (0 if show_zeros else None)


@given(tables)
@settings(max_examples=50, deadline=None)
def test_a_table_without_small_counts_is_left_alone(rows: list[list[int]]) -> None:
    """Nothing is hidden that need not be."""
    table = hide_small_cells([[cell + SMALLEST_CELL for cell in row] for row in rows])
    assert None not in printed(table)


@given(st.lists(counts, min_size=1, max_size=8), st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_list_hides_what_its_table_of_one_line_hides_at_least(line: list[int], show_zeros: bool) -> None:
    """With a total to subtract from: one small count takes another with it, and few people hide the total."""
    told = hide_small_counts(line, show_zeros=show_zeros)
    lowest = 1 if show_zeros else 0
    hidden = [value for value, figure in zip(line, told.counts, strict=True) if figure is None]
    if any(lowest <= value < SMALLEST_CELL for value in line):
        rest = sum(hidden) - lowest * len(hidden)
        assert told.total is None or (len(hidden) > 1 and rest >= SMALLEST_CELL)
    else:
        assert hidden == []
    if lowest <= sum(line) < SMALLEST_CELL:
        assert told.total is None


def test_hiding_small_counts_alone_is_not_enough() -> None:
    """The oracle sees through it: a lone hidden cell follows from its row, and the bounds of two may be too close."""
    rows = [[20, 30, 15], [4, 25, 18], [16, 12, 40]]
    plain = CountTable(((20, 30, 15), (None, 25, 18), (16, 12, 40)), (65, 47, 68), (40, 67, 73), 180)
    assert widths(plain, 0) == [0]
    assert smallest_derivable_sum(rows, plain) == 4
    assert min(widths(hide_small_cells(rows), 0)) >= SMALLEST_CELL


def test_the_zero_policy_is_what_was_asked_for() -> None:
    """Hidden unless asked otherwise; shown zeros tell the reader that hidden figures are at least 1."""
    assert hide_small_counts([40, 25, 0]).counts == (40, None, None)
    assert hide_small_counts([40, 25, 0], show_zeros=True).counts == (40, 25, 0)
    assert hide_small_counts([11, 5]) == CountList((None, None), 16)
    assert hide_small_counts([11, 5], show_zeros=True) == CountList((11, None), None)  # 1 to 15 is too narrow


def test_a_table_of_few_people_says_nothing() -> None:
    """Not even how many they are."""
    assert set(printed(hide_small_cells([[1, 2], [3, 0]]))) == {None}


@pytest.mark.parametrize(("rows", "threshold"), [([], 11), ([[]], 11), ([[1, 2], [3]], 11), ([[-1]], 11), ([[1]], 1)])
def test_what_is_no_table_is_refused(rows: list[list[int]], threshold: int) -> None:
    """Ragged, empty, negative, or with nothing to hide."""
    with pytest.raises(ValueError, match=r"table|negative|threshold"):
        hide_small_cells(rows, threshold)


def test_a_large_table_takes_no_time() -> None:
    """Twenty-five by twenty-five with every third cell small: well under a second, and every small figure is gone."""
    rows = [[(7 * row + 3 * column) % 31 for column in range(25)] for row in range(25)]
    shown = [figure for figure in printed(hide_small_cells(rows)) if figure is not None]
    assert min(shown) >= SMALLEST_CELL
