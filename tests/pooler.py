"""A pooler in transaction mode at its worst: no two transactions of a client in a row meet the same server connection.

PgBouncer hands out the one it used last, so that what sticks to a connection is found again by luck while little is
done. Like PgBouncer it refuses settings at the start of a connection.
"""

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

import asyncpg

from app.embedded_postgres import PostgresAddress

SERVERS: Final = 4  # connections to Postgres, shared by all clients
_HANDED_ON: Final = {b"user", b"database", b"client_encoding", b"application_name"}
_SSL_REQUEST: Final = 80877103
_IDLE: Final = b"I"
# The last of what a client waits for, by what it sent: after a Flush that is how its statement is described.
_ANSWERED: Final = {b"Q": b"Z", b"S": b"Z", b"H": b"TnE"}


@dataclass(frozen=True, slots=True)
class Wire:
    """One connection, to a client or to Postgres, read message by message."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def startup(self) -> bytes:
        (length,) = struct.unpack("!I", head := await self.reader.readexactly(4))
        return head + await self.reader.readexactly(length - 4)

    async def message(self) -> tuple[bytes, bytes]:
        """Its kind, and the whole of it."""
        head = await self.reader.readexactly(5)
        (length,) = struct.unpack("!I", head[1:])
        return head[:1], head + await self.reader.readexactly(length - 4)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@dataclass
class Pooler:
    """Where Postgres is, and the connections to it that nobody is using, longest unused first."""

    host: str
    port: int
    free: deque[Wire] = field(default_factory=deque)
    freed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Wire(reader, writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._log_in(client)
            while await self._transaction(client):
                pass
        writer.close()

    async def _log_in(self, client: Wire) -> None:
        """With a new connection to Postgres, which is everybody's afterwards."""
        asked = await client.startup()
        if struct.unpack("!I", asked[4:8]) == (_SSL_REQUEST,):
            await client.send(b"N")
            asked = await client.startup()
        if set(asked[8:].split(b"\0")[:-2:2]) - _HANDED_ON:
            raise ConnectionRefusedError("unsupported startup parameter")
        server = Wire(*await asyncio.open_connection(self.host, self.port))
        await server.send(asked)
        while True:
            kind, message = await server.message()
            await client.send(message)
            if kind == b"Z":
                break
            if kind == b"R" and message[5:9] in (struct.pack("!I", step) for step in (3, 5, 10, 11)):
                await server.send((await client.message())[1])
        await self._give_back(server)

    async def _transaction(self, client: Wire) -> bool:
        """Whether there may be another."""
        kind, message = await client.message()
        if kind == b"X":
            return False
        server = await self._take()
        try:
            await self._hand_on(client, server, kind, message)
        except BaseException:
            server.writer.close()  # so that Postgres takes back what was begun
            raise
        await self._give_back(server)
        return True

    async def _hand_on(self, client: Wire, server: Wire, kind: bytes, message: bytes) -> None:
        """From this first message of a transaction to its end."""
        while True:
            await server.send(message)
            if kind in _ANSWERED and await self._answered(server, client, _ANSWERED[kind]) == _IDLE:
                return
            kind, message = await client.message()

    async def _answered(self, server: Wire, client: Wire, last: bytes) -> bytes | None:
        """Hands everything on up to the last of what is due; how the server's transaction stands, if it said so."""
        while True:
            kind, message = await server.message()
            await client.send(message)
            if kind in last:
                return message[5:6] if kind == b"Z" else None

    async def _take(self) -> Wire:
        async with self.freed:
            await self.freed.wait_for(lambda: self.free)
            return self.free.popleft()

    async def _give_back(self, server: Wire) -> None:
        async with self.freed:
            self.free.append(server)
            self.freed.notify()


@asynccontextmanager
async def pooled(address: PostgresAddress) -> AsyncIterator[PostgresAddress]:
    """The same database behind such a pooler, which has met nobody but those who opened its connections."""
    pooler = Pooler(address.host, address.port)
    listener = await asyncio.start_server(pooler.serve, address.host, 0)
    behind = replace(address, port=listener.sockets[0].getsockname()[1])
    try:
        for _ in range(SERVERS):
            await (await asyncpg.connect(behind.runtime_url, statement_cache_size=0)).close()
        yield behind
    finally:
        listener.close()
        for server in pooler.free:
            server.writer.close()
