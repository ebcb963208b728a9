"""`tidemark export`: from a request, or a release that is ready, to the files; again after an interruption."""

import asyncio
import json
import signal
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn
from uuid import UUID

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.audit import Outcome, record_read, record_refusal
from app.auth import Actor
from app.cli_database import run_with_database
from app.db import Database
from app.errors import ConflictError, GoneError, InvalidError, KeyReusedError, MalformedError, NotFoundError
from app.export_directory import BusyError, ExportDirectory, File, Told
from app.release_files.odds import odds_beside
from app.schemas.faults import invalid
from app.schemas.releases import FAILURES, ReleaseCreate, ReleaseFailure
from app.services import release_downloads, releases
from app.services.operators import get_operator
from app.services.release_builds import build_next
from app.strict_json import parse
from app.tables import Release

NOT_YET: Final = 75  # the exit status that mail and cron know as "try again later"
LOOK_SECONDS: Final = 1.0
TAKEN_WITHIN: Final = timedelta(seconds=10)  # by a worker, if one runs; then it is built here

_ASKED: Final = (
    "Release {id} waits for approval. Two people have to want that data leaves: an administrator says yes with a token "
    'of their own, POST /v1/releases/{id}/approval {{"decision": "approved"}}.'
)

err = Console(stderr=True)


def export(
    *,
    clinic: Annotated[UUID, typer.Option("--clinic", help="Whose release it is.")],
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Directory; made if it is not there.")],
    request: Annotated[
        Path | None,
        typer.Option("--request", exists=True, dir_okay=False, readable=True, help="What to ask for, as the API does."),
    ] = None,
    release: Annotated[UUID | None, typer.Option("--release", help="One that is ready.")] = None,
    wait: Annotated[bool, typer.Option(help=f"For approval and worker; or else end with status {NOT_YET}.")] = True,
) -> None:
    """Ask for a research release and download it, or one that is ready. The same command goes on where it stopped."""
    wanted = release if request is None else _read(request)
    if wanted is None or None not in {request, release}:
        raise typer.BadParameter("Give one of --request and --release.")
    directory = ExportDirectory(out)

    async def work(database: Database) -> int:
        _end_on_sigterm()
        one = _Export(database, await get_operator(database, clinic), directory, wait)
        return await one.download(await one.obtain(wanted) if isinstance(wanted, ReleaseCreate) else wanted)

    try:
        with directory.held():
            fetched = run_with_database(work)
    except BusyError as error:
        _not_yet(error.detail)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say("Interrupted. The same command goes on from here.")
        raise KeyboardInterrupt from None
    typer.echo(f"{fetched} files fetched into {out}, each with the SHA-256 of the manifest. Keep them as agreed.")


def _end_on_sigterm() -> None:
    """As after Ctrl-C: service managers and `timeout` send it, and what is being built shall be handed back."""
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _read(path: Path) -> ReleaseCreate:
    """Held to the rules of the API. Raises InvalidError that names the place."""
    content = path.read_bytes().removeprefix(BOM_UTF8)
    try:
        return ReleaseCreate.model_validate(parse(content))
    except MalformedError as error:
        told = error.detail.replace("body", "file")  # the API's word for what was sent
        raise InvalidError(f"{path.name}{_line(content)} cannot be used. {told}") from None
    except ValidationError as error:
        raise _placed(invalid(error.errors())) from None


def _line(content: bytes) -> str:
    """Where it is no JSON, for whoever wrote it by hand."""
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        return f", line {error.lineno}, column {error.colno},"
    except (UnicodeDecodeError, RecursionError):
        pass
    return ""


def _placed(error: InvalidError) -> InvalidError:
    """In one line, as the JSON pointers of the API."""
    places = (f"{fault.pointer or 'All of it'}: {fault.message}" for fault in error.faults)
    return InvalidError(" ".join((error.detail.replace("the content", "the request"), *places)))


