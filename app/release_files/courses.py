"""Batches as a database gives them, cut where one person ends and the next begins."""

from collections.abc import Sequence
from itertools import takewhile

from app.release_files.model import Row, TableShape


class WholeCourses:
    """What is made of all rows of a person (wide.py, CDISC's numbers) waits until the next person has begun."""

    def __init__(self, shape: TableShape) -> None:
        self._person = shape.names.index(shape.person)
        self._waiting: list[Row] = []

    def take(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of everybody who is complete; the last person's wait."""
        if not rows:
            return []
        here = self._person
        last = rows[-1][here]
        begun = sum(1 for _ in takewhile(lambda row: row[here] == last, reversed(rows)))
        if begun == len(rows) and self._waiting and self._waiting[-1][here] == last:
            self._waiting += rows
            return []
        complete = [*self._waiting, *rows[: len(rows) - begun]]
        self._waiting = list(rows[len(rows) - begun :])
        return complete

    def rest(self) -> list[Row]:
        """The rows of the last person, once there are no more."""
        complete, self._waiting = self._waiting, []
        return complete
