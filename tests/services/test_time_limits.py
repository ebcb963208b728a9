"""No statement, lock or forgotten transaction holds a connection for ever, whichever pool it is of."""

import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.errors import UnavailableError
from app.settings import Settings
from app.tables import Clinic

pytestmark = pytest.mark.anyio

SLOW = "SELECT pg_sleep(60)"


@pytest.fixture
async def hurried(address: PostgresAddress) -> AsyncIterator[Database]:
    database = Database(address.runtime_url, Settings(statement_timeout_ms=100, lock_timeout_ms=150))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def test_a_slow_statement_is_ended(hurried: Database, clinic: Clinic) -> None:
    """And told as what a retry may cure."""
    begun = time.monotonic()
    with pytest.raises(UnavailableError):
        await hurried.fetch_alone(SLOW)
    with pytest.raises(UnavailableError):
        async with hurried.session(clinic.clinic_id) as session:
            await (await session.connection()).execute(text(SLOW))
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("name", "value"),
    [("statement_timeout", "100ms"), ("lock_timeout", "150ms"), ("idle_in_transaction_session_timeout", "10s")],
)
async def test_both_pools_have_every_limit(hurried: Database, clinic: Clinic, name: str, value: str) -> None:
    """From the first statement of a connection on."""
    async with hurried.connection(clinic.clinic_id) as connection:
        assert await connection.fetchval(f"SHOW {name}") == value
    async with hurried.session(clinic.clinic_id) as session:
        assert (await (await session.connection()).execute(text(f"SHOW {name}"))).scalar_one() == value
