"""Others' programs open a downloaded release with the right types, and count in it what SQL counts in the database."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import frictionless
import openpyxl
import pandas as pd
import pytest

from app.release_files.package import release_faults
from tests.research.conftest import INSTRUMENTS, Downloaded, Study

pytestmark = pytest.mark.anyio

BY_INSTRUMENT = """
SELECT instrument || '@' || instrument_version AS key, count(*) AS forms, count(total) AS scored, avg(total) AS mean
FROM (
  SELECT DISTINCT ON (id) * FROM assessment
  WHERE clinic_id = $1 AND patient_id = ANY($2::uuid[]) AND instrument = ANY($3::text[])
  ORDER BY id, version DESC
) newest
WHERE status <> 'entered_in_error'
GROUP BY 1 ORDER BY 1
"""
BY_WEEK = """
WITH first AS (
  SELECT patient_id, min(started_at) AS at FROM treatment_session
  WHERE clinic_id = $1 AND patient_id = ANY($2::uuid[]) AND kind = 'dosing' GROUP BY patient_id)
SELECT floor(extract(epoch FROM taken_at - first.at) / 604800)::int AS week, count(*) AS forms, avg(total) AS mean
FROM (
  SELECT DISTINCT ON (id) * FROM assessment WHERE clinic_id = $1 AND instrument = 'phq-9' ORDER BY id, version DESC
) newest JOIN first USING (patient_id)
WHERE status <> 'entered_in_error'
GROUP BY 1 ORDER BY 1
"""
SESSIONS = """
SELECT kind, count(*) AS held FROM treatment_session
WHERE clinic_id = $1 AND patient_id = ANY($2::uuid[]) AND status = 'done' GROUP BY 1 ORDER BY 1
"""


async def counted(study: Study, release: Downloaded, query: str, *more: Any) -> list[tuple[Any, ...]]:
    """By SQL in the database, of those who are in the release."""
    async with study.database.snapshot(study.clinic_id, 60) as connection:
        rows = await connection.fetch(query, study.clinic_id, list(release.names.values()), *more)
    return [tuple(row) for row in rows]


def alike(found: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> bool:
    return len(found) == len(wanted) and all(
        one == pytest.approx(other) for row, true in zip(found, wanted, strict=True)
        for one, other in zip(row, true, strict=True)
    )  # fmt: skip


# --- Whole ------------------------------------------------------------------------------------------------------------


async def test_a_downloaded_release_is_whole_and_frictionless_finds_it_valid(downloaded: Downloaded) -> None:
    """Hashes, types, words, keys, and that each row is of somebody in persons."""
    assert release_faults(downloaded.directory) == ()
    report = frictionless.validate(str(downloaded.directory / "datapackage.json"))
    assert report.valid, report.flatten(["name", "type", "note"])


# --- pandas -----------------------------------------------------------------------------------------------------------

PANDAS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "csv": lambda path: pd.read_csv(path, dtype={"patient": "string"}),
    "parquet": pd.read_parquet,
    "ndjson": lambda path: pd.read_json(path, lines=True, dtype={"patient": str}),
}


@pytest.mark.parametrize("kind", PANDAS)
async def test_pandas_counts_what_sql_counts(study: Study, downloaded: Downloaded, kind: str) -> None:
    """Forms, totals and their mean by instrument and by week; sessions by kind."""
    scores = PANDAS[kind](downloaded.directory / f"scores.{kind}")
    assert (str(scores["week"].dtype), str(scores["total"].dtype)) == ("int64", "float64")
    by_key = scores.groupby("instrument", observed=True)["total"].agg(["size", "count", "mean"])
    found = [(key, *row) for key, row in zip(by_key.index, by_key.itertuples(index=False), strict=True)]
    assert alike(found, await counted(study, downloaded, BY_INSTRUMENT, INSTRUMENTS))
    weekly = scores[scores["instrument"] == "phq-9@1"].groupby("week")["total"].agg(["size", "mean"])
    by_week = [(week, *row) for week, row in zip(weekly.index, weekly.itertuples(index=False), strict=True)]
    assert alike([one for one in by_week if one[2] == one[2]], [
        one for one in await counted(study, downloaded, BY_WEEK) if one[2] is not None
    ])  # fmt: skip
    sessions = PANDAS[kind](downloaded.directory / f"sessions.{kind}")
    held = sorted(sessions["kind"].astype(str).value_counts().items())
    assert held == await counted(study, downloaded, SESSIONS)


# --- DuckDB -----------------------------------------------------------------------------------------------------------

DUCKDB = {"csv": "read_csv_auto", "parquet": "read_parquet", "ndjson": "read_json_auto"}


@pytest.mark.parametrize("kind", DUCKDB)
async def test_duckdb_counts_what_sql_counts(study: Study, downloaded: Downloaded, kind: str) -> None:
    """Told nothing of types."""
    table = f"{DUCKDB[kind]}('{downloaded.directory / f'scores.{kind}'}')"
    with duckdb.connect() as connection:
        types = {name: str(type_) for name, type_, *_ in connection.execute(f"SELECT * FROM {table}").description}
        query = f"SELECT instrument::text AS key, count(*), count(total), avg(total) FROM {table} GROUP BY 1 ORDER BY 1"
        found = connection.execute(query).fetchall()
    assert (types["week"], types["total"]) == ("HUGEINT" if kind == "ndjson" else "BIGINT", "DOUBLE")
    assert types["patient"] == "VARCHAR"
    if downloaded.told["request"]["tier"] == "limited_data_set":
        assert types["taken_on"] == "DATE"
    assert alike(found, await counted(study, downloaded, BY_INSTRUMENT, INSTRUMENTS))


# --- A spreadsheet ----------------------------------------------------------------------------------------------------


async def test_a_workbook_counts_what_sql_counts(study: Study, safe_harbor: Downloaded) -> None:
    """The CSV as a spreadsheet takes it in, stored and opened again: numbers are numbers, and nothing is a formula."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    table = pd.read_csv(safe_harbor.directory / "scores.csv", dtype={"patient": "string"}).astype(object)
    sheet.append(list(table.columns))
    for row in table.itertuples(index=False):
        sheet.append([None if pd.isna(cell) else cell for cell in row])
    file = io.BytesIO()
    book.save(file)
    read = openpyxl.load_workbook(file, read_only=True).active
    assert read is not None
    head, *rows = read.iter_rows()
    columns = {cell.value: place for place, cell in enumerate(head)}
    assert "f" not in {cell.data_type for row in rows for cell in row}
    assert {row[columns["week"]].data_type for row in rows} == {"n"}
    totals = [row[columns["total"]].value for row in rows if row[columns["instrument"]].value == "phq-9@1"]
    known = [total for total in totals if total is not None]
    (_, (_, *wanted)) = await counted(study, safe_harbor, BY_INSTRUMENT, INSTRUMENTS)
    assert [len(totals), len(known), sum(known) / len(known)] == pytest.approx(wanted)
