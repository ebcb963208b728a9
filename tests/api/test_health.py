"""Alive and ready, told without a token and without patient data."""

import httpx2
import pytest

from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress
from app.errors import UnavailableError
from app.main import create_app
from app.settings import Settings

pytestmark = pytest.mark.anyio


async def test_alive_and_ready(anonymous: httpx2.AsyncClient) -> None:
    """With the newest schema behind it."""
    assert (await anonymous.get("/livez")).json() == {"status": "alive"}
    ready = await anonymous.get("/readyz")
    assert (ready.status_code, ready.json()["schema_revision"]) == (200, "current")


@pytest.mark.parametrize(
    ("url", "database"),
    [("postgresql://nobody:wrong@127.0.0.1:1/none", "away"), (None, "reachable")],
    ids=["no server", "no schema"],
)
async def test_not_ready_is_said_while_alive(postgres: EmbeddedPostgres, url: str | None, database: str) -> None:
    """Without a server, or on a database nobody has migrated, it answers 503 and stays alive."""
    empty = postgres.create_database("not_migrated")
    app = create_app(Settings(pool_wait_seconds=0.5), url or empty.runtime_url)
    try:
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http,
        ):
            assert (await http.get("/livez")).status_code == 200
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.json()["database"]) == (503, database)
            asked = await http.get("/v1/patients", headers={"Authorization": f"Bearer tmk_{'A' * 43}_{'A' * 43}"})
            assert asked.status_code == 503
            assert asked.headers["retry-after"]
    finally:
        postgres.drop_database("not_migrated")


async def test_a_full_pool_is_told_in_time(address: PostgresAddress) -> None:
    """Waiting has an end."""
    crowded = Database(address.runtime_url, Settings(pool_size=1, pool_wait_seconds=0.2))
    await crowded.open()
    try:
        async with crowded._bare_connection():
            with pytest.raises(UnavailableError):
                await crowded.fetch_alone("SELECT 1")
    finally:
        await crowded.close()
