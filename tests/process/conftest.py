"""One real server for the whole folder: `tidemark serve --workers 2` on a private Postgres that keeps what it says."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx2
import pytest

from app import migrate
from app.auth import Role
from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress, temporary_postgres
from app.main import create_app
from app.services import clinics
from app.settings import Settings
from tests.conftest import Api
from tests.process.service import Service, data_directory, plain_environment

collect_ignore = (
    []
    if Path("/proc/self/task").is_dir()
    else ["test_crash.py", "test_idempotency_race.py", "test_load.py", "test_sockets.py"]
)


@pytest.fixture(scope="session", autouse=True)
def heard_by_children() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and whatever that starts, unless it is caught."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with data_directory() as data_dir:
        environment = plain_environment(TIDEMARK_DATA_DIR=str(data_dir))
        said = tmp_path_factory.mktemp("service") / "said.log"
        service = Service(("serve", "--workers", "2"), environment, said)
        try:
            service.start()
            yield service
        finally:
            service.end()


@pytest.fixture(scope="session")
def durable(service: Service) -> PostgresAddress:
    """Where its Postgres is. Joining it and leaving it again keeps the server in the service's hands."""
    with EmbeddedPostgres(service.cluster.parent) as joined:
        return joined.address


@pytest.fixture
async def stored(durable: PostgresAddress) -> AsyncIterator[Database]:
    """What is in it, as the service sees it."""
    database = Database(durable.runtime_url, Settings(pool_size=1))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@dataclass
class Site:
    """A clinic of the running service, one patient, and a client for each job."""

    url: str
    clinic_id: UUID
    token: str
    patient_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def client(self, timeout: float = 30.0) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        return httpx2.AsyncClient(base_url=self.url, headers=self.headers, timeout=timeout, limits=limits)

    def form(self, **fields: object) -> dict[str, object]:
        return {
            "patient_id": self.patient_id,
            "instrument": "phq-9",
            "responses": [2, 1, 3, 2, 0, 1, 1, 0, 0],
            "taken_at": "2026-03-02T09:00:00+01:00",
        } | fields


@pytest.fixture
async def site(service: Service, stored: Database) -> Site:
    clinic = await clinics.record_clinic(stored, "Test clinic", "Europe/Berlin")
    _, token = await clinics.record_token(stored, clinic.clinic_id, Role.CLINICIAN)
    site = Site(service.url, clinic.clinic_id, token, "")
    await asyncio.to_thread(service.await_ready)  # the test before may have killed some of it
    site.patient_id = await added_patient(site)
    return site


async def added_patient(site: Site) -> str:
    """The service may still be coming back from what the test before did to it."""
    async with site.client() as http:
        for _ in range(40):
            answer = await http.post("/v1/patients", json={"external_ref": "made-up"})
            if answer.status_code == 201:
                return str(answer.json()["id"])
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.25)
    raise AssertionError("the service does not come back")


@pytest.fixture(scope="module")
def own_address() -> Iterator[PostgresAddress]:
    """A Postgres of its own: other workers would build what is here, and one here call webhooks that lead outside."""
    with temporary_postgres() as server:
        migrate.upgrade(server.address.owner_url)
        yield server.address


@pytest.fixture
async def callers(own_address: PostgresAddress, tmp_path: Path) -> AsyncIterator[tuple[Api, Api, Database]]:
    """An administrator, a researcher, and the database."""
    settings = Settings(data_dir=tmp_path, rate_per_token=0, rate_per_address=0)
    app = create_app(settings, own_address.runtime_url)
    async with app.router.lifespan_context(app):
        database: Database = app.state.database
        clinic = await clinics.record_clinic(database, "Test clinic", "UTC")
        made = []
        for role in (Role.ADMIN, Role.RESEARCHER):
            _, token = await clinics.record_token(database, clinic.clinic_id, role)
            headers = {"Authorization": f"Bearer {token}"}
            http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test", headers=headers)
            made.append(Api(http, clinic.clinic_id))
        yield made[0], made[1], database
        for api in made:
            await api.http.aclose()
