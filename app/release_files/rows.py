"""Rows as they may be written: of the declared types, ordered by pseudonym. They are looked at by the column."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar, cast

from app.release_files.model import Column, Kind, ReleaseFileError, Row, TableShape, Value

K = TypeVar("K")
V = TypeVar("V")

Values = Sequence[Value]

MOST_KNOWN: Final = 16_384  # different rows that are kept with what was made of them; more are slower than none


class OfPerson(NamedTuple):
    """All rows of one person, without the name, which stands before each of them in the file."""

    name: str
    rows: Sequence[Row]


class Told(NamedTuple):
    """A column as it is written, and its different values, of which there are few."""

    values: Values
    distinct: Collection[Value]


class Known(dict[K, V]):
    """What was made of different values, such as rows, so that it is made once. Forgotten when there are too many."""

    def know(self, wanted: set[K], make: Callable[[Sequence[K]], Iterable[V]]) -> None:
        """Afterwards all that is wanted is there; `make` is asked for what is new, in one call, if there is any."""
        if len(self) + len(wanted) > MOST_KNOWN:
            self.clear()
        new = list(wanted.difference(self))
        if new:
            self.update(zip(new, make(new), strict=True))


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
        self._last = ""  # name
        self._rows = 0

    def whole(self, rows: Sequence[Row]) -> list[Told]:
        """The columns of the next rows, at least one."""
        told = self._columns(self._shape.columns, rows)
        if None in told[self._person].distinct:
            raise self._fault(f"{self._shape.person} is not given")
        self._go_on(cast("list[str]", told[self._person].values), once=self._only_once)
        self._rows += len(rows)
        return told

    def nameless(self, rows: Sequence[Row]) -> list[Told]:
        """The columns of rows, at least one, without the name before them. Whose and where they are does not matter."""
        return self._columns(self._shape.columns[1:], rows)

    def people(self, people: Sequence[OfPerson]) -> None:
        """The next persons, each whole."""
        if self._person != 0:
            raise self._fault(f"{self._shape.person} is not the first column")
        if not all(one.name for one in people):
            raise self._fault(f"{self._shape.person} is not given")
        self._go_on([one.name for one in people], once=True)
        self._rows += sum(len(one.rows) for one in people)

    def _columns(self, columns: Sequence[Column], rows: Sequence[Row]) -> list[Told]:
        if set(map(len, rows)) != {len(columns)}:
            raise self._fault("a row has more or fewer cells than the table has columns")
        return [self._told(*one) for one in zip(columns, by_column(rows), strict=True)]

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

    def _go_on(self, names: Sequence[str], *, once: bool) -> None:
        known = [self._last, *names]
        if any(name < last or (once and name == last) for last, name in pairwise(known)):
            raise self._fault(f"rows are not ordered by {self._shape.person}, or one is there twice")
        self._last = known[-1]

    def _fault(self, what: str) -> ReleaseFileError:
        return ReleaseFileError(f"{self._shape.name}, in the batch after row {self._rows}: {what}")


def by_column(rows: Sequence[Row]) -> list[Values]:
    """At least one row, all of equal length."""
    # zip(*rows) does the same, several times slower: it unpacks thousands of arguments
    return [list(map(itemgetter(place), rows)) for place in range(len(rows[0]))]


def _shortest(values: Values, numbers: set[Value]) -> Told:
    told = {number: as_whole(number) for number in numbers}
    return Told([told[value] for value in values], set(told.values()))


def as_whole(number: Value) -> Value:
    """10.0 as 10: a total is told alike whether it was summed or prorated."""
    if isinstance(number, float) and number.is_integer() and abs(number) < _WHOLE_BELOW:
        return int(number)
    return number
