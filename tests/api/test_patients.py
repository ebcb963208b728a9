"""Patients over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay."""

import asyncio
from uuid import uuid4

import httpx2
import pytest

from tests.conftest import Api

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("GET", ""), ("GET", f"/{uuid4()}")])
async def test_anonymous_and_researcher_see_no_patient(
    anonymous: httpx2.AsyncClient, researcher: Api, method: str, path: str
) -> None:
    """401 without a token, 403 for a role that reaches no identity."""
    body: dict[str, str] | None = {} if method == "POST" else None
    assert (await anonymous.request(method, f"/v1/patients{path}", json=body)).status_code == 401
    assert (await researcher.http.request(method, f"/v1/patients{path}", json=body)).status_code == 403


async def test_other_clinics_patient_reads_as_absent(api: Api, other_api: Api) -> None:
    """Byte for byte, and lists hold one's own alone."""
    foreign = await other_api.add_patient("theirs")
    answers = [await api.http.get(f"/v1/patients/{id_}") for id_ in (foreign, uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert (await api.http.get("/v1/patients")).json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    "body",
    [
        '{"external_ref": ""}',
        '{"external_ref": "   "}',
        '{"external_ref": 7}',
        '{"external_ref": "' + "x" * 201 + '"}',
        '{"id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a"}',
        '{"clinic_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a"}',
        "[]",
        "7",
        "null",
    ],
)
async def test_invalid_patient_is_refused(api: Api, body: str) -> None:
    """422, and none is stored."""
    answer = await api.http.post("/v1/patients", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert (await api.http.get("/v1/patients")).json()["data"] == []


async def test_patient_is_stored_and_read_back(api: Api) -> None:
    """With its own reference, or with none."""
    created = await api.http.post("/v1/patients", json={"external_ref": " chart Ω 7 "})
    assert created.status_code == 201
    assert created.json()["external_ref"] == "chart Ω 7"
    assert (await api.http.get(created.headers["location"])).json() == created.json()
    assert (await api.http.post("/v1/patients", json={})).json()["external_ref"] is None


async def test_reference_is_unique_in_its_clinic_alone(api: Api, other_api: Api) -> None:
    """A second one is a conflict; another clinic's is nobody's business."""
    await api.add_patient("chart-1")
    assert (await api.http.post("/v1/patients", json={"external_ref": "chart-1"})).status_code == 409
    assert (await other_api.http.post("/v1/patients", json={"external_ref": "chart-1"})).status_code == 201
    for _ in range(2):
        await api.add_patient(None)


async def test_parallel_twins_make_one_patient(api: Api) -> None:
    """Forty with one key: one patient, forty equal answers."""
    answers = await asyncio.gather(
        *(
            api.http.post("/v1/patients", json={"external_ref": "twin"}, headers={"Idempotency-Key": "twin"})
            for _ in range(40)
        )
    )
    assert {answer.status_code for answer in answers} <= {201, 503}, "a crowded pool may ask to come back"
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    again = await api.http.post("/v1/patients", json={"external_ref": "twin"}, headers={"Idempotency-Key": "twin"})
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    other = await api.http.post("/v1/patients", json={"external_ref": "else"}, headers={"Idempotency-Key": "twin"})
    assert (other.status_code, other.json()["type"]) == (422, "/problems/key-reused")
    assert len((await api.http.get("/v1/patients")).json()["data"]) == 1


async def test_list_is_paged_newest_first(api: Api) -> None:
    """Each patient once, over pages that stay put while patients are added."""
    made = [await api.add_patient(f"p{number}") for number in range(5)]
    first = await api.http.get("/v1/patients?limit=3")
    await api.add_patient("late")
    second = await api.http.get("/v1/patients", params={"limit": 3, "cursor": first.json()["next_cursor"]})
    seen = [row["id"] for page in (first, second) for row in page.json()["data"]]
    assert seen == made[::-1]
    assert second.json()["next_cursor"] is None
