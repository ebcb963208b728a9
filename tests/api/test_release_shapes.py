"""Every shape of file of a release: whole, equal to each other, and with nothing in them but what is allow-listed."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import duckdb
import frictionless
import openpyxl
import pandas as pd
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.privacy.columns import COLUMNS
from app.release_files.dictionary import instruments_json
from app.release_files.package import release_faults
from app.scoring.registry import all_instruments
from app.services import clinics
from tests.api.test_releases import built, download, send
from tests.conftest import Api, client

pytestmark = pytest.mark.anyio

PEOPLE = 36
FIRST_DOSE = datetime(2025, 3, 3, 9, tzinfo=UTC)
ASKED: dict[str, Any] = {
    "instruments": ["phq-9", "pcl-5-week"],
    "formats": ["csv", "ndjson", "parquet"],
    "shapes": ["long", "wide", "omop", "cdisc"],
}
GROUNDS: dict[str, dict[str, Any]] = {
    "safe_harbor": {},
    "limited_data_set": {"agreement": "DUA 7"},
    "expert": {"determination": "Opinion 3"},
}
TIERS = {  # each with every column it has, asked or not
    tier: ground | {"tier": tier, "columns": [f"{one.table}.{one.name}" for one in COLUMNS if tier in one.tiers]}
    for tier, ground in GROUNDS.items()
}
DOCUMENTS = {
    *("manifest.json", "datapackage.json", "instruments.json"),
    *("dictionary.csv", "dictionary.md", "redcap_data_dictionary.csv"),
}
TABLES = ("persons", "sessions", "scores", "scores_wide", "omop_observation", "cdisc_qs")


async def treat(admin: Api, number: int) -> str:
    """Somebody with a name, a dose and twelve forms: two in one week, one cut short, one corrected, one voided."""
    known = {
        "external_ref": f"chart-{number:05}",
        "name": f"Wilhelmina Testperson-{number}",
        "contact": f"person{number}@example.org",
        "date_of_birth": f"{1960 + number % 2}-05-{number % 28 + 1:02}",
    }
    patient = str((await send(admin, "POST", "/v1/patients", known))["id"])
    start = FIRST_DOSE + timedelta(days=number, minutes=number)
    opened = {"modality": "ketamine_assisted_psychotherapy", "opened_at": (start - timedelta(days=10)).isoformat()}
    episode = (await send(admin, "POST", f"/v1/patients/{patient}/episodes", opened))["id"]
    dose = {
        "kind": "dosing", "status": "done", "scheduled_at": start.isoformat(), "started_at": start.isoformat(),
        "medicine": "ketamine_racemic", "route": "intravenous", "dose_mg": 35,
    }  # fmt: skip
    await send(admin, "POST", f"/v1/episodes/{episode}/treatment-sessions", dose)
    forms = [form | {"patient_id": patient} for form in forms_of(number, start)]
    stored = (await send(admin, "POST", "/v1/assessments/batch", {"assessments": forms}))["outcomes"]
    amended, voided = (stored[place]["assessment"]["id"] for place in (2, 4))
    change = {"reason": f"slip of the pen {number}", "responses": [2, 2, 2, 1, 1, 1, 1, 1, number % 2]}
    await send(admin, "POST", f"/v1/assessments/{amended}/amendments", change, **{"If-Match": '"1"'})
    mistake = {"reason": f"of somebody else {number}"}
    await send(admin, "POST", f"/v1/assessments/{voided}/void", mistake, **{"If-Match": '"1"'})
    given = {"purpose": "research", "how": "signed", "given_at": "2025-01-05T10:00:00Z"}
    await send(admin, "PUT", f"/v1/patients/{patient}/consents", given)
    return patient


def forms_of(number: int, start: datetime) -> Iterator[dict[str, Any]]:
    for place, day in enumerate((-3, 8, 9, 10, 20, 34)):
        at = (start + timedelta(days=day, hours=place)).isoformat()
        answers: list[int | None] = [(number + place + item) % 4 if place < 4 else number % 2 for item in range(9)]
        yield {"instrument": "phq-9", "responses": answers, "taken_at": at}
        cut = [None] * 6 if place == 3 else [place % 5] * 6
        yield {"instrument": "pcl-5-week", "responses": [number % 5] * 14 + cut, "taken_at": at}


Released = dict[str, tuple[dict[str, Any], Path]]


@dataclass
class Cohort:
    """A clinic whose people are in every release of this file; nothing about them changes meanwhile."""

    admin: Api
    researcher: Api
    patients: list[str]
    database: Database
    directory: Path

    async def release(self, name: str, **asked: Any) -> tuple[dict[str, Any], Path]:
        """The manifest as the API tells it, and a directory with all files."""
        release = await built(self.researcher, self.admin, self.database, **(ASKED | asked))
        assert release["status"] == "ready", release
        directory = self.directory / name
        directory.mkdir()  # nothing else runs meanwhile
        for file in release["manifest"]["files"]:
            (directory / file["name"]).write_bytes((await download(self.researcher, release, file["name"])).content)
        return release["manifest"], directory


@pytest.fixture(scope="module")
async def cohort(app: FastAPI, database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cohort]:
    clinic = await clinics.record_clinic(database, "Clinic of all shapes", "Europe/Berlin")
    admin, researcher = [await client(app, database, clinic, role) for role in (Role.ADMIN, Role.RESEARCHER)]
    async with admin.http, researcher.http:
        patients = [await treat(admin, number) for number in range(PEOPLE)]
        yield Cohort(admin, researcher, patients, database, tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
async def released(cohort: Cohort) -> Released:
    """One release of each tier with all that it has."""
    return {tier: await cohort.release(tier, **asked) for tier, asked in TIERS.items()}


def rows_of(directory: Path, table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((directory / f"{table}.csv").read_text(encoding="utf-8"), newline="")))


# --- What can be asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"shapes": ["wide", "wide"]}, "/shapes", "once"),
        ({"shapes": ["broad"]}, "/shapes/0", ""),
        ({"shapes": []}, "/shapes", ""),
        ({"shapes": ["long", "wide"], "columns": ["scores.total", "scores.instrument"]}, "/shapes/1", "week"),
        ({"shapes": ["wide"], "columns": ["scores.total", "scores.week"]}, "/shapes/0", "instrument"),
        ({"shapes": ["omop"], "columns": ["scores.week", "scores.instrument"]}, "/shapes/0", "total"),
        ({"shapes": ["cdisc"], "columns": ["scores.week", "scores.total"]}, "/shapes/0", "instrument"),
    ],
)
async def test_a_shape_that_cannot_be_made_is_refused(
    researcher: Api, change: dict[str, Any], pointer: str, words: str
) -> None:
    """When it is asked for, with the column that it takes; not after the approval."""
    asked = {"purpose": "does it last, and how", "recipient": "X", "tier": "safe_harbor", "instruments": ["phq-9"]}
    answer = await researcher.http.post("/v1/releases", json=asked | change)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], words in fault["message"]) == (pointer, True)


async def test_without_a_word_forms_are_told_one_by_one(researcher: Api) -> None:
    asked = {"purpose": "does it last, and how", "recipient": "X", "tier": "safe_harbor", "instruments": ["phq-9"]}
    assert (await send(researcher, "POST", "/v1/releases", asked))["request"]["shapes"] == ["long"]


# --- What is made -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
async def test_every_shape_in_every_format_is_whole_and_valid(released: Released, tier: str) -> None:
    """Others' program validates the package, and finds each table described; the manifest vouches for every file."""
    manifest, directory = released[tier]
    files = {f"{table}.{kind}" for table in TABLES for kind in ASKED["formats"]} | DOCUMENTS
    assert {path.name for path in directory.iterdir()} == {file["name"] for file in manifest["files"]} == files
    assert release_faults(directory) == ()
    report = frictionless.validate(str(directory / "datapackage.json"))
    assert report.valid, report.flatten(["type", "note"])
    package = json.loads((directory / "datapackage.json").read_text())
    described = {one["path"]: one["schema"] for one in package["resources"] if "schema" in one}
    assert described.keys() == files - DOCUMENTS
    for table in TABLES:
        assert described[f"{table}.csv"] == described[f"{table}.ndjson"] == described[f"{table}.parquet"]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("tier", TIERS)
