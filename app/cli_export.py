"""`tidemark export`: all files of a release that is ready, into a directory; again after an interruption."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.audit import record_read
from app.cli_database import run_with_database
from app.db import Database
from app.errors import ConflictError, InvalidError
from app.services import release_downloads, releases
from app.services.operators import get_operator
from app.tables import Release

err = Console(stderr=True)


def export(
    clinic: Annotated[UUID, typer.Option("--clinic", help="Whose release it is.")],
    release: Annotated[UUID, typer.Option("--release", help="One that is ready.")],
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Directory; made if it is not there.")],
) -> None:
    """Download a research release. Files that are whole already are kept, so that it goes on after an interruption."""

    async def work(database: Database) -> list[str]:
        row = await _ready(database, clinic, release)
        wanted = [file for file in row.manifest["files"] if not _is_whole(out, file)] if row.manifest else []
        with _progress(sum(file["bytes"] for file in wanted)) as told:
            for file in wanted:
                await _fetch(database, row, file, out, told)
        return [file["name"] for file in wanted]

    _make(out)
    fetched = run_with_database(work)
    typer.echo(f"{len(fetched)} files fetched into {out}, each with the SHA-256 of the manifest. Keep them as agreed.")


async def _ready(database: Database, clinic_id: UUID, release_id: UUID) -> Release:
    """What a download over the API asks is asked here, too. Raises GoneError, ConflictError."""
    actor = await get_operator(database, clinic_id)
    async with database.session(actor) as session:
        row = await releases.get_release(session, actor, release_id)
        releases.refuse_ended(row, datetime.now(UTC))
        if row.manifest is None:
            raise ConflictError(f"The release is {row.status}: it can be exported when it is ready.")
        await releases.refuse_without_consent(database, row)
        rows = sum(file["rows"] or 0 for file in row.manifest["files"])
        await record_read(session, actor, "release.export", of=None, resource_id=release_id, rows=rows)
    return row


async def _fetch(
    database: Database, row: Release, file: dict[str, Any], out: Path, told: Callable[[int], None]
) -> None:
    """Under another name until it is whole."""
    path = out / f"{file['name']}.part"
    with path.open("wb") as target:
        async for piece in await release_downloads.open_file(database, row.clinic_id, row.id, file):
            target.write(piece)
            told(len(piece))
    if _digest(path) != file["sha256"]:
        raise ConflictError(f"{file['name']} is not as the manifest says. Was the release revoked meanwhile?")
    path.replace(out / file["name"])


def _is_whole(out: Path, file: dict[str, Any]) -> bool:
    path = out / str(file["name"])
    return path.is_file() and _digest(path) == file["sha256"]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _make(out: Path) -> None:
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        raise InvalidError("The directory named by --out cannot be made.") from None


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar for people; logs and pipes get the result alone."""
    if not err.is_terminal:
        yield lambda _: None
        return
    shape: tuple[Any, ...] = (TextColumn("export"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*shape, console=err, transient=True) as progress:
        task = progress.add_task("export", total=total)
        yield lambda done: progress.advance(task, done)
