"""The database a command works on: the configured one, or the private one for as long as it is needed."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
from alembic.util import CommandError
from pydantic import SecretStr
from sqlalchemy import exc as sa_exc
from sqlalchemy.engine import make_url

from app import logs, migrate
from app.crypto import new_master_key
from app.db import RUNTIME_ROLE, Database
from app.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, default_data_dir
from app.errors import InvalidError, UnavailableError
from app.logs import trouble
from app.settings import Settings

T = TypeVar("T")
log = logging.getLogger("tidemark")

ERASURE_LEDGER: Final = "erasures.ndjson"  # beside the private Postgres, so that copying that alone leaves it
LOOK_SECONDS: Final = 0.5  # between two looks at the private Postgres

_ADVICE: Final = {
    "42P01": "it has no tables of Tidemark yet: run `tidemark migrate`",
    "22023": f"it has no role {RUNTIME_ROLE} yet: run `tidemark migrate`",
    "42501": f"this login is no member of {RUNTIME_ROLE}, or may not do this",
}
# Failed logins, missing databases, wrong roles, lost connections, limits: nothing in them quotes a stored value.
_TOLD_SQLSTATES: Final = ("08", "28", "3D", "53", "57", "55P03")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the database is, for its owner and for the running service."""

    owner: str
    runtime: str
    data_dir: Path
    settings: Settings  # with those of the private Postgres, if it is that one


def settings_of_command() -> Settings:
    """Read once for a command. Raises InvalidError for secrets that protect nothing."""
    settings = Settings()
    logs.set_up(settings)
    settings.refuse_weak_secrets()
    return settings


@contextmanager
def database_addresses(settings: Settings) -> Iterator[Addresses]:
    """The configured database, or the private one, started for as long as it is needed."""
    if settings.database_url is not None:
        runtime = _address(settings.database_url, "TIDEMARK_DATABASE_URL")
        owner = _address(settings.owner_database_url or settings.database_url, "TIDEMARK_OWNER_DATABASE_URL")
        yield Addresses(owner, runtime, settings.data_dir, settings)
        return
    chosen = "data_dir" in settings.model_fields_set
    data_dir = settings.data_dir if chosen else default_data_dir(settings.data_dir, run_as=settings.pg_run_as)
    with EmbeddedPostgres(data_dir, bin_dir=settings.pg_bin, run_as=settings.pg_run_as) as server:
        own = {
            "master_keys": settings.master_keys or _own_master_key(data_dir),
            "erasure_ledger": settings.erasure_ledger or data_dir / ERASURE_LEDGER,
        }
        settings = settings.model_copy(update=own)
        migrate_plainly(server.address.owner_url, settings)
        with _kept_running(server):
            yield Addresses(server.address.owner_url, server.address.runtime_url, data_dir, settings)


def _own_master_key(data_dir: Path) -> SecretStr:
    """Of the private Postgres: in a file beside its data, for its owner's eyes alone."""
    file = data_dir / "master.key"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return SecretStr(file.read_text(encoding="ascii").strip())
    with os.fdopen(descriptor, "w", encoding="ascii") as new:
        key = new_master_key()
        new.write(key + "\n")
        new.flush()
        os.fsync(new.fileno())
    return SecretStr(key)


def migrate_plainly(owner_url: str, settings: Settings) -> None:
    """Migrates. Raises UnavailableError that says what is in the way."""
    with database_told_plainly():
        try:
            migrate.upgrade(owner_url, master_keys=settings.master_keys)
        except OSError as error:
            raise UnavailableError(f"The database does not answer: {error}") from error
        except CommandError:
            raise UnavailableError(
                "The database is at a revision that only another version of Tidemark knows."
            ) from None


def run_with_database(work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Runs one command's work on an open database."""
    with database_addresses(settings_of_command()) as addresses, database_told_plainly():
        return asyncio.run(with_open_database(addresses, work))


async def with_open_database(addresses: Addresses, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    database = Database(addresses.runtime, addresses.settings)
    await database.open()
    try:
        return await work(database)
    finally:
        await database.close()


@contextmanager
def database_told_plainly() -> Iterator[None]:
    """Why a database cannot be used, in one line for whoever runs the command. Raises UnavailableError."""
    try:
        yield
    except (UnavailableError, asyncpg.PostgresError, asyncpg.InterfaceError, sa_exc.DBAPIError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise UnavailableError(f"The database cannot be used: {reason}.") from error


def _reason(error: BaseException | None) -> str | None:
    match error:
        case asyncpg.PostgresError():
            state = str(error.sqlstate or "")
            told = str(error.args[0]) if state.startswith(_TOLD_SQLSTATES) else None
            return _ADVICE.get(state, told)
        case OSError():
            return str(error)
        case sa_exc.DBAPIError():
            return _reason(error.orig)
        case None:
            return None
        case _:
            return _reason(error.__cause__)


def _address(url: SecretStr, variable: str) -> str:
    try:
        parts = make_url(url.get_secret_value())
    except (sa_exc.ArgumentError, ValueError):
        parts = None
    if parts is None or not parts.drivername.startswith("postgres"):
        raise InvalidError(f"{variable} is no address of a Postgres: write postgresql://login:password@host:port/name.")
    return url.get_secret_value()


@contextmanager
def _kept_running(server: EmbeddedPostgres) -> Iterator[None]:
    """Starts the private Postgres again when it dies under us; until it is back, requests are answered 503."""
    leaving = threading.Event()

    def keep() -> None:
        while not leaving.wait(LOOK_SECONDS):
            if not server.is_running():
                _start_again(server)

    keeper = threading.Thread(target=keep, daemon=True, name="tidemark-postgres-keeper")
    keeper.start()
    try:
        yield
    finally:
        leaving.set()
        keeper.join()


def _start_again(server: EmbeddedPostgres) -> None:
    log.warning("postgres_started_again")
    try:
        server.start()
    except EmbeddedPostgresError as error:
        log.error("postgres_not_started", trouble(error))  # noqa: TRY400  # its own log says why
