"""Check-in links over HTTP: made and revoked by the clinic, opened by who has no login, dead when they should be."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI

from app import deps
from app.auth import Actor, Permission, Role, TokenKind, new_token, parse_token, require
from app.db import Database
from app.errors import ForbiddenError, UnavailableError
from app.ids import new_id
from app.services import assessments
from app.services.clinic_rules import DEFAULTS
from app.services.clinics import record_token
from app.settings import Settings
from tests.api.check_ins import expect, fill
from tests.api.schedules import plan
from tests.api.treatment import add_episode, assert_closed_to, assert_foreign_is_absent, assert_refused, events
from tests.conftest import Api

pytestmark = pytest.mark.anyio

DUE = "/v1/check-in"
FORMS = "/v1/check-in/forms"
CALM = [1, 1, 1, 1, 0, 0, 1, 0, 0, 1]
AT_RISK = [3, 3, 3, 3, 2, 2, 1, 1, 2, 2]


def links_of(patient_id: str) -> str:
    return f"/v1/patients/{patient_id}/check-in-links"


async def make_link(api: Api, patient_id: str, **body: Any) -> dict[str, Any]:
    answer = await api.http.post(links_of(patient_id), json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def read_link(api: Api, link: dict[str, Any]) -> dict[str, Any]:
    answer = await api.http.get(f"/v1/check-in-links/{link['id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def make_expired_link(database: Database, api: Api, patient_id: str) -> dict[str, Any]:
    """One of last week: the runtime role may add it, and may move no expiry."""
    link_id = new_id()
    token, secret_hash = new_token(api.clinic_id, link_id, TokenKind.LINK)
    async with database.connection(api.clinic_id) as connection:
        await connection.execute(
            """INSERT INTO check_in_link (clinic_id, id, patient_id, secret_hash, created_at, created_by, expires_at,
                   tries_left)
               VALUES ($1, $2, $3, $4, now() - interval '7 days', $2, now() - interval '1 second', 20)""",
            api.clinic_id,
            link_id,
            UUID(patient_id),
            secret_hash,
        )
    return {"id": str(link_id), "token": token}


async def stored_forms(api: Api, patient_id: str) -> list[dict[str, Any]]:
    answer = await api.http.get("/v1/assessments", params={"patient_id": patient_id})
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


class Bearer:
    """Somebody who opened a link."""

    def __init__(self, http: httpx2.AsyncClient, link: dict[str, Any]) -> None:
        self.http, self.headers = http, {"Authorization": f"Bearer {link['token']}"}

    async def due(self) -> httpx2.Response:
        return await self.http.get(DUE, headers=self.headers)

    async def answer(self, expected_id: str, key: str | None = None, **changes: Any) -> httpx2.Response:
        headers = self.headers | ({} if key is None else {"Idempotency-Key": key})
        return await self.http.post(FORMS, json=filled(expected_id) | changes, headers=headers)


def filled(expected_id: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"id": str(uuid4()), "expected_id": expected_id, "responses": CALM, "taken_at": now, "language": "en"}


@pytest.fixture
async def patient_id(api: Api) -> str:
    return await api.add_patient("Chart 4711 of Somebody")


@pytest.fixture
async def link(api: Api, patient_id: str) -> dict[str, Any]:
    return await make_link(api, patient_id)


@pytest.fixture
async def bearer(anonymous: httpx2.AsyncClient, link: dict[str, Any]) -> Bearer:
    return Bearer(anonymous, link)


@pytest.fixture(autouse=True)
def no_waiting_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call looks its token up, as the first one after a second does."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 0.0)


# --- Who may make, see and revoke them --------------------------------------------------------------------------------


def staff_calls(patient_id: str, link_id: str) -> list[tuple[str, str, Any]]:
    return [
        ("POST", links_of(patient_id), {}),
        ("GET", links_of(patient_id), None),
        ("GET", f"/v1/check-in-links/{link_id}", None),
        ("POST", f"/v1/check-in-links/{link_id}/revocation", None),
    ]


async def test_strangers_and_researchers_are_refused(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that treats nobody."""
    calls = staff_calls(str(uuid4()), str(uuid4()))
    await assert_closed_to(anonymous, 401, [*calls, ("GET", DUE, None), ("POST", FORMS, filled(str(uuid4())))])
    await assert_closed_to(researcher, 403, calls)


