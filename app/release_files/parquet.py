"""Parquet by pyarrow. Imported by the writer when the first such file is begun, and by nothing else."""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from app.release_files.model import Column, TableShape
from app.release_files.rows import Values
from app.release_files.sink import Sink

ROW_GROUP_ROWS: Final = 65_536  # rows; a group is in memory while it fills, and is the least a reader must load
_WRITTEN: Final[dict[str, Any]] = {  # named, so that a new default of pyarrow changes no file of ours
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": True,
    "write_statistics": True,
    "store_schema": True,
}
_TYPES: Final = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "category": pa.dictionary(pa.int16(), pa.string()),
}


class ParquetRows:
    """Rows wait as Arrow columns until a group is full, so a file depends on its rows and not on how they came."""

    def __init__(self, shape: TableShape, sink: Sink) -> None:
        self._columns = shape.columns
        self._schema = pa.schema([_field(column, column.name == shape.person) for column in shape.columns])
        self._waiting: list[pa.RecordBatch] = []
        self._file = parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), self._schema, **_WRITTEN)

    def put(self, columns: Sequence[Values]) -> None:
        """Columns of equal length."""
        arrays = [_array(column, values) for column, values in zip(self._columns, columns, strict=True)]
        self._waiting.append(pa.record_batch(arrays, schema=self._schema))
        while sum(batch.num_rows for batch in self._waiting) >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._write_group(table.slice(0, ROW_GROUP_ROWS))
            self._waiting = table.slice(ROW_GROUP_ROWS).combine_chunks().to_batches()

    def close(self) -> None:
        """The rest of the rows, and the footer without which there is no file."""
        if self._waiting:
            self._write_group(pa.Table.from_batches(self._waiting, self._schema))
        self._file.close()

    def _write_group(self, table: pa.Table) -> None:
        self._file.write_table(table.combine_chunks(), row_group_size=ROW_GROUP_ROWS)


def _field(column: Column, is_person: bool) -> pa.Field:
    return pa.field(column.name, _TYPES[column.kind], not is_person, {"description": column.description})


def _array(column: Column, values: Values) -> pa.Array:
    if column.kind != "category":
        return pa.array(values, _TYPES[column.kind])
    place: dict[Any, int | None] = {word: number for number, word in enumerate(column.categories)} | {None: None}
    return pa.DictionaryArray.from_arrays(
        pa.array([place[value] for value in values], pa.int16()), pa.array(column.categories, pa.string())
    )
