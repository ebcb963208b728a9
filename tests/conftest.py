"""One private Postgres for the whole run; a clinic for each test, kept apart by the product's own tenancy."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from app import migrate
from app.auth import Role
from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress, temporary_postgres
from app.main import create_app
from app.services import clinics
from app.settings import Settings
from app.tables import Clinic
from tests.process.service import MASTER_KEY

T = TypeVar("T")

os.environ["TIDEMARK_MASTER_KEYS"] = MASTER_KEY  # before any Settings are read


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server without durability: tests may lose their data with the machine. `TIDEMARK_PG_BIN` chooses which."""
    with temporary_postgres(bin_dir=Settings().pg_bin) as server:
        yield server


@pytest.fixture(scope="session")
def address(postgres: EmbeddedPostgres) -> PostgresAddress:
    """Its database, at the newest revision."""
    address = postgres.address
    migrate.upgrade(address.owner_url)
    return address


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Without limits on rates: all tests come from one address within minutes. Those of limits make their own."""
    return Settings(
        data_dir=tmp_path_factory.mktemp("data"), rate_per_token=0, rate_per_address=0, failed_logins_per_address=0
    )


@pytest.fixture(scope="session")
async def app(address: PostgresAddress, settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings, address.runtime_url)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
async def database(app: FastAPI) -> Database:
    """The runtime role's view of the database, as the application has it."""
    database: Database = app.state.database
    return database


@pytest.fixture
def on_database(address: PostgresAddress, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs work on the database that the commands are told of."""
    for name in [name for name in os.environ if name.startswith("TIDEMARK_") and name != "TIDEMARK_MASTER_KEYS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", address.runtime_url)

    async def opened(work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
        database = Database(address.runtime_url, Settings())
        await database.open()
        try:
            return await work(database)
        finally:
            await database.close()

    return lambda work: asyncio.run(opened(work))


@pytest.fixture
async def clinic(database: Database) -> Clinic:
    return await clinics.record_clinic(database, "Test clinic", "Europe/Berlin")


@pytest.fixture
async def other_clinic(database: Database) -> Clinic:
    return await clinics.record_clinic(database, "Other clinic", "America/Denver")


@dataclass
class Api:
    """A client of the API and the clinic it speaks for."""

    http: httpx2.AsyncClient
    clinic_id: UUID

    async def add_patient(self, external_ref: str | None = None) -> str:
        answer = await self.http.post("/v1/patients", json={"external_ref": external_ref})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


async def client(app: FastAPI, database: Database, clinic: Clinic, role: Role, patient_id: UUID | None = None) -> Api:
    _, token = await clinics.record_token(database, clinic.clinic_id, role, patient_id=patient_id)
    http = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test", headers={"Authorization": f"Bearer {token}"}
    )
    return Api(http, clinic.clinic_id)


@pytest.fixture
async def api(app: FastAPI, database: Database, clinic: Clinic) -> AsyncIterator[Api]:
    """A clinician of the test's own clinic."""
    api = await client(app, database, clinic, Role.CLINICIAN)
    async with api.http:
        yield api


@pytest.fixture
async def other_api(app: FastAPI, database: Database, other_clinic: Clinic) -> AsyncIterator[Api]:
    """A clinician of another clinic."""
    api = await client(app, database, other_clinic, Role.CLINICIAN)
    async with api.http:
        yield api


@pytest.fixture
async def admin(app: FastAPI, database: Database, clinic: Clinic) -> AsyncIterator[Api]:
    """An administrator of the test's own clinic."""
    api = await client(app, database, clinic, Role.ADMIN)
    async with api.http:
        yield api


@pytest.fixture
async def researcher(app: FastAPI, database: Database, clinic: Clinic) -> AsyncIterator[Api]:
    """A researcher of the test's own clinic."""
    api = await client(app, database, clinic, Role.RESEARCHER)
    async with api.http:
        yield api


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Nobody we know."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http:
        yield http


async def until_somebody_waits(database: Database, number: int = 1) -> None:
    """For a lock: then whoever was sent off is where the test wants them."""
    async with asyncio.timeout(30):
        while len(await database.fetch_alone("SELECT FROM pg_locks WHERE NOT granted")) < number:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parent.parent
