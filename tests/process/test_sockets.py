"""What arrives on the wire when nobody means well: endless bodies and heads, half requests, no HTTP at all."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.process.conftest import Site
from tests.process.service import Service

pytestmark = pytest.mark.anyio

MEGABYTE = 1024 * 1024
BODY_BYTES = 100 * MEGABYTE
MOST_GROWTH = 20 * MEGABYTE
PIECE = b"x" * 65_536
MOST_HEAD_BYTES = 65_536
SOCKETS = 200


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def head(site: Site, *lines: str, asked: str = "POST /v1/assessments") -> bytes:
    fixed = (f"{asked} HTTP/1.1", "Host: test", f"Authorization: Bearer {site.token}")
    return "\r\n".join((*fixed, "Content-Type: application/json", *lines, "", "")).encode()


async def status_of(reader: asyncio.StreamReader) -> int:
    line = await asyncio.wait_for(reader.readline(), 20)
    return int(line.split()[1])


def peak_bytes(service: Service) -> int:
    """The most memory any worker ever had."""
    lines = [line for pid in service.workers() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return max(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


async def pour(writer: asyncio.StreamWriter, size: int, *, chunked: bool) -> None:
    """All of it, if the server lets us."""
    with suppress(OSError):
        for _ in range(size // len(PIECE)):
            writer.write(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
            await writer.drain()


async def assert_well(site: Site) -> None:
    async with site.client() as http:
        for _ in range(4):  # both workers, most likely
            answer = await http.post("/v1/assessments", json=site.form())
            assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("line", "chunked"), [(f"Content-Length: {BODY_BYTES}", False), ("Transfer-Encoding: chunked", True)]
)
async def test_a_hundred_megabytes_are_refused_unread(
    service: Service, site: Site, line: str, *, chunked: bool
) -> None:
    """413 while it still comes in, whether or not the size was announced, and no worker keeps it."""
    await assert_well(site)
    before = peak_bytes(service)
    async with connected(service) as (reader, writer):
        writer.write(head(site, line))
        pouring = asyncio.create_task(pour(writer, BODY_BYTES, chunked=chunked))
        assert await status_of(reader) == 413
        await pouring
    assert peak_bytes(service) - before < MOST_GROWTH
    await assert_well(site)


async def test_a_head_without_an_end_is_cut_off(service: Service, site: Site) -> None:
    """A header that never ends gets 400 as soon as it is too long, and no worker keeps it."""
    begun = head(site)[:-2] + b"X-Long: "
    async with connected(service) as (reader, writer):
        writer.write(begun + b"x" * (MOST_HEAD_BYTES - len(begun)))
        await writer.drain()
        await asyncio.sleep(0.1)  # the last bytes come alone: what is unread at a close costs the client its answer
        writer.write(b"xx")
        assert await status_of(reader) == 400
    before = peak_bytes(service)
    async with connected(service) as (_, writer):
        writer.write(begun)
        await pour(writer, BODY_BYTES, chunked=False)
        assert writer.transport.is_closing(), "it was read to its end"
    assert peak_bytes(service) - before < MOST_GROWTH
    await assert_well(site)


async def test_five_thousand_headers_are_refused(service: Service, site: Site) -> None:
    """400 like any other unreadable request, although each is small and the token is good; ninety are not too many."""
    for headers, status in ((90, 200), (5_000, 400)):
        async with connected(service) as (reader, writer):
            writer.write(head(site, *(f"X-{number}: y" for number in range(headers)), asked="GET /v1/instruments"))
            assert await status_of(reader) == status
    await assert_well(site)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /v1/assessments HTTP/9.9\r\n\r\n",
        b"POST /v1/assessments HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST /v1/assessments HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/assessments HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/assessments HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"POST /v1/assessments HTTP/1.1\r\nX: a\x00b\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_400(service: Service, site: Site, raw: bytes) -> None:
    """Answered in the one shape of all errors, and the connection is closed."""
    async with connected(service) as (reader, writer):
        writer.write(raw)
        answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json\r\n" in answer
    assert b"x-content-type-options: nosniff\r\n" in answer
    assert b"x-request-id: " in answer
    await assert_well(site)


async def test_half_requests_keep_nobody_waiting(service: Service, site: Site) -> None:
    """Two hundred connections that stop in the middle of the head, or of the body; everybody else is served as ever."""
    halves = [head(site)[:-2], head(site, "Content-Length: 1000") + b'{"responses": [']
    open_sockets = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(SOCKETS)]
    try:
        for number, (_, writer) in enumerate(open_sockets):
            writer.write(halves[number % 2])
            await writer.drain()
        taken = []
        async with site.client() as http:
            until = time.monotonic() + 2
            while time.monotonic() < until:
                begun = time.monotonic()
                assert (await http.post("/v1/assessments", json=site.form())).status_code == 201
                taken.append(time.monotonic() - begun)
        assert sorted(taken)[int(len(taken) * 0.95)] < 1
    finally:
        for _, writer in open_sockets:
            writer.close()