async def test_no_login_answers_by_link(api: Api, admin: Api, service: Api) -> None:
    """What a link opens is for links alone: staff have their own ways, which say who they are."""
    for caller in (api, admin, service):
        await assert_closed_to(caller, 403, [("GET", DUE, None), ("POST", FORMS, filled(str(uuid4())))])


async def test_foreign_patients_and_links_are_absent(api: Api, other_api: Api) -> None:
    """Another clinic's id answers byte for byte as one that never was."""
    patient = await other_api.add_patient()
    link = await make_link(other_api, patient)
    calls = staff_calls("ID", "ID")
    await assert_foreign_is_absent(api, patient, calls[:2])
    await assert_foreign_is_absent(api, link["id"], calls[2:])
    assert (await read_link(other_api, link))["state"] == "active"


async def test_a_link_is_told_once(api: Api, database: Database, patient_id: str) -> None:
    """Its secret is in the first answer alone, behind the #; what is stored and listed has none."""
    answer = await api.http.post(links_of(patient_id), json={"expires_in_hours": 2, "tries": 3})
    made = answer.json()
    assert made["url"] == f"/check-in#{made['token']}"
    assert answer.headers["location"] == f"/v1/check-in-links/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"]) == timedelta(hours=2)
    read = await read_link(api, made)
    assert read == {name: value for name, value in made.items() if name not in {"token", "url"}}
    assert (read["state"], read["tries_left"], read["revoked_at"]) == ("active", 3, None)
    assert (await api.http.get(links_of(patient_id))).json() == {"data": [read], "next_cursor": None}
    async with database.connection(api.clinic_id) as connection:
        row = await connection.fetchrow("SELECT * FROM check_in_link")
    secret = parse_token(made["token"]).secret
    assert secret not in row["secret_hash"]
    assert len(secret) == 32
    assert (await events(database, api)) == [("check_in_link.create", patient_id, made["id"])]


async def test_defaults_and_bounds(api: Api, patient_id: str) -> None:
    """Three days and twenty tries unless said; never longer than thirty days, never more than fifty tries."""
    made = await make_link(api, patient_id)
    lives = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert (lives, made["tries_left"]) == (timedelta(hours=72), 20)
    for body, pointer, code in [
        ({"expires_in_hours": 0}, "/expires_in_hours", "greater_than_equal"),
        ({"expires_in_hours": 721}, "/expires_in_hours", "less_than_equal"),
        ({"expires_in_hours": "72"}, "/expires_in_hours", "int_type"),
        ({"tries": 0}, "/tries", "greater_than_equal"),
        ({"tries": 51}, "/tries", "less_than_equal"),
        ({"patient": 1}, "", "unknown_field"),
    ]:
        assert_refused(await api.http.post(links_of(patient_id), json=body), pointer, code)


async def test_the_same_key_makes_one_link(api: Api, patient_id: str) -> None:
    """Of parallel twins one is told the secret; the others are told the same link without it."""
    headers = {"Idempotency-Key": "one-link"}
    twins = await asyncio.gather(*(api.http.post(links_of(patient_id), json={}, headers=headers) for _ in range(8)))
    made = [answer.json() for answer in twins if answer.status_code == 201]
    assert {answer.status_code for answer in twins} <= {201, 503}, "a crowded pool may ask to come back"
    assert len({answer["id"] for answer in made}) == 1
    late = await api.http.post(links_of(patient_id), json={}, headers=headers)
    assert (late.status_code, late.headers["idempotency-replayed"]) == (201, "true")
    assert (late.json()["token"], late.json()["url"]) == (None, None)
    assert len([answer for answer in made if answer["token"]]) == 1
    clash = await api.http.post(links_of(patient_id), json={"tries": 2}, headers=headers)
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    assert len((await api.http.get(links_of(patient_id))).json()["data"]) == 1


async def test_links_are_paged_newest_first(api: Api, patient_id: str) -> None:
    """Nothing is skipped and nothing comes twice."""
    made = [(await make_link(api, patient_id))["id"] for _ in range(5)]
    seen: list[str] = []
    url = f"{links_of(patient_id)}?limit=2"
    while url:
        answer = await api.http.get(url)
        seen += [row["id"] for row in answer.json()["data"]]
        url = answer.links["next"]["url"] if answer.json()["next_cursor"] else ""
    assert seen == made[::-1]


