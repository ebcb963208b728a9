"""Rows of a CSV or NDJSON file, one at a time: bytes in, values by column name or refusals out.

However large the file, one row is held. A row that cannot be read costs itself alone.
"""

import codecs
import csv
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from app import strict_json
from app.errors import InvalidError, MalformedError

MAX_ROW: Final = 131_072  # bytes of a line; the csv module allows one cell as many characters, so that ours comes first
DELIMITERS: Final = ",;\t"

CONTROL_CHARACTER: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_NOT_UTF8: Final = re.compile("[\ud800-\udfff]")  # what surrogateescape makes of bytes that are not UTF-8
_SHOWN: Final = 60  # columns, and characters of each, in an error: without a header line the first row stands there


class Bytes(Protocol):
    """What a file is read from: a file opened for bytes, a pipe, anything that hands out lines."""

    def readline(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class RowFault:
    """One thing wrong with, or odd about, one row. `message` never repeats the row."""

    line: int  # of the file, from 1
    column: str | None  # None: the row as a whole
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RefusedRow:
    line: int
    faults: tuple[RowFault, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One row by column name. In CSV every value is text; in NDJSON it has the type it was written in."""

    line: int
    values: Mapping[str, Any]
    is_text: bool


def read_records(stream: Bytes, wanted: Sequence[str]) -> Iterator[Record | RefusedRow]:
    """Rows with at least the wanted columns. Raises MalformedError or InvalidError when the file has no such rows."""
    lines = _Lines(stream)
    start = lines.peek().lstrip()
    if not start:
        raise MalformedError("The file is empty.")
    if start.startswith("["):
        raise MalformedError("The file is a JSON array; write one object on each line (NDJSON).")
    return _json_records(lines, wanted) if start.startswith("{") else _csv_records(lines, wanted)


def _refused(line: int, code: str, message: str) -> RefusedRow:
    return RefusedRow(line, (RowFault(line, None, code, message),))


def _refuse_missing(wanted: Sequence[str], present: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        shown = ", ".join(CONTROL_CHARACTER.sub("?", name[:_SHOWN]) for name in present[:_SHOWN])
        noun = "column" if len(missing) == 1 else "columns"
        raise InvalidError(f"The file has no {noun} {', '.join(missing)}. Its columns are: {shown}.")


# --- Lines ------------------------------------------------------------------------------------------------------------


class _TooLongError(Exception):
    """A row longer than MAX_ROW."""


class _Lines:
    """Lines of text that remember which of them the row at hand has taken, and can take them back.

    Bytes that are not UTF-8 pass as surrogates, so that the row they stand in can be refused and the rest be read.
    """

    def __init__(self, stream: Bytes) -> None:
        self._stream = stream
        self._number = 0
        self._waiting: deque[tuple[int, str | None]] = deque()
        self._taken: list[tuple[int, str | None]] = []  # of the row at hand; None stands for a line that is too long
        self._size = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        number, text = self._waiting.popleft() if self._waiting else self._read()
        self._taken.append((number, text))
        self._size += len(text or "")
        if text is None or self._size > MAX_ROW:
            raise _TooLongError
        return text

    def begin(self) -> None:
        self._taken.clear()
        self._size = 0

    @property
    def line(self) -> int:
        """Where the row at hand begins."""
        return self._taken[0][0]

    def take_back(self, *, but_first: int) -> None:
        """All lines of the row at hand, except the first few, will be read again."""
        self._waiting.extendleft(reversed(self._taken[but_first:]))
        del self._taken[but_first:]

    def peek(self) -> str:
        """The first line that is not blank, or nothing; blank lines before it are dropped."""
        self.begin()
        try:
            for text in self:
                if text.strip():
                    self.take_back(but_first=0)
                    return text
                self.begin()
        except _TooLongError:
            raise MalformedError(f"The first line is longer than {MAX_ROW // 1024} KiB.") from None
        return ""

    def _read(self) -> tuple[int, str | None]:
        raw = self._stream.readline(MAX_ROW + 1)
        if not raw:
            raise StopIteration
        self._number += 1
        if self._number == 1:
            raw = _without_mark(raw)
        if len(raw) > MAX_ROW:
            self._skip_rest(raw)
            return self._number, None
        return self._number, raw.decode("utf-8", "surrogateescape")

    def _skip_rest(self, raw: bytes) -> None:
        while raw and not raw.endswith(b"\n"):
            raw = self._stream.readline(MAX_ROW)


def _without_mark(raw: bytes) -> bytes:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise MalformedError("The file is UTF-16; save it as UTF-8.")
    return raw.removeprefix(codecs.BOM_UTF8)


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv_records(lines: _Lines, wanted: Sequence[str]) -> Iterator[Record | RefusedRow]:
    header, delimiter = _read_header(lines, wanted)
    _refuse_missing(wanted, header)
    places = {name: header.index(name) for name in wanted}
    for line, cells in _csv_rows(lines, delimiter):
        if isinstance(cells, RefusedRow):
            yield cells
        elif len(cells) != len(header):
            yield _refused(line, "ragged_row", f"The row has {len(cells)} cells, the header {len(header)}.")
        else:
            yield Record(line, {name: cells[place] for name, place in places.items()}, is_text=True)


def _read_header(lines: _Lines, wanted: Sequence[str]) -> tuple[list[str], str]:
    """The column names, and the delimiter under which most of the wanted columns, then most columns, are found."""
    headers = [(_header_with(lines, delimiter), delimiter) for delimiter in DELIMITERS]
    header, delimiter = max(headers, key=lambda each: (len(set(wanted) & set(each[0])), len(each[0])))
    if not header or CONTROL_CHARACTER.search(" ".join("".join(header).split())):  # labels may run over lines
        raise MalformedError("The first line is no header line of a UTF-8 CSV file.")
    for name in header:
        if name and header.count(name) > 1:
            raise InvalidError(f"The header has the column {name} twice.")
    next(_csv_rows(lines, delimiter))
    return header, delimiter


def _header_with(lines: _Lines, delimiter: str) -> list[str]:
    lines.begin()
    try:
        return [name.strip() for name in next(csv.reader(lines, delimiter=delimiter, strict=True))]
    except (csv.Error, _TooLongError):
        return []
    finally:
        lines.take_back(but_first=0)


def _csv_rows(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str] | RefusedRow]]:
    """Rows by the line they begin on; blank ones are passed over. After a faulty one reading goes on at the next line.

    So a quotation mark that is never closed costs its own row, not the rest of the file.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLongError) as error:
            lines.take_back(but_first=1)
            yield lines.line, _unreadable(lines.line, error)
            continue
        if any(cell.strip() for cell in cells):
            yield lines.line, _unstorable(lines.line, "".join(cells)) or cells


def _unreadable(line: int, error: Exception) -> RefusedRow:
    if isinstance(error, _TooLongError):
        message = f"The row is longer than {MAX_ROW // 1024} KiB; is a quotation mark left open?"
        return _refused(line, "too_long", message)
    return _refused(line, "not_csv", "The quotation marks or line ends of this row are not those of a CSV file.")


def _unstorable(line: int, text: str) -> RefusedRow | None:
    if _NOT_UTF8.search(text):
        return _refused(line, "not_utf8", "The row is not UTF-8.")
    if "\0" in text:
        return _refused(line, "unstorable_text", "The row holds a NUL character.")
    return None


# --- NDJSON -----------------------------------------------------------------------------------------------------------


def _json_records(lines: _Lines, wanted: Sequence[str]) -> Iterator[Record | RefusedRow]:
    """The first object that can be read has to have every wanted field: a wrong mapping is told once, not per row."""
    checked = False
    for line, value in _json_values(lines):
        if isinstance(value, RefusedRow):
            yield value
            continue
        if not checked:
            _refuse_missing(wanted, list(value))
            checked = True
        absent = [name for name in wanted if name not in value]
        if absent:
            message = "The field is absent; write null for a question that was not answered."
            yield RefusedRow(line, tuple(RowFault(line, name, "missing_field", message) for name in absent))
        else:
            yield Record(line, value, is_text=False)


def _json_values(lines: _Lines) -> Iterator[tuple[int, dict[str, Any] | RefusedRow]]:
    while True:
        lines.begin()
        try:
            text = next(lines)
        except StopIteration:
            return
        except _TooLongError:
            yield lines.line, _refused(lines.line, "too_long", f"The line is longer than {MAX_ROW // 1024} KiB.")
            continue
        if text.strip():
            yield lines.line, _json_object(lines.line, text)


def _json_object(line: int, text: str) -> dict[str, Any] | RefusedRow:
    try:
        value = strict_json.parse(text.encode("utf-8", "surrogateescape"))
    except MalformedError as error:
        fault = error.faults[0]
        return _refused(line, fault.code, fault.message.replace("body", "line"))
    return value if isinstance(value, dict) else _refused(line, "not_an_object", "The line is not a JSON object.")
