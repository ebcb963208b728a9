"""What every answer tells a browser to forbid, and which other pages may call the API from one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from app.cross_origin import METHODS, REQUEST_HEADERS
from app.main import create_app
from app.settings import Settings
from tests.conftest import Api

pytestmark = pytest.mark.anyio

OURS = "https://app.clinic.example"
THEIRS = "https://app.clinic.example.attacker.example"
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
FORM = {"instrument": "phq-9", "responses": [1] * 9, "taken_at": "2026-03-02T09:00:00+01:00"}
ASKED = {"instrument": "phq-9"}  # by those that ask; the others do not look at it
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


def http_of(**settings: Any) -> httpx2.AsyncClient:
    """Of an application that is never started: what is asked here needs no database."""
    app = create_app(Settings(data_dir=Path("unused"), **settings), "postgresql://nobody@localhost:1/none")
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app, raise_app_exceptions=False), base_url="http://test")


@pytest.fixture
async def called() -> AsyncIterator[httpx2.AsyncClient]:
    async with http_of(cors_origins=f"{OURS}, http://localhost:5173") as http:
        yield http


# --- On every answer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/", 200),
        ("GET", "/docs/reference.js", 200),
        ("GET", "/check-in", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/patients", 401),
        ("DELETE", "/v1/patients", 405),
        ("GET", "/readyz", 500),  # of an application that was never started: a defect
    ],
)
async def test_every_answer_forbids_what_it_does_not_need(method: str, path: str, status: int) -> None:
    """Success, error and defect alike; TLS is insisted on only where the operator says so."""
    async with http_of() as http:
        answer = await http.request(method, path)
    assert answer.status_code == status
    headers = answer.headers
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-request-id"]
    assert headers["cache-control"] in {"no-store", "no-cache"}
    assert "strict-transport-security" not in headers
    assert not [name for name in headers if name.startswith("access-control-")]
    assert len(set(headers)) == len(headers.multi_items()), "each once"


async def test_tls_is_insisted_on_where_the_operator_says_so() -> None:
    """On every answer, for as long as the setting says."""
    async with http_of(hsts_seconds=31_536_000) as http:
        for path in ("/livez", "/v1/nothing"):
            assert (await http.get(path)).headers["strict-transport-security"] == "max-age=31536000"


async def test_nothing_of_a_patient_is_kept_by_a_browser(admin: Api) -> None:
    """Pictures neither, which a program may all the same ask for by their tag."""
    patient_id = await admin.add_patient()
    stored = await admin.http.post("/v1/assessments", json=FORM | {"patient_id": patient_id})
    picture = f"/v1/patients/{patient_id}/trajectory.svg"
    answers = [stored, *[await admin.http.get(path, params=ASKED) for path in paths_of(admin, patient_id, picture)]]
    assert {answer.request.url.path for answer in answers[1:] if answer.status_code != 200} == set()
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    known = await admin.http.get(picture, params=ASKED, headers={"If-None-Match": answers[1].headers["etag"]})
    assert (known.status_code, known.headers["cache-control"]) == (304, "no-store")


def paths_of(api: Api, patient_id: str, *first: str) -> list[str]:
    """Every address that needs nothing but a patient's id, or nothing at all."""
    routes = [route for route in api.http._transport.app.routes if isinstance(route, APIRoute)]  # type: ignore[attr-defined]  # httpx2's own
    found = {
        route.path.replace("{patient_id}", patient_id)
        for route in routes
        if route.path in {"/v1/patients", "/v1/caseload", "/v1/alerts", "/v1/due"}
        or (route.path.startswith("/v1/patients/{patient_id}") and route.path.count("{") == 1)
        if "GET" in (route.methods or ())
    }
    assert len(found) >= 8
    return [*first, *sorted(found)]


# --- Other pages ------------------------------------------------------------------------------------------------------


async def test_a_page_of_a_named_origin_may_call(called: httpx2.AsyncClient) -> None:
    """Asked beforehand it is told methods, headers and for how long, without a token and without credentials."""
    told = await called.options("/v1/assessments", headers=PREFLIGHT | {"Origin": OURS})
    assert (told.status_code, told.content) == (204, b"")
    assert told.headers["access-control-allow-origin"] == OURS
    assert told.headers["access-control-allow-methods"] == METHODS
    assert told.headers["access-control-allow-headers"] == REQUEST_HEADERS
    assert told.headers["access-control-max-age"] == "600"
    assert "access-control-allow-credentials" not in told.headers
    assert told.headers["vary"] == "Origin"
    assert told.headers["x-request-id"]


async def test_a_page_of_a_named_origin_may_read_errors_and_headers(called: httpx2.AsyncClient) -> None:
    """Those that a client needs to try again, page on and correct."""
    told = await called.get("/v1/patients", headers={"Origin": "http://localhost:5173"})
    assert (told.status_code, told.json()["status"]) == (401, 401)
    assert told.headers["access-control-allow-origin"] == "http://localhost:5173"
    exposed = {name.strip() for name in told.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"ETag", "Link", "Location", "Retry-After", "X-Request-Id", "Idempotency-Replayed"}


@pytest.mark.parametrize("origin", [THEIRS, "http://app.clinic.example", f"{OURS}:8443", "null", "*", "", OURS.upper()])
async def test_a_foreign_page_may_not(called: httpx2.AsyncClient, origin: str) -> None:
    """Neither asked beforehand nor at once: no answer has the header that lets it be read."""
    told = await called.options("/v1/assessments", headers=PREFLIGHT | {"Origin": origin})
    assert (told.status_code, told.headers["content-type"]) == (405, "application/problem+json")
    answered = await called.get("/livez", headers={"Origin": origin})
    for answer in (told, answered):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["vary"] == "Origin"


async def test_no_page_may_by_default() -> None:
    """Not even when the request comes from the same machine."""
    async with http_of() as http:
        for origin in (OURS, "http://localhost", "null"):
            told = await http.options("/v1/assessments", headers=PREFLIGHT | {"Origin": origin})
            assert told.status_code == 405
            assert not [name for name in told.headers if name.startswith("access-control-")]


async def test_what_varied_before_varies_still(called: httpx2.AsyncClient) -> None:
    """The problems are told in the form asked for, and caches must know both reasons."""
    told = await called.get("/problems", headers={"Origin": OURS, "Accept": "application/json"})
    assert told.headers["vary"] == "Accept, Origin"


def test_every_method_and_header_of_the_api_may_be_used() -> None:
    """What the document names, a page can send."""
    app = create_app(Settings(data_dir=Path("unused")), "postgresql://nobody@localhost:1/none")
    operations = [(method, entry) for item in app.openapi()["paths"].values() for method, entry in item.items()]
    assert {method.upper() for method, _ in operations} <= set(METHODS.split(", "))
    headers = {
        one["name"].lower() for _, entry in operations for one in entry.get("parameters", []) if one["in"] == "header"
    }
    assert headers <= {name.strip().lower() for name in REQUEST_HEADERS.split(",")}


@pytest.mark.parametrize(
    "origin", ["*", "null", "clinic.example", "https://a.example/", "https://*.example", "HTTPS://A"]
)
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    """At the start: patterns would let in more than was meant."""
    with pytest.raises(ValueError, match="cors_origins"):
        Settings(cors_origins=origin)
