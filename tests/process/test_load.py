"""Many at once: parallel twins, a locked table, an orderly end under load."""

import asyncio
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.settings import Settings
from tests.process.conftest import Site
from tests.process.service import Service, await_gone, complaints, is_alive, kill, plain_environment

pytestmark = pytest.mark.anyio

TWINS = 40  # parallel sends of one form
FORMS = 50
WRITERS = 60  # check-ins that meet the locked table; far more than there are connections
READERS = 60  # of one patient, likewise
AT_ONCE = 60
ALIVE_SECONDS = 0.1
SLACK_SECONDS = 1.5  # on top of what the settings promise, and of what a busy machine needs


async def answers_of(http: httpx2.AsyncClient, body: dict[str, object], times: int) -> list[httpx2.Response]:
    return await asyncio.gather(*(http.post("/v1/assessments", json=body) for _ in range(times)))


async def test_parallel_twins_are_one_form(service: Service, site: Site, stored: Database) -> None:
    """Over two workers: one row for each id, 201 for all, all but one say so, every body the same to the byte."""
    assert len(service.workers()) == 2
    ids = [str(uuid4()) for _ in range(FORMS)]
    async with site.client() as http:
        for id_ in ids:
            answers = await answers_of(http, site.form(id=id_), TWINS)
            assert {answer.status_code for answer in answers} == {201}
            assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == TWINS - 1
            assert len({answer.content for answer in answers}) == 1
    assert await ids_of(site, stored) == sorted(ids)


async def ids_of(site: Site, stored: Database) -> list[str]:
    async with stored.connection(site.clinic_id) as connection:
        return sorted(str(row["id"]) for row in await connection.fetch("SELECT id FROM assessment"))


@pytest.fixture
async def owner(durable: PostgresAddress) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(durable.owner_url)
    try:
        yield connection
    finally:
        await connection.close()


async def timed(http: httpx2.AsyncClient, method: str, path: str, **what: object) -> tuple[httpx2.Response, float]:
    begun = time.monotonic()
    answer = await http.request(method, path, **what)  # type: ignore[arg-type]  # handed through
    return answer, time.monotonic() - begun


async def longest_of_many(http: httpx2.AsyncClient) -> float:
    """What the last of sixty waits when nothing is in its way: tells how busy the machine is."""
    told = await asyncio.gather(*(timed(http, "GET", "/v1/instruments") for _ in range(AT_ONCE)))
    assert {answer.status_code for answer, _ in told} == {200}
    return max(seconds for _, seconds in told)


async def test_a_locked_table_is_a_quick_503(site: Site, stored: Database, owner: asyncpg.Connection) -> None:
    """Nobody waits for ever, `/livez` goes on, nothing is half written; once it is free the same forms are stored."""
    forms = [site.form(id=str(uuid4())) for _ in range(WRITERS)]
    async with site.client() as http:
        usual = await longest_of_many(http)
        async with owner.transaction():
            await owner.execute("LOCK TABLE assessment IN ACCESS EXCLUSIVE MODE")
            writers = [asyncio.create_task(timed(http, "POST", "/v1/assessments", json=form)) for form in forms]
            await asyncio.sleep(0.3)
            alive = [await timed(http, "GET", "/livez") for _ in range(10)]
            refused = await asyncio.gather(*writers)
        usual = max(usual, await longest_of_many(http))
        assert {answer.status_code for answer, _ in refused} == {503}
        assert all(answer.headers["Retry-After"] for answer, _ in refused)
        assert max(seconds for _, seconds in refused) < Settings().lock_timeout_ms / 1000 + SLACK_SECONDS + 3 * usual
        assert {answer.status_code for answer, _ in alive} == {200}
        assert statistics.median(seconds for _, seconds in alive) < ALIVE_SECONDS + usual
        assert await ids_of(site, stored) == []
        async with stored.connection(site.clinic_id) as connection:
            assert await connection.fetchval("SELECT count(*) FROM audit_event WHERE subject_id IS NULL") == 0
            assert await connection.fetchval("SELECT count(*) FROM audit_event") == 1  # the patient's
        for form in forms:
            answer = await http.post("/v1/assessments", json=form)
            assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (201, False)
    assert await ids_of(site, stored) == sorted(str(form["id"]) for form in forms)


