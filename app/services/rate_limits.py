"""How much one token and one address may ask for, kept in the process and told to all others now and then.

A process lets through a fiftieth of a limit, one request at least, before it has to hear from the table what the others
let through. So a limit holds over all processes but for a fiftieth of it for each, and nearly every request is decided
without a round trip. Wrong tokens are told one by one, before they are answered. Where one cannot be told, its address
is refused for a while: else whoever keeps the database busy could guess uncounted.
"""

import asyncio
import logging
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from app.db import Database
from app.errors import TooManyError, UnavailableError
from app.logs import trouble
from app.services.request_rates import NOBODY, SLOT_SECONDS, RateKey, RateKind, Usage, add_usage, sweep_rates
from app.settings import Settings

log = logging.getLogger("tidemark")

SHARES: Final = 50  # of a limit; one may be let through unheard
WINDOW_SECONDS: Final = 60.0  # what was let through earlier and is not told yet, is past
SWEEP_SECONDS: Final = 60.0
MAX_KEYS: Final = 10_000  # about 3 MB. When there are more all are forgotten, and each has a share more


class RateTable:
    """The way of one process to the table. Nothing that goes wrong on it stops a right token."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()
        self._swept_at: dict[UUID, float] = {}

    async def add(self, database: Database, key: RateKey, number: int) -> Usage | None:
        """None where the table cannot be asked: what needs the database is answered 503 by itself."""
        self._sweep_when_due(database, key.clinic_id)
        try:
            return await add_usage(database, key, number)
        except UnavailableError:
            return None
        except Exception as error:  # noqa: BLE001  # whatever it is, check-ins go on
            log.error("rates_not_counted", trouble(error))  # noqa: TRY400  # never the message
            return None

    def start(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def close(self) -> None:
        await asyncio.gather(*self._under_way)

    def _sweep_when_due(self, database: Database, clinic_id: UUID) -> None:
        now = time.monotonic()
        if now - self._swept_at.setdefault(clinic_id, now) > SWEEP_SECONDS:
            self._swept_at[clinic_id] = now
            self.start(self._sweep(database, clinic_id))

    async def _sweep(self, database: Database, clinic_id: UUID) -> None:
        try:
            await sweep_rates(database, clinic_id)
        except Exception as error:  # noqa: BLE001  # it is tried again in a minute
            log.warning("rates_not_swept", trouble(error))


class _Counter:
    """What this process let through for one key since it last told."""

    __slots__ = ("blocked_until", "pending", "room", "since", "telling", "under_way")

    def __init__(self, room: int, now: float) -> None:
        self.room = room  # how much may be let through untold
        self.pending = 0
        self.under_way = 0  # being told just now
        self.since = now
        self.blocked_until = 0.0
        self.telling: asyncio.Task[None] | None = None


class RateLimit:
    """On the requests a minute of each token, or of each address."""

    def __init__(self, kind: RateKind, per_minute: int, table: RateTable) -> None:
        self._kind = kind
        self._limit = per_minute
        self._share = max(1, per_minute // SHARES)
        self._table = table
        self._counters: dict[tuple[UUID, UUID | str], _Counter] = {}

    async def take(self, database: Database, clinic_id: UUID, key: UUID | str) -> None:
        """Lets one request through. Raises TooManyError."""
        if not self._limit:
            return
        now = time.monotonic()
        counter = self._counters.get((clinic_id, key))
        if counter is None:
            counter = self._new_counter(clinic_id, key, now)
        while not self._takes(counter, now):
            telling = counter.telling or self._start_telling(
                database, RateKey(clinic_id, self._kind, str(key)), counter
            )
            await asyncio.wait((telling,))  # which leaves it alone when this request is given up
            now = time.monotonic()
        if counter.telling is None and 2 * counter.pending >= counter.room:  # early, so that nobody has to wait
            self._start_telling(database, RateKey(clinic_id, self._kind, str(key)), counter)

    def _takes(self, counter: _Counter, now: float) -> bool:
        """False where the table has to be asked first. Raises TooManyError."""
        if now < counter.blocked_until:
            raise self._refusal(counter.blocked_until - now)
        if now - counter.since > WINDOW_SECONDS:
            counter.pending, counter.since = 0, now
        if counter.pending + counter.under_way >= counter.room:
            return False
        counter.pending += 1
        return True

    def _new_counter(self, clinic_id: UUID, key: UUID | str, now: float) -> _Counter:
        if len(self._counters) >= MAX_KEYS:
            self._counters.clear()
        counter = self._counters[clinic_id, key] = _Counter(self._share, now)
        return counter

    def _start_telling(self, database: Database, key: RateKey, counter: _Counter) -> "asyncio.Task[None]":
        counter.under_way, counter.pending, counter.since = counter.pending, 0, time.monotonic()
        counter.telling = self._table.start(self._tell(database, key, counter))
        return counter.telling

    async def _tell(self, database: Database, key: RateKey, counter: _Counter) -> None:
        usage = await self._table.add(database, key, counter.under_way)
        left = self._share if usage is None else self._limit - usage.total
        if usage is not None and left <= 0:
            counter.blocked_until = time.monotonic() + usage.seconds_until_below(self._limit)
        counter.room = max(1, min(self._share, left))
        counter.under_way, counter.telling = 0, None

    def _refusal(self, seconds: float) -> TooManyError:
        whose = "This token" if self._kind is RateKind.TOKEN else "This address"
        return TooManyError(f"{whose} may send {self._limit} requests a minute.", math.ceil(seconds))


class FailedLogins:
    """On the wrong tokens a minute from one address, over all processes and strict."""

    def __init__(self, per_minute: int, table: RateTable) -> None:
        self._limit = per_minute
        self._table = table
        self._blocked: dict[str, float] = {}  # addresses, until when

    def refuse_blocked(self, address: str) -> None:
        """Raises TooManyError for an address that this process knows to have used up its limit."""
        until = self._blocked.get(address)
        if until is None:
            return
        if until > time.monotonic():
            raise self._refusal(until - time.monotonic())
        del self._blocked[address]

    async def record(self, database: Database, address: str) -> None:
        """Counts one more, before it is answered: of many at once none slips through.

        Raises TooManyError, and UnavailableError where it cannot be counted.
        """
        if not self._limit:
            return
        usage = await self._table.add(database, RateKey(NOBODY, RateKind.FAILED_LOGIN, address), 1)
        if usage is None:
            self._block(address, SLOT_SECONDS)
            raise UnavailableError("The database is busy or away. Try again in a moment.")
        if usage.total > self._limit:
            seconds = usage.seconds_until_below(self._limit)
            self._block(address, seconds)
            raise self._refusal(seconds)

    def _block(self, address: str, seconds: float) -> None:
        if len(self._blocked) >= MAX_KEYS:
            self._blocked.clear()
        self._blocked[address] = time.monotonic() + seconds

    def _refusal(self, seconds: float) -> TooManyError:
        return TooManyError(f"This address may send {self._limit} wrong tokens a minute.", math.ceil(seconds))


@dataclass(frozen=True, slots=True)
class RateLimits:
    """All limits of one process."""

    table: RateTable
    of_tokens: RateLimit
    of_addresses: RateLimit
    failed_logins: FailedLogins

    @classmethod
    def of(cls, settings: Settings) -> "RateLimits":
        table = RateTable()
        return cls(
            table,
            RateLimit(RateKind.TOKEN, settings.rate_per_token, table),
            RateLimit(RateKind.ADDRESS, settings.rate_per_address, table),
            FailedLogins(settings.failed_logins_per_address, table),
        )
