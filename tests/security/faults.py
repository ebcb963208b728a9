"""Faults put in the way of a request's calls to Postgres, one call at a time, by whichever pool it goes."""

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest
from asyncpg.protocol import Protocol

# All ways by which the driver asks the server for something.
CALLS: Final = ("query", "prepare", "bind_execute", "bind_execute_many")


@dataclass(frozen=True)
class Fault:
    """What goes wrong. The server itself raises what has a code, so the transaction is in the state it would be in."""

    name: str
    sqlstate: str | None = None  # None: the connection is lost
    is_done: bool = False  # the call took effect, its answer is lost
    status: int = 503


LOST: Final = Fault("connection lost")
ANSWER_LOST: Final = Fault("answer lost", is_done=True)
FAULTS: Final = (
    LOST,
    ANSWER_LOST,
    Fault("serialization failure", "40001"),
    Fault("deadlock", "40P01"),
    Fault("administrator's shutdown", "57P01"),
    Fault("disk full", "53100"),
    Fault("too many connections", "53300"),
    Fault("statement time-out", "57014"),
    Fault("lock time-out", "55P03"),
    Fault("something nobody thought of", "XX000", status=500),
)


@dataclass
class Sabotage:
    """Lets all calls through but one, and counts them. `onlooker` is a connection of its own, of a superuser."""

    onlooker: asyncpg.Connection
    fault: Fault | None = None
    number: int = 0  # of the call that fails
    made: list[str] = field(default_factory=list)  # the calls since it was set

    @property
    def has_struck(self) -> bool:
        return len(self.made) >= self.number

    @property
    def struck(self) -> str:
        """The call that failed."""
        return self.made[self.number - 1] if self.has_struck else ""

    @property
    def is_at_commit(self) -> bool:
        return self.struck.startswith("COMMIT")

    @contextmanager
    def at_call(self, number: int, fault: Fault) -> Iterator[None]:
        self.number, self.fault = number, fault
        self.made.clear()
        try:
            yield
        finally:
            self.fault = None

    async def pass_on(self, protocol: Any, query: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if self.fault is None:
            return await call()
        self.made.append(query)
        if len(self.made) != self.number:
            return await call()
        if self.fault.sqlstate is not None:
            return await self._raise(protocol, self.fault.sqlstate)
        if self.fault.is_done:
            await call()
        return await self._end(protocol)

    async def _raise(self, protocol: Any, sqlstate: str) -> None:
        """A COMMIT that fails has ended its transaction; a shutdown has ended the connection."""
        ended = "ROLLBACK; " if self.is_at_commit else ""
        try:
            await _QUERY(protocol, f"{ended}DO $$BEGIN RAISE 'hurt' USING ERRCODE = '{sqlstate}'; END$$", 5)
        finally:
            if sqlstate == "57P01":
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                    await self._end(protocol)

    async def _end(self, protocol: Any) -> None:
        """Comes back by the error that the driver notices it with."""
        fault, self.fault = self.fault, None
        await self.onlooker.execute("SELECT pg_terminate_backend($1)", protocol.backend_pid)
        self.fault = fault
        while True:
            await _QUERY(protocol, "SELECT 1", 5)


_QUERY: Final = Protocol.query


def text_of(asked: list[Any]) -> str:
    """The statement of a call: itself, or of what was prepared from it."""
    texts = (one if isinstance(one, str) else getattr(one, "query", None) for one in asked)
    return next((text for text in texts if text), "")


@contextmanager
def sabotaged(sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both pools go by the driver's protocol, in the end."""

    def around(genuine: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(self: Any, *asked: Any, **named: Any) -> Any:
            return await sabotage.pass_on(
                self, text_of([*asked, *named.values()]), lambda: genuine(self, *asked, **named)
            )

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(Protocol, name, around(getattr(Protocol, name)))
        yield


# --- What a clinic has ------------------------------------------------------------------------------------------------

Rows = dict[str, Counter[str]]  # by table, as JSON

_TABLES: Final = (
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
)
_FIXED: Final = "SELECT DISTINCT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgenabled = 'A'"
# Ids, times, hashes and secrets.
_PASSING: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|\d{4}-\d{2}-\d{2}T[0-9:.+]+|\\\\x[0-9a-f]+|whsec_[^\"]+"
)


@dataclass
class Record:
    """All rows of a clinic, seen and put back past the rules of every table but the trail's."""

    onlooker: asyncpg.Connection
    clinic_id: UUID
    tables: set[str]
    fixed: set[str]

    @classmethod
    async def of(cls, onlooker: asyncpg.Connection, clinic_id: UUID) -> "Record":
        tables, fixed = [{row["name"] for row in await onlooker.fetch(query)} for query in (_TABLES, _FIXED)]
        return cls(onlooker, clinic_id, tables, fixed)

    async def rows(self) -> Rows:
        parts = [
            f"SELECT '{name}' AS name, to_jsonb(t)::text AS row FROM {name} t WHERE clinic_id = $1"
            for name in self.tables
        ]
        found: Rows = {name: Counter() for name in self.tables}
        for row in await self.onlooker.fetch(" UNION ALL ".join(parts), self.clinic_id):
            found[row["name"]][row["row"]] += 1
        return found

    async def put_back(self, before: Rows, now: Rows) -> Rows:
        """All as it was, but for tables whose rows not even a superuser can take away."""
        async with self.onlooker.transaction():
            await self.onlooker.execute("SET LOCAL session_replication_role = replica")  # no triggers, no keys checked
            for name in self.tables - self.fixed:
                if now[name] != before[name]:
                    await self.onlooker.execute(f"DELETE FROM {name} WHERE clinic_id = $1", self.clinic_id)
                    put = f"INSERT INTO {name} SELECT * FROM jsonb_populate_recordset(NULL::{name}, $1)"
                    await self.onlooker.execute(put, "[" + ",".join(before[name].elements()) + "]")
        return before | {name: now[name] for name in self.fixed}


def change(before: Rows, after: Rows) -> Counter[str]:
    """What was added and taken away, but for ids, times and hashes, which differ from try to try."""
    told: Counter[str] = Counter()
    for name, rows in after.items():
        for sign, these in (("+", rows - before[name]), ("-", before[name] - rows)):
            told.update(f"{sign} {name} {_PASSING.sub('*', _untried(row))}" for row in these.elements())
    return +(told - Counter({one: told[_opposite(one)] for one in told}))


def _opposite(told: str) -> str:
    return {"+": "-", "-": "+"}[told[0]] + told[1:]


def _untried(row: str) -> str:
    """A link's tries are counted apart from what they are spent on: a lost one is given back, never taken twice."""
    return json.dumps({key: value for key, value in json.loads(row).items() if key != "tries_left"})
