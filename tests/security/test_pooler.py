"""Behind a pooler in transaction mode: every operation, twins at the same time, the worker, and nothing left behind."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.main import create_app
from app.services.audit_chain import Sealer
from app.services.release_builds import build_next
from app.services.releases import end_releases
from app.services.reminders import remind
from app.services.upkeep import rederive_all
from app.settings import Settings
from tests.pooler import SERVERS, pooled
from tests.security.estate import RELEASE, Estate, open_estate
from tests.security.operations import FORM, walk

pytestmark = pytest.mark.anyio

TWINS = 12  # at once, far more than the pooler has connections


@pytest.fixture(scope="module")
async def behind(address: PostgresAddress) -> AsyncIterator[PostgresAddress]:
    async with pooled(address) as behind:
        yield behind


@pytest.fixture(scope="module")
async def pooled_app(
    behind: PostgresAddress, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FastAPI]:
    own = {"database_pooler": "transaction", "data_dir": tmp_path_factory.mktemp("pooled"), "pool_wait_seconds": 20}
    app = create_app(settings.model_copy(update=own), behind.runtime_url)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="module")
async def estate(pooled_app: FastAPI) -> AsyncIterator[Estate]:
    async with open_estate(pooled_app, pooled_app.state.database, "pooled") as estate:
        yield estate


async def test_settings_at_the_start_of_a_connection_are_refused(behind: PostgresAddress, tmp_path: Path) -> None:
    """As by PgBouncer: whoever forgets the switch does not run without its limits."""
    database = Database(behind.runtime_url, Settings(data_dir=tmp_path))
    await database.open()
    try:
        with pytest.raises(Exception, match="busy or away"):
            await database.schema_revision()
    finally:
        await database.close()


async def test_twins_at_the_same_time_are_one_form(estate: Estate) -> None:
    """Through both pools at once: 201 for all, all but one say that it was stored before."""
    http, patient = estate.http[Role.CLINICIAN], estate.things["patient"]
    body = FORM | {"id": str(uuid4()), "patient_id": patient}
    writes = [http.post("/v1/assessments", json=body) for _ in range(TWINS)]
    reads = [http.get(f"/v1/patients/{patient}") for _ in range(TWINS)]
    answers = await asyncio.gather(*writes, *reads)
    assert [answer.status_code for answer in answers] == [201] * TWINS + [200] * TWINS
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == TWINS - 1


async def test_the_worker_does_its_turn(estate: Estate) -> None:
    """All but calling others: the trail's lock is held for a transaction, a release reads one snapshot."""
    database, clinic_id = estate.database, estate.clinic_id
    asked = await estate.http[Role.RESEARCHER].post("/v1/releases", json=RELEASE)
    release = f"/v1/releases/{asked.json()['id']}"
    approved = await estate.http[Role.ADMIN].post(f"{release}/approval", json={"decision": "approved"})
    assert approved.is_success, approved.text
    assert await build_next(database, clinic_id) == 1
    told = (await estate.http[Role.RESEARCHER].get(release)).json()
    assert (told["status"], told["failure"]) == ("failed", "nobody_can_be_hidden")  # all have one category
    assert await Sealer(database).take_turn(clinic_id) > 0
    assert await remind(database, clinic_id, datetime.now(UTC)) >= 0
    assert await rederive_all(database, clinic_id) > SERVERS
    await end_releases(database, clinic_id)


async def test_every_operation_answers(estate: Estate) -> None:
    await walk(estate)


async def test_no_statement_stays_on_a_server(estate: Estate, behind: PostgresAddress) -> None:
    """Whoever comes next would inherit them, and nobody would ever let go of them."""
    await estate.http[Role.ADMIN].get("/v1/patients")
    for _ in range(SERVERS):
        connection = await asyncpg.connect(behind.runtime_url, statement_cache_size=0)
        left = await connection.fetch("SELECT statement FROM pg_prepared_statements WHERE name <> ''")
        await connection.close()
        assert left == []
