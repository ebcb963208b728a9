"""`tidemark import`: a file of answered forms into the database, with progress, a report and safe re-runs."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Final, TextIO
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.cli_database import run_with_database
from app.db import Database
from app.errors import InvalidError
from app.form_file import read_forms
from app.form_map import parse_map, time_rule
from app.form_records import RowFault
from app.schemas.assessments import Mode
from app.scoring.model import Validity
from app.services.imports import FormImport, ImportReport, ImportSummary
from app.services.imports import import_forms as store_forms
from app.services.scored_assessments import known_instrument

SHOWN_FAULTS: Final = 20  # on the terminal; the report file has them all
ROWS_TOLD: Final = 1_000  # rows between two lines of progress where the size of the file is unknown

err = Console(stderr=True)


def import_forms(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV with a header line, or NDJSON.")
    ],
    *,
    clinic: Annotated[UUID, typer.Option(help="The clinic's id, as `clinic create` printed it.")],
    instrument: Annotated[str, typer.Option(help="phq-9, or phq-9@1 for a certain version.")],
    columns: Annotated[
        list[str],
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="Fields: patient, responses, taken_at, week, total. responses=phq1..phq9,difficulty names several.",
        ),
    ],
    taken_at: Annotated[
        str | None, typer.Option(help="When all forms were filled in; with --map week=COLUMN the time of week 1.")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA zone of times without an offset, Europe/Berlin.")] = None,
    mode: Annotated[Mode, typer.Option(help="Who filled the forms in.")] = "self",
    language: Annotated[str, typer.Option(help="Language the forms were shown in (BCP 47).")] = "en",
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, help="CSV to write every refusal and warning to.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, store nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Import answered forms. The same file again stores nothing twice. Exits 1 when a row was refused."""
    mapping = parse_map(columns)
    times = time_rule(mapping, taken_at, timezone)
    order = FormImport(clinic, known_instrument(instrument), mapping, mode, language, dry_run)
    if report is not None and report.exists() and report.samefile(file):
        raise InvalidError("--report names the file that is imported.")

    async def work(database: Database) -> ImportSummary:
        with file.open("rb") as stream, _notes(report) as notes:
            counted = Counted(stream)
            rows = read_forms(counted, mapping, times, order.instrument)
            with _progress(counted) as told:
                return await store_forms(database, order, rows, ImportReport(notes.refused, notes.warned, told))

    summary = run_with_database(work)
    show_summary(summary, dry_run=dry_run, as_json=as_json)
    if summary.refused:
        raise typer.Exit(1)


class Notes:
    """Refusals and warnings as they come: all of them to the report file, the first few to the terminal."""

    def __init__(self, report: TextIO | None) -> None:
        self._report = None if report is None else csv.writer(report)
        self._shown: list[tuple[str, RowFault]] = []
        self._count = 0
        if self._report is not None:
            self._report.writerow(("line", "level", "column", "code", "message"))

    def refused(self, fault: RowFault) -> None:
        self._note("refused", fault)

    def warned(self, fault: RowFault) -> None:
        self._note("warning", fault)

    def _note(self, level: str, fault: RowFault) -> None:
        self._count += 1
        if self._report is not None:
            self._report.writerow((fault.line, level, fault.column or "", fault.code, fault.message))
        elif len(self._shown) < SHOWN_FAULTS:
            self._shown.append((level, fault))

    def show(self) -> None:
        for level, fault in sorted(self._shown, key=lambda noted: noted[1].line):
            place = f"line {fault.line}" if fault.column is None else f"line {fault.line}, {fault.column}"
            _say(f"{place}: {level}: {fault.code}: {fault.message}")
        if self._shown and self._count > len(self._shown):
            _say(f"and {self._count - len(self._shown)} more; --report FILE has them all")


def _say(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _notes(path: Path | None) -> Iterator[Notes]:
    if path is None:
        notes = Notes(None)
        try:
            yield notes
        finally:
            notes.show()
        return
    try:
        report = path.open("w", encoding="utf-8", newline="")
    except OSError:
        raise InvalidError("The file named by --report cannot be written.") from None
    with report:
        yield Notes(report)


class Counted:
    """A file that knows how far it has been read; a pipe does too, but has no size."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.done = 0  # bytes
        self.size = os.fstat(stream.fileno()).st_size or None  # bytes

    def readline(self, size: int) -> bytes:
        line = self._stream.readline(size)
        self.done += len(line)
        return line


class _PlainProgress:
    """For logs and pipes: a line at each tenth of the file, or each so many rows where there is no size."""

    def __init__(self, file: Counted) -> None:
        self._file, self._told = file, 0

    def __call__(self, summary: ImportSummary) -> None:
        size = self._file.size
        step = summary.read // ROWS_TOLD if size is None else 10 * self._file.done // size
        if step > self._told:
            self._told = step
            share = "" if size is None else f"{10 * step} % of the file read, "
            _say(f"{share}{summary.read} rows done")


@contextmanager
def _progress(file: Counted) -> Iterator[Callable[[ImportSummary], None]]:
    if not err.is_terminal:
        yield _PlainProgress(file)
        return
    shape = (TextColumn("{task.fields[rows]} rows"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*shape, console=err) as progress:
        task = progress.add_task("import", total=file.size, rows=0)
        yield lambda summary: progress.update(task, completed=file.done, rows=summary.read)


def show_summary(summary: ImportSummary, *, dry_run: bool, as_json: bool) -> None:
    values = {
        "rows_read": summary.read,
        "stored": 0 if dry_run else summary.stored,
        "to_be_stored": summary.stored if dry_run else 0,
        "already_stored": summary.already_stored,
        "refused": summary.refused,
        "warned": summary.warned,
        "patients_added": summary.patients_added,
        **{validity.value: summary.validities[validity] for validity in Validity},
    }
    if as_json:
        typer.echo(json.dumps(values))
        return
    if not dry_run:
        del values["to_be_stored"]
    table = Table(show_header=False, box=None)
    for name, value in values.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)
    if dry_run:
        typer.echo("Nothing was stored: this was a dry run.")
    elif summary.already_stored and not summary.stored:
        typer.echo("Nothing new: every accepted row was stored before.")
