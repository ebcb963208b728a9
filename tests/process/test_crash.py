"""Acknowledged means stored, once: worker processes and the Postgres are killed under load, and counted after."""

import asyncio
import os
import secrets
import signal
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.errors import UnavailableError
from tests.process.conftest import Site
from tests.process.service import Service, kill

random = secrets.SystemRandom()

pytestmark = pytest.mark.anyio

FORMS = int(os.environ.get("CRASH_FORMS", "300"))  # per round; `make soak` asks for more
WORKER_KILLS = int(os.environ.get("CRASH_WORKER_KILLS", "4"))  # per round
POSTGRES_KILLS = int(os.environ.get("CRASH_POSTGRES_KILLS", "1"))  # per round
AIMS = 20  # moments at which a worker is looked at before one is killed anywhere
SENDS = 3  # of each form
CLIENTS = 24
MOST_ROUNDS = 6  # the window between commit and answer is hit in nearly every one
PATIENCE_SECONDS = 60.0  # for one form to be answered; the service is away for a few seconds at a time


@dataclass
class Sent:
    """One form, and every acknowledgement it got."""

    body: dict[str, Any]
    key: str | None
    acknowledged: list[tuple[str, bool]] = field(default_factory=list)  # id, and whether it was a replay

    @property
    def was_healed(self) -> bool:
        """Stored by a call whose answer was lost: everyone who was answered was told it had been there before."""
        return all(replayed for _, replayed in self.acknowledged)


@dataclass
class Load:
    forms: list[Sent]
    before: set[str]  # ids of the rounds before
    answers: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    broken: int = 0  # connections that ended without an answer
    acknowledged: int = 0


def made_up_forms(site: Site) -> list[Sent]:
    """Each with answers of its own; half bring their id, half leave it to the server and bring a key."""
    forms = []
    for number in range(FORMS):
        responses = [number // 4**place % 4 for place in range(8)] + [int(number % 10 == 0)]  # item 9 of one in ten
        minutes = f"{number // 60 % 24:02d}:{number % 60:02d}"
        body = site.form(responses=responses, taken_at=f"2025-{1 + number // 1440:02d}-02T{minutes}:00Z")
        forms.append(Sent(body | {"id": str(uuid4())}, None) if number % 2 else Sent(body, f"key-{uuid4()}"))
    return forms


async def send_until_acknowledged(http: httpx2.AsyncClient, load: Load, form: Sent) -> None:
    """As a phone would: again and again, the same words, until somebody says 201."""
    headers = {} if form.key is None else {"Idempotency-Key": form.key}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                answer = await http.post("/v1/assessments", json=form.body, headers=headers)
            except httpx2.TransportError:
                load.broken += 1
                await asyncio.sleep(random.uniform(0.01, 0.05))
                continue
            load.answers[answer.status_code] += 1
            if answer.status_code == 201:
                form.acknowledged.append((answer.json()["id"], "Idempotency-Replayed" in answer.headers))
                load.acknowledged += 1
                return
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"]
            await asyncio.sleep(random.uniform(0.1, 0.3))


async def run_clients(site: Site, load: Load) -> None:
    waiting = load.forms * SENDS
    random.shuffle(waiting)

    async def client() -> None:
        async with site.client() as http:
            while waiting:
                await send_until_acknowledged(http, load, waiting.pop())

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())


async def kill_meanwhile(service: Service, load: Load, site: Site, stored: Database) -> None:
    """At even shares of the work, so that every kill falls into the load, however fast the machine."""
    kills = ["worker"] * WORKER_KILLS + ["postgres"] * POSTGRES_KILLS
    random.shuffle(kills)
    for number, victim in enumerate(kills, start=1):
        due = number * FORMS * SENDS // (len(kills) + 1)
        while load.acknowledged < due:  # noqa: ASYNC110  # an event for each would slow the load
            await asyncio.sleep(0.002)
        pid = await frozen_worker(service, load, site, stored) if victim == "worker" else service.recorded_postmaster()
        assert pid is not None
        assert pid != service.launcher.pid
        kill(pid)