async def test_a_full_pool_is_a_quick_503(site: Site, owner: asyncpg.Connection) -> None:
    """Sixty slow readers on the smaller pool: who gets no connection is told so soon, and nobody else feels it.

    Those that hold one wait for their lock, two seconds; all others give up after one.
    """
    settings = Settings()
    holders = 2 * settings.orm_pool_size  # of two workers
    path = f"/v1/patients/{site.patient_id}"
    async with site.client() as http:
        usual = await longest_of_many(http)
        async with owner.transaction():
            await owner.execute("LOCK TABLE patient IN ACCESS EXCLUSIVE MODE")
            readers = [asyncio.create_task(timed(http, "GET", path)) for _ in range(READERS)]
            await asyncio.sleep(0.3)
            alive = [await timed(http, "GET", "/livez") for _ in range(10)]
            unconcerned = [await timed(http, "GET", "/v1/instruments") for _ in range(10)]
            refused = await asyncio.gather(*readers)
        after = [await timed(http, "GET", path) for _ in range(10)]
        usual = max(usual, await longest_of_many(http))
    assert {answer.status_code for answer, _ in refused} == {503}
    assert all(answer.headers["Retry-After"] for answer, _ in refused)
    taken = sorted(seconds for _, seconds in refused)
    assert taken[-1] < settings.lock_timeout_ms / 1000 + SLACK_SECONDS + 3 * usual
    assert taken[READERS - holders - 1] < settings.pool_wait_seconds + SLACK_SECONDS + 3 * usual
    assert statistics.median(seconds for _, seconds in alive) < ALIVE_SECONDS + usual
    for told in (alive, unconcerned, after):
        assert {answer.status_code for answer, _ in told} == {200}
        assert statistics.median(seconds for _, seconds in told) < 0.25 + usual


@pytest.fixture
def second_service(durable: PostgresAddress, tmp_path: Path) -> Iterator[Service]:
    """Another one on the same database, as a rolling restart has it; that one may be ended by a test."""
    environment = plain_environment(TIDEMARK_DATABASE_URL=durable.runtime_url, TIDEMARK_DATA_DIR=str(tmp_path))
    second = Service(("serve", "--workers", "2"), environment, tmp_path / "said.log")
    try:
        second.start()
        yield second
    finally:
        second.end()


async def test_sigterm_answers_what_was_accepted(second_service: Service, site: Site, stored: Database) -> None:
    """Every form that was stored was answered; no other error than 503; the exit status is 0, and no process stays."""
    workers = second_service.workers()
    assert len(workers) == 2
    statuses: list[int] = []
    acknowledged: list[str] = []

    async def client() -> None:
        async with httpx2.AsyncClient(base_url=second_service.url, headers=site.headers, timeout=20) as http:
            while True:
                try:
                    answer = await http.post("/v1/assessments", json=site.form(id=str(uuid4())))
                except httpx2.TransportError:
                    return
                statuses.append(answer.status_code)
                if answer.status_code == 201:
                    acknowledged.append(answer.json()["id"])

    clients = [asyncio.create_task(client()) for _ in range(16)]
    while len(acknowledged) < 50:  # noqa: ASYNC110  # an event for each would slow the load
        await asyncio.sleep(0.01)
    assert await asyncio.to_thread(second_service.stop, signal.SIGTERM) == 0
    await asyncio.gather(*clients)
    assert set(statuses) <= {201, 503}
    assert await ids_of(site, stored) == sorted(acknowledged)
    assert [pid for pid in workers if is_alive(pid)] == []
    assert complaints(second_service.said) == []


async def test_workers_do_not_outlive_their_launcher(second_service: Service) -> None:
    """A killed launcher frees the port: the next start is not refused by orphans that still hold it."""
    workers = second_service.workers()
    assert len(workers) == 2
    kill(second_service.launcher.pid)
    second_service.launcher.wait()
    assert await asyncio.to_thread(await_gone, workers) == []
    second_service.start()
    assert httpx2.get(f"{second_service.url}/livez").json() == {"status": "alive"}


async def test_a_killed_postgres_comes_back(service: Service, site: Site) -> None:
    """Without anybody's hand, at the same address, for reads through every pool."""
    before = service.postmaster()
    assert before is not None
    kill(before)
    deadline = time.monotonic() + 30
    async with site.client() as http:
        good = 0
        while good < 10 and time.monotonic() < deadline:
            answer = await http.get(f"/v1/patients/{site.patient_id}")
            assert answer.status_code in (200, 503), answer.text
            good = good + 1 if answer.status_code == 200 else 0
            await asyncio.sleep(0.05)
    assert good == 10
    assert service.postmaster() not in (None, before)
