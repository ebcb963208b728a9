"""What `/metrics` counts, who may read it, and what never stands in it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.errors import UnavailableError
from app.main import create_app
from app.metrics import REQUESTS, Lag, Moment, text
from app.services import worker_lag
from app.services.audit_chain import Sealer
from app.services.worker_lag import LagWatch
from app.settings import Settings
from tests.conftest import Api, until_somebody_waits

pytestmark = pytest.mark.anyio

CANARY = "canary-4711"
TOKEN = "0f" * 32
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


async def counted(http: httpx2.AsyncClient) -> Samples:
    answer = await http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples_of(answer.text)


def rise(before: Samples, after: Samples, name: str, **labels: str) -> float:
    key = (name, frozenset(labels.items()))
    return after.get(key, 0.0) - before.get(key, 0.0)


def form(patient_id: str, **fields: Any) -> dict[str, Any]:
    fixed = {"patient_id": patient_id, "instrument": "phq-9", "responses": [1] * 9, "taken_at": "2026-03-02T09:00:00Z"}
    return fixed | fields


@asynccontextmanager
async def served(address: str, **settings: Any) -> AsyncIterator[tuple[FastAPI, httpx2.AsyncClient]]:
    app = create_app(Settings(**settings), address)
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test")
    async with app.router.lifespan_context(app), http:
        yield app, http


# --- Who may read it --------------------------------------------------------------------------------------------------


async def test_it_is_open_unless_a_token_is_set(anonymous: httpx2.AsyncClient, address: PostgresAddress) -> None:
    """With one set it is asked for, and a token of a clinic is not it."""
    assert (await anonymous.get("/metrics")).status_code == 200
    async with served(address.runtime_url, metrics_token=TOKEN) as (_, http):
        for sent in (
            {},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": TOKEN},
            {"Authorization": "Bearer é"},
        ):
            headers = {name.encode(): value.encode() for name, value in sent.items()}
            answer = await http.get("/metrics", headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), sent
            assert "tidemark_" not in answer.text
        assert (await http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 200


# --- What it counts ---------------------------------------------------------------------------------------------------


async def test_requests_are_counted_by_route_method_and_kind_of_status(api: Api, anonymous: httpx2.AsyncClient) -> None:
    """With how long they took; an address or a method that is none of ours makes no series of its own."""
    patient_id = await api.add_patient()
    before, begun = await counted(anonymous), time.perf_counter()
    for _ in range(3):
        await api.http.get(f"/v1/patients/{patient_id}")
    await api.http.get(f"/v1/patients/{uuid4()}")
    await api.http.get(f"/{CANARY}")
    await api.http.request(CANARY.upper(), f"/{CANARY}")
    after = await counted(anonymous)
    route = {"method": "GET", "route": "/v1/patients/{patient_id}"}
    assert rise(before, after, "tidemark_requests_total", **route, status="2xx") == 3
    assert rise(before, after, "tidemark_requests_total", **route, status="4xx") == 1
    assert rise(before, after, "tidemark_request_seconds_count", **route) == 4
    assert rise(before, after, "tidemark_request_seconds_bucket", **route, le="+Inf") == 4
    assert 0 < rise(before, after, "tidemark_request_seconds_sum", **route) < time.perf_counter() - begun
    for method in ("GET", "other"):
        assert rise(before, after, "tidemark_requests_total", method=method, route="none", status="4xx") == 1


async def test_check_ins_are_counted_by_what_became_of_them(api: Api, anonymous: httpx2.AsyncClient) -> None:
    """Single ones and those of a batch."""
    patient_id, id_ = await api.add_patient(), str(uuid4())
    before = await counted(anonymous)
    for _ in range(2):
        await api.http.post("/v1/assessments", json=form(patient_id, id=id_))
    await api.http.post("/v1/assessments", json=form(str(uuid4())))
    rows = [form(patient_id), form(patient_id, id=id_), form(str(uuid4())), form(patient_id, responses=[9] * 9)]
    assert (await api.http.post("/v1/assessments/batch", json={"assessments": rows})).status_code == 200
    after = await counted(anonymous)
    told = {
        outcome: rise(before, after, "tidemark_check_ins_total", outcome=outcome)
        for outcome in ("stored", "replayed", "refused", "failed")
    }
    assert told == {"stored": 2, "replayed": 2, "refused": 3, "failed": 0}


async def test_what_is_under_way_is_counted_while_it_lasts(
    api: Api, anonymous: httpx2.AsyncClient, address: PostgresAddress, database: Database
) -> None:
    """Requests and the connections they hold; a trouble is counted by its code."""
    patient_id = await api.add_patient()
    before = await counted(anonymous)
    owner = await asyncpg.connect(address.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE patient IN ACCESS EXCLUSIVE MODE")
            waiting = [
                asyncio.create_task(api.http.get(f"/v1/patients/{patient_id}")),
                asyncio.create_task(api.http.post("/v1/assessments", json=form(patient_id))),
            ]
            await until_somebody_waits(database, len(waiting))
            during = await counted(anonymous)
            assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {503}
    finally:
        await owner.close()
    after = await counted(anonymous)
    assert rise(before, during, "tidemark_requests_in_flight") == 2
    for pool in ("hot", "orm"):
        assert rise(before, during, "tidemark_pool_connections_in_use", pool=pool) == 1
        assert rise(before, after, "tidemark_pool_connections_in_use", pool=pool) == 0
        assert rise(before, after, "tidemark_pool_wait_seconds_count", pool=pool) >= 1
        assert during["tidemark_pool_connections_most", frozenset({("pool", pool)})] >= 1
    assert rise(before, after, "tidemark_requests_in_flight") == 0
    assert rise(before, after, "tidemark_database_troubles_total", reason="55P03") == 2
    assert rise(before, after, "tidemark_check_ins_total", outcome="failed") == 1


async def test_a_full_pool_is_counted(address: PostgresAddress, anonymous: httpx2.AsyncClient) -> None:
    """Under a name of its own, because more connections would cure it."""
    before = await counted(anonymous)
    crowded = Database(address.runtime_url, Settings(pool_size=1, orm_pool_size=1, pool_wait_seconds=0.1))
    await crowded.open()
    try:
        async with crowded._bare_connection():
            with pytest.raises(UnavailableError):
                await crowded.fetch_alone("SELECT 1")
    finally:
        await crowded.close()
    after = await counted(anonymous)
    assert rise(before, after, "tidemark_database_troubles_total", reason="no_connection_in_time") == 1


# --- The worker behind ------------------------------------------------------------------------------------------------


async def lag_of(database: Database) -> Lag:
    database_up, lag = await LagWatch().look(database)
    assert database_up
    assert lag is not None
    return lag


async def test_the_trail_that_nobody_seals_is_told(api: Api, database: Database) -> None:
    """By the age of its oldest event, and not once it is sealed."""
    await api.add_patient()
    await asyncio.sleep(0.05)
    assert 0.05 <= (await worker_lag._lag_of(database, api.clinic_id)).seal_seconds < 30
    assert (await lag_of(database)).seal_seconds >= 0.05
    await Sealer(database).take_turn(api.clinic_id)
    assert (await worker_lag._lag_of(database, api.clinic_id)).seal_seconds == 0


async def test_a_webhook_that_should_be_out_is_told(api: Api, admin: Api, database: Database) -> None:
    """By how long it is overdue; one that waits for its next try is not."""
    hook = {"url": "https://93.184.215.14/hook", "events": [], "label": "pager"}
    made = await admin.http.post("/v1/webhooks", json=hook)
    assert made.status_code == 201, made.text
    worrying = [3] * 9
    now = datetime.now(UTC)
    sent = form(await api.add_patient(), responses=worrying, taken_at=(now - timedelta(hours=1)).isoformat())
    assert (await api.http.post("/v1/assessments", json=sent)).status_code == 201
    for due, expected in ((now - timedelta(minutes=5), 300.0), (now + timedelta(minutes=5), 0.0)):
        async with database.connection(api.clinic_id) as connection:
            moved = "UPDATE delivery SET next_attempt_at = $2 WHERE clinic_id = $1"
            assert await connection.execute(moved, api.clinic_id, due) != "UPDATE 0"
        told = (await worker_lag._lag_of(database, api.clinic_id)).delivery_seconds
        assert expected <= told < expected + 30


async def test_the_lag_is_asked_for_now_and_then(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often somebody reads `/metrics`."""
    asked = 0

    async def ask(_: Database) -> tuple[bool, Lag | None]:
        nonlocal asked
        asked += 1
        return True, Lag()

    monkeypatch.setattr("app.services.worker_lag._look", ask)
    watch = LagWatch()
    await asyncio.gather(*(watch.look(database) for _ in range(20)))
    assert asked == 1


