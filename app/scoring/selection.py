"""The k-th smallest slope between all pairs of points, exactly, without listing all pairs.

Draw each point (x, y) as y - slope * x and turn the slope from minus to plus infinity: two points change places
exactly when the slope passes the slope of their pair. So the slopes between two cuts are the pairs that stand in one
order at the first cut and in the other at the second, and counting slopes is counting inversions of a permutation,
n log n instead of n squared. A random sample of the slopes between two cuts gives two closer cuts, until few enough
are left to list.

Everything is integers: a comparison by floating point can call two equal slopes different, and then never ends on ties.

Source: Dillencourt, Mount and Netanyahu 1992, Int J Comput Geom Appl 2:1-27;
Matousek 1991, Inf Process Lett 39:183-187.
"""

import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_LISTED_PER_POINT: Final = 8  # slopes; listing this many costs about one more round of sampling (measured)
_SAMPLE_SEED: Final = 20_010  # any constant: the seed moves the time taken, never the answer
_MARGIN: Final = 1.5  # in square roots of the sample size: three standard deviations of a sample median's rank
_INSERT_BELOW: Final = 512  # values; up to here inserting into a sorted list beats merging (measured)

Pair = tuple[int, int]  # places of the earlier and of the later point


@dataclass(frozen=True, slots=True)
class _Cut:
    """A place between slopes: just before or just after `slope` (None: an end). `order` is the points' order there."""

    slope: Fraction | None
    order: list[int]
    below: int  # slopes before the cut


def count_inversions(values: Sequence[int]) -> int:
    """How many pairs of places hold a larger value before a smaller one; equal values do not count.

    Units and range: integers of any size; the result is from 0 to n(n-1)/2.
    Missing data: none, every value is a number.
    Raises: nothing.
    Source: definition, by merge sort.

    >>> count_inversions([2, 3, 1, 1])
    4
    """
    return _sorted_and_inversions(list(values))[1]


def _sorted_and_inversions(values: list[int]) -> tuple[list[int], int]:
    if len(values) <= _INSERT_BELOW:
        return _insert_all(values)
    half = len(values) // 2
    left, in_left = _sorted_and_inversions(values[:half])
    right, in_right = _sorted_and_inversions(values[half:])
    across = place = 0
    for value in right:
        place = bisect_right(left, value, place)
        across += half - place
    left += right
    left.sort()  # two ascending runs: one linear merge
    return left, in_left + in_right + across


def _insert_all(values: list[int]) -> tuple[list[int], int]:
    seen: list[int] = []
    inversions = 0
    for count, value in enumerate(values):
        place = bisect_right(seen, value)
        inversions += count - place
        seen.insert(place, value)
    return seen, inversions


