"""One table into one file, a batch of rows at a time. All formats take the same rows and the same checks."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO, Final

from app.release_files.cells import csv_cell
from app.release_files.model import FileFacts, Format, Row, TableShape, Value
from app.release_files.rows import RowCheck, Told, Values
from app.release_files.sink import Sink

BATCH_ROWS: Final = 8_192  # rows in work at once, however many are given
CSV_LINE_END: Final = "\r\n"  # RFC 4180


class Writer(ABC):
    """What fails ends the file: nothing more is taken, and there are no facts about it."""

    def __init__(self, name: str, shape: TableShape, file: BinaryIO) -> None:
        self._name = name
        self._rows = 0
        self._check = RowCheck(shape)
        self._sink = Sink(file)
        with self._sink.taking():
            self._begin(shape, self._sink)

    def write(self, rows: Sequence[Row]) -> None:
        """Any number of rows, in the order of the file."""
        with self._sink.taking():
            columns = self._check.by_column(rows)
        self.write_columns(columns)

    def write_columns(self, columns: Sequence[Values]) -> None:
        """The same by the column, all of them equally long: whoever has columns need not make rows of them."""
        with self._sink.taking():
            count = self._check.count(columns)
            for start in range(0, count, BATCH_ROWS):
                batch = [values[start : start + BATCH_ROWS] for values in columns]
                self._put(self._check.checked(batch), self._sink)
            self._rows += count

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
    def _finish(self) -> None: ...


class TextWriter(Writer):
    """A line for each row. Each different value of a batch is spelled once: there are few of them.

    With all checks as fast as the csv module without any; that module's reader is what the tests hold this to.
    """

    def _put(self, columns: Sequence[Told], sink: Sink) -> None:
        sink.write(self._lines(zip(*map(self._spelled, columns), strict=True)).encode())

    def _finish(self) -> None:
        """Text has no end of its own: the manifest tells rows and hash."""

    def _spelled(self, column: Told) -> Iterable[str]:
        spelled = {value: self._cell(value) for value in column.distinct}  # equal values are of one type: rows.py
        return map(spelled.__getitem__, column.values)

    @abstractmethod
    def _cell(self, value: Value) -> str: ...

    @abstractmethod
    def _lines(self, rows: Iterable[tuple[str, ...]]) -> str: ...


class CsvWriter(TextWriter):
    """UTF-8 without a mark, commas, CRLF, quotes where needed, nothing for null, no formulas."""

    def _begin(self, shape: TableShape, sink: Sink) -> None:
        sink.write(self._lines([shape.names]).encode())

    def _cell(self, value: Value) -> str:
        return csv_cell(value)

    def _lines(self, rows: Iterable[tuple[str, ...]]) -> str:
        return CSV_LINE_END.join([*map(",".join, rows), ""])


class NdjsonWriter(TextWriter):
    """An object on each line, keys in the order of the columns, null for null, texts as they are."""

    def _begin(self, shape: TableShape, sink: Sink) -> None:  # noqa: ARG002 - there is no header
        keys = ",".join(f'"{name}":%s' for name in shape.names)
        self._line = f"{{{keys}}}\n"

    def _cell(self, value: Value) -> str:
        return _to_json(value)

    def _lines(self, rows: Iterable[tuple[str, ...]]) -> str:
        return "".join(map(self._line.__mod__, rows))


class ParquetWriter(Writer):
    """pyarrow is loaded here and not with the program: 100 MB that a service without a release can do without."""

    def _begin(self, shape: TableShape, sink: Sink) -> None:
        from app.release_files.parquet import ParquetRows  # noqa: PLC0415 - see above

        self._table = ParquetRows(shape, sink)

    def _put(self, columns: Sequence[Told], sink: Sink) -> None:  # noqa: ARG002 - it has it since the beginning
        self._table.put([column.values for column in columns])

    def _finish(self) -> None:
        self._table.close()


_WRITERS: Final[Mapping[Format, type[Writer]]] = {"csv": CsvWriter, "ndjson": NdjsonWriter, "parquet": ParquetWriter}


def open_writer(format_: Format, shape: TableShape, file: BinaryIO) -> Writer:
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
