"""The three formats hold the same rows, and a spreadsheet computes nothing of them."""

import csv
import gc
import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from app.release_files import rows
from app.release_files.cells import FORMULA_STARTS
from app.release_files.model import Column, Format, ReleaseFileError, Row, TableShape
from app.release_files.rows import OfPerson
from app.release_files.writers import BATCH_ROWS, open_writer, write_table
from tests.release_files.madeup import EVERY_KIND, EVERY_ROW, PERSONS, SCORES, persons_rows, scores_rows

DATA = Path(__file__).parent / "data"
BEHIND = TableShape("behind", (Column("n", "integer", "a number"), Column("patient", "text", "who")), ("n",), "x")


def written(format_: Format, shape: TableShape, *batches: Sequence[Row]) -> bytes:
    file = io.BytesIO()
    write_table(format_, shape, batches, file)
    return file.getvalue()


# --- Known bytes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_text_files_are_known_byte_for_byte(format_: Format) -> None:
    """CRLF in CSV, one leading quote before what looks like a formula, nothing for null, 10 for 10.0."""
    assert written(format_, EVERY_KIND, EVERY_ROW) == (DATA / f"madeup_kinds.{format_}").read_bytes()


@pytest.mark.parametrize("format_", get_args(Format))
def test_a_file_depends_on_its_rows_alone(format_: Format) -> None:
    """Not on how many came at once, nor on the time; also over the borders of batches and row groups."""
    rows: list[Row] = [(f"{n:08x}", n % 50 - 2, "phq-9@1", n % 28, "valid") for n in range(70_001)]
    at_once = written(format_, SCORES, rows)
    in_parts = written(format_, SCORES, *(rows[start : start + 9_999] for start in range(0, len(rows), 9_999)))
    assert at_once == in_parts
    assert written(format_, SCORES, rows[:10]) != at_once


def test_parquet_is_in_groups_of_a_known_size_and_named_version() -> None:
    """So that a reader's memory is bounded, and a new default of the library changes nothing unseen."""
    rows: list[Row] = [(f"{n:08x}", 0, "phq-9@1", 1, "valid") for n in range(70_000)]
    metadata = parquet.ParquetFile(io.BytesIO(written("parquet", SCORES, rows))).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [65_536, 4_464]
    assert {metadata.row_group(0).column(n).compression for n in range(5)} == {"ZSTD"}
    assert metadata.format_version == "2.6"


@pytest.mark.parametrize("format_", get_args(Format))
def test_an_empty_table_is_a_table(format_: Format) -> None:
    """With its header or schema, and no row."""
    file = io.BytesIO()
    facts = write_table(format_, SCORES, [[]], file)
    assert (facts.rows, facts.bytes) == (0, len(file.getvalue()))
    assert facts.name == f"scores.{format_}"


# --- Round trips ------------------------------------------------------------------------------------------------------

CHARACTERS = st.characters(codec="utf-8")
TEXTS = st.text(CHARACTERS, min_size=1)
RISKY = st.builds(str.__add__, st.sampled_from(FORMULA_STARTS), st.text(CHARACTERS))


def from_csv(data: bytes) -> list[str | None]:
    lines = list(csv.reader(io.StringIO(data.decode(), newline="")))
    return [cell or None for _, cell, *_ in lines[1:]]


def from_ndjson(data: bytes) -> list[str | None]:
    return [json.loads(line)["words"] for line in data.decode().split("\n")[:-1]]


def from_parquet(data: bytes) -> list[str | None]:
    words: list[str | None] = parquet.read_table(io.BytesIO(data))["words"].to_pylist()
    return words


READERS: dict[Format, Callable[[bytes], list[str | None]]] = {
    "csv": from_csv,
    "ndjson": from_ndjson,
    "parquet": from_parquet,
}


