"""No published or derivable small count, by trying all that the hidden ones may be."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.cells import SMALLEST_CELL, hide_small_counts

counts = st.one_of(st.integers(0, 14), st.integers(0, 25), st.just(0))
wholes = st.lists(counts, min_size=1, max_size=4)


def possible(shown: tuple[int | None, ...], whole: int) -> list[tuple[int, ...]]:
    """Every way to fill what is hidden that agrees with all that is told, the whole included."""
    left = whole - sum(count for count in shown if count is not None)
    *free, _ = [place for place, count in enumerate(shown) if count is None]
    ways = product(range(left + 1), repeat=len(free))
    return [(*way, left - sum(way)) for way in ways if sum(way) <= left]


@given(wholes)
@settings(max_examples=100, deadline=None)
def test_what_is_hidden_can_be_many_things(whole: list[int]) -> None:
    """From nobody to a crowd, for whoever knows how many there are in all; who are too few are not told of at all."""
    shown = hide_small_counts(whole)
    if None not in shown or sum(whole) < SMALLEST_CELL:
        return
    ways = possible(shown, sum(whole))
    assert all(min(column) == 0 and max(column) >= SMALLEST_CELL for column in zip(*ways, strict=True))


@given(wholes)
@settings(max_examples=100, deadline=None)
def test_what_is_told_is_true_and_not_small(whole: list[int]) -> None:
    """Counts are left as they are or left out; of those that are not small at most the smallest is."""
    told = hide_small_counts(whole)
    assert all(shown in {None, count} for shown, count in zip(told, whole, strict=True))
    assert all(shown is None or shown >= SMALLEST_CELL for shown in told)
    large = [count for count in whole if count >= SMALLEST_CELL]
    missing = [count for shown, count in zip(told, whole, strict=True) if shown is None and count >= SMALLEST_CELL]
    assert missing == ([min(large)] if large and len(large) < len(whole) else [])


def test_hiding_small_counts_alone_is_not_enough() -> None:
    """The oracle sees through it."""
    assert possible((40, 25, None), 68) == [(3,)]
    assert len(possible(hide_small_counts([40, 25, 3]), 68)) == 29


@pytest.mark.parametrize("whole", [[], [40, -1]])
def test_what_is_no_whole_is_refused(whole: list[int]) -> None:
    """Nothing, or fewer than nobody."""
    with pytest.raises(ValueError, match="whole"):
        hide_small_counts(whole)
