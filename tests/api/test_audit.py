"""The trail over HTTP: anonymous, wrong role, other clinic, invalid, valid, filters, pages. Of reads: test_reads."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.audit import written as filter_told
from app.auth import Role
from app.db import Database
from app.schemas.audit import COVERS
from app.services.audit_chain import FIRST_ID, seal
from tests.api.check_ins import Bearer, expect
from tests.api.conftest import PatientApi
from tests.api.treatment import EPISODE, assert_closed_to, assert_foreign_is_absent, assert_refused, patch
from tests.conftest import Api

pytestmark = pytest.mark.anyio

EVENTS = "/v1/audit-events"
ACCESSES = "/v1/patients/ID/accesses"


async def rows(api: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await api.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.json()["covers"] == COVERS
    return written(answer.json()["data"])


def written(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what was only looked at, or looked for in vain: every look at the trail adds one itself."""
    done = [row for row in found if row.get("outcome") in {None, "done"}]
    return [row for row in done if not row["action"].endswith((".read", ".list", ".history"))]


def accesses(patient: str) -> str:
    return ACCESSES.replace("ID", patient)


async def token_of(api: Api) -> str:
    """Whose token a client holds, as the trail says of what it does."""
    patient = await api.add_patient()
    answer = await api.http.get(accesses(patient))
    return str(answer.json()["data"][-1]["actor_id"])


async def submit(api: Api, patient: str) -> dict[str, Any]:
    form = {"patient_id": patient, "instrument": "phq-9", "responses": [1] * 9, "taken_at": "2026-03-01T08:00:00Z"}
    answer = await api.http.post("/v1/assessments", json=form)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


# --- Filters ----------------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """A filter of every kind there is."""

    instrument: str | None = None
    known_at: datetime | None = None
    overdue: bool | None = None
    statuses: frozenset[str] = frozenset()
    patient_id: UUID | None = None
    name: Any = None


def test_a_filter_is_told_in_one_line() -> None:
    """What was asked for and nothing else; a time in UTC, a list in one order; never of whom."""
    asked = Asked(
        "phq-9", datetime.fromisoformat("2026-03-01T09:00:00+01:00"), False, frozenset({"open", "closed"}), uuid4()
    )
    told = "instrument=phq-9 known_at=2026-03-01T08:00:00+00:00 overdue=false statuses=closed,open"
    assert filter_told(asked) == told
    assert filter_told(Asked()) == ""


@pytest.mark.parametrize("unforeseen", [b"Ada Example", {"name": "Ada Example"}, ["phq-9", b"Ada Example"]])
def test_a_filter_of_an_unforeseen_kind_reaches_no_trail(unforeseen: Any) -> None:
    """What nobody has thought about may hold a name, and the error that says so repeats nothing of it."""
    with pytest.raises(TypeError) as refused:
        filter_told(Asked(name=unforeseen))
    assert "Ada" not in str(refused.value)


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_the_clinics_trail_is_the_administrators(
    anonymous: httpx2.AsyncClient,
    api: Api,
    service: Api,
    researcher: Api,
    patient_api: PatientApi,
    link: dict[str, Any],
) -> None:
    """401 without a token; 403 for every other role, for the bearer of a link too."""
    await assert_closed_to(anonymous, 401, [("GET", EVENTS, None)])
    for one in (api, service, researcher, patient_api):
        await assert_closed_to(one, 403, [("GET", EVENTS, None)])
    token = {"Authorization": f"Bearer {link['token']}"}
    for path in (EVENTS, accesses(link["patient_id"])):
        assert (await anonymous.get(path, headers=token)).status_code == 403


async def test_accesses_are_the_staffs_and_the_patients_own(
    anonymous: httpx2.AsyncClient, api: Api, admin: Api, service: Api, researcher: Api, patient_api: PatientApi
) -> None:
    """401 without a token, 403 for programs and researchers, 404 for a patient who asks about another."""
    calls = [("GET", accesses(patient_api.patient_id), None)]
    await assert_closed_to(anonymous, 401, calls)
    for one in (service, researcher):
        await assert_closed_to(one, 403, calls)
    for one in (api, admin, patient_api):
        assert [row["action"] for row in await rows(one, calls[0][1])] == ["patient.create"]
    await assert_foreign_is_absent(patient_api, await api.add_patient(), [("GET", ACCESSES, None)])


