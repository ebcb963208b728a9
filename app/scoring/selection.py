"""The k-th smallest slope between all pairs of points, exactly, without listing all pairs.

Draw each point (x, y) as y - slope * x and turn the slope from minus to plus infinity: two points change places
exactly when the slope passes the slope of their pair. So the slopes between two cuts are the pairs that stand in one
order at the first cut and in the other at the second, and counting slopes is counting inversions of a permutation, far
cheaper than listing them. A random sample of the slopes gives two cuts around the rank, lines drawn between what is
counted at two cuts give closer ones, until few enough slopes are left to list.

Everything is integers: a comparison by floating point can call two equal slopes different, and then never ends on ties.

Source: Dillencourt, Mount and Netanyahu 1992, Int J Comput Geom Appl 2:1-27;
Matousek 1991, Inf Process Lett 39:183-187.
"""

import itertools
import math
import random
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from typing import Final

_LISTED: Final = 1_500  # slopes; listing this many costs about as much as two more cuts (measured)
_SAMPLE: Final = 256  # slopes; more cost more than the cuts they save (measured)
_SAMPLE_SEED: Final = 20_010  # any constant: the seed moves the time taken, never the answer
_MARGIN: Final = 1.0  # in square roots of the sample size: two standard deviations of a sample median's rank
_LINE_MISSES: Final = 64  # a straight line from a cut misses a rank by up to one part in this of the way (measured) ...
_SCATTER: Final = 100  # slopes; ... and by up to this many, however near (measured)
_SAMPLED_EVERY: Final = 4  # turns; where slopes crowd no line fits, and a sampled slope halves what is left
_MARKED_BELOW: Final = 4_096  # values; up to here marking bits beats merging (measured)

Pair = tuple[int, int]  # places of the earlier and of the later point


@dataclass(frozen=True, slots=True)
class _Cut:
    """A place between slopes: just before or just after `slope` (None: an end). `order` is the points' order there."""

    slope: Fraction | None
    order: list[int]
    below: int  # slopes before the cut


@dataclass(frozen=True, slots=True)
class _Listed:
    """The slopes between two cuts, told by the slopes below each, in ascending order as far as floats can tell."""

    low: int
    high: int
    quotients: list[float]
    pairs: list[Pair]


def count_inversions(values: Sequence[int]) -> int:
    """How many pairs of places hold a larger value before a smaller one; equal values do not count.

    Units and range: integers of any size; the result is from 0 to n(n-1)/2.
    Missing data: none, every value is a number.
    Raises: nothing.
    Source: definition, by merge sort.

    >>> count_inversions([2, 3, 1, 1])
    4
    """
    return _order_and_inversions(values)[1]


def _order_and_inversions(values: Sequence[int]) -> tuple[list[int], int]:
    """The places in ascending order of their values, equal ones as they stand, and the number of inversions."""
    order = sorted(range(len(values)), key=values.__getitem__)
    return order, _inversions(order)


def _inversions(order: Sequence[int]) -> int:
    """Of a permutation of the whole numbers below its length."""
    if len(order) > _MARKED_BELOW:
        return _inversions_of_halves(order)
    larger_before = 0
    seen = 0  # bit k is set when the value k has been met
    for value in order:
        larger_before += (seen >> value).bit_count()
        seen |= 1 << value
    return larger_before