@pytest.mark.parametrize("format_", get_args(Format))
@given(st.lists(st.none() | TEXTS | RISKY, max_size=5))
@settings(max_examples=150, deadline=None)
def test_texts_come_back(format_: Format, texts: list[str | None]) -> None:
    """From CSV by taking one leading quote away; from the others as they are."""
    rows: list[Row] = [("0a", text, None, None, None, None, None) for text in texts]
    told = READERS[format_](written(format_, EVERY_KIND, rows))
    if format_ == "csv":
        assert not any(cell.startswith(FORMULA_STARTS[:-1]) for cell in told if cell)
        told = [cell.removeprefix("'") if cell else cell for cell in told]
    assert told == texts


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.floats(allow_nan=False, allow_infinity=False)
        )
    )
)
@settings(max_examples=150, deadline=None)
def test_numbers_come_back_and_stay_numbers(numbers: list[tuple[int | None, float | None]]) -> None:
    """A minus is no formula: nothing is put before a number."""
    rows: list[Row] = [("0a", None, whole, real, None, None, None) for whole, real in numbers]
    cells = [line[2:4] for line in csv.reader(io.StringIO(written("csv", EVERY_KIND, rows).decode(), newline=""))][1:]
    assert [(int(a) if a else None, float(b) if b else None) for a, b in cells] == numbers
    objects = [json.loads(line) for line in written("ndjson", EVERY_KIND, rows).decode().splitlines()]
    assert [(each["whole"], each["real"]) for each in objects] == numbers
    table = parquet.read_table(io.BytesIO(written("parquet", EVERY_KIND, rows)))
    assert list(zip(table["whole"].to_pylist(), table["real"].to_pylist(), strict=True)) == numbers


def test_parquet_knows_kinds_and_what_columns_mean() -> None:
    """Categories with all their words, dates as dates, descriptions on the fields."""
    table = parquet.read_table(io.BytesIO(written("parquet", EVERY_KIND, EVERY_ROW)))
    kinds = [pa.string(), pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.date32()]
    assert table.schema.types == [*kinds, pa.dictionary(pa.int16(), pa.string())]
    assert not table.schema.field("patient").nullable
    assert table.schema.field("day").metadata == {b"description": b"any day"}
    assert [tuple(row.values()) for row in table.to_pylist()] == EVERY_ROW


# --- By person --------------------------------------------------------------------------------------------------------

CELLS = st.tuples(
    st.none() | TEXTS | RISKY, st.none() | st.integers(0, 3), st.none() | st.sampled_from([1.0, 2.5, 10]),
    st.none() | st.booleans(), st.none() | st.dates(), st.none() | st.sampled_from(["red", "=blue"]),
)  # fmt: skip
PEOPLE = st.lists(st.lists(st.lists(CELLS, max_size=4), max_size=4), max_size=4)  # in some calls


@pytest.mark.parametrize("format_", get_args(Format))
@given(PEOPLE, st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_by_person_or_by_row_is_the_same_file(format_: Format, calls: list[list[list[Row]]], known: int) -> None:
    """Whatever is remembered of the rows before, and however little of it."""
    numbers, file = count(), io.BytesIO()
    people = [[OfPerson(f"{next(numbers):04x}", rows) for rows in call] for call in calls]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "MOST_KNOWN", known)
        writer = open_writer(format_, EVERY_KIND, file)
        for some in people:
            writer.write_people(some)
        facts = writer.close()
    flat: list[Row] = [(one.name, *row) for some in people for one in some for row in one.rows]
    assert file.getvalue() == written(format_, EVERY_KIND, flat)
    assert facts.rows == len(flat)


def test_what_equals_a_known_row_is_told_like_it() -> None:
    """1.0 and True are equal to 1, which was found right: they are told as 1, and in no other type."""
    table = io.BytesIO()
    writer = open_writer("parquet", SCORES, table)
    writer.write_people(
        [OfPerson("0a", [(0, "phq-9@1", 1, "valid")]), OfPerson("0b", [(False, "phq-9@1", 1.0, "valid")])]
    )
    writer.close()
    assert [row["week"] for row in parquet.read_table(table).to_pylist()] == [0, 0]


