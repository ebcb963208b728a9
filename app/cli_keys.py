"""`tidemark keys`: the master key, and what is wrapped with it."""

from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import Progress

from app.cli_database import run_with_database
from app.crypto import new_master_key
from app.db import Database
from app.services.data_keys import check_keys, rewrap

keys_cli = typer.Typer(help="The master key that opens what names people.", no_args_is_help=True)
err = Console(stderr=True)


@keys_cli.command("new")
def make_key() -> None:
    """Print a fresh master key for TIDEMARK_MASTER_KEYS. Keep a copy away from the database: without it all is lost."""
    typer.echo(new_master_key())


@keys_cli.command("check")
def check() -> None:
    """Say whether TIDEMARK_MASTER_KEYS opens this database."""
    run_with_database(check_keys)
    typer.echo("The master keys open this database.")


@keys_cli.command("rotate")
def rotate(
    clinic: Annotated[UUID | None, typer.Option("--clinic", help="This clinic alone; else all of them.")] = None,
) -> None:
    """Wrap every key with the first of TIDEMARK_MASTER_KEYS, while the service goes on. Safe to repeat."""

    async def work(database: Database) -> int:
        wrapped = 0
        with Progress(console=err, transient=True) as progress:
            for clinic_id in progress.track(await _clinics(database, clinic), description="Wrapping keys anew"):
                wrapped += await rewrap(database, clinic_id)
        return wrapped

    wrapped = run_with_database(work)
    typer.echo(f"{wrapped} keys wrapped anew. Master keys behind the first are no longer needed.")


async def _clinics(database: Database, clinic: UUID | None) -> list[UUID]:
    return await database.clinic_ids() if clinic is None else [clinic]