def _say(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def _not_yet(why: str) -> NoReturn:
    _say(f"{why} The same command later goes on.")
    raise typer.Exit(NOT_YET)


# --- From a request to what is ready ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Export:
    database: Database
    actor: Actor
    directory: ExportDirectory
    wait: bool

    async def obtain(self, asked: ReleaseCreate) -> UUID:
        """Asked for, approved by somebody else, and built; each of it once, however often this is begun anew."""
        id_ = await self._ask(asked)
        if (await self._look(id_)).status == "requested":
            _say(_ASKED.format(id=id_))
            if self.wait:
                _say("Waiting for it. Ctrl-C is safe: the same command goes on later.")
            while (await self._look(id_)).status == "requested":
                await self._pass_time("Nobody has decided yet.")
        with _counts() as told:
            while (row := await self._look(id_)).manifest is None:
                told(row)
                if not (_is_left(row) and await self._build(id_, told)):
                    await self._pass_time("It is being built.")
        return id_

    async def _ask(self, asked: ReleaseCreate) -> UUID:
        """The release of this directory. Raises InvalidError, ConflictError."""
        order = self.directory.order(self.actor.clinic_id)
        try:
            async with self._refusals_told(), self.database.session(self.actor) as session:
                if order.release_id is None:
                    row, _ = await releases.request_release(session, self.actor, asked, order.key)
                else:
                    row = await releases.get_release(session, self.actor, order.release_id)
        except InvalidError as error:
            raise _placed(error) from None
        except KeyReusedError:
            raise _another() from None
        if ReleaseCreate.model_validate(row.request) != asked:
            raise _another()
        self.directory.keep(replace(order, release_id=row.id))
        return row.id

    async def _look(self, id_: UUID) -> Release:
        """As it stands. Raises GoneError, ConflictError when nothing more will come of it."""
        async with self._refusals_told(), self.database.session(self.actor) as session:
            return _refuse_over(await releases.get_release(session, self.actor, id_))

    @asynccontextmanager
    async def _refusals_told(self) -> AsyncIterator[None]:
        """In the trail, as those of the API."""
        try:
            yield
        except (ConflictError, GoneError, InvalidError, NotFoundError) as error:
            outcome = Outcome.ABSENT if isinstance(error, NotFoundError) else Outcome.REFUSED
            async with self.database.connection(self.actor) as connection:
                await record_refusal(connection, self.actor, "release.export", outcome)
            raise

    async def _pass_time(self, meanwhile: str) -> None:
        if not self.wait:
            _not_yet(meanwhile)
        await asyncio.sleep(LOOK_SECONDS)

    async def _build(self, id_: UUID, told: Callable[[Release], None]) -> int:
        """Here, unless somebody is at it. Returns how many were built."""

        async def watch() -> None:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                told(await self._look(id_))

        watching = asyncio.create_task(watch())
        try:
            return await build_next(self.database, self.actor.clinic_id, only=id_)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    # --- Files --------------------------------------------------------------------------------------------------------

    async def download(self, id_: UUID) -> int:
        """What is not there yet. Returns how many files that was."""
        row = await self._look(id_)
        async with self._refusals_told():
            if row.manifest is None:
                raise ConflictError(f"The release is {row.status}: it can be exported when it is ready.")
        if (beside := row.manifest.get("beside_earlier_releases")) is not None:
            _say(odds_beside(beside))
        wanted = [file for file in row.manifest["files"] if not self.directory.is_whole(file)]
        with _bytes(sum(file["bytes"] for file in wanted)) as told:
            for file in wanted:
                await self._fetch(id_, file, told)
        return len(wanted)

    async def _fetch(self, id_: UUID, file: File, told: Told) -> None:
        """Asked and told in the trail as each download over the API is."""
        row = await self._look(id_)
        async with self._refusals_told():
            await releases.refuse_without_consent(self.database, row)
        async with self.database.session(self.actor) as session:
            await record_read(session, self.actor, "release.export", of=None, resource_id=id_, rows=file["rows"] or 0)
        pieces = partial(release_downloads.open_file, self.database, self.actor.clinic_id, id_, file)
        try:
            await self.directory.fetch(file, pieces, told)
        except NotFoundError:
            await self._look(id_)  # says why, if it ended meanwhile
            raise


def _refuse_over(row: Release) -> Release:
    """Raises GoneError, ConflictError."""
    if row.failure is not None:
        raise ConflictError(f"{FAILURES[ReleaseFailure(row.failure)]} Then ask again with a new directory.")
    if row.status == "rejected":
        note = f" “{row.decision_note}”" if row.decision_note else ""
        raise ConflictError(f"The administrator said no.{note} Ask for another one with a new directory.")
    releases.refuse_ended(row, datetime.now(UTC))
    return row


def _is_left(row: Release) -> bool:
    """A worker that runs would have taken it by now; one that died lets go of it after a minute."""
    return row.decided_at is not None and row.decided_at + TAKEN_WITHIN < datetime.now(UTC)


def _another() -> ConflictError:
    return ConflictError("This directory has the export of another request. Name a new one.")


# --- Bars for people; logs and pipes get what is said alone -----------------------------------------------------------


@contextmanager
def _counts() -> Iterator[Callable[[Release], None]]:
    """How far building is: nobody knows of how many."""
    if not err.is_terminal:
        yield lambda _: None
        return
    text = TextColumn("{task.fields[persons]} persons read, {task.fields[rows]} rows written")
    with Progress(TextColumn("build"), BarColumn(), text, TimeElapsedColumn(), console=err, transient=True) as progress:
        task = progress.add_task("build", total=None, persons=0, rows=0)
        yield lambda row: progress.update(task, persons=row.persons_read, rows=row.rows_written)


@contextmanager
def _bytes(total: int) -> Iterator[Told]:
    if not err.is_terminal:
        yield lambda _: None
        return
    shape: tuple[Any, ...] = (TextColumn("export"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*shape, console=err, transient=True) as progress:
        task = progress.add_task("export", total=total)
        yield lambda done: progress.advance(task, done)
