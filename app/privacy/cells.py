"""Small counts of people: hidden, together with a large one where subtraction would bring them back."""

from collections.abc import Sequence
from typing import Final

SMALLEST_CELL: Final = 11  # people; cells of 1 to 10 are hidden: CMS cell size suppression policy


def hide_small_counts(counts: Sequence[int]) -> tuple[int | None, ...]:
    """How many people are in each part of a whole, where the number of all may be known. None: hidden.

    Small counts are hidden, zeros with them: "nobody improved" says something about everybody. With them goes the
    smallest of the others: what is hidden is then `SMALLEST_CELL` or more in all, and each hidden count can, for
    whoever subtracts, be anything from 0 to that. So none follows, nor that it is small.

    Not guaranteed: anything about several wholes of the same people, or against somebody who knows a part already.
    Where something is hidden, something is small; that much is known to all.

    Units and range: people, at least 0; each person is in one part.
    Missing data: people of whom the part is not known are a part.

    Raises:
        ValueError: no counts, or a negative one.

    Source: CMS cell size suppression policy (1 to 10, not derivable either); that zero is hidden too is judgement.

    >>> hide_small_counts([40, 25, 3]), hide_small_counts([40, 25, 30]), hide_small_counts([4, 9])
    ((40, None, None), (40, 25, 30), (None, None))
    """
    if not counts or min(counts) < 0:
        raise ValueError("a whole has parts, and counts are not negative")
    small = {place for place, count in enumerate(counts) if count < SMALLEST_CELL}
    others = [place for place in range(len(counts)) if place not in small]
    hidden = small | ({min(others, key=counts.__getitem__)} if small and others else set())
    return tuple(None if place in hidden else count for place, count in enumerate(counts))
