"""Doors an attacker tried that no other file tries; docs/security.md tells of all of them."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from app import deps
from app.auth import Actor, Role, new_token, parse_token
from app.db import Database
from app.ids import new_id
from app.services import clinics
from app.services.data_keys import get_token_key
from app.tables import Clinic
from tests.cohort_clinic import KETAMINE, Invented, settle
from tests.conftest import Api, client

pytestmark = pytest.mark.anyio

BATCH = "/v1/assessments/batch"
COHORT = "/v1/cohorts/outcomes"
ADD_TOKEN = """
INSERT INTO api_token (clinic_id, id, role, secret_hash, label, created_at) VALUES ($1, $2, 'admin', $3, '', now())
"""


@pytest.fixture(autouse=True)
def _no_waiting_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 0.0)


def form_of(patient_id: str, **changes: Any) -> dict[str, Any]:
    sound = {"instrument": "phq-9", "responses": [1] * 9, "mode": "self", "language": "en"}
    return sound | {"patient_id": patient_id, "taken_at": "2026-11-20T10:00:00+00:00"} | changes


def by(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- Over HTTP --------------------------------------------------------------------------------------------------------


async def statuses_of_a_key(api: Api, named: str, mine: str) -> tuple[int, int]:
    """A key used for somebody's form, and then for one's own patient's."""
    key = {"Idempotency-Key": str(uuid4())}
    answers = [
        await api.http.post(BATCH, json={"assessments": [form_of(patient)]}, headers=key) for patient in (named, mine)
    ]
    return answers[0].status_code, answers[1].status_code


async def test_a_batchs_key_does_not_tell_hidden_patients_from_absent_ones(api: Api, admin: Api) -> None:
    """A key that is kept for the one and not for the other would."""
    hidden, mine = [await api.add_patient() for _ in range(2)]
    team = {"restricted": True, "members": [], "reason": "a colleague"}
    address = f"/v1/patients/{hidden}/care-team"
    assert (await admin.http.put(address, json=team, headers={"If-Match": '"1"'})).status_code == 200
    assert await statuses_of_a_key(api, hidden, mine) == await statuses_of_a_key(api, str(uuid4()), mine) == (200, 200)
    assert await statuses_of_a_key(api, await api.add_patient(), mine) == (200, 422)  # what would have told


async def test_a_batchs_key_does_not_tell_a_patient_who_else_is_one(
    app: FastAPI, database: Database, clinic: Clinic, api: Api
) -> None:
    other, own = [await api.add_patient() for _ in range(2)]
    patient = await client(app, database, clinic, Role.PATIENT, UUID(own))
    async with patient.http:
        known, unknown = [await statuses_of_a_key(patient, named, own) for named in (other, str(uuid4()))]
    assert known == unknown == (200, 200)


async def test_a_cohort_of_a_clinician_is_without_whom_they_do_not_see(
    api: Api, admin: Api, database: Database, clinic: Clinic
) -> None:
    """Who knows all others of a cohort could tell the hidden one from its figures; also not by what was told others."""
    await settle(database, clinic.clinic_id, [Invented(forms={"phq-9": [(-2, 19), (8, 8)]}) for _ in range(11)])
    asked = {"instrument": "phq-9"}
    assert (await api.http.get(COHORT, params=asked)).status_code == 200
    hidden = (await api.http.get("/v1/patients")).json()["data"][0]["id"]
    team = {"restricted": True, "members": [], "reason": "a colleague"}
    address = f"/v1/patients/{hidden}/care-team"
    assert (await admin.http.put(address, json=team, headers={"If-Match": '"1"'})).status_code == 200
    assert (await admin.http.get(COHORT, params=asked)).status_code == 200
    assert (await api.http.get(COHORT, params=asked)).status_code == 422, "ten are too few"
    assert (await admin.http.get(COHORT, params=asked | {"modality": KETAMINE})).status_code == 200
    assert (await api.http.get(COHORT, params=asked | {"modality": KETAMINE})).status_code == 422