# --- What a link shows ------------------------------------------------------------------------------------------------


async def test_a_link_shows_what_is_due_and_nothing_else(
    api: Api, other_api: Api, database: Database, patient_id: str, bearer: Bearer, link: dict[str, Any]
) -> None:
    """Open and unanswered check-ins of this patient, soonest closed first: no past, no future, nobody else's."""
    later = await expect(database, api.clinic_id, patient_id, "pcl-5-week", closes_in=48)
    first = await expect(database, api.clinic_id, patient_id, closes_in=2)
    await expect(database, api.clinic_id, patient_id, opens_in=1)
    await expect(database, api.clinic_id, patient_id, opens_in=-5, closes_in=-1)
    await expect(database, api.clinic_id, await api.add_patient())
    await expect(database, other_api.clinic_id, await other_api.add_patient())
    answer = await bearer.due()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    told = answer.json()
    assert [form["expected_id"] for form in told["forms"]] == [first, later]
    assert (told.keys(), told["expires_at"]) == ({"forms", "expires_at", "safety_note"}, link["expires_at"])
    assert "not a crisis service" in told["safety_note"]
    form = told["forms"][0]["instrument"]
    assert form.keys() == {"key", "title", "instruction", "items", "languages", "copyright"}
    assert form["items"][0].keys() == {"number", "text", "answers", "required"}
    assert (form["key"], len(form["items"]), form["items"][9]["required"]) == ("phq-9@1", 10, False)
    assert form["items"][0]["answers"][3] == {"value": 3, "label": "Nearly every day"}


async def test_nothing_of_the_person_comes_back(
    api: Api, database: Database, patient_id: str, bearer: Bearer, link: dict[str, Any]
) -> None:
    """No name, no id of the patient, no answer given before, no score; not in the body and not in a header."""
    expected = await expect(database, api.clinic_id, patient_id)
    received = await bearer.answer(expected, responses=[3] * 10)
    assert received.status_code == 201, received.text
    assert received.json().keys() == {"id", "received_at", "safety_text"}
    for answer in (await bearer.due(), received):
        told = f"{answer.text} {answer.headers}"
        for secret in ("4711", patient_id, str(api.clinic_id), link["token"], "severity", "total", "threshold", "band"):
            assert secret not in told


async def test_a_link_opens_no_other_door(app: FastAPI, api: Api, patient_id: str, bearer: Bearer) -> None:
    """403 for its role on every route of the service but its two, whatever is named there."""
    asked = 0
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            if "link" in operation.get("x-roles", ["link"]):
                continue
            address = path.replace("{patient_id}", patient_id)
            for parameter in ("{" + part.split("}")[0] + "}" for part in address.split("{")[1:]):
                address = address.replace(parameter, str(UUID(int=7)))
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            headers = bearer.headers | {"If-Match": '"1"'}
            answer = await bearer.http.request(method.upper(), address, headers=headers, json=content)
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden"), (method, path)
            asked += 1
    assert asked > 40
    for permission in set(Permission) - {Permission.ANSWER_BY_LINK}:
        with pytest.raises(ForbiddenError):
            require(Actor(api.clinic_id, uuid4(), Role.LINK), permission)


# --- What a link stores -----------------------------------------------------------------------------------------------


async def test_an_answer_is_a_check_in_of_that_patient(
    api: Api, database: Database, patient_id: str, bearer: Bearer, link: dict[str, Any]
) -> None:
    """Scored like any other, filled in by the person, and the trail says through which link."""
    expected = await expect(database, api.clinic_id, patient_id)
    sent = filled(expected)
    answer = await bearer.answer(**sent)
    assert answer.status_code == 201, answer.text
    (form,) = await stored_forms(api, patient_id)
    assert (form["id"], form["instrument"], form["mode"], form["responses"]) == (sent["id"], "phq-9@1", "self", CALM)
    assert (answer.json()["id"], answer.json()["received_at"]) == (form["id"], form["received_at"])
    assert answer.json()["safety_text"] is None
    assert (await read_link(api, link))["tries_left"] == 19
    async with database.connection(api.clinic_id) as connection:
        (event,) = await connection.fetch("SELECT * FROM audit_event WHERE action = 'assessment.create'")
    assert (event["actor_role"], str(event["actor_id"]), str(event["subject_id"])) == ("link", link["id"], patient_id)


