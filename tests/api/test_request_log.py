"""The line each request leaves in the log: what was done, how it went, how long it took, and nothing that was sent."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from app import logs
from tests.conftest import Api

pytestmark = pytest.mark.anyio

CANARY = "canary-4711"


@pytest.fixture
def said() -> Iterator[list[dict[str, Any]]]:
    """Every record from here on, as it would be written."""
    told: list[dict[str, Any]] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(json.loads(logs.as_json(logs.told_by(record))))  # type: ignore[method-assign]  # a list instead of a stream
    own = logging.getLogger("tidemark")
    level = own.level
    own.addHandler(handler)
    own.setLevel("INFO")
    yield told
    own.removeHandler(handler)
    own.setLevel(level)


async def test_a_request_is_one_line(api: Api, said: list[dict[str, Any]]) -> None:
    """By its route's template; the clinic is named, the patient and who asked are not."""
    patient_id = await api.add_patient(CANARY)
    answer = await api.http.get(f"/v1/patients/{patient_id}", params={"q": CANARY}, headers={"User-Agent": CANARY})
    assert answer.status_code == 200
    created, read = said
    assert (created["method"], created["route"], created["status"]) == ("POST", "/v1/patients", 201)
    assert set(read) == {
        *("time", "level", "logger", "event", "request_id"),
        *("method", "route", "status", "ms", "clinic_id"),
    }
    assert (read["event"], read["level"], read["route"]) == ("request", "info", "/v1/patients/{patient_id}")
    assert read["request_id"] == answer.headers["x-request-id"]
    assert read["clinic_id"] == str(api.clinic_id)
    assert 0 < read["ms"] < 10_000
    assert CANARY not in str(said)
    assert patient_id not in str(said)


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("GET", f"/{CANARY}", ("GET", None, 404)),
        ("DELETE", "/v1/patients", ("DELETE", "/v1/patients", 405)),
        ("GET", f"/v1/patients/{CANARY}", ("GET", "/v1/patients/{patient_id}", 401)),
        (CANARY.upper(), "/v1/patients", ("other", "/v1/patients", 405)),
    ],
)
async def test_a_refused_request_is_one_line(
    anonymous: httpx2.AsyncClient, said: list[dict[str, Any]], method: str, path: str, told: tuple[str, str | None, int]
) -> None:
    """What nobody declared has no name in it: neither an unknown address nor a made-up method."""
    await anonymous.request(method, path)
    (line,) = said
    assert (line["method"], line["route"], line["status"]) == told
    assert "clinic_id" not in line


async def test_probes_are_not_told_of(anonymous: httpx2.AsyncClient, said: list[dict[str, Any]]) -> None:
    """They come every few seconds and never change."""
    for path in ("/livez", "/readyz"):
        assert (await anonymous.get(path)).status_code == 200
    assert said == []


async def test_a_defect_is_told_by_kind_and_place(
    api: Api, said: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the same request id as its answer, beside the line of the request."""

    def fail(*_: object) -> None:
        raise LookupError(CANARY)

    monkeypatch.setattr("app.deps.database_of", fail)
    monkeypatch.setattr(api.http._transport, "raise_app_exceptions", False)
    answer = await api.http.get("/v1/patients")
    assert answer.status_code == 500
    defect, request = said
    assert (defect["event"], defect["level"], defect["error"]) == ("defect", "error", "LookupError")
    assert "test_request_log.py:" in defect["at"]
    assert (request["status"], request["request_id"], defect["request_id"]) == (
        500,
        *[answer.headers["x-request-id"]] * 2,
    )
    assert CANARY not in f"{said} {answer.text}"
