"""The `tidemark` command."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from contextlib import nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from app import demo, logs, metrics, migrate
from app.auth import Role
from app.cli_audit import audit_cli
from app.cli_caseload import show_alerts, show_caseload, show_due
from app.cli_database import (
    Addresses,
    database_addresses,
    database_told_plainly,
    migrate_plainly,
    run_with_database,
    settings_of_command,
    with_open_database,
)
from app.cli_erasures import erasures_cli
from app.cli_export import export
from app.cli_import import import_forms
from app.cli_keys import keys_cli
from app.cli_worker import work, worker_beside
from app.db import Database
from app.embedded_postgres import EmbeddedPostgresError
from app.erasure_file import read_ledger
from app.errors import AppError, InvalidError
from app.logs import places
from app.schemas.enrolments import DEFAULT_HOURS, MAX_HOURS, EnrolmentCreate
from app.scoring import ResponseError, UnknownInstrumentError, all_instruments, get_instrument, score
from app.scoring.model import Instrument
from app.services import clinics
from app.services.api_tokens import described
from app.services.data_keys import check_keys
from app.services.enrolments import NewEnrolment, record_enrolment
from app.services.erasure_ledger import replay
from app.services.issuers import issuer_of
from app.services.operators import get_operator
from app.settings import Settings

cli = typer.Typer(
    help="Measures whether trauma and depression treatment helps.", no_args_is_help=True, pretty_exceptions_enable=False
)
clinic_cli = typer.Typer(help="Clinics of this installation.", no_args_is_help=True)
enrolment_cli = typer.Typer(help="Codes that let patients' telephones in.", no_args_is_help=True)
token_cli = typer.Typer(help="Tokens that let programs and people in.", no_args_is_help=True)
cli.add_typer(clinic_cli, name="clinic")
cli.add_typer(token_cli, name="token")
cli.add_typer(enrolment_cli, name="enrolment")
cli.add_typer(audit_cli, name="audit")
cli.add_typer(keys_cli, name="keys")
cli.add_typer(erasures_cli, name="erasures")
cli.command("import")(import_forms)
cli.command("export")(export)
cli.command("caseload")(show_caseload)
cli.command("due")(show_due)
cli.command("alerts")(show_alerts)
cli.command("worker")(work)

log = logging.getLogger("tidemark")
out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ClinicId = Annotated[UUID, typer.Option("--clinic", help="The clinic's id, as `clinic create` printed it.")]


@cli.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer requests.")] = 1,
    worker: Annotated[bool, typer.Option(help="Send reminders and webhooks too, in a process beside.")] = True,
) -> None:
    """Serve the API. Without TIDEMARK_DATABASE_URL a private Postgres is started and stopped with it."""
    refuse_taken_port(host, port)
    with database_addresses(settings_of_command()) as addresses:
        listen(addresses, host, port, workers, beside=worker)


@cli.command("demo")
def run_demo(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on.")] = 8000,
) -> None:
    """Load a synthetic clinic, print what to try, and serve it until interrupted. No real patients."""
    settings = settings_of_command()
    if settings.database_url is not None:
        raise InvalidError("The demo brings its own Postgres: unset TIDEMARK_DATABASE_URL.")
    refuse_taken_port(host, port)
    with database_addresses(settings) as addresses:
        told = f"http://{host}:{port}"
        asyncio.run(demo.prepare(addresses.runtime, addresses.settings, addresses.data_dir, out, told))
        os.environ.setdefault("TIDEMARK_LOG_LEVEL", "warning")  # or requests would push away what was just printed
        listen(addresses, host, port, workers=1, beside=True)


def refuse_taken_port(host: str, port: int) -> None:
    """Before anything is started, because the servers' own words for it come late and in many lines."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one resting after its last use is free
            probe.bind(address)
    except OSError as error:
        reason = f"Port {port} of {host} cannot be used ({error.strerror}): choose another with --port."
        raise InvalidError(reason) from None


