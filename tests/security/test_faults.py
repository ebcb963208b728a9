"""Whatever goes wrong between the service and Postgres, and at whichever call: a write is there whole or not at all."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from sqlmodel import func, select

from app import deps
from app.auth import Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.main import create_app
from app.settings import Settings
from tests.security.estate import WORRYING, Estate, open_estate
from tests.security.faults import ANSWER_LOST, FAULTS, LOST, Fault, Record, Rows, Sabotage, change, sabotaged
from tests.security.operations import BY_ID, FORM, IN_ORDER, Operation, tag_of

pytestmark = pytest.mark.anyio

# Each fault at each call, instead of one in turn: minutes, not seconds.
ALL: Final = os.environ.get("FAULTS") == "all"
# Nobody stores what they answer, so a repeat does them again: a new pair of tokens in place of the one that got lost.
OF_DEVICES: Final = ("redeem_enrolment", "refresh_token", "log_out")
CHANGES: Final = [
    operation
    for operation in IN_ORDER
    if operation.is_write and operation.id not in {"score_without_storing", *OF_DEVICES}
]
READS: Final = [operation for operation in IN_ORDER if operation.roles and not operation.is_write]
PARTS: Final = {"assessment", "audit_event", "idempotency_key", "alert_event"}  # of a form with a critical answer
Ask = Callable[[], Awaitable[list[httpx2.Response]]]


@dataclass
class Stage:
    """A service of its own with one connection in each pool: a leaked one would be missed at once."""

    app: FastAPI
    estate: Estate
    record: Record
    sabotage: Sabotage
    turn: Iterator[Fault] = field(default_factory=lambda: cycle(FAULTS))

    def assert_pools_are_whole(self) -> None:
        database: Database = self.app.state.database
        pool, engine = database._pool, database._engine
        assert pool is not None
        assert pool.get_idle_size() == pool.get_size()
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of this kind of pool

    async def ask(self, ask: Ask, failing: tuple[int, Fault] | None = None) -> list[httpx2.Response]:
        with nullcontext() if failing is None else self.sabotage.at_call(*failing):
            answers = await ask()
        self.assert_pools_are_whole()
        return answers


@pytest.fixture(scope="module")
async def stage(
    address: PostgresAddress, unbound: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    limits: dict[str, Any] = dict.fromkeys(("rate_per_token", "rate_per_address", "failed_logins_per_address"), 0)
    settings = Settings(data_dir=tmp_path_factory.mktemp("faults"), pool_size=1, orm_pool_size=1, **limits)
    app = create_app(settings, address.runtime_url)
    onlooker = await asyncpg.connect(unbound)
    try:
        async with app.router.lifespan_context(app), open_estate(app, app.state.database, "faulty") as estate:
            yield Stage(app, estate, await Record.of(onlooker, estate.clinic_id), Sabotage(onlooker))
    finally:
        await onlooker.close()


@pytest.fixture(autouse=True)
def watched(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tokens are looked up once, so that each try of a request makes the same calls."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 600.0)
    with sabotaged(stage.sabotage, monkeypatch):
        yield


async def sound(stage: Stage, operation: Operation) -> Ask:
    caller = min(operation.roles)
    asked = operation.request(stage.estate.things)
    headers = asked.pop("headers", {}) | {"Idempotency-Key": str(uuid4())}
    if "If-Match" in headers:
        headers["If-Match"] = await tag_of(stage.estate.http[Role.ADMIN], asked["url"])

    async def ask() -> list[httpx2.Response]:
        return [await stage.estate.http[caller].request(**asked, headers=headers)]

    return ask


def assert_told(answer: httpx2.Response, fault: Fault, where: Any) -> None:
    """What passes is told to come again, a defect is called one; some is tried again without a word."""
    if not answer.is_success:
        assert answer.status_code == fault.status, where
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("retry-after" in answer.headers) is (answer.status_code == 503)


# --- Reads, and what stands before all -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", READS, ids=lambda operation: operation.id)
async def test_a_read_is_answered_or_refused(stage: Stage, operation: Operation) -> None:
    """Whichever call fails; the next reader is answered."""
    ask = await sound(stage, operation)
    for number in count(1):
        fault = next(stage.turn)
        (answer,) = await stage.ask(ask, (number, fault))
        assert_told(answer, fault, (fault.name, stage.sabotage.struck, answer.text))
        assert [one.status_code for one in await stage.ask(ask)] == [200]
        if not stage.sabotage.has_struck:
            return


async def test_whoever_cannot_be_looked_up_is_told_to_come_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never that the token is wrong: the telephone would forget it."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 0.0)
    for operation in (BY_ID["submit_assessment"], BY_ID["get_check_in"]):
        ask = await sound(stage, operation)
        for number, fault in [(number, fault) for number in (1, 2, 3, 4) for fault in FAULTS]:
            (answer,) = await stage.ask(ask, (number, fault))
            assert answer.status_code == fault.status, (number, fault.name)
            assert (await stage.ask(ask))[0].is_success


async def test_no_connection_to_be_had(stage: Stage, address: PostgresAddress) -> None:
    """Postgres has none left for us: 503 by either pool, and service goes on once there are."""
    login = address.runtime_url.partition("://")[2].partition(":")[0]
    asks = [await sound(stage, BY_ID[name]) for name in ("submit_assessment", "create_suitability_checklist")]
    async with stage.app.state.database.connection(stage.estate.clinic_id) as connection:
        own = [await connection.fetchval("SELECT pg_backend_pid()")]
    async with stage.app.state.database.session(stage.estate.clinic_id) as session:
        own.append((await session.exec(select(func.pg_backend_pid()))).one())
    await stage.sabotage.onlooker.execute(f"ALTER ROLE {login} CONNECTION LIMIT 0")
    try:  # of other services on this server nobody's connections
        await stage.sabotage.onlooker.execute(
            "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS own (pid)", own
        )
        for ask in [*asks, *asks]:
            (answer,) = await stage.ask(ask)
            assert_told(answer, LOST, answer.text)
            assert answer.status_code == 503
    finally:
        await stage.sabotage.onlooker.execute(f"ALTER ROLE {login} CONNECTION LIMIT -1")
    for ask in asks:
        assert (await stage.ask(ask))[0].is_success


# --- Every write ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_DEVICES)
async def test_a_device_is_let_in_or_out_whole_or_not_at_all(stage: Stage, name: str) -> None:
    """Whichever call fails; whose answer got lost is let in by a repeat, and stays out once it is out."""
    ask = await sound(stage, BY_ID[name])
    before = await stage.record.rows()
    assert (await stage.ask(ask))[0].is_success
    now = await stage.record.rows()
    whole = change(before, now)
    for number in count(1):
        faults = [next(stage.turn)]
        for fault in faults:
            before = await stage.record.put_back(before, now)
            (answer,) = await stage.ask(ask, (number, fault))
            assert_told(answer, fault, (number, fault.name))
            done = change(before, await stage.record.rows())
            assert done in ((whole,) if answer.is_success else (whole, Counter())), (number, fault.name)
            if not answer.is_success:
                (again,) = await stage.ask(ask)
                assert again.is_success or (name == "log_out" and again.status_code == 401 and done == whole)
            now = await stage.record.rows()
            if stage.sabotage.is_at_commit:
                faults += [one for one in (LOST, ANSWER_LOST) if one not in faults]
        if not stage.sabotage.has_struck:
            return


@pytest.mark.parametrize("operation", CHANGES, ids=lambda operation: operation.id)
async def test_a_write_is_whole_or_not_at_all(stage: Stage, operation: Operation) -> None:
    """Whichever call fails; with its audit event; and repeated with its key it is done once."""
    told, whole = await fail_each_call(stage, await sound(stage, operation))
    assert any(line.startswith("+ audit_event") for line in whole)
    assert told["healed"] >= 1  # stored by a call whose answer was lost: else the window was never hit
    assert told["refused"] >= 4


async def fail_each_call(stage: Stage, ask: Ask) -> tuple[Counter[str], Counter[str]]:
    """One after the other, until there are no more. The clinic is put back each time, and left with the write done."""
    before = await stage.record.rows()
    answers = await stage.ask(ask)
    assert all(answer.is_success for answer in answers), [answer.text for answer in answers]
    now = await stage.record.rows()
    whole, told = change(before, now), Counter[str]()
    for number in count(1):
        faults = list(FAULTS) if ALL else [next(stage.turn)]
        for fault in faults:
            before = await stage.record.put_back(before, now)
            verdict, now = await fail_one(stage, ask, before, whole, (number, fault))
            told[verdict] += 1
            if not stage.sabotage.has_struck:
                return told, whole
            if stage.sabotage.is_at_commit and not ALL:
                faults += [one for one in (LOST, ANSWER_LOST) if one not in faults]
    raise AssertionError


async def fail_one(
    stage: Stage, ask: Ask, before: Rows, whole: Counter[str], failing: tuple[int, Fault]
) -> tuple[str, Rows]:
    """What became of it, and all rows after the repeat."""
    answers = await stage.ask(ask, failing)
    done = change(before, await stage.record.rows())
    where = (failing[1].name, stage.sabotage.struck, [answer.text for answer in answers])
    for answer in answers:
        assert_told(answer, failing[1], where)
    is_done = all(answer.is_success for answer in answers)
    assert done in ((whole,) if is_done else (whole, Counter())), where
    again = await stage.ask(ask)
    assert all(answer.is_success for answer in again), (where, [answer.text for answer in again])
    now = await stage.record.rows()
    assert change(before, now) == whole, where
    return "done" if is_done else "healed" if done else "refused", now


# --- Many at once -----------------------------------------------------------------------------------------------------


def forms(patients: list[str]) -> list[dict[str, Any]]:
    """Of each patient one, with a critical answer."""
    return [FORM | {"id": str(uuid4()), "patient_id": patient, "responses": WORRYING} for patient in patients]


@pytest.fixture
async def patients(stage: Stage) -> list[str]:
    http = stage.estate.http[Role.CLINICIAN]
    return [(await http.post("/v1/patients", json={})).json()["id"] for _ in range(3)]


async def test_a_batch_is_whole_or_not_at_all(stage: Stage, patients: list[str]) -> None:
    """Of three forms: what Postgres refuses as a whole for a defect is stored row by row."""
    body, headers = {"assessments": forms(patients)}, {"Idempotency-Key": str(uuid4())}

    async def ask() -> list[httpx2.Response]:
        answer = await stage.estate.http[Role.CLINICIAN].post("/v1/assessments/batch", json=body, headers=headers)
        assert '"problem"' not in answer.text
        return [answer]

    told, whole = await fail_each_call(stage, ask)
    assert sum(number for line, number in whole.items() if line.startswith("+ assessment ")) == 3
    assert told["healed"] >= 1
    assert told["refused"] >= 4


async def test_forms_that_share_a_transaction_are_whole_or_not_at_all(stage: Stage, patients: list[str]) -> None:
    """Sent at once. Each is told the truth about itself, whatever became of the others."""
    told: Counter[str] = Counter()
    for number in count(1):
        fault, sent = next(stage.turn), forms(patients)
        before = await stage.record.rows()
        answers = await stage.ask(submitted(stage, sent), (number, fault))
        if not stage.sabotage.has_struck:
            break
        after = await stage.record.rows()
        for form, answer in zip(sent, answers, strict=True):
            assert_told(answer, fault, (number, fault.name))
            stored = parts_of(form["id"], before, after)
            assert stored in (PARTS, set()), stored
            assert stored or not answer.is_success
            told["done" if answer.is_success else "healed" if stored else "refused"] += 1
        again = await stage.ask(submitted(stage, sent))
        assert [answer.status_code for answer in again] == [201] * len(sent)
        await stage.record.put_back(before, await stage.record.rows())
    assert sum(query.startswith("COMMIT") for query in stage.sabotage.made) < len(patients)
    assert told["healed"] + told["done"] >= 1
    assert told["refused"] >= 4


def submitted(stage: Stage, sent: list[dict[str, Any]]) -> Ask:
    async def one(form: dict[str, Any]) -> httpx2.Response:
        headers = {"Idempotency-Key": f"key of {form['id']}".replace(" ", "-")}
        return await stage.estate.http[Role.CLINICIAN].post("/v1/assessments", json=form, headers=headers)

    async def ask() -> list[httpx2.Response]:
        return list(await asyncio.gather(*map(one, sent)))

    return ask


def parts_of(form_id: str, before: Rows, after: Rows) -> set[str]:
    """The tables in which something about a form came to be."""
    return {table for table in PARTS if any(form_id in row for row in after[table] - before[table])}
