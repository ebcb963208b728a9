"""What the bearer of a check-in link sees and sends, over HTTP: what is due, nothing else, stored once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Actor, Permission, Role, require
from app.db import Database
from app.errors import ForbiddenError, UnavailableError
from app.services import assessments
from app.services.clinic_rules import DEFAULTS
from tests.api.check_ins import AT_RISK, CALM, Bearer, expect, fill, filled, make_link, read_link, stored_forms
from tests.api.schedules import plan
from tests.api.treatment import add_episode, assert_refused
from tests.conftest import Api

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_waiting_for_the_cache")]


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