async def test_a_repeat_that_shows_newer_names_is_a_read(api: Api, admin: Api) -> None:
    """Or an old key would be a way to look at a patient, again and again, that no trail tells of."""
    key = {"Idempotency-Key": str(uuid4())}
    made = await api.http.post("/v1/patients", json={"name": "Ada Example"}, headers=key)
    address, changed = f"/v1/patients/{made.json()['id']}", {"name": "Bea Example", "reason": "married"}
    once = {"If-Match": made.headers["etag"], "Idempotency-Key": str(uuid4())}
    assert (await admin.http.patch(address, json=changed, headers=once)).status_code == 200
    repeats = [
        await api.http.post("/v1/patients", json={"name": "Ada Example"}, headers=key),
        await admin.http.patch(address, json=changed, headers=once),
    ]
    assert [repeat.json()["name"] for repeat in repeats] == ["Bea Example"] * 2
    told = (await admin.http.get(f"{address}/accesses")).json()["data"]
    expected = [("patient.read", "admin"), ("patient.read", "clinician"), ("patient.amend", "admin")]
    assert [(event["action"], event["actor_role"]) for event in told][:3] == expected


@pytest.mark.parametrize("host", ["evil.example", "evil.example>; rel=prev, <//evil.example", "a b"])
async def test_the_host_a_request_names_is_nowhere_in_its_answer(api: Api, host: str) -> None:
    """Whoever follows the link to the next page takes a token along."""
    for _ in range(2):
        await api.add_patient()
    answer = await api.http.get("/v1/patients", params={"limit": 1}, headers={"Host": host})
    assert answer.status_code == 200
    assert "evil" not in answer.text + str(answer.headers)
    following = answer.headers["link"].removeprefix("<").partition(">")[0]
    assert following.startswith("/v1/patients?")
    assert (await api.http.get(following)).json()["data"][0]["id"] != answer.json()["data"][0]["id"]


async def test_headers_of_a_stranger_do_not_reach_the_trail(api: Api, database: Database) -> None:
    """Neither an address nor a request id that the sender made up, without a proxy that is trusted."""
    made_up = {"X-Forwarded-For": "203.0.113.99", "Forwarded": "for=203.0.113.99", "X-Request-Id": str(uuid4())}
    answer = await api.http.post("/v1/patients", json={}, headers=made_up)
    async with database.connection(api.clinic_id) as connection:
        event = await connection.fetchrow("SELECT request_id, address FROM audit_event WHERE action = 'patient.create'")
    assert str(event["request_id"]) == answer.headers["x-request-id"] != made_up["X-Request-Id"]
    assert event["address"] == "127.0.0.1"


async def test_forms_stored_together_are_told_of_apart(app: FastAPI, database: Database, clinic: Clinic) -> None:
    """Forty at once by four callers for several purposes: each event names its own caller, request and purpose."""
    callers = [await client(app, database, clinic, role) for role in (Role.CLINICIAN, Role.SERVICE) * 2]
    purposes = ["treatment", "operations", "legal", "patient_request"]
    patients = [await callers[0].add_patient() for _ in range(5)]

    async def send(number: int) -> tuple[str, str, str, str]:
        caller, purpose = callers[number % 4], purposes[number % 4]
        answer = await caller.http.post(
            "/v1/assessments", json=form_of(patients[number % 5]), headers={"Purpose": purpose}
        )
        assert answer.status_code == 201, answer.text
        actor = parse_token(caller.http.headers["authorization"].removeprefix("Bearer ")).token_id
        return answer.json()["id"], answer.headers["x-request-id"], str(actor), purpose

    sent = await asyncio.gather(*map(send, range(40)))
    async with database.connection(clinic.clinic_id) as connection:
        told = await connection.fetch("""
            SELECT resource_id::text, request_id::text, actor_id::text, purpose FROM audit_event
            WHERE action = 'assessment.create'""")
        together = await connection.fetchval("SELECT count(DISTINCT received_at) FROM assessment")
    assert sorted(map(tuple, told)) == sorted(sent)
    assert together < len(sent), "none shared a transaction: the test has met nothing"
    for caller in callers:
        await caller.http.aclose()


# --- With the login of the service, without the master key ------------------------------------------------------------


async def test_a_copied_hash_makes_nobody_an_administrator(
    anonymous: httpx2.AsyncClient, database: Database, clinic: Clinic
) -> None:
    """Whoever can add rows gives their own secret's hash to a token of a mightier role: it proves nothing there."""
    token, text = await clinics.record_token(database, clinic.clinic_id, Role.RESEARCHER)
    mightier = new_id()
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute(ADD_TOKEN, clinic.clinic_id, mightier, await secret_hash_of(connection, token.id))
    forged = new_token(clinic.clinic_id, mightier)[0][:48] + text[48:]
    assert parse_token(forged).secret == parse_token(text).secret
    assert (await anonymous.get("/v1/tokens", headers=by(forged))).status_code == 401
    assert (await anonymous.get("/v1/tokens", headers=by(text))).status_code == 403
    # Only the hash held it back, and not the row: with the clinic's key it lets in.
    found, made = new_token(clinic.clinic_id, new_id())
    async with database.connection(clinic.clinic_id) as connection:
        key = await get_token_key(connection, database.keys, clinic.clinic_id)
        await connection.execute(ADD_TOKEN, clinic.clinic_id, made.token_id, made.hashed(key))
    assert (await anonymous.get("/v1/tokens", headers=by(found))).status_code == 200


