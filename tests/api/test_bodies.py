"""Bodies no client should send: the right 4xx on every write route, nothing stored, nothing echoed."""

import gzip
import json
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx2
import pytest

from app.db import Database
from tests.conftest import Api

pytestmark = pytest.mark.anyio

WRITE_ROUTES = ["/v1/patients", "/v1/assessments", "/v1/instruments/phq-9/score"]
CANARY = b"canary-4711"


@pytest.mark.parametrize("route", WRITE_ROUTES)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a": "canary-4711", "a": 2}', 400),
        (b'{"external_ref": "canary-4711\\u0000"}', 400),
        (b'{"external_ref": "canary-4711\\ud800"}', 400),
        (b'{"external_ref": canary-4711}', 400),
        (b"[" * 500 + b"]" * 500, 400),
        (b"[" * 30_000, 400),
        (b"", 400),
        (b'"canary-4711"', 422),
        (b'{"canary-4711": 1}', 422),
        (b'{"external_ref": {"canary-4711": 1}, "responses": {"canary-4711": 1}}', 422),
        (b'{"pad": "' + b"x" * 70_000 + b'"}', 413),
    ],
)  # fmt: skip
async def test_unsound_body_is_refused(api: Api, database: Database, route: str, body: bytes, status: int) -> None:
    """The problem names the fault in our words alone."""
    answer = await api.http.post(route, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert CANARY not in answer.content
    async with database.connection(api.clinic_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM audit_event") == 0


@pytest.mark.parametrize("route", WRITE_ROUTES)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
async def test_other_formats_are_refused(api: Api, route: str, content_type: str) -> None:
    """415 for what does not say it is JSON."""
    answer = await api.http.post(route, content=b"{}", headers={"Content-Type": content_type})
    assert answer.status_code == 415


@pytest.mark.parametrize("route", WRITE_ROUTES)
async def test_endless_body_is_cut_off(api: Api, route: str) -> None:
    """A hundred megabytes without a length are refused after the first few pieces."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_600):
            sent += 65_536
            yield b" " * 65_536

    answer = await api.http.post(route, content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert sent < 1_000_000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{" + b",".join(b'"%d":1' % number for number in range(300_000)) + b"}", 413),
        (b'{"assessments":[' + b",".join([b"0"] * 500_000) + b"]}", 400),
        (b'{"assessments":[{' + b",".join(b'"%d":1' % number for number in range(90_000)) + b"}]}", 400),
        (b'{"assessments":[' + b",".join([b"[]"] * 300_000) + b"]}", 400),
        (b'{"assessments":[' + b",".join([b"[]"] * 4_000) + b"]}", 422),
        (b"[" * 100_000, 400),
        (b'{"assessments":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (gzip.compress(b"[" * 100_000_000), 400),
    ],
    ids=[
        "300,000 keys",
        "500,000 values",
        "90,000 keys",
        "300,000 rows",
        "4,000 rows",
        "100,000 deep",
        "closed again",
        "gzip",
    ],
)
async def test_a_hostile_batch_costs_less_than_an_honest_one(api: Api, body: bytes, status: int) -> None:
    """Refused in less CPU time than five hundred sound forms take, whatever its size."""
    patient_id = await api.add_patient()
    form = {"patient_id": patient_id, "instrument": "phq-9", "responses": [1] * 9, "taken_at": "2026-03-02T09:00:00Z"}
    batch = json.dumps({"assessments": [form | {"id": str(uuid4())} for _ in range(500)]}).encode()
    stored, honest = await sent(api, batch)
    assert (stored.status_code, len(stored.json()["outcomes"])) == (200, 500)
    refused, hostile = await sent(api, body)
    assert (refused.status_code, refused.headers["content-type"]) == (status, "application/problem+json")
    assert len(refused.content) < 2_000
    assert hostile < honest


async def sent(api: Api, body: bytes) -> tuple[httpx2.Response, float]:
    """With the CPU seconds of this process, the application's among them."""
    headers = {"Content-Type": "application/json"}
    if body.startswith(b"\x1f\x8b"):
        headers["Content-Encoding"] = "gzip"
    begun = time.process_time()
    answer = await api.http.post("/v1/assessments/batch", content=body, headers=headers)
    return answer, time.process_time() - begun


async def test_unknown_paths_and_methods_are_problems_too(anonymous: httpx2.AsyncClient) -> None:
    """404 and 405 have the one shape of every error; 405 names all methods there are."""
    missing = await anonymous.get("/v1/nothing")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found")
    wrong = await anonymous.delete("/v1/patients")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("path", ["/v1/patients/%00", "/v1/assessments/x", "/v1/patients/7", "/v1/assessments/%ff"])
async def test_odd_ids_in_paths_are_refused(api: Api, path: str) -> None:
    """No 5xx for what is no id."""
    assert (await api.http.get(path)).status_code in {404, 422}


async def test_every_answer_has_a_request_id_and_safe_headers(anonymous: httpx2.AsyncClient) -> None:
    """On success and on errors alike."""
    for path in ("/livez", "/v1/nothing", "/v1/patients"):
        headers = (await anonymous.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"]
