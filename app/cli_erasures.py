"""`tidemark erasures`: the ledger of erasures, taken out of the database and done again in a restored one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli_database import run_with_database
from app.db import Database
from app.errors import InvalidError
from app.services.erasure_ledger import LedgerEntry, Replay, find_entries, parse_ledger, replay
from app.services.operators import get_operator

erasures_cli = typer.Typer(help="Who was erased, kept outside the database.", no_args_is_help=True)
err = Console(stderr=True)


@erasures_cli.command("export")
def export(
    clinic: Annotated[UUID | None, typer.Option("--clinic", help="This clinic alone. Default: all.")] = None,
) -> None:
    """Print every erasure as one line of JSON: ids, a time and a code, nothing about anybody."""

    async def work(database: Database) -> list[LedgerEntry]:
        if clinic is not None:
            await get_operator(database, clinic)
        clinic_ids = await database.clinic_ids() if clinic is None else [clinic]
        found = []
        for clinic_id in clinic_ids:
            async with database.connection(clinic_id) as connection:
                found += await find_entries(connection, clinic_id)
        return found

    for entry in run_with_database(work):
        typer.echo(entry.line())


@erasures_cli.command("replay")
def replay_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="What export printed.")],
) -> None:
    """Erase again whom a restored backup has brought back. A second time does nothing."""
    entries = parse_ledger(_read(file))

    async def work(database: Database) -> Replay:
        with _progress(len(entries)) as told:
            return await replay(database, entries, told)

    done = run_with_database(work)
    for entry in done.erased:
        typer.echo(f"erased again: patient {entry.patient_id} of clinic {entry.clinic_id}")
    typer.echo(f"{len(done.erased)} erased again, {done.known} known already, {done.of_no_clinic} of clinics not here.")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidError("The ledger cannot be read.") from None


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar for people; logs and pipes get the result alone."""
    if not err.is_terminal:
        yield lambda _: None
        return
    shape: tuple[Any, ...] = (TextColumn("erasures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shape, console=err, transient=True) as progress:
        task = progress.add_task("erasures", total=total)
        yield lambda done: progress.advance(task, done)
