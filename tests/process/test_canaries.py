"""No word of a request comes out again in an error, in what the service prints, or in the log of its Postgres."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg
import httpx2
import pytest

from app.embedded_postgres import PostgresAddress
from tests.process.conftest import Site
from tests.process.service import Service

pytestmark = pytest.mark.anyio

CANARY = "canary-4711-made-up"
SPOILT = (CANARY, f" {CANARY}\u0000", f"{CANARY}\ud800", CANARY * 300, {CANARY: CANARY}, [CANARY])
WRITES = {"post", "put", "patch"}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a body has a value that can be spoilt."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, element in inner:
        yield from leaves(element, (*path, key))


def spoilt(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = spoilt(copy[path[0]], path[1:], by)
    return copy


def example_of(operation: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """The documented body, which a test elsewhere holds to be there."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return schemas[schema["$ref"].rpartition("/")[2]]["example"]


def bodies_of(document: dict[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    """Every write route with its documented body, spoilt in each place in each way."""
    for path, operations in document["paths"].items():
        for method in WRITES & operations.keys():
            if "requestBody" not in operations[method]:
                continue
            example = example_of(operations[method], document["components"]["schemas"])
            for place in leaves(example):
                for by in SPOILT:
                    yield method, path, json.dumps(spoilt(example, place, by)).encode()
            yield method, path, json.dumps(example | {CANARY: CANARY}).encode()
            yield method, path, json.dumps(example).encode()[:-1] + CANARY.encode()


async def test_no_error_repeats_what_was_sent(service: Service, site: Site, durable: PostgresAddress) -> None:
    """Every text of every write route, headers, paths and queries, refused by us or by a Postgres that is stuck."""
    errors: list[httpx2.Response] = []

    async def send(http: httpx2.AsyncClient, method: str, path: str, **what: Any) -> None:
        answer = await http.request(method, path, **what)
        if answer.status_code >= 400:
            errors.append(answer)

    async with site.client() as http:
        document = (await http.get("/openapi.json")).json()
        sent = 0
        for method, path, body in bodies_of(document):
            filled = re.sub(r"\{\w+_id\}", str(UUID(int=7)), path.replace("{reference}", "phq-9"))
            headers = {"Content-Type": "application/json", "If-Match": '"1"'}
            await send(http, method, filled, content=body, headers=headers)
            sent += 1
        assert sent > 150
        assert len(errors) > sent * 0.9
        for method, path, what in elsewhere(site):
            await send(http, method, path, **what)
        async with locked(durable):
            await send(http, "post", "/v1/patients", json={"external_ref": CANARY})
            await send(http, "post", "/v1/assessments", json=site.form(language="en-canary"))
            assert [answer.status_code for answer in errors[-2:]] == [503, 503]
    assert {answer.status_code for answer in errors} == {400, 401, 403, 404, 409, 413, 415, 422, 503}
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
