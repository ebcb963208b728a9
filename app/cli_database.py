"""The database a command works on: the configured one, or the private one for as long as it is needed."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from app import migrate
from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, default_data_dir
from app.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the database is, for its owner and for the running service."""

    owner: str
    runtime: str
    data_dir: Path


@contextmanager
def database_addresses(settings: Settings) -> Iterator[Addresses]:
    """The configured database, or the private one, started for as long as it is needed."""
    if settings.database_url is not None:
        runtime = settings.database_url.get_secret_value()
        owner = (settings.owner_database_url or settings.database_url).get_secret_value()
        yield Addresses(owner, runtime, settings.data_dir)
        return
    chosen = "data_dir" in settings.model_fields_set
    data_dir = settings.data_dir if chosen else default_data_dir(settings.data_dir, run_as=settings.pg_run_as)
    with EmbeddedPostgres(data_dir, bin_dir=settings.pg_bin, run_as=settings.pg_run_as) as server:
        migrate.upgrade(server.address.owner_url)
        yield Addresses(server.address.owner_url, server.address.runtime_url, data_dir)


def run_with_database(work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Runs one command's work on an open database."""
    settings = Settings()

    async def run(url: str) -> T:
        database = Database(url, settings)
        await database.open()
        try:
            return await work(database)
        finally:
            await database.close()

    with database_addresses(settings) as addresses:
        return asyncio.run(run(addresses.runtime))
