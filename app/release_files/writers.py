"""One table into one file, a batch at a time. All formats take the same rows and the same checks."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO, Final, Generic, TypeVar

from app.release_files.cells import csv_cell
from app.release_files.model import FileFacts, Format, Row, TableShape, Value
from app.release_files.rows import Known, OfPerson, RowCheck, Told, by_column
from app.release_files.sink import Sink

Made = TypeVar("Made")  # what a format makes of a row without its name

BATCH_ROWS: Final = 8_192  # rows in work at once, however many are given
CSV_LINE_END: Final = "\r\n"  # RFC 4180


class Writer(ABC, Generic[Made]):
    """What fails ends the file: nothing more is taken, and there are no facts about it."""

    def __init__(self, name: str, shape: TableShape, file: BinaryIO) -> None:
        self._name = name
        self._rows = 0
        self._check = RowCheck(shape)
        self._known = Known[Row, Made]()
        self._sink = Sink(file)
        with self._sink.taking():
            self._begin(shape, self._sink)

    def write(self, rows: Sequence[Row]) -> None:
        """Any number of rows, in the order of the file."""
        with self._sink.taking():
            for start in range(0, len(rows), BATCH_ROWS):
                self._put(self._check.whole(rows[start : start + BATCH_ROWS]), self._sink)
            self._rows += len(rows)

    def write_people(self, people: Sequence[OfPerson]) -> None:
        """Whole persons, in the order of the file. Rows that look alike are checked once and made once."""
        with self._sink.taking():
            rows = list(chain.from_iterable(one.rows for one in people))
            self._known.know(set(rows), lambda new: self._made(self._check.nameless(new)))
            self._check.people(people)
            if rows:
                self._put_people(people, list(map(self._known.__getitem__, rows)), self._sink)
            self._rows += len(rows)

    def close(self) -> FileFacts:
        """The end of the table; the file itself stays open."""
        with self._sink.taking():
            self._finish()
        return FileFacts(self._name, self._sink.bytes, self._sink.end(), self._rows)

    @abstractmethod
    def _begin(self, shape: TableShape, sink: Sink) -> None: ...

    @abstractmethod
    def _put(self, columns: Sequence[Told], sink: Sink) -> None: ...

    @abstractmethod
    def _made(self, columns: Sequence[Told]) -> Iterable[Made]: ...

    @abstractmethod
    def _put_people(self, people: Sequence[OfPerson], made: Sequence[Made], sink: Sink) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...


class TextWriter(Writer[str]):
    """A line for each row. Each different value of a batch is spelled once: there are few of them.

    With all checks as fast as the csv module without any; that module's reader is what the tests hold this to.
    """

    def _put(self, columns: Sequence[Told], sink: Sink) -> None:
        sink.write("".join(self._lines(self._spelled(columns))).encode())

    def _made(self, columns: Sequence[Told]) -> Iterable[str]:
        """All of a line but its name."""
        return self._ends(self._spelled(columns))

    def _put_people(self, people: Sequence[OfPerson], made: Sequence[str], sink: Sink) -> None:
        ends = iter(made)
        starts = ((self._start(one.name), len(one.rows)) for one in people)
        sink.write("".join(start + end for start, count in starts for end in islice(ends, count)).encode())

    def _finish(self) -> None:
        """Text has no end of its own: the manifest tells rows and hash."""

    def _spelled(self, columns: Sequence[Told]) -> Iterable[tuple[str, ...]]:
        return zip(*map(self._spelled_column, columns), strict=True)

    def _spelled_column(self, column: Told) -> Iterable[str]:
        spelled = {value: self._cell(value) for value in column.distinct}  # equal values are of one type: rows.py
        return map(spelled.__getitem__, column.values)

    @abstractmethod
    def _cell(self, value: Value) -> str: ...

    @abstractmethod
    def _lines(self, rows: Iterable[tuple[str, ...]]) -> Iterable[str]: ...

    @abstractmethod
    def _start(self, name: str) -> str: ...

    @abstractmethod
    def _ends(self, rows: Iterable[tuple[str, ...]]) -> Iterable[str]: ...


class CsvWriter(TextWriter):
    """UTF-8 without a mark, commas, CRLF, quotes where needed, nothing for null, no formulas."""

    def _begin(self, shape: TableShape, sink: Sink) -> None:
        sink.write("".join(self._lines([shape.names])).encode())

    def _cell(self, value: Value) -> str:
        return csv_cell(value)

    def _lines(self, rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
        return (line + CSV_LINE_END for line in map(",".join, rows))

    def _start(self, name: str) -> str:
        return self._cell(name) + ","

    def _ends(self, rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
        return self._lines(rows)


class NdjsonWriter(TextWriter):
    """An object on each line, keys in the order of the columns, null for null, texts as they are."""

    def _begin(self, shape: TableShape, sink: Sink) -> None:  # noqa: ARG002 - there is no header
        cells = [f'"{name}":%s' for name in shape.names]
        self._whole = f"{{{','.join(cells)}}}\n"
        self._first, self._others = f"{{{cells[0]},", f"{','.join(cells[1:])}}}\n"

    def _cell(self, value: Value) -> str:
        return _to_json(value)

    def _lines(self, rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
        return map(self._whole.__mod__, rows)

    def _start(self, name: str) -> str:
        return self._first % self._cell(name)

    def _ends(self, rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
        return map(self._others.__mod__, rows)


class ParquetWriter(Writer[Row]):
    """pyarrow is loaded here and not with the program: 100 MB that a service without a release can do without."""

    def _begin(self, shape: TableShape, sink: Sink) -> None:
        from app.release_files.parquet import ParquetRows  # noqa: PLC0415 - see above

        self._table = ParquetRows(shape, sink)

    def _put(self, columns: Sequence[Told], sink: Sink) -> None:  # noqa: ARG002 - it has it since the beginning
        self._table.put([column.values for column in columns])

    def _made(self, columns: Sequence[Told]) -> Iterable[Row]:
        """As checked: of equal values one may have been of another type."""
        return zip(*(column.values for column in columns), strict=True)

    def _put_people(self, people: Sequence[OfPerson], made: Sequence[Row], sink: Sink) -> None:  # noqa: ARG002 - as above
        names = list(chain.from_iterable([one.name] * len(one.rows) for one in people))
        self._table.put([names, *by_column(made)])

    def _finish(self) -> None:
        self._table.close()


_WRITERS: Final[Mapping[Format, type[Writer[Any]]]] = {
    "csv": CsvWriter,
    "ndjson": NdjsonWriter,
    "parquet": ParquetWriter,
}


def open_writer(format_: Format, shape: TableShape, file: BinaryIO) -> Writer[Any]:
    """Into a file that is open for writing, empty, and closed by whoever opened it."""
    return _WRITERS[format_](file_name(format_, shape), shape, file)


def write_table(format_: Format, shape: TableShape, batches: Iterable[Sequence[Row]], file: BinaryIO) -> FileFacts:
    """A whole table from start to end; memory does not grow with the number of batches."""
    writer = open_writer(format_, shape, file)
    for batch in batches:
        writer.write(batch)
    return writer.close()


def write_document(name: str, content: bytes, file: BinaryIO) -> FileFacts:
    """A file of a release that is no table, such as the dictionary, so that the manifest vouches for it too."""
    sink = Sink(file)
    with sink.taking():
        sink.write(content)
    return FileFacts(name, sink.bytes, sink.end(), None)


def file_name(format_: Format, shape: TableShape) -> str:
    """`scores.csv` and so on."""
    return f"{shape.name}.{format_}"


_to_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode  # str: of dates