async def test_a_schedule_is_answered_by_link(api: Api, patient_id: str, bearer: Bearer) -> None:
    """What a real schedule makes due is shown, filled by the answer in the same breath, and due no more."""
    opened_at = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    episode = await add_episode(api, patient_id, opened_at=opened_at)
    window = {"opens_hours": -1, "overdue_hours": 24, "closes_hours": 48}
    entry = {"code": "start", "instrument": "phq-9", "anchor": "episode", "after": {"hours": 0}, "window": window}
    await plan(api, episode["id"], entry, entry | {"code": "later", "after": {"days": 30}})
    (form,) = (await bearer.due()).json()["forms"]
    sent = filled(form["expected_id"])
    first, again = await bearer.answer(**sent), await bearer.answer(**sent)
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert (await bearer.due()).json()["forms"] == []
    assert (await bearer.answer(form["expected_id"])).status_code == 409
    due = (await api.http.get(f"/v1/patients/{patient_id}/due", params={"status": "received"})).json()
    filled_by = {row["id"]: (row["status"], row["assessment_id"]) for row in due["data"]}
    assert filled_by[form["expected_id"]] == ("received", sent["id"])
    assert len(await stored_forms(api, patient_id)) == 1


@pytest.mark.parametrize("key", [None, "phone-1"])
async def test_a_repeat_is_answered_alike_and_costs_nothing(
    api: Api, database: Database, patient_id: str, bearer: Bearer, link: dict[str, Any], key: str | None
) -> None:
    """Ten twins at once and one after the check-in was filled: one form, one try, one answer."""
    expected = await expect(database, api.clinic_id, patient_id)
    sent = filled(expected)
    twins = await asyncio.gather(*(bearer.answer(**sent, key=key) for _ in range(10)))
    assert {answer.status_code for answer in twins} <= {201, 503}, [answer.text for answer in twins]
    (content,) = {answer.content for answer in twins if answer.status_code == 201}
    await fill(database, api.clinic_id, expected, sent["id"])
    late = await bearer.answer(**sent, key=key)
    assert (late.status_code, late.content, late.headers["idempotency-replayed"]) == (201, content, "true")
    assert [form["id"] for form in await stored_forms(api, patient_id)] == [sent["id"]]
    assert (await read_link(api, link))["tries_left"] == 19


async def test_other_answers_to_a_filled_check_in_are_refused(
    api: Api, database: Database, patient_id: str, bearer: Bearer, link: dict[str, Any]
) -> None:
    """Other content under its id is 422, under a new id 409; neither is stored, both cost a try."""
    expected = await expect(database, api.clinic_id, patient_id)
    sent = filled(expected)
    assert (await bearer.answer(**sent)).status_code == 201
    await fill(database, api.clinic_id, expected, sent["id"])
    assert (await bearer.due()).json()["forms"] == []
    clash = await bearer.answer(**sent | {"responses": AT_RISK})
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    assert (await bearer.answer(expected)).status_code == 409
    (form,) = await stored_forms(api, patient_id)
    assert form["responses"] == CALM
    assert (await read_link(api, link))["tries_left"] == 17


async def test_what_is_not_due_is_refused(
    api: Api, other_api: Api, database: Database, patient_id: str, bearer: Bearer, link: dict[str, Any]
) -> None:
    """409 before and after its time; 404 for another patient's, another clinic's and no check-in, byte for byte."""
    for opens_in, closes_in in ((1, 2), (-2, -1)):
        early_or_late = await expect(database, api.clinic_id, patient_id, opens_in=opens_in, closes_in=closes_in)
        refused = await bearer.answer(early_or_late)
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
    absent = [
        await bearer.answer(await expect(database, api.clinic_id, await api.add_patient())),
        await bearer.answer(await expect(database, other_api.clinic_id, await other_api.add_patient())),
        await bearer.answer(str(uuid4())),
    ]
    assert [answer.status_code for answer in absent] == [404, 404, 404]
    assert len({answer.content for answer in absent}) == 1
    assert (await api.http.get("/v1/assessments")).json()["data"] == []
    assert (await read_link(api, link))["tries_left"] == 15


