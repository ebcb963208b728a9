"""Where all randomness comes from: one stream per seed, patient and topic, so that no draw disturbs another."""

from collections.abc import Sequence
from random import Random


def chance(*topic: str | int) -> Random:
    """A stream that depends on the words of its topic alone, the same on every machine and in every process."""
    words = "/".join(map(str, topic))
    return Random(f"tidemark-synthetic/{words}")  # noqa: S311 - it must be repeatable; nothing secret is made of it


def interpolate(knots: Sequence[tuple[float, float]], x: float) -> float:
    """The broken line through the knots at `x`; level before the first and after the last."""
    left = knots[0]
    for right in knots:
        if x <= right[0]:
            break
        left = right
    else:
        return left[1]
    if x <= left[0]:
        return left[1]
    return left[1] + (right[1] - left[1]) * (x - left[0]) / (right[0] - left[0])


def clamp(value: float, least: int, most: int) -> int:
    """The nearest whole number within the bounds."""
    return max(least, min(most, round(value)))