async def test_every_format_of_a_table_holds_the_same_rows(released: Released, tier: str, table: str) -> None:
    """As many as the manifest says, of as many people."""
    manifest, directory = released[tier]
    first, *others = [read_back(directory / f"{table}.{kind}") for kind in ASKED["formats"]]
    assert all(first == other for other in others)
    told = [file for file in manifest["files"] if file["name"].startswith(f"{table}.")]
    assert [(file["rows"], file["persons"]) for file in told] == [(len(first) - 1, PEOPLE)] * 3
    package = json.loads((directory / "datapackage.json").read_text())
    (schema,) = [one["schema"] for one in package["resources"] if one["path"] == f"{table}.csv"]
    assert tuple(field["name"] for field in schema["fields"]) == first[0]


def read_back(path: Path) -> list[tuple[Any, ...]]:
    """Header and rows by DuckDB, the types of the Parquet file laid on those of the others."""
    reader = {".csv": "read_csv(?, all_varchar=true)", ".ndjson": "read_json(?)", ".parquet": "read_parquet(?)"}
    cell = "regexp_replace(\"{}\", '^\\x27', '')" if path.suffix == ".csv" else '"{}"'  # takes the quote of a text away
    with duckdb.connect() as connection:
        types = connection.execute("SELECT * FROM read_parquet(?) LIMIT 0", [str(path.with_suffix(".parquet"))])
        casts = (f'CAST({cell.format(name)} AS {type_}) AS "{name}"' for name, type_, *_ in types.description)
        found = connection.execute(f"SELECT {', '.join(casts)} FROM {reader[path.suffix]}", [str(path)])
        return [tuple(name for name, *_ in found.description), *found.fetchall()]