async def test_a_lag_that_is_not_known_is_not_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many clinics to be asked in time are no reason to call the database away."""
    monkeypatch.setattr("app.services.worker_lag.MOST_SECONDS", 0)
    assert await LagWatch().look(database) == (True, None)
    told = samples_of(text(Moment("0", database_up=True, lag=None)).decode())
    assert told["tidemark_database_up", frozenset()] == 1
    assert not [name for name, _ in told if name.startswith("tidemark_worker_")]


async def test_a_database_that_is_away_is_told() -> None:
    """At once and without the figures that it alone knows."""
    async with served("postgresql://nobody@127.0.0.1:1/none") as (_, http):
        told = await counted(http)
    assert told["tidemark_database_up", frozenset()] == 0
    assert not [name for name, _ in told if name.startswith("tidemark_worker_")]


# --- What never stands in it ------------------------------------------------------------------------------------------


async def test_labels_are_words_of_the_program(api: Api, anonymous: httpx2.AsyncClient) -> None:
    """No id, nothing anybody sent, and no series that somebody from outside could multiply."""
    patient_id = await api.add_patient(CANARY)
    for path in (
        f"/v1/patients/{patient_id}?q={CANARY}",
        f"/{CANARY}",
        f"/v1/instruments/{CANARY}",
        f"/problems/{CANARY}",
    ):
        await api.http.get(path)
    text = (await anonymous.get("/metrics")).text
    assert CANARY not in text
    assert patient_id not in text
    assert str(api.clinic_id) not in text
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", text)
    labels = {name for _, pairs in samples_of(text) for name, _ in pairs}
    assert labels == {"method", "route", "status", "le", "outcome", "pool", "reason", "version", "python"}


async def test_counting_costs_little() -> None:
    """Of each request. Measured: 3 µs of this process; the limit leaves room for a slow machine."""
    begun = time.process_time()
    for _ in range(2_000):
        REQUESTS.begin()
        REQUESTS.end("GET", "/livez", 200, 0.001)
    assert (time.process_time() - begun) / 2_000 < 100e-6