async def test_another_patients_form_is_not_told_by_its_id(
    api: Api, database: Database, patient_id: str, bearer: Bearer
) -> None:
    """An id that another patient's form has is refused without a word of that form, which stays as it was."""
    other = await api.add_patient()
    body = {"id": str(uuid4()), "patient_id": other, "instrument": "phq-9", "responses": AT_RISK}
    stored = await api.http.post("/v1/assessments", json=body | {"taken_at": "2026-01-05T09:00:00Z"})
    assert stored.status_code == 201
    answer = await bearer.answer(await expect(database, api.clinic_id, patient_id), id=body["id"])
    assert answer.status_code in {409, 422}
    assert other not in answer.text
    assert await stored_forms(api, patient_id) == []
    assert [form["responses"] for form in await stored_forms(api, other)] == [AT_RISK]


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"responses": [0] * 3}, "/responses", "wrong_length"),
        ({"responses": [7, *CALM[1:]]}, "/responses/0", "not_a_choice"),
        ({"taken_at": "2020-01-01T00:00:00Z"}, "/taken_at", "outside_the_window"),
        ({"taken_at": "2999-01-01T00:00:00Z"}, "/taken_at", "outside_the_window"),
    ],
)
async def test_unsound_answers_are_refused_and_cost_a_try(
    api: Api,
    database: Database,
    patient_id: str,
    bearer: Bearer,
    link: dict[str, Any],
    change: dict[str, Any],
    pointer: str,
    code: str,
) -> None:
    """422 with the place, nothing stored."""
    assert_refused(await bearer.answer(await expect(database, api.clinic_id, patient_id), **change), pointer, code)
    assert await stored_forms(api, patient_id) == []
    assert (await read_link(api, link))["tries_left"] == 19


@pytest.mark.parametrize("change", [{"patient_id": str(uuid4())}, {"mode": "proxy"}, {"instrument": "phq-9"}])
async def test_nobody_sends_for_somebody_else(
    api: Api, database: Database, patient_id: str, bearer: Bearer, change: dict[str, Any]
) -> None:
    """Whose form it is, and which, is said by the link and the check-in alone."""
    answer = await bearer.answer(await expect(database, api.clinic_id, patient_id), **change)
    assert_refused(answer, "", "unknown_field")
    assert await stored_forms(api, patient_id) == []


