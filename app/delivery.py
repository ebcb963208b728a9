"""The worker: seals the trail, writes down what time makes due, and sends that. Any number may run at once."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from app.db import Database
from app.erasure_file import LedgerKeeper
from app.errors import UnavailableError
from app.issuer_client import IssuerClient
from app.logs import trouble
from app.services.audit_chain import Sealer
from app.services.deliveries import Claim, Outcome, claim_next, record_outcome
from app.services.outbox import forget_old
from app.services.release_builds import build_next
from app.services.releases import end_releases
from app.services.reminders import Rederive, find_patients_with_misses, remind, settle_misses
from app.services.upkeep import keep_up
from app.webhook_client import WebhookClient

log = logging.getLogger("tidemark.worker")

CLINICS_AT_ONCE: Final = 4
DELIVERIES_AT_ONCE: Final = 8  # of one clinic
DELIVERIES_TO_ONE_WEBHOOK: Final = 4  # so that one that hangs leaves room for the others
TURN_SECONDS: Final = 5.0  # nothing is claimed after it: the other clinics wait for theirs
RECORD_TRIES: Final = 3  # a busy database shall not make a delivery go out twice


@dataclass(frozen=True, slots=True)
class Worker:
    """What one process works with."""

    database: Database
    client: WebhookClient
    rederive: Rederive
    sealer: Sealer
    stop: asyncio.Event
    ledger: LedgerKeeper | None = None  # none: erasures are kept in the database alone
    issuer: IssuerClient | None = None
    keep_days: int | None = None  # of what was told; none: for ever
    builds: dict[UUID, asyncio.Task[int]] = field(default_factory=dict)  # of releases, one of each clinic

    async def run(self, interval_seconds: float) -> None:
        """Rounds until told to stop, without a pause while there is something to do."""
        while not self.stop.is_set():
            done = await self.round()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), 0 if done else interval_seconds)
        await self._end_builds()

    async def run_once(self) -> None:
        """Until nothing is left that could be done now."""
        while not self.stop.is_set() and (await self.round() or sum(await asyncio.gather(*self.builds.values()))):
            pass
        await self._end_builds()

    async def _end_builds(self) -> None:
        """What is not ready is begun anew by whoever comes next."""
        for task in self.builds.values():
            task.cancel()
        await asyncio.gather(*self.builds.values(), return_exceptions=True)

    async def round(self) -> int:
        """One turn of every clinic. Returns how much was done; trouble is logged and waits for the next round."""
        try:
            clinic_ids = await self.database.clinic_ids()
        except UnavailableError as error:
            _log_trouble(error)
            return 0
        await _tried(self._keep_keys)
        places = asyncio.Semaphore(CLINICS_AT_ONCE)

        async def take_turn(clinic_id: UUID) -> int:
            async with places:
                return await _Turn(self, clinic_id).take()

        return sum(await asyncio.gather(*map(take_turn, clinic_ids)))

    async def _keep_keys(self) -> int:
        if self.issuer is not None:
            await self.issuer.take_turn(self.database)
        return 0


class _Turn:
    """What is done for one clinic before the next one has its turn."""

    def __init__(self, worker: Worker, clinic_id: UUID) -> None:
        self._worker = worker
        self._clinic_id = clinic_id
        self._under_way: Counter[UUID] = Counter()  # deliveries to each webhook
        self._claiming = asyncio.Lock()  # one lane at a time, so that the number above is true
        self._ends_at = time.monotonic() + TURN_SECONDS

    async def take(self) -> int:
        done = [
            await _tried(part)
            for part in (
                self._seal,
                self._keep_ledger,
                self._keep_up,
                self._remind,
                self._sweep,
                self._end,
                self._forget,
            )
        ]
        self._build()
        return sum(done) + await self._deliver()

    async def _seal(self) -> int:
        return await self._worker.sealer.take_turn(self._clinic_id)

    async def _keep_ledger(self) -> int:
        keeper = self._worker.ledger
        return 0 if keeper is None else await keeper.take_turn(self._clinic_id)

    async def _keep_up(self) -> int:
        return await keep_up(self._worker.database, self._clinic_id)

    async def _remind(self) -> int:
        return await remind(self._worker.database, self._clinic_id, datetime.now(UTC))

    async def _end(self) -> int:
        return await end_releases(self._worker.database, self._clinic_id)

    async def _forget(self) -> int:
        days = self._worker.keep_days
        return 0 if days is None else await forget_old(self._worker.database, self._clinic_id, days)

    def _build(self) -> None:
        """Beside the rounds: it may take minutes, and nobody's reminder shall wait for it."""
        running = self._worker.builds.get(self._clinic_id)
        if running is None or running.done():
            database, clinic_id = self._worker.database, self._clinic_id
            self._worker.builds[clinic_id] = asyncio.create_task(_tried(lambda: build_next(database, clinic_id)))

    async def _sweep(self) -> int:
        now, database = datetime.now(UTC), self._worker.database
        settled = 0
        for patient_id in await find_patients_with_misses(database, self._clinic_id, now):

            async def settle(patient_id: UUID = patient_id) -> int:
                await settle_misses(database, self._clinic_id, patient_id, now, self._worker.rederive)
                return 1

            settled += 0 if self._is_over() else await _tried(settle)
        return settled

    async def _deliver(self) -> int:
        """Side by side, each lane one delivery after the other."""
        return sum(await asyncio.gather(*(_tried(self._lane) for _ in range(DELIVERIES_AT_ONCE))))

    async def _lane(self) -> int:
        sent = 0
        while not self._is_over() and (claim := await self._claim()) is not None:
            try:
                await self._record(claim, await self._sent(claim))
            finally:
                self._under_way[claim.webhook_id] -= 1
            sent += 1
        return sent

    async def _claim(self) -> Claim | None:
        async with self._claiming:
            busy = [id_ for id_, number in self._under_way.items() if number >= DELIVERIES_TO_ONE_WEBHOOK]
            async with self._worker.database.connection(self._clinic_id) as connection:
                claim = await claim_next(connection, self._worker.database.keys, self._clinic_id, busy)
            if claim is not None:
                self._under_way[claim.webhook_id] += 1
        return claim

    async def _sent(self, claim: Claim) -> Outcome:
        try:
            return await self._worker.client.send(self._clinic_id, claim)
        except Exception as error:  # noqa: BLE001  # a defect of ours must not send the same for ever
            _log_trouble(error)
            return Outcome(error="defect")

    async def _record(self, claim: Claim, outcome: Outcome) -> None:
        for left in reversed(range(RECORD_TRIES)):
            try:
                async with self._worker.database.connection(self._clinic_id) as connection:
                    await record_outcome(connection, self._clinic_id, claim, outcome)
            except UnavailableError:
                if not left:
                    raise
                await asyncio.sleep(1)
            else:
                break

    def _is_over(self) -> bool:
        return self._worker.stop.is_set() or time.monotonic() > self._ends_at


async def _tried(work: Callable[[], Awaitable[int]]) -> int:
    """One clinic's, one patient's or one delivery's trouble is not the others'."""
    try:
        return await work()
    except Exception as error:  # noqa: BLE001  # whatever it is, the round goes on
        _log_trouble(error)
        return 0


def _log_trouble(error: Exception) -> None:
    if isinstance(error, UnavailableError):
        log.warning("database_awaited", trouble(error))
        return
    log.error("defect", trouble(error))
