"""Numbers told as the band they fall into."""

from fractions import Fraction
from math import floor


def band(value: float | None, width: int, top: int | None = None) -> str | None:
    """The band of a number, named by its first and last whole number; from `top` on, all are one.

    Bands start at 0 and at every multiple of the width; one that is 1 wide is named by its only number. A fraction
    belongs to the whole number below it: 9.9 is in 0-9.

    Units and range: `value` and `width` in the same unit, value at least 0, width at least 1, `top` a multiple of the
        width.
    Missing data: None stays None.

    Raises:
        ValueError: the value is negative or not finite, the width below 1, or the top not a multiple of it.

    Source: arithmetic.

    >>> band(37, 5), band(37.5, 10), band(90, 10, top=90), band(None, 10)
    ('35-39', '30-39', '90+', None)
    """
    if width < 1 or (top is not None and top % width):
        raise ValueError("a band is at least 1 wide, and the open one begins where a band does")
    if value is None:
        return None
    if not 0 <= value < float("inf"):
        raise ValueError("bands hold numbers from 0 on")
    if top is not None and value >= top:
        return f"{top}+"
    first = floor(Fraction(value)) // width * width
    return f"{first}-{first + width - 1}" if width > 1 else f"{first}"
