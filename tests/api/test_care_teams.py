"""Patients who are hidden from the clinicians of other care teams."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.services import care_teams
from app.tables import Clinic
from tests.api.conftest import PatientApi
from tests.conftest import Api, client

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_waiting_for_the_cache")]

FIRST = {"If-Match": '"1"'}
FORM: dict[str, Any] = {"instrument": "phq-9", "responses": [3] * 9, "taken_at": "2026-03-02T09:00:00Z"}


def team(*members: str, restricted: bool = True) -> dict[str, Any]:
    return {"restricted": restricted, "members": list(members), "reason": "a colleague of ours"}


async def restrict(admin: Api, patient_id: str, *members: str) -> httpx2.Response:
    address = f"/v1/patients/{patient_id}/care-team"
    tag = (await admin.http.get(address)).headers["etag"]
    answer = await admin.http.put(address, json=team(*members), headers={"If-Match": tag})
    assert answer.status_code == 200, answer.text
    return answer


async def own_id(api: Api) -> str:
    """Of the caller's token, as the trail has it."""
    made = (await api.http.post("/v1/patients", json={})).json()["id"]
    accesses = (await api.http.get(f"/v1/patients/{made}/accesses")).json()["data"]
    return str(accesses[-1]["actor_id"])


@pytest.fixture
async def colleague(app: FastAPI, database: Database, clinic: Clinic) -> AsyncIterator[Api]:
    """Another clinician of the same clinic."""
    api = await client(app, database, clinic, Role.CLINICIAN)
    async with api.http:
        yield api


async def test_anonymous(anonymous: httpx2.AsyncClient, patient_id: str) -> None:
    for method in ("GET", "PUT"):
        answer = await anonymous.request(method, f"/v1/patients/{patient_id}/care-team", json=team(), headers=FIRST)
        assert answer.status_code == 401


async def test_wrong_role(api: Api, service: Api, researcher: Api, patient_api: PatientApi, patient_id: str) -> None:
    """Clinicians neither learn nor say who is restricted."""
    for caller in (api, service, researcher, patient_api):
        for method in ("GET", "PUT"):
            answer = await caller.http.request(
                method, f"/v1/patients/{patient_id}/care-team", json=team(), headers=FIRST
            )
            assert answer.status_code == 403


async def test_other_clinic(other_admin: Api, patient_id: str) -> None:
    for id_ in (patient_id, str(uuid4())):
        address = f"/v1/patients/{id_}/care-team"
        assert (await other_admin.http.get(address)).status_code == 404
        assert (await other_admin.http.put(address, json=team(), headers=FIRST)).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"restricted": None},
        {"restricted": "yes"},
        {"members": ["nobody"]},
        {"members": [str(uuid4()) for _ in range(101)]},
        {"reason": ""},
        {"more": 1},
    ],
)
async def test_invalid(admin: Api, patient_id: str, change: dict[str, Any]) -> None:
    address = f"/v1/patients/{patient_id}/care-team"
    assert (await admin.http.put(address, json=team() | change, headers=FIRST)).status_code == 422


async def test_before_anybody_decides_every_clinician_sees(admin: Api, api: Api, patient_id: str) -> None:
    answer = await admin.http.get(f"/v1/patients/{patient_id}/care-team")
    assert answer.headers["etag"] == '"1"'
    expected: dict[str, Any] = {"version": 1, "recorded_by": None, "reason": None, "restricted": False, "members": []}
    assert answer.json().items() >= expected.items()
    assert (await api.http.get(f"/v1/patients/{patient_id}")).status_code == 200


async def test_versions_are_kept_and_none_is_lost(admin: Api, patient_id: str) -> None:
    """A change says which version it is based on, and why."""
    address = f"/v1/patients/{patient_id}/care-team"
    assert (await admin.http.put(address, json=team())).status_code == 428
    member = str(uuid4())
    made = await admin.http.put(address, json=team(member, member), headers=FIRST)
    assert made.headers["etag"] == '"2"'
    assert made.json()["members"] == [member]
    assert (await admin.http.get(address)).json() == made.json()
    assert (await admin.http.put(address, json=team(), headers=FIRST)).status_code == 412
    history = (await admin.http.get(f"{address}/history")).json()["data"]
    assert [(one["version"], one["restricted"], one["reason"]) for one in history] == [
        (2, True, "a colleague of ours"),
        (1, False, None),
    ]
    events = (await admin.http.get("/v1/audit-events", params={"action": "care_team.put"})).json()["data"]
    assert [event["patient_id"] for event in events] == [patient_id]


