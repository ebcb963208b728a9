"""A real `tidemark worker`, a real receiver, and `kill -9` between them: everything arrives, signed, at least once."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.auth import Actor, Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.ids import new_id
from app.schemas.patients import PatientCreate
from app.schemas.webhooks import WebhookCreate
from app.services import clinics
from app.services.notification_kinds import NotificationKind
from app.services.outbox import NewNotification, notify
from app.services.patients import record_patient
from app.services.webhooks import record_webhook, rotate_secret
from app.settings import Settings
from app.tables import Webhook
from tests.process.service import (
    ROOT,
    Service,
    await_gone,
    children,
    command_line,
    complaints,
    kill,
    plain_environment,
)
from tests.receiver import Answer, Received, Receiver, documented_verify, running_receiver

pytestmark = pytest.mark.anyio

KILLS = 4
TOLD = 60  # before the first kill and between two of them, together
WAIT_SECONDS = 30.0


@pytest.fixture
async def stored(own_address: PostgresAddress) -> AsyncIterator[Database]:
    database = Database(own_address.runtime_url, Settings(pool_size=4))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with running_receiver(tmp_path) as receiver:
        yield receiver


class Clinic:
    """A clinic with one patient and one webhook, and what its tests do with them."""

    def __init__(self, database: Database, actor: Actor) -> None:
        self.database = database
        self.actor = actor
        self.id = actor.clinic_id
        self.patient = UUID(int=0)
        self.secrets: list[str] = []
        self.webhook = UUID(int=0)

    async def open(self, url: str, hosts: frozenset[str]) -> None:
        async with self.database.session(self.id) as session:
            self.patient = (await record_patient(session, self.actor, PatientCreate(external_ref=None), None))[0].id
        async with self.database.session(self.id) as session:
            made, _ = await record_webhook(session, self.actor, WebhookCreate(url=url), hosts, None)
        self.keep(made)

    def keep(self, webhook: Webhook) -> None:
        self.webhook = webhook.id
        self.secrets.append(webhook.secret)

    async def rotate(self) -> None:
        async with self.database.session(self.id) as session:
            self.keep((await rotate_secret(session, self.actor, self.webhook, None))[0])

    async def tell(self, number: int, days_ago: float = 0) -> None:
        at = datetime.now(UTC) - timedelta(days=days_ago)
        ones = [
            NewNotification(str(uuid4()), NotificationKind.ALERT_OPENED, self.patient, uuid4(), at)
            for _ in range(number)
        ]
        async with self.database.connection(self.id) as connection:
            await notify(connection, self.id, ones)

    async def fetch(self, statement: str) -> list[Any]:
        async with self.database.connection(self.id) as connection:
            return [tuple(row) for row in await connection.fetch(statement, self.id)]

    async def ids(self) -> set[str]:
        return {row[0] for row in await self.fetch("SELECT id::text FROM notification WHERE clinic_id = $1")}

    async def statuses(self) -> Counter[str]:
        return Counter(row[0] for row in await self.fetch("SELECT status FROM delivery WHERE clinic_id = $1"))

    async def under_way(self) -> int:
        """Claimed by somebody who has not said what came of it."""
        (row,) = await self.fetch(
            "SELECT count(*) FROM delivery WHERE clinic_id = $1 AND status = 'pending' AND attempts > 0 "
            "AND last_error IS NULL"
        )
        return int(row[0])

    async def let_time_pass(self) -> None:
        """Leases and waits are over."""
        async with self.database.connection(self.id) as connection:
            await connection.execute("UPDATE delivery SET next_attempt_at = now() WHERE clinic_id = $1", self.id)


@pytest.fixture
async def clinic(stored: Database, receiver: Receiver) -> AsyncIterator[Clinic]:
    """Its webhook ends with its test, so that the next test's worker leaves it alone."""
    row = await clinics.record_clinic(stored, "Test clinic", "Europe/Berlin")
    token, _ = await clinics.record_token(stored, row.clinic_id, Role.ADMIN)
    clinic = Clinic(stored, Actor(row.clinic_id, token.id, Role.ADMIN))
    await clinic.open(receiver.url(), frozenset({f"localhost:{receiver.port}"}))
    yield clinic
    async with stored.connection(clinic.id) as connection:
        await connection.execute("UPDATE webhook SET disabled_at = now() WHERE clinic_id = $1", clinic.id)