class PairwiseSlopes:
    """The slopes (y2 - y1) / (x2 - x1) of all pairs of points with different x, in ascending order, by rank.

    Units and range: integer coordinates of any size; slopes are exact fractions of y per x.
    Missing data: none, every point has both coordinates. Pairs with equal x have no slope and are left out.
    Raises: nothing here; `kth` raises IndexError.
    Source: Sen 1968, J Am Stat Assoc 63:1379-1389 for the set of slopes.

    >>> slopes = PairwiseSlopes([(0, 20), (7, 17), (14, 10)])
    >>> slopes.count, slopes.kth(1)
    (3, Fraction(-5, 7))
    """

    def __init__(self, points: Sequence[tuple[int, int]]) -> None:
        ordered = sorted(points)
        self._xs = [x for x, _ in ordered]
        self._ys = [y for _, y in ordered]
        self._random = random.Random(_SAMPLE_SEED)  # noqa: S311 - picks pivots, guards nothing
        # At slope minus infinity the points stand by x, at plus infinity by falling x; equal x always by rising y.
        self._rising = list(range(len(ordered)))
        self._falling = sorted(self._rising, key=lambda place: -self._xs[place])
        self.count = _pairs(len(ordered)) - sum(map(_pairs, Counter(self._xs).values()))
        self._cuts = [_Cut(None, self._rising, 0), _Cut(None, self._falling, self.count)]

    def kth(self, rank: int) -> Fraction:
        """The slope with `rank` slopes before it in ascending order.

        Units and range: rank from 0 to count - 1.
        Missing data: none.
        Raises: IndexError outside that range.
        Source: see the module.

        >>> PairwiseSlopes([(0, 1), (1, 1), (2, 3)]).kth(2)
        Fraction(2, 1)
        """
        if not 0 <= rank < self.count:
            raise IndexError("no slope of this rank")
        return self._select(rank)

    def negative(self) -> int:
        """How many slopes are below 0: the pairs that fall.

        Units and range: from 0 to count.
        Missing data: none.
        Raises: nothing.
        Source: see the module; the cut just before slope 0 orders the points by y alone.

        >>> PairwiseSlopes([(0, 3), (1, 1), (1, 0), (2, 3)]).negative()
        2
        """
        return count_inversions(self._ys)

    def level(self) -> int:
        """How many slopes are exactly 0: pairs with equal y and different x.

        Units and range: from 0 to count.
        Missing data: none.
        Raises: nothing.
        Source: counting; pairs of points that are equal in both coordinates have no slope.

        >>> PairwiseSlopes([(0, 3), (1, 3), (1, 3), (2, 0)]).level()
        2
        """
        points = Counter(zip(self._xs, self._ys, strict=True))
        return sum(map(_pairs, Counter(self._ys).values())) - sum(map(_pairs, points.values()))

    def _slope(self, pair: Pair) -> Fraction:
        i, j = pair
        return Fraction(self._ys[j] - self._ys[i], self._xs[j] - self._xs[i])

    def _quotients(self, pairs: list[Pair]) -> list[float]:
        """The slopes rounded once. Rounding keeps the order, though it may make unequal neighbours equal."""
        xs, ys = self._xs, self._ys
        return [(ys[j] - ys[i]) / (xs[j] - xs[i]) for i, j in pairs]

    def _pick(self, pairs: list[Pair], rank: int) -> Fraction:
        quotients = self._quotients(pairs)
        ascending = sorted(quotients)
        rounded = ascending[rank]
        steps = Counter(
            (self._ys[j] - self._ys[i], self._xs[j] - self._xs[i])
            for (i, j), quotient in zip(pairs, quotients, strict=True)
            if quotient == rounded
        )
        exact = sorted((Fraction(rise, run), times) for (rise, run), times in steps.items())
        before = bisect_left(ascending, rounded)
        for slope, times in exact:
            before += times
            if rank < before:
                return slope
        raise AssertionError("the ranks of equal quotients hold the rank asked for")

    def _select(self, rank: int) -> Fraction:
        low = max((cut for cut in self._cuts if cut.below <= rank), key=lambda cut: cut.below)
        high = min((cut for cut in self._cuts if cut.below > rank), key=lambda cut: cut.below)
        while high.below - low.below > _LISTED_PER_POINT * len(self._xs):
            if low.slope is not None and low.slope == high.slope:  # just before to just after: all slopes here are it
                return low.slope
            low, high = self._narrow(low, high, rank)
        return self._pick(list(self._between(low, high)), rank - low.below)

    def _narrow(self, low: _Cut, high: _Cut, rank: int) -> tuple[_Cut, _Cut]:
        sample = self._sample(low, high)
        quotients = self._quotients(sample)
        by_slope = sorted(range(len(sample)), key=quotients.__getitem__)
        inside = high.below - low.below
        expected = len(sample) * (rank - low.below) // inside
        margin = int(_MARGIN * len(sample) ** 0.5)
        first, middle, last = sorted(  # again, exactly: rounding may have swapped neighbours
            self._slope(sample[by_slope[min(max(place, 0), len(sample) - 1)]])
            for place in (expected - margin, expected, expected + margin)
        )
        low, high = self._split(low, high, rank, first, last)
        if low.slope != high.slope and high.below - low.below > inside // 2:
            # Few distinct slopes: two cuts around them hold on to them for hundreds of rounds, one pivot cannot.
            return self._split(low, high, rank, middle, middle)
        return low, high

    def _split(self, low: _Cut, high: _Cut, rank: int, first: Fraction, last: Fraction) -> tuple[_Cut, _Cut]:
        left, right = self._cut_before(first), self._cut_after(last)
        self._cuts += (left, right)
        if rank < left.below:
            return low, left
        if rank >= right.below:
            return right, high
        return left, right

    def _cut_before(self, slope: Fraction) -> _Cut:
        heights = self._heights(slope)
        return self._cut(slope, sorted(self._rising, key=heights.__getitem__))

    def _cut_after(self, slope: Fraction) -> _Cut:
        heights = self._heights(slope)
        return self._cut(slope, sorted(self._falling, key=heights.__getitem__))

    def _heights(self, slope: Fraction) -> list[int]:
        rise, run = slope.numerator, slope.denominator
        return [run * y - rise * x for x, y in zip(self._xs, self._ys, strict=True)]

    def _cut(self, slope: Fraction, order: list[int]) -> _Cut:
        return _Cut(slope, order, count_inversions(order))

    def _ranks(self, low: _Cut, high: _Cut) -> list[int]:
        """Each point's place at `high`, told in the order of `low`: its inversions are the slopes between."""
        places = [0] * len(high.order)
        for place, point in enumerate(high.order):
            places[point] = place
        return [places[point] for point in low.order]

    def _between(self, low: _Cut, high: _Cut) -> Iterator[Pair]:
        seen: list[int] = []
        for rank in self._ranks(low, high):
            place = bisect_left(seen, rank)
            point = high.order[rank]
            for passed in seen[place:]:
                yield high.order[passed], point
            seen.insert(place, rank)

    def _sample(self, low: _Cut, high: _Cut) -> list[Pair]:
        """As many pairs as there are points, drawn evenly, with replacement, from the slopes between the cuts."""
        wanted = sorted(self._random.choices(range(high.below - low.below), k=len(self._xs)), reverse=True)
        pairs: list[Pair] = []
        seen: list[int] = []
        passed = 0  # slopes between the cuts met so far
        for count, rank in enumerate(self._ranks(low, high)):
            place = bisect_left(seen, rank)
            here = passed + count - place
            while wanted and wanted[-1] < here:
                pairs.append((high.order[seen[place + wanted.pop() - passed]], high.order[rank]))
            passed = here
            seen.insert(place, rank)
        return pairs


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
