"""The k-th slope against the plain list of all slopes, with every kind of tie."""

import itertools
import math
import random
from collections.abc import Sequence
from fractions import Fraction
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring import selection
from app.scoring.selection import PairwiseSlopes, count_inversions


def all_slopes(rows: Sequence[tuple[int, int]]) -> list[Fraction]:
    """Every pairwise slope, listed and sorted: the slow truth."""
    pairs = itertools.combinations(rows, 2)
    return sorted(Fraction(y2 - y1, x2 - x1) for (x1, y1), (x2, y2) in pairs if x1 != x2)


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-4, 4)), max_size=45))
@settings(max_examples=60, deadline=None)
def test_every_rank_agrees_with_the_full_list_under_heavy_ties(rows: list[tuple[int, int]]) -> None:
    """The k-th slope is that of the sorted list of all slopes, for each k."""
    slopes, expected = PairwiseSlopes(rows), all_slopes(rows)
    assert slopes.count == len(expected)
    assert [slopes.kth(rank) for rank in range(slopes.count)] == expected
    assert slopes.negative() == sum(slope < 0 for slope in expected)
    assert slopes.level() == sum(slope == 0 for slope in expected)


@given(
    st.lists(st.tuples(st.integers(-60, 60), st.integers(-9, 9)), max_size=30)
    | st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**6)), max_size=30),
    st.integers(1, 20),
)
@settings(max_examples=60, deadline=None)
def test_closing_in_finds_what_listing_finds(rows: list[tuple[int, int]], listed: int) -> None:
    """With hardly any slopes listed, cuts alone lead to the same slope at every rank."""
    expected = all_slopes(rows)
    with mock.patch.multiple(selection, _LISTED=listed, _SAMPLE=4, _SCATTER=1):
        slopes = PairwiseSlopes(rows)
        assert [slopes.kth(rank) for rank in range(slopes.count)] == expected


@given(st.fractions(-20, 20, max_denominator=200), st.fractions(0, 2, max_denominator=200))
def test_the_simplest_fraction_has_the_smallest_numbers(low: Fraction, width: Fraction) -> None:
    """It lies between the two, ends included, and no fraction there has a smaller denominator or numerator."""
    high = low + width
    simplest = selection._simplest(low, high)
    assert low <= simplest <= high
    for parts in range(1, simplest.denominator):
        assert math.floor(high * parts) < low * parts
    smaller = range(-abs(simplest.numerator) + 1, abs(simplest.numerator))
    assert not any(low <= Fraction(n, simplest.denominator) <= high for n in smaller)


@pytest.mark.parametrize(
    ("time_range", "total_range"), [(10**12, 10**9), (10**12, 28), (60, 28), (400, 3), (5, 10**6), (400, 1)]
)
def test_selected_slopes_are_exactly_the_listed_ones(time_range: int, total_range: int) -> None:
    """With 200 points, from no ties to nothing but ties, selection and full list agree to the last fraction."""
    draw = random.Random(time_range + total_range)  # noqa: S311 - makes test data, guards nothing
    rows = [(draw.randrange(time_range), draw.randrange(total_range)) for _ in range(200)]
    slopes, expected = PairwiseSlopes(rows), all_slopes(rows)
    last = len(expected) - 1
    for rank in (0, 1, last // 40, last // 3, last // 2, last // 2 + 1, last - 1, last):
        assert slopes.kth(rank) == expected[rank]


@pytest.mark.parametrize(("rank", "slope"), [(0, 0), (19_999, 0), (20_000, 1), (39_999, 1)])
def test_two_large_ties_are_told_apart_in_a_few_rounds(rank: int, slope: int) -> None:
    """With the rank at the border of two ties, cuts on both sides of it never close in: one pivot must."""
    slopes = PairwiseSlopes([(0, 0)] * 200 + [(1, 0)] * 100 + [(1, 1)] * 100)
    assert slopes.count == 40_000
    assert slopes.kth(rank) == slope
    assert len(slopes._cuts) < 30  # two a round; by sampling alone about 300 rounds


def test_slopes_that_one_float_cannot_tell_apart_are_told_apart() -> None:
    """Two slopes closer than a float's spacing keep their order."""
    big = 2**60
    slopes = PairwiseSlopes([(0, 0), (big, big + 1), (2 * big, 2 * big + 1)])
    expected = [Fraction(big, big), Fraction(2 * big + 1, 2 * big), Fraction(big + 1, big)]
    assert len({float(slope) for slope in expected}) == 1
    assert [slopes.kth(rank) for rank in range(3)] == expected


@pytest.mark.parametrize("rank", [-1, 3])
def test_a_rank_without_a_slope_is_refused(rank: int) -> None:
    """Ranks run from 0 to count - 1."""
    with pytest.raises(IndexError):
        PairwiseSlopes([(0, 1), (1, 1), (2, 3)]).kth(rank)


@given(st.lists(st.integers(-3, 3), max_size=30))
def test_inversions_are_counted_as_defined(values: list[int]) -> None:
    """An inversion is a larger value before a smaller one."""
    assert count_inversions(values) == sum(a > b for a, b in itertools.combinations(values, 2))


@given(st.lists(st.integers(-9, 9), max_size=40))
def test_inversions_of_a_long_list_are_counted_by_halves(values: list[int]) -> None:
    """Past the length where halving begins the count is the same."""
    with mock.patch.object(selection, "_MARKED_BELOW", 4):
        assert count_inversions(values) == sum(a > b for a, b in itertools.combinations(values, 2))


def test_a_list_longer_than_is_marked_is_counted() -> None:
    """A reversed list of 10,000 has every inversion there is, a rotated one those of its two parts."""
    assert count_inversions(range(10_000, 0, -1)) == 10_000 * 9_999 // 2
    assert count_inversions([*range(7_000, 10_000), *range(7_000)]) == 3_000 * 7_000
