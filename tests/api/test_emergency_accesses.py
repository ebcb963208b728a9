"""Break-glass: seeing a restricted patient in an emergency, and being seen doing so."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from app.auth import Actor, Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.errors import NotFoundError
from app.schemas.emergency_accesses import EmergencyAccessOpen
from app.services.emergency_accesses import open_emergency_access
from tests.api.conftest import PatientApi
from tests.api.test_care_teams import FORM, restrict
from tests.conftest import Api

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_waiting_for_the_cache")]

WHY: dict[str, Any] = {"reason": "brought in unconscious, on call tonight", "hours": 8}


@pytest.fixture
async def hidden(admin: Api, patient_id: str) -> str:
    """A patient who is restricted to nobody."""
    await restrict(admin, patient_id)
    return patient_id


async def ask(api: Api, patient_id: str, **headers: str) -> httpx2.Response:
    return await api.http.post(f"/v1/patients/{patient_id}/emergency-access", json=WHY, headers=headers)


async def test_anonymous(anonymous: httpx2.AsyncClient, hidden: str) -> None:
    asked = [
        ("POST", f"/v1/patients/{hidden}/emergency-access"),
        ("POST", f"/v1/emergency-accesses/{uuid4()}/end"),
        ("GET", "/v1/emergency-accesses"),
        ("GET", f"/v1/emergency-accesses/{uuid4()}"),
    ]
    for method, address in asked:
        assert (await anonymous.request(method, address, json=WHY)).status_code == 401


async def test_wrong_role(admin: Api, service: Api, researcher: Api, patient_api: PatientApi, hidden: str) -> None:
    """Who sees all patients needs none; who treats nobody gets none."""
    for caller in (admin, service, researcher, patient_api):
        assert (await ask(caller, hidden)).status_code == 403
    for caller in (service, researcher, patient_api):
        assert (await caller.http.get("/v1/emergency-accesses")).status_code == 403


async def test_other_clinics_and_absent_patients_are_the_same(other_api: Api, api: Api, hidden: str) -> None:
    answers = [await ask(other_api, hidden), await ask(other_api, str(uuid4())), await ask(api, str(uuid4()))]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    "change",
    [{"reason": "too short"}, {"reason": "x" * 501}, {"reason": " " * 20}, {"hours": 0}, {"hours": 25}, {"more": 1}],
)
async def test_invalid(api: Api, hidden: str, change: dict[str, Any]) -> None:
    answer = await api.http.post(f"/v1/patients/{hidden}/emergency-access", json=WHY | change)
    assert answer.status_code == 422


async def test_a_patient_who_is_seen_anyway_needs_none(api: Api) -> None:
    answer = await ask(api, await api.add_patient())
    assert answer.status_code == 409
    assert "no emergency access is needed" in answer.json()["detail"]


async def test_the_patient_is_there_and_everybody_is_told(
    admin: Api, api: Api, database: Database, hidden: str
) -> None:
    """Every event about the patient names the access, before and after none does."""
    webhook = await admin.http.post(
        "/v1/webhooks", json={"url": "https://93.184.215.14/hook", "events": ["emergency_access.opened"], "label": "x"}
    )
    assert (await api.http.get(f"/v1/patients/{hidden}")).status_code == 404
    opened = await ask(api, hidden)
    assert opened.status_code == 201
    access = opened.json()
    assert access.items() >= {"patient_id": hidden, "reason": WHY["reason"], "ended_at": None}.items()
    assert opened.headers["location"] == f"/v1/emergency-accesses/{access['id']}"
    assert (await api.http.get(opened.headers["location"])).json() == access
    assert (await api.http.get(f"/v1/patients/{hidden}")).status_code == 200
    other = await api.add_patient()
    for patient in (hidden, other):
        assert (await api.http.post("/v1/assessments", json=FORM | {"patient_id": patient})).status_code == 201
        made = await api.http.post(f"/v1/patients/{patient}/check-in-links", json={})
        assert made.status_code == 201
    assert hidden in (await api.http.get("/v1/caseload")).text
    assert (await admin.http.get("/v1/emergency-accesses")).json()["data"] == [access]
    deliveries = (await admin.http.get(f"/v1/webhooks/{webhook.json()['id']}/deliveries")).json()["data"]
    assert [(one["kind"], one["resource_id"], one["patient_id"]) for one in deliveries] == [
        ("emergency_access.opened", access["id"], hidden)
    ]
    by_access = await events(database, api.clinic_id, access["actor_id"])
    acts = {"emergency_access.open", "emergency_access.read", "patient.read", "assessment.create", "caseload.list"}
    assert {name for name, id_ in by_access if id_ == UUID(access["id"])} >= acts
    assert {name for name, id_ in by_access if id_ is None} >= {"patient.create", "assessment.create"}


async def events(database: Database, clinic_id: UUID, actor_id: str) -> list[tuple[str, UUID | None]]:
    query = "SELECT action, emergency_id FROM audit_event WHERE clinic_id = $1 AND actor_id = $2"
    async with database.connection(clinic_id) as connection:
        return [
            (row["action"], row["emergency_id"]) for row in await connection.fetch(query, clinic_id, UUID(actor_id))
        ]


async def test_they_are_listed_in_pages(admin: Api, api: Api, hidden: str) -> None:
    """Newest first, each once; when they are over, to the administrator alone."""
    made = []
    for _ in range(3):
        made.append((await ask(api, hidden)).json()["id"])
        await api.http.post(f"/v1/emergency-accesses/{made[-1]}/end")
    first = (await admin.http.get("/v1/emergency-accesses", params={"limit": 2})).json()
    page = {"limit": 2, "cursor": first["next_cursor"]}
    rest = (await admin.http.get("/v1/emergency-accesses", params=page)).json()
    assert [one["id"] for one in first["data"] + rest["data"]] == made[::-1]
    assert (await api.http.get("/v1/emergency-accesses")).json()["data"] == []


async def test_it_ends_early(admin: Api, api: Api, hidden: str) -> None:
    """By an administrator or by the clinician; from then on there is no such patient. Twice is no error."""
    for ender in (admin, api):
        access = (await ask(api, hidden)).json()
        ended = await ender.http.post(f"/v1/emergency-accesses/{access['id']}/end")
        assert ended.status_code == 200
        assert ended.json()["ended_by"] is not None
        assert (await api.http.get(f"/v1/patients/{hidden}")).status_code == 404
        again = await ender.http.post(f"/v1/emergency-accesses/{access['id']}/end")
        assert (again.status_code, again.json()) == (200, ended.json())


async def test_it_ends_by_itself(address: PostgresAddress, api: Api, hidden: str) -> None:
    """After the hours that were asked for, which the service itself cannot change."""
    access = (await ask(api, hidden)).json()
    begun_at, expires_at = (datetime.fromisoformat(access[name]) for name in ("begun_at", "expires_at"))
    assert expires_at - begun_at == timedelta(hours=WHY["hours"])
    earlier = "UPDATE emergency_access SET expires_at = begun_at + interval '1 millisecond'"
    binding = f"SET app.clinic_id = '{api.clinic_id}'"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(address.runtime_url, binding, earlier)
    assert (await api.http.get(f"/v1/patients/{hidden}")).status_code == 200
    await run(address.owner_url, binding, earlier)
    assert (await api.http.get(f"/v1/patients/{hidden}")).status_code == 404
    assert (await ask(api, hidden)).status_code == 201  # a new emergency


async def run(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_nobody_ends_anothers(other_admin: Api, api: Api, hidden: str) -> None:
    access = (await ask(api, hidden)).json()
    answers = [await other_admin.http.post(f"/v1/emergency-accesses/{id_}/end") for id_ in (access["id"], uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert (await api.http.get(f"/v1/patients/{hidden}")).status_code == 200


async def test_who_sees_none_is_opened_none(admin: Api, database: Database, hidden: str) -> None:
    """It is opened as the system, which sees everybody: beneath the routes too, nobody gets to a patient by it."""
    content, strangers = EmergencyAccessOpen(**WHY), [(Role.PATIENT, uuid4()), (Role.RESEARCHER, None)]
    for role, patient_id in [*strangers, (Role.CLINICIAN, None)]:  # of the last nobody has asked who is hidden
        actor = Actor(admin.clinic_id, uuid4(), role, patient_id)
        with pytest.raises(NotFoundError):
            await open_emergency_access(database, actor, UUID(hidden), content, None)
    assert (await admin.http.get("/v1/emergency-accesses")).json()["data"] == []


async def test_two_at_once_are_one(api: Api, hidden: str) -> None:
    answers = await asyncio.gather(*(ask(api, hidden) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_replay(api: Api, hidden: str) -> None:
    """The same key: the same access, though the patient is in view by now; other content is refused."""
    first, again = [await ask(api, hidden, **{"Idempotency-Key": "once"}) for _ in range(2)]
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (201, first.json(), "true")
    other = await api.http.post(
        f"/v1/patients/{hidden}/emergency-access", json=WHY | {"hours": 1}, headers={"Idempotency-Key": "once"}
    )
    assert other.status_code == 422
    key = {"Idempotency-Key": "end"}
    ends = [await api.http.post(f"/v1/emergency-accesses/{first.json()['id']}/end", headers=key) for _ in range(2)]
    assert ends[0].json() == ends[1].json()
    assert ends[1].headers["idempotency-replayed"] == "true"
