"""No word of a request comes out again in an error, in what the service prints, or in the log of its Postgres."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx2
import pytest

from app.auth import Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from tests.process.conftest import Site
from tests.process.service import Service
from tests.security.estate import Estate, open_estate
from tests.security.operations import IN_ORDER, Operation, leaves_of, put_at, tag_of

pytestmark = pytest.mark.anyio

CANARY = "canary-4711-made-up"
SPOILT = (CANARY, f" {CANARY}\u0000", f"{CANARY}\ud800", CANARY * 300, {CANARY: CANARY}, [CANARY])
# Where a text of a person is stored, or a code that may be spelled like one.
KEPT_IN = {
    "adverse_event",
    "alert_event",
    "api_token",
    "assessment",
    "clinic_rules",
    "episode",
    "expected_check_in",
    "observation",
    "patient",
    "patient_time_zone",
    "schedule",
    "suitability_checklist",
    "suitability_screen",
    "threshold",
    "treatment_session",
    "webhook",
}


def bodies_of(sound: Any) -> Iterator[bytes]:
    """A sound body, spoilt in each place in each way."""
    for place in leaves_of(sound):
        for by in SPOILT:
            yield json.dumps(put_at(sound, place, by)).encode()
    yield json.dumps(sound | {CANARY: CANARY}).encode()
    yield json.dumps(sound).encode()[:-1] + CANARY.encode()


async def answers_of(estate: Estate, operation: Operation) -> list[httpx2.Response]:
    """What one write route answers to whom it is for, about things that are there."""
    asked = operation.request(estate.things)
    http, reader = estate.http[min(operation.roles)], estate.http[Role.ADMIN]
    bodies = [*bodies_of(asked.pop("json"))] if operation.has_body else [b""]
    answers = []
    for body in bodies:
        await estate.refill()
        headers = {"Content-Type": "application/json"}
        if "headers" in asked:
            headers["If-Match"] = await tag_of(reader, asked["url"])
        answers.append(await http.request(**asked | {"content": body, "headers": headers}))
    key = {"Idempotency-Key": f"{CANARY} {CANARY}"}
    answers.append(await http.request(**asked | {"headers": key}))
    return answers


async def test_no_error_repeats_what_was_sent(
    service: Service, site: Site, stored: Database, durable: PostgresAddress
) -> None:
    """Every text of every write route, headers, paths and queries, refused by us or by a Postgres that is stuck."""
    errors: list[httpx2.Response] = []

    async def send(http: httpx2.AsyncClient, method: str, path: str, **what: Any) -> None:
        answer = await http.request(method, path, **what)
        if answer.status_code >= 400:
            errors.append(answer)

    async with open_estate(service.url, stored, "made-up") as estate:
        for operation in IN_ORDER:
            if operation.is_write:
                answers = await answers_of(estate, operation)
                errors += [answer for answer in answers if answer.status_code >= 400]
                statuses = {answer.status_code for answer in answers}
                assert statuses - {401, 403, 404, 503}, "it was not let in"
                assert 422 in statuses or "Idempotency-Key" not in operation.parameters("header"), operation.id
        assert {table for table, rows in (await estate.rows()).items() if CANARY in str(rows)} == KEPT_IN
    async with site.client() as http:
        for method, path, what in elsewhere(site):
            await send(http, method, path, **what)
        async with locked(durable):
            await send(http, "post", "/v1/patients", json={"external_ref": CANARY})
            await send(http, "post", "/v1/assessments", json=site.form(language="en-canary"))
            assert [answer.status_code for answer in errors[-2:]] == [503, 503]
    assert {answer.status_code for answer in errors} == {400, 401, 404, 409, 413, 415, 422, 503}
    assert [answer.text for answer in errors if "canary" in told_by(answer)] == []
    assert [name for name, text in written(service) if "canary" in text.lower()] == []
    assert "canary" not in service.said.read_text().lower()


def told_by(answer: httpx2.Response) -> str:
    return f"{answer.text} {answer.headers}".lower()


def elsewhere(site: Site) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Everything of a request that is not its body, and clashes with what is stored."""
    form = {"json": site.form()}
    yield "get", f"/v1/patients/{CANARY}", {}
    yield "get", f"/{CANARY}", {}
    yield "get", f"/v1/patients?cursor={CANARY}", {}
    yield "get", f"/v1/assessments?patient_id={CANARY}&status={CANARY}&from={CANARY}", {}
    yield "get", f"/v1/instruments/{quote(CANARY + chr(0))}", {}
    yield "get", "/v1/patients", {"headers": {"Authorization": f"Bearer {CANARY}"}}
    yield "post", "/v1/assessments", form | {"headers": {"Idempotency-Key": f"{CANARY} {CANARY}"}}
    yield "post", "/v1/assessments", form | {"headers": {"Content-Type": f"text/{CANARY}"}}
    key = {"headers": {"Idempotency-Key": CANARY}}
    yield "post", "/v1/patients", {"json": {"external_ref": CANARY}}
    yield "post", "/v1/patients", {"json": {"external_ref": CANARY}}
    yield "post", "/v1/patients", {"json": {"external_ref": f"{CANARY}-2"}} | key
    yield "post", "/v1/patients", {"json": {"external_ref": f"{CANARY}-3"}} | key
    yield "post", "/v1/patients", {"content": CANARY * 5_000, "headers": {"Content-Type": "application/json"}}


@asynccontextmanager
async def locked(address: PostgresAddress) -> AsyncIterator[None]:
    """A Postgres that refuses in the middle of a statement, with all values in its hands."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        await connection.execute("BEGIN; LOCK TABLE patient, assessment IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        await connection.close()


def written(service: Service) -> list[tuple[str, str]]:
    """What the Postgres said, since its last start and before."""
    logs = [(path.name, path.read_text(errors="replace")) for path in service.cluster.parent.glob("postgres.log*")]
    assert any("ready to accept connections" in text for _, text in logs), "this is not the log"
    return logs