async def test_another_clinics_are_absent(admin: Api, api: Api, other_admin: Api) -> None:
    """Byte for byte, in lists, and by filter."""
    foreign = await other_admin.add_patient()
    own = await api.add_patient()
    await assert_foreign_is_absent(admin, foreign, [("GET", ACCESSES, None)])
    assert {row["patient_id"] for row in await rows(admin, EVENTS)} == {own}
    assert await rows(admin, EVENTS, patient_id=foreign) == []
    assert await rows(admin, EVENTS, actor_id=await token_of(other_admin)) == []


async def test_nothing_of_it_can_be_written(admin: Api) -> None:
    """405 for every method but GET."""
    patient = await admin.add_patient()
    for path in (EVENTS, accesses(patient)):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await admin.http.request(method, path)).status_code == 405


# --- Invalid ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["", "Assessment", "a b", "a'; --", "a\x00", "x" * 101, "ä", "a\n"])
async def test_no_action_at_all_is_refused(admin: Api, action: str) -> None:
    """422 with the place, and the value is not repeated."""
    answer = await admin.http.get(EVENTS, params={"action": action})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["query/action"]
    assert len(action) < 3 or action not in answer.text


async def test_periods_and_ids_have_to_be_some(admin: Api) -> None:
    """Times with an offset, in order; ids as UUIDs; limits and cursors as everywhere."""
    for query, pointer, code in (
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, "query/from", "not_a_period"),
        ({"from": "2026-01-02T00:00:00"}, "query/from", "not_a_time"),
        ({"to": "yesterday"}, "query/to", "not_a_time"),
        ({"actor_id": "me"}, "query/actor_id", "not_a_uuid"),
        ({"patient_id": "1"}, "query/patient_id", "not_a_uuid"),
        ({"cursor": "x"}, "query/cursor", "not_a_cursor"),
    ):
        assert_refused(await admin.http.get(EVENTS, params=query), pointer, code)
    patient = await admin.add_patient()
    assert_refused(await admin.http.get(accesses(patient), params={"cursor": "x"}), "query/cursor", "not_a_cursor")
    assert (await admin.http.get(EVENTS, params={"limit": 201})).status_code == 422


# --- Valid ------------------------------------------------------------------------------------------------------------


async def test_the_trail_says_who_did_what(admin: Api, api: Api, database: Database) -> None:
    """Newest first: when, which token in which role, which action on which thing; the place once it is sealed."""
    before = datetime.now(UTC)
    patient = await api.add_patient()
    form = await submit(api, patient)
    clinician = await token_of(api)
    found = await rows(admin, EVENTS, patient_id=patient)
    assert [(row["action"], row["resource_id"]) for row in found] == [
        ("assessment.create", form["id"]),
        ("patient.create", patient),
    ]
    for row in found:
        assert (row["actor_id"], row["actor_role"], row["patient_id"]) == (clinician, Role.CLINICIAN, patient)
        assert before <= datetime.fromisoformat(row["at"]) <= datetime.now(UTC)
        assert row["number"] is None
    await seal(database, api.clinic_id, FIRST_ID)
    assert [row["number"] for row in await rows(admin, EVENTS)] == [3, 2, 1]
    assert [row["number"] for row in await rows(admin, EVENTS, patient_id=patient)] == [2, 1]


async def test_a_repeat_is_no_second_act(admin: Api, api: Api) -> None:
    """The same key again changes nothing, so nothing is added to the trail."""
    key = {"Idempotency-Key": f"once-{uuid4()}"}
    for _ in range(3):
        assert (await api.http.post("/v1/patients", json={}, headers=key)).status_code == 201
    assert len(await rows(admin, EVENTS)) == 1


async def test_filters_take_away(admin: Api, api: Api) -> None:
    """By token, action, patient and period, each alone and together; `from` belongs to the period, `to` does not."""
    patients = [await one.add_patient() for one in (api, admin, api)]
    for patient in patients:
        await submit(api, patient)
    everything = await rows(admin, EVENTS)
    assert len(everything) == 6
    administrator = next(row["actor_id"] for row in everything if row["actor_role"] == "admin")
    for query, expected in (
        ({"actor_id": administrator}, [row for row in everything if row["actor_id"] == administrator]),
        ({"action": "patient.create"}, [row for row in everything if row["action"] == "patient.create"]),
        ({"action": "patient.created"}, []),
        ({"patient_id": patients[1]}, [row for row in everything if row["patient_id"] == patients[1]]),
        ({"patient_id": patients[1], "actor_id": administrator, "action": "assessment.create"}, []),
        ({"from": everything[3]["at"]}, everything[:4]),
        ({"to": everything[3]["at"]}, everything[4:]),
        ({"from": everything[4]["at"], "to": everything[1]["at"]}, everything[2:5]),
        ({"patient_id": str(uuid4())}, []),
    ):
        assert await rows(admin, EVENTS, **query) == expected, query