def listen(addresses: Addresses, host: str, port: int, workers: int, *, beside: bool) -> None:
    """Worker processes learn address and keys from the environment, where other users cannot read it."""
    issuer_of(Settings())  # told here in one line, and not by each worker
    os.environ["TIDEMARK_DATABASE_URL"] = addresses.runtime
    if addresses.settings.master_keys is not None:
        os.environ["TIDEMARK_MASTER_KEYS"] = addresses.settings.master_keys.get_secret_value()
    with database_told_plainly():
        faults = asyncio.run(with_open_database(addresses, Database.runtime_role_faults))
        asyncio.run(with_open_database(addresses, check_keys))
    refuse_unsafe_role(faults)
    if addresses.settings.erasure_ledger is not None:
        os.environ["TIDEMARK_ERASURE_LEDGER"] = str(addresses.settings.erasure_ledger)
        erase_again(addresses, addresses.settings.erasure_ledger)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # what uvicorn passes on when it has come to rest
    logs.set_up(Settings())
    logs.guard_process()
    log.info("serving", {"host": host, "port": port, "workers": workers})
    with metrics.shared_by(workers), worker_beside() if beside else nullcontext():
        uvicorn.run(
            "app.worker:application",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            http="app.http_protocol:BoundedProtocol",
            access_log=False,
            log_config=None,  # its records are written like all others
            server_header=False,
            proxy_headers=False,  # the application itself decides whom it believes
            timeout_graceful_shutdown=10,
        )


def erase_again(addresses: Addresses, ledger: Path) -> None:
    """Before anybody is answered: a restored backup must not show whom it has brought back."""
    entries = read_ledger(ledger)
    if not entries:
        return
    with database_told_plainly():
        done = asyncio.run(with_open_database(addresses, lambda database: replay(database, entries)))
    for entry in done.erased:
        err.print(f"tidemark: erased again: patient {entry.patient_id} of clinic {entry.clinic_id}", markup=False)


def refuse_unsafe_role(faults: list[str]) -> None:
    if faults:
        raise InvalidError(
            f"The database role of the service {' and '.join(faults)}: clinics would see each other's patients. "
            "Run `tidemark migrate`, then log in as a role that is a member of tidemark_runtime and nothing else."
        )


@cli.command("migrate")
def migrate_database() -> None:
    """Bring the database to the newest revision, as its owner."""
    with database_addresses(settings_of_command()) as addresses:
        migrate_plainly(addresses.owner, addresses.settings)
    out.print(f"The database is at revision {migrate.head_revision()}.")


