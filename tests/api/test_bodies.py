"""Bodies no client should send: the right 4xx on every write route, nothing stored, nothing echoed."""

from collections.abc import AsyncIterator

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
