"""A release that is whole says so, is read by others' programs, and is never taken for whole if it is cut."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import frictionless
import openpyxl
import pandas as pd
import pytest

from app.privacy.columns import Tier, columns_of
from app.release_files.cells import FORMULA_STARTS
from app.release_files.dictionary import (
    REDCAP,
    REDCAP_HEADS,
    dictionary_csv,
    dictionary_markdown,
    documents,
    instruments_json,
    redcap_dictionary_csv,
)
from app.release_files.model import FileFacts
from app.release_files.odds import odds
from app.release_files.package import MANIFEST, NOTICE, datapackage, document, manifest, release_faults
from app.release_files.shapes import scores
from app.release_files.wide import scores_wide
from app.release_files.writers import write_table
from app.scoring.registry import all_instruments
from tests.release_files.madeup import EVERY_KIND, EVERY_ROW, FULL, INSTRUMENTS, PERSONS, PHQ_9, PLAIN, RELEASE, SCORES

EVERY = all_instruments()
EVERY_KEY = [instrument.key for instrument in EVERY]
DESCRIPTIONS = {"datapackage.json", MANIFEST}  # of the release, not in it


def lines_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


# --- Others' programs -------------------------------------------------------------------------------------------------


def test_frictionless_finds_the_package_valid(release: Path) -> None:
    """Hashes, sizes, types, categories, keys and the link to persons."""
    report = frictionless.validate(str(release / "datapackage.json"))
    assert report.valid, report.flatten(["type", "note"])
    assert {task.name for task in report.tasks} == {path.name for path in release.iterdir()} - DESCRIPTIONS


@pytest.mark.parametrize(
    ("old", "new"), [("0b,0,", "zz,0,"), (",valid", ",fine"), (",19,", ",x,"), ("0a,-1,phq-9@1,19,valid\r\n", "")]
)
def test_frictionless_finds_what_is_changed(release: Path, old: str, new: str) -> None:
    """So its praise is worth something: a person that is not there, a new word, no number, a row less."""
    table = release / "scores.csv"
    table.write_bytes(table.read_bytes().replace(old.encode(), new.encode(), 1))
    assert not frictionless.validate(str(release / "datapackage.json")).valid


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson"])
def test_pandas_reads_the_right_types(release: Path, kind: str) -> None:
    """A total is a number with gaps, a week a whole number."""
    read: dict[str, Callable[[Path], pd.DataFrame]] = {
        "csv": lambda path: pd.read_csv(path, dtype={"patient": "string"}),
        "parquet": pd.read_parquet,
        "ndjson": lambda path: pd.read_json(path, lines=True, dtype={"patient": str}),
    }
    table = read[kind](release / f"scores.{kind}")
    assert list(table.columns) == list(SCORES.names)
    assert table["total"].dtype == "float64"
    assert table["total"].tolist()[:3] == [19, 41, 10.125]
    assert table["total"].isna().tolist() == [False, False, False, True, False]
    assert table["patient"].tolist() == ["0a", "0a", "0a", "0b", "f0"]
    if kind == "parquet":
        assert list(table["validity"].cat.categories) == ["valid", "prorated", "incomplete"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson"])
def test_duckdb_reads_the_right_types(release: Path, kind: str) -> None:
    """Without being told anything."""
    reader = {"csv": "read_csv", "parquet": "read_parquet", "ndjson": "read_json"}[kind]
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM {reader}(?)", [str(release / f"scores.{kind}")])
        types = {name: str(type_) for name, type_, *_ in found.description}
        rows = found.fetchall()
    assert types["total"] == "DOUBLE"
    assert types["week"] == ("HUGEINT" if kind == "ndjson" else "BIGINT"), "its reader of JSON is generous"
    assert rows[2] == ("0a", 4, "phq-9@1", 10.125, "prorated")
    assert rows[3][3] is None


def test_a_workbook_of_the_csv_holds_no_formula() -> None:
    """A cell that begins like one stays a text; a negative number stays a number."""
    file = io.BytesIO()
    write_table("csv", EVERY_KIND, [EVERY_ROW], file)
    sheet = openpyxl.Workbook().active
    assert sheet is not None
    for row in pd.read_csv(io.BytesIO(file.getvalue())).astype(object).itertuples(index=False):
        sheet.append([None if pd.isna(cell) else cell for cell in row])
    assert "f" not in {cell.data_type for line in sheet.iter_rows() for cell in line}
    assert (sheet["B2"].value, sheet["C2"].value, sheet["C2"].data_type) == ("'=1+1", -7, "n")
    sheet["A9"] = "=1+1"
    assert sheet["A9"].data_type == "f", "openpyxl would have told"


# --- The manifest -----------------------------------------------------------------------------------------------------


def test_the_manifest_vouches_for_every_file(release: Path) -> None:
    """Rows, bytes and hashes; the words about re-identification; the disclosure figures; complete at the very end."""
    text = (release / MANIFEST).read_text(encoding="utf-8")
    told = json.loads(text)
    assert {file["name"] for file in told["files"]} == {path.name for path in release.iterdir()} - {MANIFEST}
    assert {file["name"]: file["rows"] for file in told["files"]}["scores.parquet"] == 5
    assert told["notice"] == NOTICE
    assert RELEASE.items() <= told.items()
    assert text.endswith('"complete": true\n}\n')
    assert release_faults(release) == ()


def test_the_manifest_is_the_same_for_the_same_release() -> None:
    """In whatever order files were written."""
    files = [FileFacts("a.csv", 1, "00", 1), FileFacts("b.csv", 2, "01", 2)]
    assert document(manifest(RELEASE, files)) == document(manifest(RELEASE, files[::-1]))
    assert document(manifest(RELEASE | {"k": 4}, files)) != document(manifest(RELEASE, files))


@pytest.mark.parametrize("name", ["scores.csv", "scores.ndjson", "persons.parquet", "datapackage.json", MANIFEST])
def test_a_file_cut_anywhere_is_found(release: Path, name: str) -> None:
    """By hash, at line ends too; the manifest by its last word."""
    path, whole = release / name, (release / name).read_bytes()
    ends = range(len(whole) - (name == MANIFEST))  # its last newline says nothing
    for end in [*ends[:: max(1, len(whole) // 60)], *ends[-3:], whole.rfind(b"\n", 0, len(whole) - 1) + 1]:
        path.write_bytes(whole[:end])
        (fault,) = release_faults(release)
        assert name in fault
    path.write_bytes(whole)
    assert release_faults(release) == ()


def test_missing_changed_and_foreign_files_are_found(release: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """And a manifest leads nobody out of its directory."""
    copy = tmp_path_factory.mktemp("copy") / "release"
    shutil.copytree(release, copy)
    (copy / "scores.csv").unlink()
    (copy / "scores.ndjson").write_bytes((copy / "scores.ndjson").read_bytes().replace(b"19", b"18"))
    assert release_faults(copy) == ("scores.csv is missing", "scores.ndjson is cut off or changed")
    outside = manifest(RELEASE, [FileFacts("../outside.csv", 0, "00", 0)])
    (copy / MANIFEST).write_bytes(document(outside))
    assert release_faults(copy) == ("a file of the manifest lies outside of the release",)


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"complete": False, "files": [{"name": "a", "sha256": "0"}]}, "does not say that the release is complete"),
        ({}, "does not say that the release is complete"),
        ([], "does not say that the release is complete"),
        ({"complete": True}, "names no files"),
        ({"complete": True, "files": []}, "names no files"),
        ({"complete": True, "files": {"name": "a"}}, "names no files"),
        ({"complete": True, "files": [{"name": "a"}]}, "entry without"),
        ({"complete": True, "files": ["a"]}, "entry without"),
        ({"complete": True, "files": [{"name": 7, "sha256": "0"}]}, "entry without"),
        ({"complete": True, "files": [{"name": "a\0b", "sha256": "0"}]}, "is missing"),
    ],
)
def test_a_manifest_of_something_else_is_told_as_such(tmp_path: Path, told: object, fault: str) -> None:
    """In one sentence, whatever the file holds."""
    (tmp_path / MANIFEST).write_text(json.dumps(told))
    (found,) = release_faults(tmp_path)
    assert fault in found


def test_odds_are_told_in_sentences() -> None:
    """Of what is in the files, and of nothing else, by the time that they tell."""
    totals, weeks, bands = odds(RELEASE)
    assert "two totals of a person, those that tell most, each with its week" in totals
    assert totals.endswith("finds 66.7 % of the 3 people in here alone, and 100 % among fewer than 11.")
    assert weeks.endswith("no answer, finds 100 % alone, and 100 % among fewer than 11.")
    assert bands.endswith("each looks like 2 others or more: a guess is right once in 3 times at most.")
    columns = [{"table": "scores", "name": name} for name in ("patient", "total")]
    (timeless,) = odds(RELEASE | {"columns": columns})
    assert "those that tell most, finds 66.7 %" in timeless
    columns += [{"table": "scores", "name": name} for name in ("week", "taken_on", "responses", "mode")]
    columns += [{"table": "sessions", "name": "week"}]
    totals, days, sessions, more = odds(
        RELEASE | {"columns": columns, "unique_by_sessions": RELEASE["unique_by_weeks"]}
    )
    assert "each with its day" in totals
    assert days.startswith("Somebody who knows the day of every form")
    assert sessions.startswith("Somebody who knows the week of every session")
    assert "also tell answers to single items and who filled each form." in more
    columns += [{"table": "scores", "name": "since_dose"}]
    assert "each with its day and place among the doses" in odds(RELEASE | {"columns": columns[:-2] + columns[-1:]})[0]
    assert odds(RELEASE | {"columns": columns[:1]}) == []


def test_odds_beside_earlier_releases_are_told() -> None:
    """Also where this one tells little: the others may tell the rest."""
    found = {"releases": 2, "k": 1, "alone_rate": 1 / 3, "small_rate": 1.0, "others_k": None}
    (beside,) = odds(RELEASE | {"columns": [], "beside_earlier_releases": found})
    assert beside.startswith("Whoever also has the 2 earlier releases of people in here finds the same people in all")
    assert beside.endswith("finds 33.3 % alone, and 100 % among fewer than 11: some are alone.")
    found = {"releases": 1, "k": 12, "alone_rate": 0.0, "small_rate": 0.0, "others_k": 3}
    (beside,) = odds(RELEASE | {"columns": [], "beside_earlier_releases": found})
    assert "has the earlier release of people in here finds the same people in both" in beside
    assert "fewer than 11: at least 12 look alike. Of those" in beside
    assert beside.endswith("told there and are not in here, at least 3 look alike.")


# --- Dictionaries -----------------------------------------------------------------------------------------------------


def test_dictionaries_tell_every_column_once() -> None:
    """In both forms, with unit, words and source."""
    head, *rows = lines_of(dictionary_csv([PERSONS, SCORES]))
    assert head[:3] == ["table", "column", "kind"]
    assert [(row[0], row[1]) for row in rows] == [
        (shape.name, name) for shape in (PERSONS, SCORES) for name in shape.names
    ]
    total = next(row for row in rows if row[1] == "total")
    assert total == ["scores", "total", "number", "points", "", "points", "as scored; empty when there is none", ""]
    assert [row[1] for row in rows if row[-1]] == ["patient"]
    page = dictionary_markdown([PERSONS, SCORES])
    assert NOTICE in page
    assert page.count("\n| ") == len(rows) + 4
    assert "| validity | category |  | valid; prorated; incomplete | what the total is worth | as scored |\n" in page


def test_redcap_takes_the_wide_table() -> None:
    """A field for each of its columns, in their order; eighteen columns, names of 26 letters at most."""
    wide = scores_wide(
        scores(columns_of(Tier.EXPERT, [*PLAIN, "scores.day", "scores.responses"])["scores"], EVERY_KEY), EVERY
    )
    head, *fields = lines_of(redcap_dictionary_csv(wide, EVERY))
    assert (tuple(head), len(head)) == (REDCAP_HEADS, 18)
    assert tuple(field[0] for field in fields) == wide.names
    assert all(len(field) == 18 and len(field[0]) <= 26 and field[0].islower() for field in fields)
    assert {field[1] for field in fields} == {"check_in"}
    by_name = {field[0]: field for field in fields}
    assert by_name["patient"][3:8] == ["text", "as in persons", "", "", ""]
    assert (by_name["week"][3], by_name["week"][7]) == ("text", "integer")
    assert by_name["phq_9_v1_item_1"][2:8] == [
        PHQ_9.instruction,
        "radio",
        PHQ_9.items[0].text,
        "0, Not at all | 1, Several days | 2, More than half the days | 3, Nearly every day",
        "",
        "",
    ]
    assert by_name["phq_9_v1_total"][7:10] == ["number", "0", "27"]
    validity = by_name["phq_9_v1_validity"]
    assert (validity[3], validity[5]) == ("radio", "valid, valid | prorated, prorated | incomplete, incomplete")


def test_redcap_is_told_of_nothing_that_the_release_has_not() -> None:
    """No items where there are no answers; without a wide table no dictionary of it."""
    fields = lines_of(redcap_dictionary_csv(scores_wide(SCORES, INSTRUMENTS), INSTRUMENTS))[1:]
    assert [field[0] for field in fields if "item" in field[0]] == []
    assert REDCAP not in documents([PERSONS, SCORES], INSTRUMENTS)
    assert REDCAP in documents([scores_wide(SCORES, INSTRUMENTS)], INSTRUMENTS)


def test_no_wording_of_an_instrument_is_changed_by_the_rule_on_formulas() -> None:
    """Or REDCap would show a quote that is not on the form."""
    for instrument in all_instruments():
        for text in (instrument.instruction, *(item.text for item in instrument.items)):
            assert not text.startswith(FORMULA_STARTS)


def test_instruments_are_told_whole() -> None:
    """Wording, rules, thresholds with sources, licence; not our worked examples."""
    (told,) = json.loads(instruments_json([PHQ_9]))
    assert (told["key"], told["maximum"], told["licence"]) == ("phq-9@1", 27, PHQ_9.licence)
    assert [item["text"] for item in told["items"]] == [item.text for item in PHQ_9.items]
    assert {rule["code"] for rule in told["thresholds"]} == {rule.code for rule in PHQ_9.thresholds}
    assert all(rule["source"] for rule in told["thresholds"])
    assert "examples" not in told


def test_only_what_is_linked_is_declared_as_linked() -> None:
    """Without a table of persons in CSV there is nothing to point to."""
    files = [FileFacts("scores.csv", 1, "00", 1), FileFacts("codebook.md", 1, "00", None)]
    table, page = datapackage(RELEASE, files, [FULL])["resources"]
    assert "foreignKeys" not in table["schema"]
    assert {field["name"]: field["type"] for field in table["schema"]["fields"]}["taken_on"] == "date"
    assert "schema" not in page
