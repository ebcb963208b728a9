"""`tidemark audit`: the head of a clinic's chain, to be kept elsewhere, and the proof that the trail is whole."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli_database import run_with_database
from app.db import Database
from app.errors import ConflictError, InvalidError
from app.services.audit_heads import Head, new_key, parse_heads, private_key, public_key
from app.services.audit_verification import Verification, get_head
from app.services.audit_verification import verify as verify_trail
from app.services.operators import get_operator
from app.settings import Settings

MAX_FILE_BYTES: Final = 50_000_000  # more than the most heads a file may have

audit_cli = typer.Typer(help="The trail of who did what, and the proof that nobody changed it.", no_args_is_help=True)
err = Console(stderr=True)

ClinicId = Annotated[UUID, typer.Option("--clinic", help="The clinic's id, as `clinic create` printed it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@audit_cli.command("key")
def make_key(*, as_json: AsJson = False) -> None:
    """Print a fresh private key for TIDEMARK_AUDIT_KEY, and the public key for whoever verifies."""
    private, public = new_key()
    if as_json:
        typer.echo(json.dumps({"private_key": private, "public_key": public}))
        return
    typer.echo(f"private key  {private}\npublic key   {public}")


@audit_cli.command("head")
def show_head(clinic: ClinicId, *, as_json: AsJson = False) -> None:
    """Print the chain's last link, signed: send it to another host, hourly, and keep every one."""
    key = _key()

    async def work(database: Database) -> Head:
        await get_operator(database, clinic)
        return await get_head(database, clinic, key)

    head = run_with_database(work)
    if key is None:
        _say("this head is not signed: set TIDEMARK_AUDIT_KEY")
    if as_json:
        typer.echo(head.line())
        return
    for name, value in json.loads(head.line()).items():
        typer.echo(f"{name:<11}{'none' if value is None else value}")


@audit_cli.command("verify")
def verify(
    clinic: ClinicId,
    *,
    head: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, readable=True, help="Heads kept elsewhere, one on each line, from head --json."
        ),
    ] = None,
    public: Annotated[
        str | None,
        typer.Option("--public-key", help="What proves the heads. Default: that of TIDEMARK_AUDIT_KEY, if it is set."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make every hash of the trail anew. Exits 1 and names the first bad row when anything was changed."""
    signer, heads = _signer(public), [] if head is None else parse_heads(_read(head))

    async def work(database: Database) -> Verification:
        await get_operator(database, clinic)
        with _progress() as told:
            return await verify_trail(database, clinic, heads, signer, told)

    found = run_with_database(work)
    warnings = list(_warnings(found, heads, signer))
    if as_json:
        typer.echo(json.dumps(_as_values(clinic, found, warnings)))
        if found.fault is not None:
            raise typer.Exit(1)
        return
    for warning in warnings:
        _say(warning)
    if found.fault is not None:
        raise ConflictError(f"The trail is not whole. {found.fault.message}")
    agreed = "no head was compared" if not heads else f"{found.heads_agree} of {len(heads)} heads agree"
    typer.echo(f"The trail is whole: {found.checked} events, {agreed}. Hash at its end: {found.end.hash.hex()}.")


def _key() -> Ed25519PrivateKey | None:
    key = Settings().audit_key
    return None if key is None else private_key(key.get_secret_value())


def _signer(public: str | None) -> Ed25519PublicKey | None:
    if public is not None:
        return public_key(public)
    key = _key()
    return None if key is None else key.public_key()


def _read(file: Path) -> str:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise InvalidError("The file named by --head is too large to be one of heads.")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidError("The file named by --head cannot be read.") from None


def _warnings(found: Verification, heads: list[Head], signer: Ed25519PublicKey | None) -> Iterator[str]:
    if any(head.signature for head in heads) and signer is None:
        yield "signatures of heads were not checked: give --public-key"
    if found.overdue:
        yield (
            f"{found.overdue} events older than an hour are not sealed, first {found.first_overdue}: does a worker run?"
        )
    if found.backdated:
        yield (
            f"{found.backdated} events say that they are more than an hour older than one sealed before them, "
            f"first {found.first_backdated}: a wrong clock, or written in afterwards"
        )


def _as_values(clinic_id: UUID, found: Verification, warnings: list[str]) -> dict[str, Any]:
    fault = found.fault
    return {
        "clinic_id": str(clinic_id),
        "whole": fault is None,
        "events": found.checked,
        "hash": found.end.hash.hex(),
        "heads_agree": found.heads_agree,
        "fault": None
        if fault is None
        else {
            "code": fault.code,
            "number": fault.number,
            "event_id": None if fault.event_id is None else str(fault.event_id),
            "message": fault.message,
        },
        "warnings": warnings,
    }


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar for people; logs and pipes get the result alone."""
    if not err.is_terminal:
        yield lambda _done, _total: None
        return
    shape = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shape, console=err, transient=True) as progress:
        task = progress.add_task("events", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _say(line: str) -> None:
    err.print(f"tidemark: {line}", markup=False, highlight=False, soft_wrap=True)
