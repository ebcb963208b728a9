"""The patience with a head or a body that has no end. Their bounds of size are tested over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from app import http_protocol
from app.http_protocol import BoundedProtocol

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 0.5


async def answer(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: object) -> None:
    if scope["method"] == "POST":
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
    await asyncio.sleep(2 * PATIENCE_SECONDS)  # the patience is with what is sent to us alone, not with the answer
    await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]  # ASGI
    await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]  # same


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(http_protocol, "MAX_HEAD_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(http_protocol, "MAX_BODY_SECONDS", PATIENCE_SECONDS)
    config = Config(answer, log_config=None, http=BoundedProtocol, lifespan="off", timeout_keep_alive=30)
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedProtocol(config, ServerState(), {}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: "])
async def test_a_slow_head_is_not_waited_for(port: int, begun: bytes) -> None:
    """Nothing, or the half of a head: the connection is closed when the time is over, and not before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begun)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), PATIENCE_SECONDS / 2)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_whole_head_has_time(port: int) -> None:
    """A slow answer comes, on a connection that stays open, and a second one after it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 204 ")
    writer.close()


@pytest.mark.parametrize("begun", [b"", b"half of"])
async def test_a_slow_body_is_not_waited_for(port: int, begun: bytes) -> None:
    """After a whole head: nothing more, or half of what was announced."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n" + begun)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), PATIENCE_SECONDS / 2)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_whole_body_has_time(port: int) -> None:
    """Sent in two pieces, twice on one connection: the patience with one body does not end the next."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nhalf")
        await asyncio.sleep(PATIENCE_SECONDS / 3)
        writer.write(b"half")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 204 ")
    writer.close()


# --- Where one request ends and the next begins -----------------------------------------------------------------------

POST = b"POST / HTTP/1.1\r\nHost: test\r\n"
AMBIGUOUS = {
    "both lengths": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, the other way": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 0, 5\r\n\r\n",
    "a signed length": POST + b"Content-Length: +5\r\n\r\n",
    "a hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding after a control": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": POST + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
    "a negative chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk beyond all numbers": POST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "a chunk that ends by half": POST + b"Transfer-Encoding: chunked\r\n\r\n0;\n\r\n\r\n",
    "lines that end by half": b"GET / HTTP/1.1\nHost: test\n\n",
    "a lone carriage return": b"GET / HTTP/1.1\r\nHost: test\rX-A: b\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: test\r\nX: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_what_a_proxy_could_read_otherwise_ends_the_connection(port: int, sent: bytes) -> None:
    """A second request behind it, which a proxy may have taken for the body of the first, is never answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent + b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")
    answered = await asyncio.wait_for(reader.read(), 5)
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert answered.count(b"HTTP/1.1 4") + answered.count(b"HTTP/1.1 2") == 1
    writer.close()