async def test_a_busy_database_costs_no_try(
    api: Api, database: Database, patient_id: str, bearer: Bearer, link: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 is not the sender's fault; the same form is taken afterwards."""

    async def busy(*_: object) -> None:
        raise UnavailableError("busy")

    sent = filled(await expect(database, api.clinic_id, patient_id))
    with monkeypatch.context() as context:
        context.setattr(assessments, "record_assessment", busy)
        assert (await bearer.answer(**sent)).status_code == 503
    assert (await read_link(api, link))["tries_left"] == 20
    assert (await bearer.answer(**sent)).status_code == 201


# --- The safety text --------------------------------------------------------------------------------------------------


async def test_the_safety_text_comes_with_a_critical_answer(
    api: Api, database: Database, patient_id: str, bearer: Bearer
) -> None:
    """At the threshold of item 9 and above, whatever the total; told again with a repeat."""
    for value, expected_text in ((0, None), (1, DEFAULTS["safety_text"]), (3, DEFAULTS["safety_text"]), (None, None)):
        sent = filled(await expect(database, api.clinic_id, patient_id)) | {"responses": [0] * 8 + [value]}
        answers = [await bearer.answer(**sent) for _ in range(2)]
        assert [answer.json()["safety_text"] for answer in answers] == [expected_text] * 2, value
        assert answers[0].content == answers[1].content


async def test_the_clinics_own_words_are_shown(
    api: Api, other_api: Api, database: Database, patient_id: str, bearer: Bearer
) -> None:
    """The newest version of its rules, and no other clinic's."""
    for caller, version, text in ((api, 1, "old"), (api, 2, "Call 030 1234 at any hour."), (other_api, 1, "others'")):
        async with database.connection(caller.clinic_id) as connection:
            await connection.execute(
                """INSERT INTO clinic_rules (clinic_id, id, version, recorded_at, recorded_by, reason, quiet_from,
                       quiet_until, amend_window_hours, missed_in_a_row, safety_text)
                   VALUES ($1, $1, $2, now(), $1, $3, '21:00', '08:00', 24, 3, $4)""",
                caller.clinic_id,
                version,
                None if version == 1 else "better",
                text,
            )
    answer = await bearer.answer(await expect(database, api.clinic_id, patient_id), responses=AT_RISK)
    assert answer.json()["safety_text"] == "Call 030 1234 at any hour."


# --- Dead links -------------------------------------------------------------------------------------------------------


async def test_dead_links_answer_alike_and_store_nothing(
    api: Api, database: Database, patient_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """Expired, revoked, used up, unknown, of a wrong secret: 401 with the same words, for reading and for sending."""
    expected = await expect(database, api.clinic_id, patient_id)
    expired = await make_expired_link(database, api, patient_id)
    revoked, used_up, wrong = [await make_link(api, patient_id, tries=1) for _ in range(3)]
    await api.http.post(f"/v1/check-in-links/{revoked['id']}/revocation")
    assert (await Bearer(anonymous, used_up).answer(str(uuid4()))).status_code == 404
    wrong = wrong | {"token": f"{wrong['token'][:48]}{expired['token'][48:]}"}
    unknown = {"token": new_token(api.clinic_id, uuid4(), TokenKind.LINK)[0]}
    answers = []
    for dead in (expired, revoked, used_up, wrong, unknown):
        answers += [await Bearer(anonymous, dead).due(), await Bearer(anonymous, dead).answer(expected)]
    assert [answer.status_code for answer in answers] == [401] * 10
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    for dead in (expired, revoked):
        elsewhere = await anonymous.get("/v1/patients", headers=Bearer(anonymous, dead).headers)
        assert elsewhere.status_code == 401
    assert await stored_forms(api, patient_id) == []
    states = {row["id"]: row["state"] for row in (await api.http.get(links_of(patient_id))).json()["data"]}
    named = {"expired": expired, "revoked": revoked, "used_up": used_up}
    assert {name: states[dead["id"]] for name, dead in named.items()} == {name: name for name in named}


async def test_a_wrong_secret_costs_a_try(
    api: Api, patient_id: str, anonymous: httpx2.AsyncClient, link: dict[str, Any]
) -> None:
    """So does each of many at once, and never more than there are."""
    made = await make_link(api, patient_id, tries=4)
    forged = Bearer(anonymous, {"token": f"{made['token'][:48]}{link['token'][48:]}"})
    assert (await forged.due()).status_code == 401
    assert (await read_link(api, made))["tries_left"] == 3
    assert {answer.status_code for answer in await asyncio.gather(*(forged.due() for _ in range(6)))} <= {401, 503}
    while (await read_link(api, made))["state"] == "active":
        await forged.due()
    assert (await read_link(api, made))["tries_left"] == 0
    assert (await Bearer(anonymous, made).due()).status_code == 401


async def test_tries_are_counted_exactly(
    api: Api, database: Database, patient_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """Of eight different forms sent at once through a link of three tries, three are stored."""
    made = await make_link(api, patient_id, tries=3)
    bearer = Bearer(anonymous, made)
    expected = [await expect(database, api.clinic_id, patient_id) for _ in range(8)]
    left = set(expected)
    while left:
        answers = dict(zip(left, await asyncio.gather(*(bearer.answer(each) for each in left)), strict=True))
        assert {answer.status_code for answer in answers.values()} <= {201, 401, 503}
        left = {each for each, answer in answers.items() if answer.status_code == 503}
    assert len(await stored_forms(api, patient_id)) == 3
    found = await read_link(api, made)
    assert (found["state"], found["tries_left"]) == ("used_up", 0)


async def test_the_last_answer_can_be_repeated(
    api: Api, database: Database, patient_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """Who lost the answer to the last try, and perhaps the safety text in it, gets it again; nothing else goes."""
    bearer = Bearer(anonymous, await make_link(api, patient_id, tries=1))
    sent = filled(await expect(database, api.clinic_id, patient_id)) | {"responses": AT_RISK}
    first, again = await bearer.answer(**sent), await bearer.answer(**sent)
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again.json()["safety_text"] == DEFAULTS["safety_text"]
    assert (await bearer.due()).status_code == 401
    assert (await bearer.answer(await expect(database, api.clinic_id, patient_id))).status_code == 401


async def test_two_links_answer_one_check_in_one_after_the_other(
    api: Api, database: Database, patient_id: str, anonymous: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who waited finds it filled: 409, and one form."""
    expected = await expect(database, api.clinic_id, patient_id)
    record = assessments.record_assessment

    async def record_and_fill(database: Database, actor: Any, form: Any, key: str | None) -> Any:
        stored = await record(database, actor, form, key)
        await fill(database, api.clinic_id, expected, str(form.id))
        return stored

    monkeypatch.setattr(assessments, "record_assessment", record_and_fill)
    bearers = [Bearer(anonymous, await make_link(api, patient_id)) for _ in range(2)]
    answers = await asyncio.gather(*(bearer.answer(expected) for bearer in bearers))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert len(await stored_forms(api, patient_id)) == 1


async def test_revocation(api: Api, database: Database, patient_id: str, link: dict[str, Any], bearer: Bearer) -> None:
    """It opens nothing from then on; revoking twice changes nothing; a key marks the repeat; the trail has it once."""
    assert (await bearer.due()).status_code == 200
    path = f"/v1/check-in-links/{link['id']}/revocation"
    first = await api.http.post(path, headers={"Idempotency-Key": "stop"})
    assert (first.status_code, first.json()["state"]) == (200, "revoked")
    assert first.json()["revoked_at"] is not None
    assert "idempotency-replayed" not in first.headers
    again = await api.http.post(path, headers={"Idempotency-Key": "stop"})
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert (await api.http.post(path)).content == first.content
    assert (await bearer.due()).status_code == 401
    made = [event for event in await events(database, api) if event[0] == "check_in_link.revoke"]
    assert made == [("check_in_link.revoke", patient_id, link["id"])]


async def test_a_revoked_link_stores_nothing_even_out_of_the_cache(
    api: Api, database: Database, patient_id: str, link: dict[str, Any], bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache of verified tokens may lag by a second; what a link shows and stores asks the link itself."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 3600.0)
    expected = await expect(database, api.clinic_id, patient_id)
    assert (await bearer.due()).status_code == 200
    await api.http.post(f"/v1/check-in-links/{link['id']}/revocation")
    assert (await bearer.due()).status_code == 401
    assert (await bearer.answer(expected)).status_code == 401
    assert await stored_forms(api, patient_id) == []


async def test_a_link_is_no_token_and_a_token_no_link(
    api: Api, database: Database, anonymous: httpx2.AsyncClient, link: dict[str, Any]
) -> None:
    """The prefix says where to look: the same ids and secret under the other one are nobody's."""
    _, token = await record_token(database, api.clinic_id, Role.CLINICIAN)
    for forged in (f"tmk_{link['token'][4:]}", f"tml_{token[4:]}"):
        answer = await anonymous.get("/v1/patients", headers={"Authorization": f"Bearer {forged}"})
        assert answer.status_code == 401
    assert (await read_link(api, link))["tries_left"] == 20


# --- The public address -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, None),
        ("https://checkin.clinic.example", "https://checkin.clinic.example"),
        ("https://clinic.example:8443/tidemark/", "https://clinic.example:8443/tidemark"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_public_url_begins_links(url: str | None, expected: str | None) -> None:
    """With or without a path, never with a slash at its end."""
    assert Settings(public_url=url).public_url == expected


@pytest.mark.parametrize(
    "url",
    [
        *("http://clinic.example", "http://localhost.example", "clinic.example", "ftp://localhost", "", "https://"),
        *("https://a:b@clinic.example", "https://clinic.example?x=1", "https://clinic.example/#x"),
    ],
)
def test_public_url_is_never_plain_http(url: str) -> None:
    """What would send answers over the open net, or is no address to begin with, stops the service at its start."""
    with pytest.raises(ValueError, match="https://host"):
        Settings(public_url=url)


@pytest.fixture
async def public(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> str:
    url = "https://checkin.clinic.example"
    monkeypatch.setattr(app.state, "settings", app.state.settings.model_copy(update={"public_url": url}))
    return url


async def test_links_are_absolute_where_the_address_is_known(api: Api, patient_id: str, public: str) -> None:
    """The clinic can pass it on as it stands."""
    made = await make_link(api, patient_id)
    assert made["url"] == f"{public}/check-in#{made['token']}"