async def secret_hash_of(connection: asyncpg.Connection, token_id: UUID) -> bytes:
    found: bytes = await connection.fetchval("SELECT secret_hash FROM api_token WHERE id = $1", token_id)
    return found


async def test_another_patients_key_opens_nothing(api: Api, database: Database) -> None:
    """Wrapped keys changed about between patients: a defect that is told to nobody, and no name of either."""
    made = [await api.http.post("/v1/patients", json={"name": name}) for name in ("Ada Example", "Bea Example")]
    ids = [UUID(answer.json()["id"]) for answer in made]
    swap = """UPDATE data_key SET wrapped = other.wrapped FROM data_key other
              WHERE data_key.id = ANY($1) AND other.id = ANY($1) AND other.id <> data_key.id"""
    for status in (500, 200):
        async with database.connection(api.clinic_id) as connection:
            assert await connection.execute(swap, ids) == "UPDATE 2"
        answers = [await api.http.get(f"/v1/patients/{id_}") for id_ in ids]
        assert {answer.status_code for answer in answers} == {status}
        assert all("Example" in answer.text for answer in answers) == (status == 200)


async def test_what_the_login_itself_can_do_is_as_said(
    api: Api, database: Database, clinic: Clinic, other_clinic: Clinic, anonymous: httpx2.AsyncClient
) -> None:
    """The limit of row-level security by settings: the login that sets them may name any clinic. Not protected."""
    patient = (await api.http.post("/v1/patients", json={"name": "Ada Example"})).json()["id"]
    assert (await api.http.post("/v1/assessments", json=form_of(patient))).status_code == 201
    token, text = await clinics.record_token(database, clinic.clinic_id, Role.ADMIN)
    await clinics.revoke_token(database, clinic.clinic_id, token.id)
    async with database.connection(other_clinic.clinic_id) as connection:
        assert await connection.fetch("SELECT FROM assessment") == []
        await connection.execute(f"SET LOCAL app.clinic_id = '{clinic.clinic_id}'")
        assert await connection.fetchval("SELECT responses FROM assessment") == [1] * 9  # answers: yes
        assert b"Ada" not in await connection.fetchval("SELECT identifiers FROM patient")  # names: no
        await connection.execute("UPDATE api_token SET revoked_at = NULL WHERE id = $1", token.id)  # back to life: yes
    assert (await anonymous.get("/v1/tokens", headers=by(text))).status_code == 200
    for statement in (
        "UPDATE assessment SET total = 0",
        "DELETE FROM assessment",
        "UPDATE api_token SET role = 'admin'",
        "UPDATE audit_event SET actor_id = gen_random_uuid()",
        "TRUNCATE audit_event",
        "DELETE FROM erasure",
        "ALTER TABLE patient DISABLE ROW LEVEL SECURITY",
        "CREATE TABLE public.patient_copy ()",
        "CREATE SCHEMA in_front",
        "CREATE TEMPORARY TABLE patient ()",  # would stand before the real one in what looks tables up by name
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.connection(clinic.clinic_id) as connection:
                await connection.execute(statement)


async def test_narrow_transactions_erase_nobody(api: Api, database: Database) -> None:
    """A researcher's, a patient's, that of a clinician who may not see everybody: the function asks whose it is."""
    patient = UUID(await api.add_patient())
    narrow = [
        Actor(api.clinic_id, new_id(), Role.RESEARCHER),
        Actor(api.clinic_id, new_id(), Role.PATIENT, patient),
        Actor(api.clinic_id, new_id(), Role.CLINICIAN, hidden=frozenset({patient})),
    ]
    for actor in narrow:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.connection(actor) as connection:
                await connection.execute(
                    "SELECT erase_patient($1, $2, now(), $2, 'patient_request', NULL)", patient, new_id()
                )
    assert (await api.http.get(f"/v1/patients/{patient}")).status_code == 200