REFUSED_PEOPLE: dict[str, tuple[TableShape, list[OfPerson]]] = {
    "people out of order": (SCORES, [OfPerson("0b", ()), OfPerson("0a", ())]),
    "a person twice": (SCORES, [OfPerson("0a", ())] * 2),
    "nobody": (SCORES, [OfPerson("", [(0, "phq-9@1", 1, "valid")])]),
    "an unknown word": (SCORES, [OfPerson("0a", [(0, "phq-9@1", 1, "splendid")])]),
    "a cell too many": (SCORES, [OfPerson("0a", [("0a", 0, "phq-9@1", 1, "valid")])]),
    "no number": (SCORES, [OfPerson("0a", [(0, "phq-9@1", float("nan"), "valid")])]),
    "somebody behind": (BEHIND, [OfPerson("0a", [(1,)])]),
}


@pytest.mark.parametrize("format_", get_args(Format))
@pytest.mark.parametrize("case", REFUSED_PEOPLE)
def test_bad_people_end_the_file(case: str, format_: Format) -> None:
    """As bad rows do."""
    shape, people = REFUSED_PEOPLE[case]
    writer = open_writer(format_, shape, io.BytesIO())
    with pytest.raises(ReleaseFileError, match=f"^{shape.name}, in the batch after row 0: "):
        writer.write_people(people)
    with pytest.raises(ReleaseFileError, match="broke off"):
        writer.close()


# --- Refusals ---------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[TableShape, list[Row]]] = {
    "people out of order": (SCORES, [("0b", 0, "phq-9@1", 1, "valid"), ("0a", 0, "phq-9@1", 1, "valid")]),
    "a person twice": (PERSONS, [persons_rows()[0]] * 2),
    "nobody": (SCORES, [(None, 0, "phq-9@1", 1, "valid")]),
    "an unknown word": (SCORES, [("0a", 0, "phq-9@1", 1, "splendid")]),
    "an empty text": (EVERY_KIND, [("0a", "", None, None, None, None, None)]),
    "a text for a number": (SCORES, [("0a", "0", "phq-9@1", 1, "valid")]),
    "true for a number": (SCORES, [("0a", True, "phq-9@1", 1, "valid")]),
    "a time for a day": (EVERY_KIND, [("0a", None, None, None, None, datetime(2026, 3, 2, 9), None)]),  # noqa: DTZ001
    "no number": (SCORES, [("0a", 0, "phq-9@1", float("nan"), "valid")]),
    "infinity": (SCORES, [("0a", 0, "phq-9@1", float("-inf"), "valid")]),
    "a cell too few": (SCORES, [("0a", 0, "phq-9@1", 1)]),
    "a cell too many": (SCORES, [("0a", 0, "phq-9@1", 1, "valid", 9)]),
    "unequal rows": (SCORES, [("0a", 0, "phq-9@1", 1, "valid"), ("0a",)]),
}


@pytest.mark.parametrize("format_", get_args(Format))
@pytest.mark.parametrize("case", REFUSED)
def test_bad_rows_end_the_file(case: str, format_: Format) -> None:
    """Loudly, without a value in the message, and there is no closing a file that broke off."""
    shape, rows = REFUSED[case]
    writer = open_writer(format_, shape, io.BytesIO())
    with pytest.raises(ReleaseFileError, match=f"^{shape.name}, in the batch after row 0: ") as refusal:
        writer.write(rows)
    assert not any(word in str(refusal.value) for word in ("splendid", "0b", "nan"))
    with pytest.raises(ReleaseFileError, match="broke off"):
        writer.close()


def test_order_is_held_over_batches() -> None:
    """The last of one batch against the first of the next."""
    writer = open_writer("csv", PERSONS, io.BytesIO())
    writer.write(persons_rows())
    with pytest.raises(ReleaseFileError, match="ordered by patient"):
        writer.write(persons_rows()[-1:])


@pytest.mark.parametrize("column", ["a b", "", "=x", "1a", "é"])
def test_names_are_plain(column: str) -> None:
    """They are headers, keys and variables."""
    with pytest.raises(ReleaseFileError):
        Column(column, "text", "x")


