"""`/metrics` over two real worker processes: one sum, whichever of them is asked, also when one of them was killed."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import httpx2
import pytest

from app.db import Database
from app.embedded_postgres import PostgresAddress
from tests.api.test_metrics import Samples, rise, samples_of
from tests.conftest import until_somebody_waits
from tests.process.conftest import Site
from tests.process.service import Service, await_gone, kill
from tests.process.test_sockets import connected, head

pytestmark = pytest.mark.anyio

ROUTE = {"method": "GET", "route": "/v1/instruments"}
HALVES = 12  # requests whose bodies do not come: they stay under way for longer than any machine is slow


async def told(service: Service) -> Samples:
    """On a connection of its own, so that either worker may answer."""
    async with httpx2.AsyncClient(base_url=service.url) as http:
        return samples_of((await http.get("/metrics")).text)


async def ask(site: Site, times: int) -> Counter[int]:
    async def once() -> int:
        async with site.client() as http:
            return (await http.get("/v1/instruments")).status_code

    return Counter(await asyncio.gather(*(once() for _ in range(times))))


async def test_either_worker_tells_of_both(service: Service, site: Site) -> None:
    """Every request is counted once, and what is asked between others changes nothing."""
    assert len(service.workers()) == 2
    before = await told(service)
    assert await ask(site, 60) == {200: 60}
    for _ in range(8):
        after = await told(service)
        assert rise(before, after, "tidemark_requests_total", **ROUTE, status="2xx") == 60
        assert rise(before, after, "tidemark_request_seconds_count", **ROUTE) == 60
        assert after["tidemark_requests_in_flight", frozenset()] == 1  # this one
        assert after["tidemark_pool_connections_most", frozenset({("pool", "hot")})] == 2 * 8
        assert after["tidemark_database_up", frozenset()] == 1


async def until_under_way(service: Service, number: int) -> None:
    async with asyncio.timeout(30):
        while (await told(service))["tidemark_requests_in_flight", frozenset()] != number:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.02)


@asynccontextmanager
async def held_up(site: Site, durable: PostgresAddress, stored: Database) -> AsyncIterator[None]:
    """Readers that wait for a lock, and hold connections of a pool meanwhile."""
    owner = await asyncpg.connect(durable.owner_url)
    try:
        async with owner.transaction(), site.client() as http:
            await owner.execute("LOCK TABLE patient IN ACCESS EXCLUSIVE MODE")
            readers = [asyncio.create_task(http.get(f"/v1/patients/{site.patient_id}")) for _ in range(4)]
            try:
                await until_somebody_waits(stored)
                yield
            finally:
                await asyncio.gather(*readers, return_exceptions=True)
    finally:
        await owner.close()


async def test_a_killed_worker_takes_nothing_along_and_leaves_nothing_behind(
    service: Service, site: Site, durable: PostgresAddress, stored: Database
) -> None:
    """What it has counted stays counted; what it had under way is over."""
    before = await told(service)
    await ask(site, 20)
    workers = service.workers()
    async with AsyncExitStack() as stack:
        for _ in range(HALVES):
            _, writer = await stack.enter_async_context(connected(service))
            writer.write(head(site, "Content-Length: 1000") + b"{")
        await until_under_way(service, HALVES + 1)  # this one
        await stack.enter_async_context(held_up(site, durable, stored))
        for pid in workers:
            kill(pid)
    assert await asyncio.to_thread(await_gone, workers) == []
    await asyncio.to_thread(service.await_ready)
    await ask(site, 20)
    after = await told(service)
    assert rise(before, after, "tidemark_requests_total", **ROUTE, status="2xx") == 40
    assert after["tidemark_requests_in_flight", frozenset()] == 1
    assert after["tidemark_pool_connections_in_use", frozenset({("pool", "orm")})] == 0


async def test_what_is_no_request_is_counted(service: Service) -> None:
    """By itself, for it has neither method nor route; probes of ports show in it."""
    before = await told(service)
    async with connected(service) as (reader, writer):
        writer.write(b"GET\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    assert rise(before, await told(service), "tidemark_unreadable_requests_total") == 1


async def test_reading_it_holds_nobody_up(site: Site) -> None:
    """It is put together beside the event loop."""
    taken = []
    async with site.client() as http:
        for _ in range(10):
            begun = time.monotonic()
            assert (await http.get("/metrics")).status_code == 200
            taken.append(time.monotonic() - begun)
    assert statistics.median(taken) < 0.5