def _inversions_of_halves(order: Sequence[int]) -> int:
    half = len(order) // 2
    left, right = order[:half], order[half:]
    ascending = sorted(left)  # bits to mark grow with the length, the logarithm hardly does
    across = half * len(right) - sum(map(bisect_right, itertools.repeat(ascending), right))
    return across + count_inversions(left) + count_inversions(right)


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
        self._distinct = len(set(ordered))
        self._equal_points = _equal_pairs(ordered)  # they stand at one height at every slope
        self.count = _pairs(len(ordered)) - _equal_pairs(self._xs)
        self._cuts = [_Cut(None, self._rising, 0), _Cut(None, self._falling, self.count)]  # ascending
        self._list: _Listed | None = None  # what was listed last: neighbouring ranks are asked for together

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
        return _equal_pairs(self._ys) - self._equal_points

    def _slope(self, pair: Pair) -> Fraction:
        i, j = pair
        return Fraction(self._ys[j] - self._ys[i], self._xs[j] - self._xs[i])

    def _ascending(self, pairs: Sequence[Pair]) -> tuple[list[float], list[Pair]]:
        """By slope rounded once. Rounding keeps the order, though it may make unequal neighbours equal."""
        xs, ys = self._xs, self._ys
        quotients = [(ys[j] - ys[i]) / (xs[j] - xs[i]) for i, j in pairs]
        places = sorted(range(len(pairs)), key=quotients.__getitem__)
        return [quotients[place] for place in places], [pairs[place] for place in places]

    def _select(self, rank: int) -> Fraction:
        turn = 0
        while True:
            turn += 1
            low, high = self._around(rank)
            if low.slope is not None and low.slope == high.slope:  # just before to just after: all slopes here are it
                return low.slope
            if high.below - low.below <= _LISTED:
                return self._pick(self._listed(low, high), rank - low.below)
            for slope in self._pivots(low, high, rank, turn):
                self._cut_at(slope)

    def _around(self, rank: int) -> tuple[_Cut, _Cut]:
        """The nearest cuts with the slope of this rank between them."""
        above = bisect_right(self._cuts, rank, key=attrgetter("below"))
        return self._cuts[above - 1], self._cuts[above]

    def _pivots(self, low: _Cut, high: _Cut, rank: int, turn: int) -> Sequence[Fraction]:
        wanted, inside = rank - low.below, high.below - low.below
        if low.slope is None or high.slope is None:
            return self._sampled(low, high, wanted / inside, (-_MARGIN, _MARGIN))
        if turn % _SAMPLED_EVERY == 0:
            return self._sampled(low, high, wanted / inside, (0,))
        # Aimed past the rank, seen from the nearer cut, by as much as the line may miss: the rank is then between two.
        past = min(_SCATTER + min(wanted, inside - wanted) // _LINE_MISSES, inside // 4)
        aim = wanted + past if 2 * wanted < inside else wanted - past
        per_rank = (high.slope - low.slope) / (2 * inside)
        return (_simplest(low.slope + (2 * aim - past) * per_rank, low.slope + (2 * aim + past) * per_rank),)

    def _sampled(self, low: _Cut, high: _Cut, share: float, margins: Sequence[float]) -> list[Fraction]:
        _, sample = self._ascending(self._sample(low, high))
        size = len(sample)
        places = (int(size * share + margin * math.sqrt(size)) for margin in margins)
        return [self._slope(sample[min(max(place, 0), size - 1)]) for place in places]

    def _cut_at(self, slope: Fraction) -> None:
        """Cuts just before the slope and, if a pair has this very slope, just after."""
        heights = self._heights(slope)
        order, below = _order_and_inversions(heights)
        cuts = [_Cut(slope, order, below)]
        if len(set(heights)) < self._distinct:
            ties = _equal_pairs(heights) - self._equal_points
            cuts.append(_Cut(slope, sorted(self._falling, key=heights.__getitem__), below + ties))
        for cut in cuts:
            insort(self._cuts, cut, 1, len(self._cuts) - 1, key=attrgetter("slope", "below"))

    def _listed(self, low: _Cut, high: _Cut) -> _Listed:
        if self._list is None or (self._list.low, self._list.high) != (low.below, high.below):
            self._list = _Listed(low.below, high.below, *self._ascending(self._between(low, high)))
        return self._list

    def _pick(self, listed: _Listed, rank: int) -> Fraction:
        rounded = listed.quotients[rank]
        first, end = bisect_left(listed.quotients, rounded), bisect_right(listed.quotients, rounded)
        return sorted(map(self._slope, listed.pairs[first:end]))[rank - first]

    def _heights(self, slope: Fraction) -> list[int]:
        rise, run = slope.numerator, slope.denominator
        return [run * y - rise * x for x, y in zip(self._xs, self._ys, strict=True)]

    def _ranks(self, low: _Cut, high: _Cut) -> list[int]:
        """Each point's place at `high`, told in the order of `low`: its inversions are the slopes between."""
        places = [0] * len(high.order)
        for place, point in enumerate(high.order):
            places[point] = place
        return [places[point] for point in low.order]

    def _between(self, low: _Cut, high: _Cut) -> list[Pair]:
        pairs: list[Pair] = []
        seen: list[int] = []
        for rank in self._ranks(low, high):
            place = bisect_left(seen, rank)
            point = high.order[rank]
            if place < len(seen):
                pairs += [(high.order[passed], point) for passed in seen[place:]]
            seen.insert(place, rank)
        return pairs

    def _sample(self, low: _Cut, high: _Cut) -> list[Pair]:
        """Pairs drawn evenly, with replacement, from the slopes between the cuts."""
        wanted = sorted(self._random.choices(range(high.below - low.below), k=_SAMPLE), reverse=True)
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


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction with the smallest numbers from low to high: cheap to reckon with, and where ties are if any are."""
    if high < 0:
        return -_simplest(-high, -low)
    whole = max(math.ceil(low), 0)
    if whole <= high:
        return Fraction(whole)
    return whole - 1 + 1 / _simplest(1 / (high - whole + 1), 1 / (low - whole + 1))


def _equal_pairs(values: Iterable[object]) -> int:
    return sum(_pairs(size) for size in Counter(values).values() if size > 1)


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
