"""Time as every longitudinal function counts it: by instants, never by wall clocks.

Python subtracts and compares two times of the same zone by what their clocks show, an hour wrong across a change to or
from daylight saving. Every time is therefore turned into UTC before it is subtracted, compared or sorted.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from app.scoring.model import Point

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)  # 24 hours of elapsed time, also on the day a clock changes


class InTimeOrder(tuple[Point, ...]):  # noqa: SLOT001  # slots would leave no room for the instants
    """Points in the order that `in_time_order` gives them: nobody has to sort them again."""

    instants: list[datetime]  # of the points, in UTC: looked up many times over

    def __new__(cls, points: Iterable[Point] = ()) -> Self:
        """Of points that are in this order already."""
        self = super().__new__(cls, points)
        self.instants = [instant(point.at) for point in self]
        return self

    def between(self, opens: datetime, closes: datetime) -> tuple[Point, ...]:
        """The points from one instant to another, both included."""
        return self[bisect_left(self.instants, instant(opens)) : bisect_right(self.instants, instant(closes))]

    def before(self, at: datetime) -> tuple[Point, ...]:
        """The points earlier than an instant."""
        return self[: bisect_left(self.instants, instant(at))]

    def until(self, at: datetime) -> tuple[Point, ...]:
        """The points up to an instant, included."""
        return self[: bisect_right(self.instants, instant(at))]

    def after(self, at: datetime) -> tuple[Point, ...]:
        """The points later than an instant."""
        return self[bisect_right(self.instants, instant(at)) :]


def instant(at: datetime) -> datetime:
    """The same instant in UTC, the one clock in which times may be subtracted, compared and sorted.

    Units and range: any time with an offset. Missing data: none, a time is required.

    Raises:
        ValueError: the time has no offset.

    Source: Python documentation, datetime, "Supported operations".

    >>> from zoneinfo import ZoneInfo
    >>> noon = datetime(2025, 3, 30, 12, tzinfo=ZoneInfo("Europe/Vienna"))  # the night before was an hour short
    >>> instant(noon) - instant(noon - timedelta(days=1))
    datetime.timedelta(seconds=82800)
    """
    if at.tzinfo is UTC:  # as the database gives it
        return at
    if at.utcoffset() is None:
        raise ValueError("a time without an offset has no place on the time line")
    return at.astimezone(UTC)


def elapsed(earlier: datetime, later: datetime) -> timedelta:
    """Time that passed between two instants; negative when they are the other way round.

    Units and range: a timedelta. Missing data: none.

    Raises:
        ValueError: a time has no offset.

    Source: arithmetic.

    >>> elapsed(datetime(2026, 1, 1, 9, tzinfo=UTC), datetime(2026, 1, 2, 10, tzinfo=UTC)) / HOUR
    25.0
    """
    return instant(later) - instant(earlier)


def in_time_order(points: Iterable[Point]) -> InTimeOrder:
    """The points by instant; those of one instant by id, so that the order they came in changes nothing.

    Units and range: ids are taken to be unique. Missing data: incomplete points stay in their place.

    Raises:
        ValueError: a time has no offset.

    Source: arithmetic.

    >>> from app.scoring.model import Validity
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> [p.id for p in in_time_order([Point("b", noon, 4, Validity.VALID), Point("a", noon, 5, Validity.VALID)])]
    ['a', 'b']
    """
    if isinstance(points, InTimeOrder):
        return points
    return InTimeOrder(sorted(points, key=lambda point: (instant(point.at), point.id)))
