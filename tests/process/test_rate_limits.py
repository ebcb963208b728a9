"""Limits over real workers and sockets: they hold within what is promised, and wrong tokens to the last one."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx2
import pytest

from app.auth import new_token
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.services.rate_limits import SHARES
from app.services.request_rates import NOBODY
from tests.process.conftest import Site
from tests.process.service import Service, plain_environment

pytestmark = pytest.mark.anyio

WORKERS = 2
LIMIT = 300  # requests a minute of a token
FAILURES = 10
CONNECTIONS = 16


@pytest.fixture(scope="module")
def limited(durable: PostgresAddress, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Another service on the same database, with limits."""
    place = tmp_path_factory.mktemp("limited")
    environment = plain_environment(
        TIDEMARK_DATABASE_URL=durable.runtime_url,
        TIDEMARK_DATA_DIR=str(place),
        TIDEMARK_RATE_PER_TOKEN=str(LIMIT),
        TIDEMARK_FAILED_LOGINS_PER_ADDRESS=str(FAILURES),
        TIDEMARK_TRUSTED_PROXIES="127.0.0.1",
    )
    limited = Service(("serve", "--workers", str(WORKERS), "--no-worker"), environment, place / "said.log")
    try:
        limited.start()
        yield limited
    finally:
        limited.end()


async def spread(limited: Service, token: str, times: int, sent_from: str = "192.0.2.1") -> list[httpx2.Response]:
    """Over many connections, which the workers share between them, from a made-up address behind the proxy we are."""
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": sent_from}

    async def one_connection() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(base_url=limited.url, headers=headers, timeout=30) as http:
            return [await http.get("/v1/instruments") for _ in range(times // CONNECTIONS)]

    told = await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    return [answer for answers in told for answer in answers]


def told_of(answers: list[httpx2.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def test_a_limit_holds_over_workers(limited: Service, site: Site) -> None:
    """No less than the limit is served, and over it at most a fiftieth for each worker; `/livez` knows of no limit."""
    assert len(limited.workers()) == WORKERS
    begun = time.monotonic()
    answers = [answer for _ in range(3) for answer in await spread(limited, site.token, LIMIT)]
    assert time.monotonic() - begun < 60, "too slow to meet the limit of a minute"
    served = told_of(answers)
    assert set(served) == {200, 429}
    assert LIMIT <= served[200] <= LIMIT + WORKERS * LIMIT // SHARES
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(1 <= int(answer.headers["Retry-After"]) <= 70 for answer in refused)
    assert {answer.headers["content-type"] for answer in refused} == {"application/problem+json"}
    assert {httpx2.get(f"{limited.url}/livez").status_code for _ in range(8)} == {200}


async def test_wrong_tokens_are_counted_to_the_last(limited: Service, stored: Database) -> None:
    """Of 160 at once exactly ten are answered 401, whichever worker they meet; other addresses do not feel it."""
    wrong, _ = new_token(uuid4(), uuid4())
    assert told_of(await spread(limited, wrong, 160, "198.51.100.1")) == {401: FAILURES, 429: 160 - FAILURES}
    assert told_of(await spread(limited, wrong, CONNECTIONS, "198.51.100.1")) == {429: CONNECTIONS}
    other = await spread(limited, new_token(UUID(int=7), uuid4())[0], CONNECTIONS, "2001:db8::1")
    assert told_of(other) == {401: FAILURES, 429: CONNECTIONS - FAILURES}
    async with stored.connection(NOBODY) as connection:
        counted = [row["key"] for row in await connection.fetch("SELECT key FROM request_rate ORDER BY key")]
    assert counted == ["198.51.100.1", "2001:db8::/64"]