async def test_pages_follow_each_other(admin: Api, api: Api) -> None:
    """Whole and without repeats, also where many events have the same time, and while more are added."""
    patient = await api.add_patient()
    forms = [
        {"patient_id": patient, "instrument": "phq-9", "responses": [1] * 9, "taken_at": f"2026-03-0{day}T08:00:00Z"}
        for day in range(1, 8)
    ]
    assert (await api.http.post("/v1/assessments/batch", json={"assessments": forms})).status_code == 200
    for path, of in ((EVENTS, "id"), (accesses(patient), "resource_id")):
        whole = await rows(admin, path)
        assert len({row["at"] for row in whole}) < len(whole)
        got, cursor = [], None
        while True:
            answer = await admin.http.get(path, params={"limit": 3} | ({} if cursor is None else {"cursor": cursor}))
            got += answer.json()["data"]
            cursor = answer.json()["next_cursor"]
            if cursor is None:
                assert "link" not in answer.headers
                break
            assert 'rel="next"' in answer.headers["link"]
            await api.add_patient()
        assert [row[of] for row in written(got)] == [row[of] for row in whole]


async def test_a_patient_sees_what_was_done_about_them(
    patient_api: PatientApi, api: Api, admin: Api, database: Database
) -> None:
    """By whomever, without the clinic's numbers; what is about nobody or another is not there."""
    patient = patient_api.patient_id
    form = await submit(patient_api, patient)
    episode = (await api.http.post(f"/v1/patients/{patient}/episodes", json=EPISODE)).json()
    change = {"modality": "other", "reason": "a slip"}
    assert (await patch(api, f"/v1/episodes/{episode['id']}", change)).status_code == 200
    await submit(api, await api.add_patient())
    found = await rows(patient_api, accesses(patient))
    assert [(row["actor_role"], row["action"], row["resource_id"]) for row in found] == [
        ("clinician", "episode.amend", episode["id"]),
        ("clinician", "episode.create", episode["id"]),
        ("patient", "assessment.create", form["id"]),
        ("clinician", "patient.create", patient),
    ]
    told = ("at", "actor_id", "actor_role", "action", "resource_id", "purpose", "emergency_id")
    assert {tuple(row) for row in found} == {told}
    assert found == await rows(admin, accesses(patient))
    await seal(database, api.clinic_id, FIRST_ID)
    assert found == await rows(patient_api, accesses(patient))


async def test_a_check_in_by_link_names_the_link(
    admin: Api, bearer: Bearer, link: dict[str, Any], database: Database
) -> None:
    """It stands as what it is, not as its maker."""
    expected = await expect(database, admin.clinic_id, link["patient_id"])
    assert (await bearer.answer(expected)).status_code == 201
    found = await rows(admin, accesses(link["patient_id"]), limit=1)
    assert (found[0]["actor_role"], found[0]["actor_id"]) == ("link", link["id"])


async def test_a_year_old_event_is_reached_by_its_period(admin: Api, database: Database) -> None:
    """Whatever its id says."""
    at = datetime.now(UTC) - timedelta(days=400)
    async with database.connection(admin.clinic_id) as connection:
        await connection.execute(
            "INSERT INTO audit_event (clinic_id, id, at, actor_id, actor_role, action, resource_id) "
            "VALUES ($1, $2, $3, $4, 'admin', 'webhook.create', $5)",
            admin.clinic_id,
            UUID(int=uuid4().int),
            at,
            uuid4(),
            uuid4(),
        )
    (found,) = await rows(admin, EVENTS, to=(at + timedelta(days=1)).isoformat())
    assert (found["outcome"], found["request_id"], found["rows"]) == (None, None, None)
    assert (found["action"], found["patient_id"]) == ("webhook.create", None)