def test_shapes_that_contradict_themselves() -> None:
    """A category without words, a word for a number, a key that is not there, a name twice."""
    one = Column("patient", "text", "who")
    for kind, words in (("category", ()), ("integer", ("a",))):
        with pytest.raises(ReleaseFileError):
            Column("x", kind, "x", None, words)  # type: ignore[arg-type]  # mypy widens the pair
    for columns, key in (((one, one), ()), ((one,), ("week",)), ((), ())):
        with pytest.raises(ReleaseFileError):
            TableShape("x", columns, key, "x")


# --- Broken off -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_failure", [True, False])
def test_an_abandoned_parquet_file_gets_no_footer(after_failure: bool) -> None:
    """The library would write one when the garbage is collected, and half a table would look whole."""
    file = io.BytesIO()
    writer = open_writer("parquet", SCORES, file)
    writer.write([(f"{n:08x}", 0, "phq-9@1", 1, "valid") for n in range(70_000)])
    if after_failure:
        with pytest.raises(ReleaseFileError):
            writer.write([("0", 0, "phq-9@1", 1, "valid")])
    del writer
    gc.collect()
    assert len(file.getvalue()) > 1000
    with pytest.raises(pa.ArrowInvalid):
        parquet.ParquetFile(io.BytesIO(file.getvalue()))


def test_no_cut_parquet_file_can_be_read() -> None:
    """Wherever it is cut."""
    whole = written("parquet", SCORES, scores_rows())
    parquet.read_table(io.BytesIO(whole))
    for end in range(len(whole)):
        with pytest.raises((pa.ArrowInvalid, OSError)):
            parquet.read_table(io.BytesIO(whole[:end]))


def test_a_disk_that_takes_half_ends_the_file() -> None:
    """A raw file may take less than it is given and say so."""

    class Half(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[: len(data) // 2])

    with pytest.raises(ReleaseFileError, match="took less"):
        open_writer("csv", SCORES, Half())


# --- Memory and start -------------------------------------------------------------------------------------------------


class Nowhere(io.BytesIO):
    """Counts nothing and keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


def batches(rows: int) -> Iterator[list[Row]]:
    for start in range(0, rows, 5_000):
        yield [(f"{n // 10:032x}", n % 52, "phq-9@1", n % 28, "valid") for n in range(start, start + 5_000)]


@pytest.mark.parametrize("format_", get_args(Format))
def test_memory_does_not_grow_with_rows(format_: Format) -> None:
    """Python's and Arrow's, at their highest, for ten times as many rows."""

    def highest(rows: int) -> int:
        tracemalloc.start()
        pool = pa.proxy_memory_pool(pa.default_memory_pool())
        before = pa.default_memory_pool()
        pa.set_memory_pool(pool)
        try:
            write_table(format_, SCORES, batches(rows), Nowhere())
            return tracemalloc.get_traced_memory()[1] + (pool.max_memory() or 0)
        finally:
            pa.set_memory_pool(before)
            tracemalloc.stop()

    highest(5_000)  # imports and caches
    assert highest(200_000) - highest(70_000) < 4 * 2**20


def test_one_huge_batch_is_worked_off_in_parts() -> None:
    """What a caller gives at once costs no second copy."""
    rows = [row for batch in batches(BATCH_ROWS * 6) for row in batch]
    tracemalloc.start()
    write_table("csv", SCORES, [rows], Nowhere())
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < 12 * 2**20


def test_pyarrow_is_loaded_with_the_first_parquet_file() -> None:
    """Not with the package, and not for text."""
    program = (
        "import io, sys; from app.release_files import package, writers, dictionary, exchange, shapes, wide;"
        "from app.privacy.columns import Tier, columns_of;"
        "shape = shapes.persons(columns_of(Tier.SAFE_HARBOR)['persons']);"
        "writers.open_writer('csv', shape, io.BytesIO()).close(); assert 'pyarrow' not in sys.modules;"
        "writers.open_writer('parquet', shape, io.BytesIO()).close(); assert 'pyarrow' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