async def frozen_worker(service: Service, load: Load, site: Site, stored: Database) -> int:
    """One stopped between a commit and its answer, which is a moment that nobody hits by chance; else anyone."""
    for _ in range(AIMS):
        pid, is_hit = random.choice(service.workers()), False
        try:
            with suppress(ProcessLookupError, UnavailableError):
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(0.01)
                committed = await ids_of(site, stored)
                await asyncio.sleep(0.05)  # for what the other worker has committed to be answered
                is_hit = bool(committed - load.before - told(load.forms))
        finally:  # whatever happens, nobody is left frozen
            if not is_hit:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        if is_hit:
            return pid
        await asyncio.sleep(random.uniform(0, 0.02))
    return random.choice(service.workers())


def told(forms: list[Sent]) -> set[str]:
    """The ids of forms that somebody was given."""
    return {id_ for form in forms for id_, _ in form.acknowledged}


async def ids_of(site: Site, stored: Database) -> set[str]:
    async with stored.connection(site.clinic_id) as connection:
        return {str(row["id"]) for row in await connection.fetch("SELECT id FROM assessment")}


async def test_what_was_acknowledged_is_there_exactly_once(
    service: Service, site: Site, stored: Database, durable: PostgresAddress
) -> None:
    """Through kills of workers and Postgres nothing is lost, doubled or mixed up, and lost answers are healed."""
    assert await fsync_of(durable) == "on"
    forms: list[Sent] = []
    broken = 0
    for _ in range(MOST_ROUNDS):
        load = Load(made_up_forms(site), before=told(forms))
        async with asyncio.TaskGroup() as group:
            group.create_task(run_clients(site, load))
            group.create_task(kill_meanwhile(service, load, site, stored))
        forms += load.forms
        broken += load.broken
        if broken and any(form.was_healed for form in forms):
            break
    assert broken, "no connection broke: the kills missed the load"
    assert any(form.was_healed for form in forms), "no answer was lost after its commit: the window was never hit"
    await until_awake(site, stored)
    await check_stored(site, stored, forms)


async def until_awake(site: Site, stored: Database) -> None:
    """The last kill may have been the Postgres."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(UnavailableError):
                await ids_of(site, stored)
                return
            await asyncio.sleep(0.1)


async def check_stored(site: Site, stored: Database, forms: list[Sent]) -> None:
    assert {len(form.acknowledged) for form in forms} == {SENDS}
    assert [form for form in forms if len({id_ for id_, _ in form.acknowledged}) != 1] == [], "one form, two ids"
    assert [form for form in forms if sum(not replayed for _, replayed in form.acknowledged) > 1] == []
    async with stored.connection(site.clinic_id) as connection:
        rows = await connection.fetch("SELECT id, version, responses, taken_at FROM assessment")
        audited = await connection.fetch("SELECT resource_id FROM audit_event WHERE action = 'assessment.create'")
        raised = await connection.fetch(
            "SELECT event.cause FROM alert_event event JOIN alert ON alert.id = event.alert_id "
            "WHERE alert.kind = 'critical_item' AND event.kind = 'raised'"
        )
    assert len(rows) == len(forms), "rows without a form, or forms without a row"
    by_id = {row["id"]: row for row in rows}
    for form in forms:
        row = by_id[UUID(form.acknowledged[0][0])]
        assert (row["version"], row["responses"]) == (1, form.body["responses"])
        assert row["taken_at"].strftime("%Y-%m-%dT%H:%M:%SZ") == form.body["taken_at"]
        assert form.body.get("id", str(row["id"])) == str(row["id"])
    assert sorted(row["resource_id"] for row in audited) == sorted(by_id), "an audit row if and only if a form"
    critical = [f"{row['id']}:9:{row['responses'][8]}" for row in rows if row["responses"][8]]
    assert sorted(row["cause"] for row in raised) == sorted(critical), "an alert for each form that wants eyes, once"


async def fsync_of(address: PostgresAddress) -> str:
    connection = await asyncpg.connect(address.runtime_url)
    try:
        return str(await connection.fetchval("SHOW fsync"))
    finally:
        await connection.close()
