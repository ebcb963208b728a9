"""Everything about a person over HTTP: anonymous, wrong role, other clinic, valid."""

import json
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.privacy.part_two import NOTICE
from app.services import everything
from app.tables import Clinic
from tests.api.check_ins import make_link
from tests.api.conftest import PatientApi
from tests.api.treatment import assert_closed_to, assert_foreign_is_absent, patch
from tests.conftest import Api, client

pytestmark = pytest.mark.anyio

FORM: dict[str, Any] = {"instrument": "phq-9", "responses": [1] * 9, "taken_at": "2026-03-01T09:00:00Z"}


def of(patient: str) -> str:
    return f"/v1/patients/{patient}/everything"


async def read(api: Api, patient: str) -> dict[str, Any]:
    answer = await api.http.get(of(patient))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_strangers_programs_and_researchers_read_none(
    anonymous: httpx2.AsyncClient, researcher: Api, service: Api, patient_id: str
) -> None:
    calls: list[tuple[str, str, Any]] = [("GET", of(patient_id), None)]
    await assert_closed_to(anonymous, 401, calls)
    for one in (researcher, service):
        await assert_closed_to(one, 403, calls)


async def test_another_clinics_and_another_patients_are_absent(
    api: Api, other_api: Api, patient_api: PatientApi, patient_id: str
) -> None:
    await assert_foreign_is_absent(api, await other_api.add_patient(), [("GET", of("ID"), None)])
    await assert_foreign_is_absent(patient_api, patient_id, [("GET", of("ID"), None)])


async def test_every_version_of_a_form_is_there_with_its_score(api: Api, patient_id: str) -> None:
    """Scored by the rules it was stored under, as the API scored it."""
    made = (await api.http.post("/v1/assessments", json=FORM | {"patient_id": patient_id})).json()
    change = {"responses": [2] * 9, "reason": "a slip"}
    answer = await api.http.post(f"/v1/assessments/{made['id']}/amendments", json=change, headers={"If-Match": '"1"'})
    assert answer.status_code in {200, 201}, answer.text
    rows = (await read(api, patient_id))["parts"]["assessment"]
    assert [(row["version"], row["responses"], row["reason"]) for row in rows] == [
        (2, [2] * 9, "a slip"),
        (1, [1] * 9, None),
    ]
    assert [row["score"] for row in rows] == [answer.json()["score"], made["score"]]


async def test_no_secret_and_nothing_of_others_is_in_it(
    app: FastAPI, database: Database, clinic: Clinic, api: Api, patient_id: str
) -> None:
    """Tokens and links are there without what opens them."""
    other = await api.add_patient("Somebody else")
    link = await make_link(api, patient_id)
    mine = await client(app, database, clinic, Role.PATIENT, UUID(patient_id))
    async with mine.http:
        found = await read(mine, patient_id)
    assert found["parts"]["patient"][0]["external_ref"] == "Chart 4711 of Somebody"
    assert [row["id"] for row in found["parts"]["check_in_link"]] == [link["id"]]
    assert len(found["parts"]["api_token"]) == 1
    text = json.dumps(found)
    for hidden in ("secret_hash", "fingerprint", "clinic_id", link["token"], other, "Somebody else"):
        assert hidden not in text, hidden
    assert {row["action"] for row in found["parts"]["audit_event"]} == {"patient.create", "check_in_link.create"}


async def test_the_patient_reads_what_the_clinic_reads(api: Api, patient_api: PatientApi) -> None:
    patient = patient_api.patient_id
    await api.http.post("/v1/assessments", json=FORM | {"patient_id": patient, "responses": [3] * 9})
    theirs, ours = await read(patient_api, patient), await read(api, patient)
    for of_reading in ("audit_event", "audit_subject", "api_token"):  # each read is on record for the next
        assert len(theirs["parts"].pop(of_reading)) <= len(ours["parts"].pop(of_reading))
    assert theirs | {"as_of": ""} == ours | {"as_of": ""}
    assert ours["parts"]["alert"]


async def test_the_notice_goes_with_a_flagged_record(api: Api, patient_id: str) -> None:
    assert (await read(api, patient_id))["notice"] is None
    body = {"applies": True, "reason": "referred"}
    await api.http.put(f"/v1/patients/{patient_id}/part-2", json=body, headers={"If-Match": '"1"'})
    assert (await read(api, patient_id))["notice"] == NOTICE


async def test_what_is_cut_is_said(api: Api, patient_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stay."""
    for zone in ("Europe/Lisbon", "Asia/Tokyo"):
        version = int((await api.http.get(f"/v1/patients/{patient_id}")).headers["etag"].strip('"'))
        answer = await patch(api, f"/v1/patients/{patient_id}", {"time_zone": zone, "reason": "moved"}, version)
        assert answer.status_code == 200
    assert (await read(api, patient_id))["cut"] == []
    monkeypatch.setattr(everything, "MOST_ROWS", 1)
    found = await read(api, patient_id)
    assert found["cut"] == ["patient_time_zone", "audit_event"]
    assert [row["time_zone"] for row in found["parts"]["patient_time_zone"]] == ["Asia/Tokyo"]
