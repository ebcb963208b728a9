"""What a release's files are made of: columns, tables, and what is true of a file once it is written."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

Kind = Literal["text", "integer", "number", "boolean", "date", "category"]
Format = Literal["csv", "ndjson", "parquet"]
Value = str | int | float | bool | date | None
Row = tuple[Value, ...]

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # a name is a cell of a header, a key, a variable and a file's name


class ReleaseFileError(ValueError):
    """A file is not what it should be. It names table, column and row, and never a value: values are about people."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column as a researcher reads of it."""

    name: str
    kind: Kind
    description: str
    unit: str | None = None
    categories: tuple[str, ...] = ()  # every word a category may have
    source: str | None = None  # how it comes from the record

    def __post_init__(self) -> None:
        """A bad name or a category without words is a mistake of ours."""
        if not _NAME.fullmatch(self.name):
            raise ReleaseFileError("a column's name is letters, digits and underscores, a letter first")
        if (self.kind == "category") != bool(self.categories):
            raise ReleaseFileError(f"{self.name}: a category has words, and nothing else has")


@dataclass(frozen=True, slots=True)
class TableShape:
    """One table of a release. Its rows come ordered by the column that says whose they are."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    description: str
    person: str = "patient"

    def __post_init__(self) -> None:
        """Names are told once, and what is spoken of is there."""
        names = self.names
        if not _NAME.fullmatch(self.name) or len(set(names)) < len(names):
            raise ReleaseFileError("a table and each of its columns have a name of their own")
        if not {self.person, *self.primary_key} <= set(names):
            raise ReleaseFileError(f"{self.name} lacks a column of its own key")

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the file."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is true of one finished file."""

    name: str
    bytes: int
    sha256: str
    rows: int | None  # None: a document, not a table
    persons: int | None = None  # of whom there are rows
