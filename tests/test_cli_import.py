"""`tidemark import` at its edge: options, report, exit codes. What is stored is the business of the service's tests."""

import asyncio
import csv
import json
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner, Result

from app import cli as command_line
from app import cli_import
from app.errors import InvalidError
from app.form_file import FormRow
from app.form_records import RefusedRow
from app.services.imports import FormImport, ImportReport, ImportSummary

DATA = Path(__file__).parent / "data"
FAULTY = str(DATA / "madeup_faulty_phq9.csv")
MAPPED = ("--map", "patient=person", "--map", "responses=phq1..phq9", "--map", "taken_at=filled_in")

app = typer.Typer()
app.command()(cli_import.import_forms)


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[FormImport]:
    """What the command asks of the service, which here reads the rows and stores nothing."""
    asked: list[FormImport] = []

    async def read_only(
        _: object, order: FormImport, rows: Iterable[FormRow | RefusedRow], report: ImportReport
    ) -> ImportSummary:
        asked.append(order)
        summary = ImportSummary()
        for row in rows:
            summary.stored += isinstance(row, FormRow)
            summary.refused += isinstance(row, RefusedRow)
            for fault in row.faults if isinstance(row, RefusedRow) else ():
                report.refused(fault)
            for warning in row.warnings if isinstance(row, FormRow) else ():
                report.warned(warning)
            report.progress(summary)
        return summary

    def without_database(work: Callable[[Any], Coroutine[Any, Any, ImportSummary]]) -> ImportSummary:
        return asyncio.run(work(None))

    monkeypatch.setattr(cli_import, "store_forms", read_only)
    monkeypatch.setattr(command_line, "run_with_database", without_database)
    return asked


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--clinic", str(UUID(int=7)), "--instrument", "phq-9"])


def test_options_become_the_order(orders: list[FormImport]) -> None:
    """Clinic, current version of the instrument, mode and language arrive at the service."""
    name = str(DATA / "madeup_phq9.csv")
    result = run(name, *MAPPED, "--mode", "interview", "--language", "de-AT", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["to_be_stored"] == 5
    (order,) = orders
    assert (order.clinic_id, order.instrument.key) == (UUID(int=7), "phq-9@1")
    assert (order.mode, order.language, order.dry_run) == ("interview", "de-AT", True)


def test_the_report_lists_every_fault_and_the_exit_is_1(orders: list[FormImport], tmp_path: Path) -> None:
    """One line for each fault with its place and code; neither an answer nor a person is in it."""
    report = tmp_path / "errors.csv"
    assert run(FAULTY, *MAPPED, "--report", str(report)).exit_code == 1
    assert orders
    text = report.read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["line"], row["column"], row["code"]) for row in rows][:2] == [
        ("3", "phq1", "not_an_integer"),
        ("3", "phq4", "not_an_integer"),
    ]
    assert {row["level"] for row in rows} == {"refused"}
    assert len(rows) == 8
    assert "made-up" not in text


def test_without_a_report_the_first_faults_are_on_stderr(orders: list[FormImport]) -> None:
    """In the order of the file, beside progress that a log can hold."""
    result = run(FAULTY, *MAPPED)
    assert result.exit_code == 1
    assert orders
    assert "line 3, phq8: refused: not_a_choice: item 8 has no such answer\nline 4, person: refused" in result.stderr
    assert "100 % of the file read" in result.stderr
    assert "refused" in result.stdout


def test_a_warning_does_not_fail_the_import(orders: list[FormImport]) -> None:
    """A differing total is told; the exit is 0."""
    name = str(DATA / "madeup_phq9.csv")
    result = run(name, *MAPPED, "--map", "total=total")
    assert result.exit_code == 0
    assert orders
    assert "line 3, total: warning: total_differs" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (*MAPPED, "--report", FAULTY),
        (*MAPPED, "--report", str(DATA / "no such folder" / "report.csv")),
        (*MAPPED, "--taken-at", "2026-03-02T09:00:00Z"),
        ("--map", "patient=person", "--map", "responses=phq1..phq9"),
        ("--map", "patient=person", "--map", "responses=phq1..phq19", "--taken-at", "2026-03-02T09:00:00Z"),
    ],
)
def test_what_cannot_be_done_is_one_error_of_ours(orders: list[FormImport], arguments: tuple[str, ...]) -> None:
    """The command line shows it as one line; the imported file is never written over."""
    before = Path(FAULTY).read_bytes()
    result = run(FAULTY, *arguments)
    assert isinstance(result.exception, InvalidError)
    assert len(orders) <= 1
    assert Path(FAULTY).read_bytes() == before
