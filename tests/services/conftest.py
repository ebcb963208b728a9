"""A database of its own for the trail."""

from collections.abc import AsyncIterator, Iterator

import pytest

from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress
from app.settings import Settings
from tests.services import trail


@pytest.fixture(scope="module")
def own(postgres: EmbeddedPostgres) -> Iterator[PostgresAddress]:
    """Where triggers can be taken off without other tests noticing."""
    with trail.database_of_its_own(postgres, "trail") as address:
        yield address


@pytest.fixture(scope="module")
async def stored(own: PostgresAddress) -> AsyncIterator[Database]:
    """The runtime role's view of it."""
    database = Database(own.runtime_url, Settings(pool_size=6, orm_pool_size=8, pool_wait_seconds=60))
    await database.open()
    try:
        yield database
    finally:
        await database.close()
