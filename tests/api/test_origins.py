"""From where, why and under which request: told with each event of the trail."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import pytest

from app.auth import Purpose
from app.db import Database
from tests.conftest import Api

pytestmark = pytest.mark.anyio

WHY = {"Purpose": "treatment"}


def form(patient: str) -> dict[str, Any]:
    taken_at = datetime.now(UTC).isoformat()
    return {"patient_id": patient, "instrument": "phq-9", "responses": [1] * 9, "taken_at": taken_at}


async def event_of(database: Database, api: Api, answer: httpx2.Response) -> dict[str, Any]:
    """The one event of this request."""
    request_id = UUID(answer.headers["x-request-id"])
    async with database.connection(api.clinic_id) as connection:
        rows = await connection.fetch("SELECT * FROM audit_event WHERE request_id = $1", request_id)
    (row,) = rows
    return dict(row)


async def test_a_write_says_where_it_came_from_and_why(api: Api, database: Database) -> None:
    """The address as limits count it, the purpose in the caller's word, the id of the answer's header."""
    answer = await api.http.post("/v1/patients", json={}, headers=WHY)
    event = await event_of(database, api, answer)
    assert event["action"] == "patient.create"
    assert (event["address"], event["purpose"], event["outcome"]) == ("127.0.0.1", "treatment", "done")


async def test_forms_that_share_a_transaction_keep_their_own_origins(api: Api, database: Database) -> None:
    """The grouped statement writes each form's own, and nothing for what was not said."""
    patient = await api.add_patient()
    for headers, purpose in ((WHY, "treatment"), ({}, None)):
        event = await event_of(
            database, api, await api.http.post("/v1/assessments", json=form(patient), headers=headers)
        )
        assert event["action"] == "assessment.create"
        assert (event["address"], event["purpose"], event["outcome"]) == ("127.0.0.1", purpose, "done")


async def test_a_batch_is_one_request(api: Api, database: Database) -> None:
    """All of its forms bear its id."""
    patient = await api.add_patient()
    rows = [form(patient) | {"responses": [n] * 9} for n in range(3)]
    answer = await api.http.post("/v1/assessments/batch", json={"assessments": rows})
    async with database.connection(api.clinic_id) as connection:
        count = await connection.fetchval(
            "SELECT count(*) FROM audit_event WHERE request_id = $1", UUID(answer.headers["x-request-id"])
        )
    assert count == 3


@pytest.mark.parametrize("purpose", ["curiosity", "", "Treatment", "treatment, research"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/patients"), ("POST", "/v1/assessments")])
async def test_a_purpose_nobody_knows_is_refused(api: Api, method: str, path: str, purpose: str) -> None:
    """Also where FastAPI's own machinery is passed by."""
    answer = await api.http.request(method, path, headers={"Purpose": purpose}, json=None)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("header/purpose", "unknown_purpose")
    assert all(known in error["message"] for known in Purpose)


async def test_a_stranger_is_a_stranger_whatever_the_purpose(anonymous: httpx2.AsyncClient) -> None:
    """Who asks comes first."""
    assert (await anonymous.get("/v1/patients", headers={"Purpose": "curiosity"})).status_code == 401