class WorkerProcess:
    """`tidemark worker` as an operator starts it."""

    def __init__(self, address: PostgresAddress, receiver: Receiver, said: Path) -> None:
        self.said = said
        self.environment = plain_environment(
            TIDEMARK_DATABASE_URL=address.runtime_url,
            TIDEMARK_WEBHOOK_INTERNAL_HOSTS=f"localhost:{receiver.port}",
            TIDEMARK_WEBHOOK_CA_FILE=str(receiver.ca_file),
        )

    @contextmanager
    def running(self, *options: str) -> "Iterator[subprocess.Popen[bytes]]":
        with self.said.open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "worker", *(options or ("--interval-seconds", "0.1"))],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


@pytest.fixture
def worker(own_address: PostgresAddress, receiver: Receiver, tmp_path: Path) -> WorkerProcess:
    return WorkerProcess(own_address, receiver, tmp_path / "said.log")


async def until(condition: Callable[[], Any], what: str) -> None:
    """Of a receiver's list, or of the database."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)
    raise AssertionError(what)


def has_received(receiver: Receiver, number: int) -> Callable[[], bool]:
    return lambda: len(receiver.received) >= number


async def all_delivered(clinic: Clinic) -> bool:
    return set(await clinic.statuses()) == {"delivered"}


async def test_killed_in_the_middle_nothing_is_lost(clinic: Clinic, receiver: Receiver, worker: WorkerProcess) -> None:
    """Each kill meets requests that were received and not recorded: they come again, alike, under the same id."""
    verify, gate = documented_verify(), threading.Event()
    cut_off: set[str] = set()

    def answer(_: Received) -> Answer:
        gate.wait(WAIT_SECONDS)
        return Answer()

    receiver.answer = answer
    for round_ in range(KILLS):
        gate.set()
        await clinic.tell(TOLD // KILLS)
        if round_ == KILLS - 1:
            await clinic.rotate()
        with worker.running() as process:
            await until(has_received(receiver, len(receiver.received) + 3), "the worker sends")
            gate.clear()
            known = len(receiver.received)
            await clinic.tell(TOLD // KILLS)
            await until(has_received(receiver, known + 1), "requests are held")
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert await clinic.under_way() > 0, "the kill met nothing"
        cut_off |= {one.id for one in receiver.received[known:]}
        gate.set()
        await clinic.let_time_pass()
    with worker.running(), worker.running():
        await until(lambda: all_delivered(clinic), "everything is delivered")

    assert set(receiver.ids) == await clinic.ids()
    assert len(receiver.ids) > len(set(receiver.ids)), "some came twice, or the kills proved nothing"
    arrivals = Counter(receiver.ids)
    assert cut_off
    assert {id_ for id_ in cut_off if arrivals[id_] < 2} == set()
    bodies: dict[str, bytes] = {}
    for one in receiver.received:
        verify(clinic.secrets[0], one.headers, one.body)
        assert bodies.setdefault(one.id, one.body) == one.body
    verify(clinic.secrets[-1], receiver.received[-1].headers, receiver.received[-1].body)
    assert complaints(worker.said) == []


async def test_asked_to_end_it_finishes_what_it_has_begun(
    clinic: Clinic, receiver: Receiver, worker: WorkerProcess
) -> None:
    """SIGTERM: what is under way is recorded, nothing new is begun, the exit status is 0."""
    began, gate = threading.Event(), threading.Event()

    def answer(_: Received) -> Answer:
        began.set()
        gate.wait(WAIT_SECONDS)
        return Answer()

    receiver.answer = answer
    await clinic.tell(20)
    with worker.running() as process:
        await asyncio.to_thread(began.wait, WAIT_SECONDS)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        gate.set()
        assert await asyncio.to_thread(process.wait, WAIT_SECONDS) == 0
    statuses = await clinic.statuses()
    assert statuses["delivered"] == len(receiver.received) < 20
    assert await clinic.under_way() == 0
    assert complaints(worker.said) == []


async def test_once_does_what_can_be_done_and_ends(clinic: Clinic, receiver: Receiver, worker: WorkerProcess) -> None:
    """Delivered, or put off with its reason; no redirect is followed; 410 ends the webhook."""
    replies = iter([Answer(500), Answer(302, {"Location": receiver.url("/elsewhere")}), Answer(204)])
    lock = threading.Lock()

    def answer(_: Received) -> Answer:
        with lock:
            return next(replies, Answer(410))

    receiver.answer = answer
    await clinic.tell(3)
    with worker.running("--once") as process:
        assert await asyncio.to_thread(process.wait, WAIT_SECONDS) == 0
    assert {one.path for one in receiver.received} == {"/hook"}
    reasons = await clinic.fetch("SELECT status, last_error FROM delivery WHERE clinic_id = $1")
    assert sorted(reasons, key=str) == [
        ("delivered", None),
        ("pending", "http_status"),
        ("pending", "redirect"),
    ]
    await clinic.let_time_pass()
    with worker.running("--once") as process:
        assert await asyncio.to_thread(process.wait, WAIT_SECONDS) == 0
    (disabled,) = await clinic.fetch("SELECT disabled_at FROM webhook WHERE clinic_id = $1")
    assert disabled[0] is not None
    assert (await clinic.statuses())["dead"] >= 1
    assert complaints(worker.said) == []


async def test_what_is_old_is_forgotten_once_it_has_arrived(
    clinic: Clinic, receiver: Receiver, worker: WorkerProcess
) -> None:
    """As long as the settings say, and not before it was delivered."""
    await clinic.tell(3, days_ago=91)
    await clinic.tell(2, days_ago=89)
    with worker.running("--once") as process:
        assert await asyncio.to_thread(process.wait, WAIT_SECONDS) == 0
    assert len(set(receiver.ids)) == 5
    assert await clinic.statuses() == {"delivered": 2}
    assert len(await clinic.ids()) == 2
    assert complaints(worker.said) == []


async def test_one_that_hangs_does_not_hold_up_the_others(
    clinic: Clinic, receiver: Receiver, worker: WorkerProcess
) -> None:
    """Two webhooks of one clinic: every delivery to the second arrives while the first answers nothing."""
    gate = threading.Event()

    def answer(one: Received) -> Answer:
        if one.path == "/hangs":
            gate.wait(WAIT_SECONDS)
        return Answer()

    receiver.answer = answer
    hosts = frozenset({f"localhost:{receiver.port}"})
    async with clinic.database.session(clinic.id) as session:
        await record_webhook(session, clinic.actor, WebhookCreate(url=receiver.url("/hangs")), hosts, None)
    await clinic.tell(30)
    with worker.running():
        await until(lambda: sum(one.path == "/hook" for one in receiver.received) == 30, "the others arrive")
        gate.set()


async def test_a_reminder_goes_out_by_itself(clinic: Clinic, receiver: Receiver, worker: WorkerProcess) -> None:
    """From the expected check-in to the receiver, with nobody calling the API."""
    async with clinic.database.connection(clinic.id) as connection:
        due = new_id()
        await connection.execute(
            "INSERT INTO expected_check_in (clinic_id, id, patient_id, episode_id, key, code, instrument, target_at, "
            "opens_at, overdue_at, closes_at, remind_at) VALUES ($1, $2, $3, $2, 'a/b/1', 'a', 'phq-9', now(), "
            "now() - interval '1 hour', now(), now() + interval '1 day', now())",
            clinic.id,
            due,
            clinic.patient,
        )
    with worker.running():
        await until(lambda: receiver.received, "the reminder arrives")
    (one,) = receiver.received
    assert str(due) in one.body.decode()
    assert b"check_in.due" in one.body
    assert b"phq" not in one.body


def workers_beside(service: Service) -> list[int]:
    return [pid for pid in children(service.launcher.pid) if b"\0worker\0" in command_line(pid)]


ENDS_WITH = {signal.SIGTERM: 0, signal.SIGINT: 0, signal.SIGKILL: -signal.SIGKILL}


@pytest.mark.parametrize("number", ENDS_WITH)
async def test_the_server_has_one_beside_it_that_ends_with_it(
    worker: WorkerProcess, clinic: Clinic, receiver: Receiver, number: signal.Signals
) -> None:
    """It delivers, it comes back when it is killed, and it is gone with the server, however that ended."""
    service = Service(("serve",), worker.environment, worker.said)
    try:
        service.start()
        await until(lambda: workers_beside(service), "a worker runs")
        await clinic.tell(1)
        await until(lambda: receiver.received, "it delivers")
        (first,) = workers_beside(service)
        if number == signal.SIGTERM:
            kill(first)
            await until(lambda: set(workers_beside(service)) - {first}, "another one runs")
        family = service.family()
        assert service.stop(number) == ENDS_WITH[number]
        assert await_gone(family) == []
    finally:
        service.end()


async def test_the_server_runs_without_one_when_asked(worker: WorkerProcess) -> None:
    """For those who run workers of their own."""
    service = Service(("serve", "--no-worker"), worker.environment, worker.said)
    try:
        service.start()
        assert workers_beside(service) == []
    finally:
        service.end()
