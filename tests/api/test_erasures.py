"""Erasure over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from app.db import Database
from app.schemas.erasures import BACKUPS, KEPT, ErasureGround
from app.services import idempotency
from tests.api.conftest import PatientApi
from tests.api.treatment import assert_closed_to, assert_foreign_is_absent, assert_refused, events
from tests.conftest import Api, until_somebody_waits

pytestmark = pytest.mark.anyio

PATH = "/v1/erasures"
ERASE = "/v1/patients/ID?ground=patient_request"
CALLS: list[tuple[str, str, Any]] = [("DELETE", ERASE, None), ("GET", PATH, None), ("GET", f"{PATH}/ID", None)]


async def erase(api: Api, patient: str, key: str | None = None, ground: str = "patient_request") -> httpx2.Response:
    headers = {"If-Match": '"1"'} | ({} if key is None else {"Idempotency-Key": key})
    return await api.http.delete(f"/v1/patients/{patient}", params={"ground": ground}, headers=headers)


async def test_the_administrator_alone(
    anonymous: httpx2.AsyncClient, researcher: Api, patient_api: PatientApi, service: Api, api: Api
) -> None:
    """401 without a token, 403 for everybody else, the patient included: nobody is erased by a stolen telephone."""
    calls = [(method, path.replace("ID", patient_api.patient_id), body) for method, path, body in CALLS]
    await assert_closed_to(anonymous, 401, calls)
    for one in (researcher, patient_api, service, api):
        await assert_closed_to(one, 403, calls)
    assert (await api.http.get(f"/v1/patients/{patient_api.patient_id}")).status_code == 200


async def test_another_clinics_patient_is_absent(admin: Api, other_admin: Api) -> None:
    """So are its certificates."""
    theirs = await other_admin.add_patient()
    await assert_foreign_is_absent(admin, theirs, [("DELETE", ERASE, None)])
    made = (await erase(other_admin, theirs)).json()["id"]
    await assert_foreign_is_absent(admin, made, [("GET", f"{PATH}/ID", None)])
    assert (await admin.http.get(PATH)).json()["data"] == []
    assert (await admin.http.get(PATH, params={"patient_id": theirs})).json()["data"] == []


async def test_an_accident_is_hard(admin: Api, database: Database) -> None:
    """No ground, a ground of one's own, no version, any version, an old version: nothing is erased."""
    patient = await admin.add_patient()
    address, tag = f"/v1/patients/{patient}", {"If-Match": '"1"'}
    assert_refused(await admin.http.delete(address, headers=tag), "query/ground", "missing")
    assert_refused(await erase(admin, patient, ground="because"), "query/ground", "enum")
    wanted = {"ground": "patient_request"}
    for missing in ({}, {"If-Match": "*"}):
        assert (await admin.http.delete(address, params=wanted, headers=missing)).status_code == 428
    stale = await admin.http.delete(address, params=wanted, headers={"If-Match": '"2"'})
    assert (stale.status_code, stale.json()["type"]) == (412, "/problems/stale")
    assert (await admin.http.get(address)).status_code == 200
    assert await events(database, admin) == []


@pytest.mark.parametrize("ground", ErasureGround)
async def test_the_certificate_says_what_was_done(admin: Api, database: Database, ground: str) -> None:
    """What was removed, when, by whom, what is kept, what it does not reach; read again it is the same."""
    patient = await admin.add_patient("Chart 4711 of Somebody")
    answer = await erase(admin, patient, ground=ground)
    body = answer.json()
    assert answer.status_code == 200
    assert (body["patient_id"], body["ground"], body["replayed_at"]) == (patient, ground, None)
    assert (body["removed"]["patient"], body["removed"]["assessment"]) == (1, 0)
    assert {row["kind"] for row in body["kept"]} == set(KEPT) == {"audit_event", "erasure"}
    assert body["backups"] == BACKUPS
    assert "4711" not in answer.text
    assert (await admin.http.get(f"{PATH}/{body['id']}")).content == answer.content
    assert await events(database, admin) == [("patient.erase", patient, body["id"])]
    assert (await admin.http.get(f"/v1/patients/{patient}")).status_code == 404
    assert (await erase(admin, patient)).status_code == 404


async def test_who_looked_before_and_writes_after_finds_no_patient(admin: Api, api: Api, database: Database) -> None:
    """A link is made while the erasure is under way: it waits, and is answered as if there had been nobody."""
    patient = await admin.add_patient()
    async with database.connection(admin.clinic_id) as connection:
        erasure = "SELECT erase_patient($1, $2, now(), $2, 'patient_request', NULL)"
        await connection.execute(erasure, UUID(patient), uuid4())
        made = asyncio.create_task(api.http.post(f"/v1/patients/{patient}/check-in-links", json={}))
        await until_somebody_waits(database)
    answer = await made
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such patient.")


async def test_a_repeat_whose_patient_is_erased_meanwhile_is_told_to_come_again(
    admin: Api, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key was there a moment ago and is gone: nothing is made anew, and the next try finds no patient."""
    patient, key = await admin.add_patient(), {"Idempotency-Key": "once"}
    address, genuine = f"/v1/patients/{patient}/check-in-links", asyncpg.Connection.fetchrow

    async def after_erasing(self: Any, query: str, *values: Any, **options: Any) -> Any:
        if query == idempotency._CLAIMED:
            monkeypatch.undo()
            assert (await erase(admin, patient)).status_code == 200
        return await genuine(self, query, *values, **options)

    assert (await api.http.post(address, json={}, headers=key)).status_code == 201
    monkeypatch.setattr(asyncpg.Connection, "fetchrow", after_erasing)
    answers = [await api.http.post(address, json={}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 404]
    assert "being erased" in answers[0].json()["detail"]


async def test_the_same_reference_is_free_again(admin: Api) -> None:
    """Who comes back later is somebody new."""
    first = await admin.add_patient("chart-1")
    await erase(admin, first)
    assert await admin.add_patient("chart-1") != first


async def test_the_list_is_paged_newest_first_and_finds_one(admin: Api) -> None:
    patients = [await admin.add_patient() for _ in range(3)]
    made = [(await erase(admin, patient)).json()["id"] for patient in patients]
    page = (await admin.http.get(PATH, params={"limit": 2})).json()
    rest = (await admin.http.get(PATH, params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [row["id"] for row in page["data"] + rest["data"]] == made[::-1]
    assert rest["next_cursor"] is None
    found = (await admin.http.get(PATH, params={"patient_id": patients[0]})).json()["data"]
    assert [row["id"] for row in found] == made[:1]


async def test_a_repeat_is_answered_with_the_same_certificate(admin: Api) -> None:
    """Twins and late comers; the same key for somebody else is refused and erases nobody."""
    patient, other, key = await admin.add_patient(), await admin.add_patient(), str(uuid4())
    twins = await asyncio.gather(*(erase(admin, patient, key) for _ in range(6)))
    assert {answer.status_code for answer in twins} <= {200, 503}
    late = await erase(admin, patient, key)
    assert (late.status_code, late.headers["idempotency-replayed"]) == (200, "true")
    assert {answer.content for answer in twins if answer.status_code == 200} == {late.content}
    clash = await erase(admin, other, key)
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    assert (await admin.http.get(f"/v1/patients/{other}")).status_code == 200
