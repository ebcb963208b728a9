"""Columns as they may be written: of the declared types, ordered by pseudonym. Rows are turned into columns here."""

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from operator import itemgetter
from typing import Final, NamedTuple, cast

from app.release_files.model import Column, Kind, ReleaseFileError, Row, TableShape, Value

Values = Sequence[Value]


class Told(NamedTuple):
    """A column as it is written, and its different values, of which there are few."""

    values: Values
    distinct: Collection[Value]


_TYPES: Final[Mapping[Kind, frozenset[type]]] = {  # exact: a datetime is no date, and True is no number
    "text": frozenset({str, type(None)}),
    "category": frozenset({str, type(None)}),
    "integer": frozenset({int, type(None)}),
    "number": frozenset({int, float, type(None)}),
    "boolean": frozenset({bool, type(None)}),
    "date": frozenset({date, type(None)}),
}
_WORDS: Final = frozenset({"text", "category"})
_WHOLE_BELOW: Final = 2.0**53  # from here on not every whole number is a float


class RowCheck:
    """Holds the rows of one file to their table, batch by batch."""

    def __init__(self, shape: TableShape) -> None:
        self._shape = shape
        self._person = shape.names.index(shape.person)
        self._only_once = shape.primary_key == (shape.person,)
        self._last: Value = None
        self._rows = 0

    def by_column(self, rows: Sequence[Row]) -> list[Values]:
        """The columns of some rows, unchecked but for the number of their cells."""
        if set(map(len, rows)) - {len(self._shape.columns)}:
            raise self._fault("a row has more or fewer cells than the table has columns")
        # zip(*rows) does the same, several times slower: it unpacks thousands of arguments
        return [list(map(itemgetter(place), rows)) for place in range(len(self._shape.columns))]

    def count(self, columns: Sequence[Values]) -> int:
        """How many rows these are."""
        if len(columns) != len(self._shape.columns) or len(counts := set(map(len, columns))) > 1:
            raise self._fault("a column is missing, or longer than another")
        return counts.pop()

    def checked(self, columns: Sequence[Values]) -> list[Told]:
        """Some rows, at least one, as they may be written. By the column: each has few different values in a batch."""
        told = [self._told(column, values) for column, values in zip(self._shape.columns, columns, strict=True)]
        self._check_order(told[self._person])
        self._rows += len(columns[0])
        return told

    def _told(self, column: Column, values: Values) -> Told:
        distinct = set(values)
        # Numbers are told apart one by one: 1, 1.0 and True are equal, and the first of them would stand for all.
        types = set(map(type, distinct if column.kind in _WORDS else values))
        if not types <= _TYPES[column.kind]:
            raise self._fault(f"{column.name} holds something that is no {column.kind}")
        if str in types:
            self._check_words(column, distinct)
        if float not in types:
            return Told(values, distinct)
        self._check_numbers(column, distinct)
        return _shortest(values, distinct)

    def _check_words(self, column: Column, words: set[Value]) -> None:
        if "" in words:  # beside null it would mean nothing, and CSV cannot tell the two apart
            raise self._fault(f"{column.name} holds an empty text: give None")
        if column.kind == "category" and not words <= {*column.categories, None}:
            raise self._fault(f"{column.name} holds a word that is none of its categories")

    def _check_numbers(self, column: Column, numbers: set[Value]) -> None:
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise self._fault(f"{column.name} holds a number that is none, or infinite: give None")

    def _check_order(self, people: Told) -> None:
        if None in people.distinct:
            raise self._fault(f"{self._shape.person} is not given")
        names = cast("list[str]", [self._last, *people.values] if self._rows else list(people.values))
        if names != sorted(names) or (self._only_once and len(set(names)) < len(names)):
            raise self._fault(f"rows are not ordered by {self._shape.person}, or one is there twice")
        self._last = names[-1]

    def _fault(self, what: str) -> ReleaseFileError:
        return ReleaseFileError(f"{self._shape.name}, in the batch after row {self._rows}: {what}")


def _shortest(values: Values, numbers: set[Value]) -> Told:
    told = {number: as_whole(number) for number in numbers}
    return Told([told[value] for value in values], set(told.values()))


def as_whole(number: Value) -> Value:
    """10.0 as 10: a total is told alike whether it was summed or prorated."""
    if isinstance(number, float) and number.is_integer() and abs(number) < _WHOLE_BELOW:
        return int(number)
    return number