async def test_replay(admin: Api, patient_id: str) -> None:
    """The same key: the same answer, whatever was changed since; with other content none."""
    address, key = f"/v1/patients/{patient_id}/care-team", FIRST | {"Idempotency-Key": "once"}
    first = await admin.http.put(address, json=team(), headers=key)
    await restrict(admin, patient_id, str(uuid4()))
    again = await admin.http.put(address, json=team(), headers=key)
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (200, first.json(), "true")
    other = await admin.http.put(address, json=team(restricted=False), headers=key)
    assert other.status_code == 422


async def test_who_is_no_member_finds_nobody(admin: Api, api: Api, colleague: Api, patient_id: str) -> None:
    """In no list, count, caseload, alert or due list; by no address that another clinic's patient would not answer."""
    assert (await api.http.post("/v1/assessments", json=FORM | {"patient_id": patient_id})).status_code == 201
    member = await own_id(api)
    assert await counted(colleague, patient_id) == (2, 1, True)
    await restrict(admin, patient_id, member)
    assert await counted(colleague, patient_id) == (1, 0, False)
    assert await counted(api, patient_id) == (2, 1, True)
    form = FORM | {"patient_id": patient_id}
    assert (await colleague.http.post("/v1/assessments", json=form)).status_code == 404
    batch = (await colleague.http.post("/v1/assessments/batch", json={"assessments": [form]})).json()
    assert [row["status"] for row in batch["outcomes"]] == [404]


async def counted(api: Api, patient_id: str) -> tuple[int, int, bool]:
    """How many patients the caseload counts, how many alerts wait, and whether any list shows the patient."""
    lists = [(await api.http.get(f"/v1/{name}")).json() for name in ("caseload", "alerts", "patients", "due")]
    return lists[0]["n"]["patients"], len(lists[1]["data"]), patient_id in str(lists)


async def test_members_administrators_programs_and_the_patient_are_not_hidden_from(
    admin: Api, api: Api, service: Api, patient_api: PatientApi
) -> None:
    patient = patient_api.patient_id
    await restrict(admin, patient, await own_id(api))
    for caller in (admin, api, service):
        assert (await caller.http.get(f"/v1/patients/{patient}")).status_code == 200
    for day, caller in enumerate((api, service, patient_api), start=1):
        form = FORM | {"patient_id": patient, "taken_at": f"2026-03-0{day}T09:00:00Z"}
        assert (await caller.http.post("/v1/assessments", json=form)).status_code == 201


async def test_a_restriction_is_lifted(admin: Api, api: Api, patient_id: str) -> None:
    await restrict(admin, patient_id)
    assert (await api.http.get(f"/v1/patients/{patient_id}")).status_code == 404
    lifted = await admin.http.put(
        f"/v1/patients/{patient_id}/care-team", json=team(restricted=False), headers={"If-Match": '"2"'}
    )
    assert lifted.status_code == 200
    assert (await api.http.get(f"/v1/patients/{patient_id}")).status_code == 200


async def test_there_is_a_most_of_restricted_patients(
    admin: Api, patient_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restricted one may still be changed; for another there has to be room."""
    monkeypatch.setattr(care_teams, "MAX_RESTRICTED", 1)
    await restrict(admin, patient_id)
    await restrict(admin, patient_id, str(uuid4()))
    other = await admin.add_patient()
    refused = await admin.http.put(f"/v1/patients/{other}/care-team", json=team(), headers=FIRST)
    assert refused.status_code == 409
    assert "Lift another first" in refused.json()["detail"]


async def test_as_many_as_there_can_be_are_hidden_at_once(admin: Api, api: Api, database: Database) -> None:
    """With every id told to Postgres by each transaction."""
    async with database.connection(admin.clinic_id) as connection:
        await connection.execute(_MANY, admin.clinic_id, care_teams.MAX_RESTRICTED)
    visible = await api.add_patient()
    assert [one["id"] for one in (await api.http.get("/v1/patients")).json()["data"]] == [visible]
    assert (await api.http.get("/v1/caseload")).json()["n"]["patients"] == 1
    assert (await api.http.post("/v1/assessments", json=FORM | {"patient_id": visible})).status_code == 201


_MANY = """
WITH made AS (
    INSERT INTO patient (clinic_id, id, created_at)
    SELECT $1, gen_random_uuid(), now() FROM generate_series(1, $2::int) RETURNING clinic_id, id
)
INSERT INTO care_team (clinic_id, id, patient_id, version, recorded_at, recorded_by, reason, restricted, members)
SELECT clinic_id, id, id, 2, now(), $1, 'many', true, '{}' FROM made
"""