async def test_all_shapes_tell_the_same_forms(released: Released) -> None:
    """Each form once, but in the wide table, which says how many it stands for."""
    manifest, directory = released["limited_data_set"]
    forms = rows_of(directory, "scores")
    assert len(forms) == PEOPLE * 11, "twelve, without the one that was voided"
    told = Counter((form["patient"], form["taken_on"], form["total"]) for form in forms)
    omop = [row for row in rows_of(directory, "omop_observation") if row["qualifier_source_value"]]
    assert Counter((row["patient"], row["observation_date"], row["value_as_number"]) for row in omop) == told
    cdisc = [row for row in rows_of(directory, "cdisc_qs") if row["QSDRVFL"] == "Y"]
    assert Counter((row["USUBJID"], row["QSDTC"], row["QSORRES"]) for row in cdisc) == told
    wide = rows_of(directory, "scores_wide")
    assert sum(int(row[f"{name}_forms"]) for row in wide for name in ("phq_9_v1", "pcl_5_week_v1")) == len(forms)
    answers = Counter(form["instrument"] for form in forms)
    items = Counter(row["QSCAT"] for row in rows_of(directory, "cdisc_qs") if not row["QSDRVFL"])
    assert items == {"PHQ-9": answers["phq-9@1"] * 10, "PCL-5-WEEK": answers["pcl-5-week@1"] * 20}
    assert {row["STUDYID"] for row in cdisc} == {manifest_of(directory)["id"]}
    assert manifest["rows_out"] == PEOPLE * (1 + 11 + 1)