@clinic_cli.command("create")
def create_clinic(
    name: Annotated[str, typer.Argument(help="Name of the clinic.")],
    timezone: Annotated[str, typer.Option(help="IANA time zone, Europe/Berlin.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Add a clinic."""
    clinic = run_with_database(lambda database: clinics.record_clinic(database, name, timezone))
    show({"clinic_id": str(clinic.clinic_id)}, as_json=as_json)


@token_cli.command("create")
def create_token(
    clinic: ClinicId,
    role: Annotated[Role, typer.Option(help="Who the holder is.")],
    patient: Annotated[UUID | None, typer.Option(help="With the role patient: whose token it is.")] = None,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="Of what the role may, this alone; may be given several times.")
    ] = None,
    expires_in_days: Annotated[
        int | None, typer.Option("--expires-in-days", "--expires", min=1, help="Days until it ends by itself.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is shown this once; only its hash is stored."""
    token, text = run_with_database(
        lambda database: clinics.record_token(database, clinic, role, label, expires_in_days, patient, scope or None)
    )
    show({"token_id": str(token.id), "token": text}, as_json=as_json)


@token_cli.command("list")
def list_tokens(clinic: ClinicId, as_json: AsJson = False) -> None:
    """What lets people and programs in, newest first; no secret is among it."""
    found = [described(token) for token in run_with_database(lambda database: clinics.find_tokens(database, clinic))]
    if as_json:
        typer.echo(json.dumps(found, default=str))
        return
    columns = ("id", "label", "role", "state", "scopes", "expires_at", "last_used_at")
    table = Table(*columns)
    for token in found:
        table.add_row(*(_told(token[name]) for name in columns))
    out.print(table)


def _told(value: Any) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case list():
            return " ".join(value)
    return str(value)


@token_cli.command("revoke")
def revoke_token(clinic: ClinicId, token: Annotated[UUID, typer.Argument(help="The token's id.")]) -> None:
    """End a token now; every worker refuses it within a second."""
    run_with_database(lambda database: clinics.revoke_token(database, clinic, token))
    out.print("The token is revoked.")


@enrolment_cli.command("create")
def create_enrolment(
    clinic: ClinicId,
    patient: Annotated[UUID, typer.Option(help="Whose telephone it is.")],
    expires_in_hours: Annotated[
        int, typer.Option("--expires-in-hours", "--expires", min=1, max=MAX_HOURS, help="Hours the code lives.")
    ] = DEFAULT_HOURS,
    as_json: AsJson = False,
) -> None:
    """Make a code that lets one telephone in as this patient. It is shown this once; only its hash is stored."""

    async def make(database: Database) -> NewEnrolment:
        actor = await get_operator(database, clinic)
        content = EnrolmentCreate(expires_in_hours=expires_in_hours)
        async with database.session(clinic) as session:
            return (await record_enrolment(session, actor, patient, content, None))[0]

    made = run_with_database(make)
    show({"enrolment_id": str(made.row.id), "code": made.code, "token": made.token}, as_json=as_json)


@cli.command("instruments")
def list_instruments(as_json: AsJson = False) -> None:
    """What can be asked and scored."""
    if as_json:
        typer.echo(
            json.dumps([{"id": one.id, "version": one.version, "title": one.title} for one in all_instruments()])
        )
        return
    table = Table("instrument", "title", "items", "range", "asks about", "better is")
    for one in all_instruments():
        better = one.direction.value.split("_")[0]
        span = f"{one.minimum}-{one.maximum}"
        table.add_row(one.key, one.title, str(len(one.scored_items)), span, one.recall_label, better)
    out.print(table)


@cli.command("score")
def score_answers(
    instrument: Annotated[str, typer.Argument(help="phq-9, or phq-9@1 for a certain version.")],
    answers: Annotated[str, typer.Argument(help="Comma separated, empty for not answered: 2,1,3,,0,1,1,0,0")],
    as_json: AsJson = False,
) -> None:
    """Score answers without storing them."""
    declaration = known_instrument(instrument)
    try:
        responses = [int(text) if text.strip() else None for text in answers.split(",")]
    except ValueError:
        raise InvalidError("Write whole numbers, separated by commas.") from None
    result = score(declaration, responses)
    shown = {
        "instrument": result.instrument,
        "total": result.total,
        "range": f"{result.minimum}-{result.maximum}",
        "validity": result.validity.value,
        "severity": None if result.severity is None else result.severity.label,
        **{f"subscale {code}": value for code, value in result.subscales.items()},
        **{f"screen {screen.code}": screen.met for screen in result.screens},
        **{f"critical item {critical.item}": critical.raised for critical in result.critical_items},
    }
    show(shown, as_json=as_json)


def known_instrument(reference: str) -> Instrument:
    try:
        return get_instrument(reference)
    except UnknownInstrumentError:
        raise InvalidError("There is no such instrument or version: see `tidemark instruments`.") from None


def show(values: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values))
        return
    width = max(map(len, values)) + 2
    for name, value in values.items():  # no table: in a narrow window it would cut a token short
        typer.echo(f"{name:<{width}}{'unknown' if value is None else value}")


def main() -> None:
    """Every failure is one clear line and a non-zero exit."""
    try:
        sys.exit(cli(prog_name="tidemark", standalone_mode=False))
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = "tidemark" if context is None else context.command_path
        if told := error.format_message():  # empty when the help was asked for by saying nothing
            fail(f"{told.rstrip('.')}. See `{command} --help`.", error.exit_code)
        sys.exit(error.exit_code)
    except AppError as error:
        fail(" ".join((error.detail, *(fault.message for fault in error.faults))))
    except (EmbeddedPostgresError, ResponseError) as error:
        fail(str(error))
    except ValidationError as error:
        names = ("_".join(map(str, fault["loc"])).upper() for fault in error.errors())
        fail(f"these settings are not usable: {', '.join(f'TIDEMARK_{name}' for name in names)}")
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:  # whoever read us, `head` for one, has had enough
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  # never the message: it may quote a patient's row
        fail(f"a defect, please report it: {type(error).__qualname__} at {places(error.__traceback__)}")


def fail(message: str, exit_code: int = 1) -> NoReturn:
    err.print(f"tidemark: {message}", style="bold red", markup=False, soft_wrap=True)
    sys.exit(exit_code)