def manifest_of(directory: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((directory / "manifest.json").read_text())
    return told


async def test_wide_has_one_row_for_a_person_and_a_week(released: Released) -> None:
    """Forms of three days fall into one week; REDCap's dictionary has the same columns."""
    _, directory = released["safe_harbor"]
    wide = pd.read_csv(directory / "scores_wide.csv")
    assert not wide.duplicated(["patient", "week"]).any()
    assert sorted(wide["phq_9_v1_forms"].unique()) == [1, 2]
    fields = pd.read_csv(directory / "redcap_data_dictionary.csv")["Variable / Field Name"]
    assert fields.tolist() == wide.columns.tolist()


async def test_the_manifest_tells_what_the_files_are_and_what_an_attacker_finds(released: Released) -> None:
    """As a file and over the API in the same words; the file knows all but itself."""
    api, directory = released["expert"]
    told = manifest_of(directory)
    other = {"files", "known_at"}
    assert {name: told[name] for name in api.keys() - other} == {name: api[name] for name in api.keys() - other}
    assert [file for file in api["files"] if file not in told["files"]] == [api["files"][-1]]
    assert (api["files"][-1]["name"], told["complete"]) == ("manifest.json", True)
    assert (told["request"]["determination"], told["request"]["tier"]) == ("Opinion 3", "expert")
    assert (told["request"]["disclosure"]["k"], told["instruments"]) == (11, ["pcl-5-week@1", "phq-9@1"])
    wanted = {"k", "l", "t", "persons_left_out", "rows_left_out", "rungs", "versions", "words", "notice", "known_at"}
    assert wanted <= told.keys()
    alone = 100 * told["unique_by_two_totals"]["alone_rate"]
    assert f"finds {alone:.3g} % of the {PEOPLE} people in here alone" in told["odds"][0]
    assert "also tell answers to single items" in told["odds"][-1]


async def test_every_table_is_explained(released: Released) -> None:
    """To people, with what a standard wants and the tier does not give; the questionnaires with wording and rules."""
    _, directory = released["expert"]
    assert {row["table"] for row in rows_of(directory, "dictionary")} == set(TABLES)
    assert "Not in this release: observation_date." in (directory / "dictionary.md").read_text()
    instruments = json.loads((directory / "instruments.json").read_text())
    assert [one["key"] for one in instruments] == ["pcl-5-week@1", "phq-9@1"]


# A spreadsheet takes these texts for the numbers that they are.
NUMBERS_AS_TEXT = {"index_year", "QSORRES", "QSSTRESC"}


@pytest.mark.parametrize("table", TABLES)
async def test_a_spreadsheet_takes_every_cell_for_what_it_is(released: Released, table: str) -> None:
    """Entered as a spreadsheet enters a CSV, saved and read again: numbers, days and texts, and no formula."""
    _, directory = released["limited_data_set"]
    kinds = {row["column"]: row["kind"] for row in rows_of(directory, "dictionary") if row["table"] == table}
    for name, types in opened_by_a_spreadsheet(directory / f"{table}.csv").items():
        wanted = {"integer": "n", "number": "n", "date": "d"}.get(kinds[name], "s")
        assert types <= {wanted, "n" if name in NUMBERS_AS_TEXT else wanted}, name


def opened_by_a_spreadsheet(path: Path) -> dict[str, set[str]]:
    """The types of the cells of each column, in openpyxl's letters; empty cells have none."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    sheet = book.create_sheet("csv")
    head, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
    for row in rows:
        sheet.append([entered(text) for text in row])
    book.save(file)
    columns = openpyxl.load_workbook(file)["csv"].iter_cols(max_col=len(head))
    return {
        name: {cell.data_type for cell in column if cell.value is not None}
        for name, column in zip(head, columns, strict=True)
    }


def entered(text: str) -> Any:
    """What a spreadsheet makes of what is typed into a cell, or stands between two commas."""
    if re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", text):
        return float(text)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return date.fromisoformat(text)
    if text.startswith(("=", "+", "-", "@")):
        return f"={text.lstrip('=')}"  # openpyxl's way to say: a formula
    return text or None


async def test_what_looks_like_a_formula_would_be_found() -> None:
    assert [entered(text) for text in ("=1", "-1+2", "@A1", "-1", "'=1", "")] == [
        "=1",
        "=-1+2",
        "=@A1",
        -1,
        "'=1",
        None,
    ]


async def test_only_what_is_asked_for_is_made(cohort: Cohort) -> None:
    """Persons and sessions go with every shape."""
    _, directory = await cohort.release("omop", shapes=["omop"], formats=["ndjson"])
    tables = {path.name for path in directory.iterdir()} - DOCUMENTS
    assert tables == {"persons.ndjson", "sessions.ndjson", "omop_observation.ndjson"}
    assert not (directory / "redcap_data_dictionary.csv").exists()  # nothing else runs meanwhile


# --- What is not in it ------------------------------------------------------------------------------------------------

UNASKED: dict[str, str] = {  # of safe_harbor, unasked; a column more is a decision, and is written here
    "persons": "patient age index_year modality medicine route dose_mg category",
    "scores": "patient week instrument total validity",
    "sessions": "patient week kind",
    "scores_wide": "patient week "
    "pcl_5_week_v1_forms pcl_5_week_v1_total pcl_5_week_v1_validity phq_9_v1_forms phq_9_v1_total phq_9_v1_validity",
    "omop_observation": "observation_id patient observation_concept_id week observation_type_concept_id "
    "value_as_number "
    "value_as_concept_id qualifier_source_value observation_source_value value_source_value observation_event_id "
    "source_vocabulary",
    "cdisc_qs": "STUDYID DOMAIN USUBJID QSSEQ QSTESTCD QSTEST QSCAT QSORRES QSSTRESC QSSTRESN QSSTAT QSDRVFL QSEVLINT "
    "VISITNUM TMVALID TMCODES",
}


@pytest.fixture
async def a_new_column(cohort: Cohort, address: PostgresAddress) -> AsyncIterator[str]:
    """What somebody adds to every table that a release reads of; each row has it."""
    assert cohort.patients
    tables = ("patient", "episode", "treatment_session", "assessment", "consent")
    connection = await asyncpg.connect(address.owner_url)
    try:
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} ADD COLUMN brandnew text NOT NULL DEFAULT 'leakedwords'")
        yield "brandnew"
    finally:
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} DROP COLUMN IF EXISTS brandnew")
        await connection.close()


async def test_a_new_column_is_in_no_file_until_it_is_allowed(cohort: Cohort, a_new_column: str) -> None:
    """In no tier, shape or format, whatever is asked for."""
    for tier, asked in TIERS.items():
        _, directory = await cohort.release(f"new column, {tier}", **asked)
        found = [name for name, text in texts_of(directory).items() if a_new_column in text or "leakedwords" in text]
        assert found == []


async def test_unasked_there_are_these_columns_and_no_other(cohort: Cohort) -> None:
    _, directory = await cohort.release("unasked")
    for table, columns in UNASKED.items():
        assert {read_back(directory / f"{table}.{kind}")[0] for kind in ASKED["formats"]} == {tuple(columns.split())}


def texts_of(directory: Path) -> dict[str, str]:
    """Every file as text: of Parquet the rows, and what stands around them."""
    return {path.name: path.read_bytes().decode("latin-1") + _rows(path) for path in directory.iterdir()}


def _rows(path: Path) -> str:
    return str(pd.read_parquet(path).to_csv()) if path.suffix == ".parquet" else ""


# Of the words that stand in the record, these are what a release is there to tell.
TOLD = {
    *("phq-9", "pcl-5-week", "valid", "incomplete", "dosing", "intravenous", "research"),
    *("ketamine_racemic", "ketamine_assisted_psychotherapy", "recovered", "unchanged"),
}
DAY = re.compile(r"\b\d{4}-\d\d-\d\d")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
async def kept(cohort: Cohort) -> set[str]:
    """Every text that is kept of anybody: words, ids, references, names, times."""
    everything = [await send(cohort.admin, "GET", f"/v1/patients/{one}/everything") for one in cohort.patients]
    for one in everything:
        del one["parts"]["release_person"]  # what a release says of itself
    found = {word for one in everything for word in leaves(one["parts"])}
    assert {cohort.patients[0], "chart-00007", "Wilhelmina Testperson-7", "person7@example.org"} <= found
    return found


@pytest.mark.parametrize("tier", TIERS)
async def test_no_file_has_more_of_the_record_than_its_tier(kept: set[str], released: Released, tier: str) -> None:
    """All that is kept of anybody is looked for in every file."""
    _, directory = released[tier]
    text = "\n".join(texts_of(directory).values())
    assert set(ID.findall(text)) == {manifest_of(directory)["id"]}
    general = instruments_json(all_instruments())
    words = {word for word in kept if len(word) > 3 and not (word in general or DAY.match(word) or ID.search(word))}
    assert {word for word in words if word in text} <= TOLD
    days = {word[:10] for word in kept if DAY.match(word)} - {datetime.now(UTC).date().isoformat()}
    found = days & set(DAY.findall(text))
    assert {"2025-01-05", "1960-05-01", "2025-03-03"} <= days, "consent, birth and the first dose are looked for"
    assert found.isdisjoint({"2025-01-05", "1960-05-01"})
    assert ("2025-03-03" in found) == (tier == "limited_data_set"), "where it is, it is found"
    assert found == set() or tier == "limited_data_set"


@pytest.mark.parametrize("tier", ["safe_harbor", "expert"])
async def test_no_table_without_an_agreement_has_any_date(released: Released, tier: str) -> None:
    """Whosever it may be: no day, no month, no time."""
    texts = texts_of(released[tier][1])
    dated = {name for name, text in texts.items() if re.search(r"\b\d{4}-\d\d\b|\bT?\d\d:\d\d", text)}
    assert dated <= DOCUMENTS, "the manifest tells when it was made"


def leaves(value: Any) -> Iterator[str]:
    """Every text in a document."""
    match value:
        case dict():
            for one in value.values():
                yield from leaves(one)
        case list():
            for one in value:
                yield from leaves(one)
        case str():
            yield value
