"""Corrections of forms over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, races, known_at."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.db import Database
from app.tables import Assessment
from tests.api.conftest import PatientApi
from tests.api.test_trajectories import FORMS, submit, trajectory
from tests.api.treatment import (
    add_episode,
    add_session,
    assert_closed_to,
    assert_foreign_is_absent,
    assert_refused,
    events,
    patch,
)
from tests.conftest import Api

pytestmark = pytest.mark.anyio

PATH = "/v1/assessments"
LOW = [1, 1, 1, 1, 1, 1, 1, 1, 0]  # 8, item 9 denied
HIGH = [3, 3, 2, 2, 2, 2, 2, 2, 1]  # 19, item 9 affirmed
AMEND: tuple[str, str, Any] = ("POST", f"{PATH}/ID/amendments", {"responses": LOW, "reason": "misread"})
VOID: tuple[str, str, Any] = ("POST", f"{PATH}/ID/void", {"reason": "wrong patient"})
HISTORY: tuple[str, str, Any] = ("GET", f"{PATH}/ID/history", None)


async def add_form(api: Api, patient: str | None = None, **changes: Any) -> dict[str, Any]:
    content = {"instrument": "phq-9", "responses": HIGH, "taken_at": "2026-03-02T09:00:00-07:00"} | changes
    answer = await api.http.post(PATH, json={"patient_id": patient or await api.add_patient()} | content)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def post(
    api: Api, path: str, body: dict[str, Any], version: int | None = 1, key: str | None = None
) -> httpx2.Response:
    headers = {} if version is None else {"If-Match": f'"{version}"'}
    headers |= {} if key is None else {"Idempotency-Key": key}
    return await api.http.post(path, json=body, headers=headers)


async def amend(api: Api, id_: str, version: int = 1, key: str | None = None, **changes: Any) -> httpx2.Response:
    return await post(api, f"{PATH}/{id_}/amendments", {"reason": "misread"} | changes, version, key)


async def void(api: Api, id_: str, version: int = 1, key: str | None = None) -> httpx2.Response:
    return await post(api, f"{PATH}/{id_}/void", {"reason": "wrong patient"}, version, key)


async def history(api: Api, id_: str) -> list[dict[str, Any]]:
    answer = await api.http.get(f"{PATH}/{id_}/history")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_strangers_researchers_and_programs_correct_nothing(
    anonymous: httpx2.AsyncClient, researcher: Api, service: Api, api: Api
) -> None:
    """401 without a token, 403 for roles that may never; a program may read what was corrected."""
    made = await add_form(api)
    calls = [(method, path.replace("ID", made["id"]), body) for method, path, body in (AMEND, VOID, HISTORY)]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)
    await assert_closed_to(service, 403, calls[:2])
    assert len(await history(service, made["id"])) == 1


async def test_other_clinics_forms_are_absent(api: Api, other_api: Api) -> None:
    """Byte for byte, and untouched."""
    foreign = await add_form(other_api)
    await assert_foreign_is_absent(api, foreign["id"], [AMEND, VOID, HISTORY])
    assert len(await history(other_api, foreign["id"])) == 1


async def test_a_patient_corrects_its_own_form(api: Api, patient_api: PatientApi) -> None:
    """Whoever typed it in, if the answers are the patient's own."""
    for author in (patient_api, api):
        made = await add_form(author, patient_api.patient_id, mode="self")
        answer = await amend(patient_api, made["id"], responses=LOW)
        assert (answer.status_code, answer.json()["score"]["total"]) == (201, 8)
        assert [row["version"] for row in await history(patient_api, made["id"])] == [2, 1]


async def test_another_patients_form_is_absent(api: Api, patient_api: PatientApi) -> None:
    """A form of a patient of the same clinic answers byte for byte as one that never was."""
    foreign = await add_form(api)
    await assert_foreign_is_absent(patient_api, foreign["id"], [AMEND, HISTORY])
    assert len(await history(api, foreign["id"])) == 1


async def test_a_patient_voids_nothing(patient_api: PatientApi) -> None:
    """Not its own form either: what was said to the clinic stays."""
    made = await add_form(patient_api, patient_api.patient_id)
    assert (await void(patient_api, made["id"])).status_code == 403
    assert len(await history(patient_api, made["id"])) == 1


@pytest.mark.parametrize(
    ("before", "change"), [("interview", {}), ("proxy", {"mode": "self"}), ("self", {"mode": "interview"})]
)
async def test_a_patient_corrects_no_form_of_others_making(
    api: Api, patient_api: PatientApi, before: str, change: dict[str, Any]
) -> None:
    """What an interviewer or somebody else answered is not the patient's to change, nor to make it look so."""
    made = await add_form(api, patient_api.patient_id, mode=before)
    answer = await amend(patient_api, made["id"], responses=LOW, **change)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert "clinic" in answer.json()["detail"]
    assert len(await history(api, made["id"])) == 1
    assert (await amend(api, made["id"], responses=LOW, **change)).status_code == 201


async def test_the_time_of_a_patient_is_over(api: Api, admin: Api, patient_api: PatientApi) -> None:
    """The clinic says how long; staff may correct at any time."""
    made = await add_form(patient_api, patient_api.patient_id)
    assert (await patch(admin, "/v1/clinic", {"amend_window_hours": 0, "reason": "never"})).status_code == 200
    answer = await amend(patient_api, made["id"], responses=LOW)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert len(await history(api, made["id"])) == 1
    assert (await amend(api, made["id"], responses=LOW)).status_code == 201


async def test_the_window_opens_when_the_form_arrives(
    api: Api, admin: Api, patient_api: PatientApi, database: Database
) -> None:
    """Inside after 23 hours, over after 25; a correction by staff does not open it again, a longer one does."""
    made = await add_form(patient_api, patient_api.patient_id)
    recent, old = [await twin_that_arrived(database, api, made["id"], hours) for hours in (23, 25)]
    assert (await amend(patient_api, recent, responses=LOW)).status_code == 201
    assert (await amend(patient_api, old, responses=LOW)).status_code == 403
    assert (await amend(api, old, responses=LOW)).status_code == 201
    assert (await amend(patient_api, old, 2, responses=HIGH)).status_code == 403
    assert (await patch(admin, "/v1/clinic", {"amend_window_hours": 26, "reason": "longer"})).status_code == 200
    assert (await amend(patient_api, old, 2, responses=HIGH)).status_code == 201


async def twin_that_arrived(database: Database, api: Api, id_: str, hours_ago: int) -> str:
    """Another form with the same answers, which has been here for a while."""
    async with database.session(api.clinic_id) as session:
        row = await session.get_one(Assessment, (api.clinic_id, UUID(id_), 1))
        earlier = row.received_at - timedelta(hours=hours_ago)
        twin = Assessment(**row.model_dump() | {"id": uuid4(), "received_at": earlier})
        session.add(twin)
    return str(twin.id)


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({}, "", "nothing_to_change"),
        ({"responses": [4, *LOW[1:]]}, "/responses/0", "not_a_choice"),
        ({"responses": LOW[1:]}, "/responses", "wrong_length"),
        ({"responses": None}, "/responses", "list_type"),
        ({"responses": [1.0, *LOW[1:]]}, "/responses/0", "int_type"),
        ({"taken_at": "2026-03-02T09:00:00"}, "/taken_at", "not_a_time"),
        ({"taken_at": "1970-01-01T00:00:00Z"}, "/taken_at", "too_long_ago"),
        ({"taken_at": (datetime.now(UTC) + timedelta(days=2)).isoformat()}, "/taken_at", "in_the_future"),
        ({"mode": "both"}, "/mode", "literal_error"),
        ({"mode": None}, "/mode", "literal_error"),
        ({"language": "English"}, "/language", "string_pattern_mismatch"),
        ({"responses": LOW, "reason": ""}, "/reason", "string_too_short"),
        ({"responses": LOW, "reason": None}, "/reason", "string_type"),
        ({"responses": LOW, "reason": "x" * 201}, "/reason", "string_too_long"),
        ({"responses": LOW, "status": "final"}, "", "unknown_field"),
        ({"responses": LOW, "patient_id": str(uuid4())}, "", "unknown_field"),
        ({"responses": LOW, "instrument": "gad-7"}, "", "unknown_field"),
        ({"responses": LOW, "received_at": "2026-03-02T09:00:00Z"}, "", "unknown_field"),
    ],
)
async def test_invalid_corrections_are_refused(
    api: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule, and nothing is stored."""
    made = await add_form(api)
    assert_refused(await amend(api, made["id"], **change), pointer, code)
    assert len(await history(api, made["id"])) == 1
    assert [event[0] for event in await events(database, api)] == ["assessment.create"]


@pytest.mark.parametrize("path", ["amendments", "void"])
@pytest.mark.parametrize("reason", [{}, {"reason": ""}, {"reason": "  "}, {"reason": None}, {"reason": 7}])
async def test_no_change_without_a_reason(api: Api, path: str, reason: dict[str, Any]) -> None:
    """There is no way around it."""
    made = await add_form(api)
    body = ({"responses": LOW} if path == "amendments" else {}) | reason
    answer = await post(api, f"{PATH}/{made['id']}/{path}", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/reason")
    assert len(await history(api, made["id"])) == 1


@pytest.mark.parametrize(("method", "path", "body"), [AMEND, VOID])
async def test_it_says_which_version_was_read(api: Api, method: str, path: str, body: Any) -> None:
    """428 without `If-Match`, 412 for any tag but the newest version's."""
    made = await add_form(api)
    address = path.replace("ID", made["id"])
    missing = await post(api, address, body, None)
    assert (missing.status_code, missing.json()["type"]) == (428, "/problems/precondition-required")
    for tag in ('"2"', 'W/"1"', "1", '"0"', '"1", "2"', '"99999"', ""):
        stale = await api.http.request(method, address, json=body, headers={"If-Match": tag})
        assert (stale.status_code, stale.json()["type"]) == (412, "/problems/stale"), tag
    assert len(await history(api, made["id"])) == 1


async def test_what_is_void_stays_void(api: Api) -> None:
    """No correction, no second void."""
    made = await add_form(api)
    assert (await void(api, made["id"])).status_code == 200
    for answer in (await amend(api, made["id"], 2, responses=LOW), await void(api, made["id"], 2)):
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    assert [row["status"] for row in await history(api, made["id"])] == ["entered_in_error", "final"]


# --- What is kept -----------------------------------------------------------------------------------------------------


async def test_a_correction_is_the_next_version(api: Api) -> None:
    """Scored anew, tagged, read back, listed; what was not sent stays as it was."""
    made = await add_form(api, mode="interview", language="es")
    answer = await amend(api, made["id"], responses=LOW)
    body = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"2"')
    assert (body["version"], body["status"], body["responses"]) == (2, "amended", LOW)
    assert (body["score"]["total"], body["score"]["severity"]["code"]) == (8, "mild")
    same = ("id", "patient_id", "instrument", "taken_at", "taken_at_offset", "mode", "language", "context")
    assert {name: body[name] for name in same} == {name: made[name] for name in same}
    assert body["received_at"] > made["received_at"]
    read = await api.http.get(answer.headers["location"])
    assert (read.status_code, read.content, read.headers["etag"]) == (200, answer.content, '"2"')
    listed = (await api.http.get(PATH, params={"patient_id": made["patient_id"]})).json()["data"]
    assert listed == [body]
    assert (await api.http.get(PATH, params={"status": "final"})).json()["data"] == []


async def test_everything_but_whose_and_which_can_be_corrected(api: Api) -> None:
    """Time with its offset, mode and language, one after the other."""
    made = await add_form(api)
    assert (await amend(api, made["id"], taken_at="2026-03-01T21:15:00+05:30")).status_code == 201
    body = (await amend(api, made["id"], 2, mode="proxy", language="de-AT")).json()
    assert (body["version"], body["taken_at"], body["taken_at_offset"]) == (3, "2026-03-01T15:45:00Z", "+05:30")
    assert (body["mode"], body["language"], body["responses"]) == ("proxy", "de-AT", HIGH)


async def test_history_tells_who_and_why(api: Api, admin: Api) -> None:
    """Newest first; each version with its own score, time of recording, author and reason."""
    made = await add_form(api)
    second, third = (await amend(api, made["id"], responses=LOW)).json(), (await void(admin, made["id"], 2)).json()
    rows = await history(api, made["id"])
    reasons = [row.pop("reason") for row in rows]
    authors = [row.pop("recorded_by") for row in rows]
    assert rows == [third, second, made | {"alerts": []}], "what a form keeps up it keeps up by its newest version"
    assert reasons == ["wrong patient", "misread", None]
    assert authors[1] == authors[2] != authors[0]
    assert rows[0]["received_at"] > rows[1]["received_at"] > rows[2]["received_at"]


async def test_a_void_keeps_what_was_answered(api: Api) -> None:
    """It stays readable and raises nothing."""
    made = await add_form(api)
    assert [alert["item"] for alert in made["alerts"]] == [9]
    answer = await void(api, made["id"])
    body = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    same = ("responses", "score", "taken_at", "taken_at_offset", "mode", "language", "instrument", "context")
    assert {name: body[name] for name in same} == {name: made[name] for name in same}
    assert (body["version"], body["status"], body["alerts"]) == (2, "entered_in_error", [])
    assert (await api.http.get(f"{PATH}/{made['id']}")).content == answer.content


async def test_a_corrected_time_owes_nothing_to_the_senders_clock(api: Api) -> None:
    """What was known of the clock stays beside the time it belonged to, and goes with it."""
    ahead = {"Device-Time": (datetime.now(UTC) + timedelta(hours=2)).isoformat()}
    body = {"patient_id": await api.add_patient(), "instrument": "phq-9", "responses": HIGH}
    sent = await api.http.post(PATH, json=body | {"taken_at": "2026-03-02T09:00:00Z"}, headers=ahead)
    made = sent.json()
    assert (made["taken_at"], made["arrival"]["clock_correction_minutes"]) == ("2026-03-02T07:00:00Z", 120)
    kept = (await amend(api, made["id"], responses=LOW)).json()
    assert (kept["taken_at"], kept["arrival"]["clock_correction_minutes"]) == ("2026-03-02T07:00:00Z", 120)
    assert kept["arrival"]["device_skew_seconds"] == made["arrival"]["device_skew_seconds"]
    moved = (await amend(api, made["id"], 2, taken_at="2026-03-02T08:00:00Z")).json()
    assert moved["taken_at"] == "2026-03-02T08:00:00Z"
    assert (moved["arrival"]["clock_correction_minutes"], moved["arrival"]["device_skew_seconds"]) == (0, None)


async def test_a_replay_tells_the_treatment_as_it_was_known(api: Api) -> None:
    """A dose that was entered in the meantime is in what is read, not in what was answered."""
    patient = await api.add_patient()
    episode = await add_episode(api, patient)
    made = await add_form(api, patient)
    first = await amend(api, made["id"], key="once", responses=LOW)
    await add_session(api, episode["id"])
    again = await amend(api, made["id"], key="once", responses=LOW)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.json()["context"]["dose_number"] is None
    assert (await api.http.get(f"{PATH}/{made['id']}")).json()["context"]["dose_number"] == 1


async def test_alerts_follow_the_newest_answers(api: Api) -> None:
    """An affirmed item 9 that was a slip is withdrawn, and one that was overlooked is raised."""
    made = await add_form(api)
    assert await alert_kinds(api) == [("critical_item", "open")]
    body = (await amend(api, made["id"], responses=LOW)).json()
    assert (body["alerts"], body["safety_text"]) == ([], None)
    assert await alert_kinds(api) == [("critical_item", "withdrawn")]
    body = (await amend(api, made["id"], 2, responses=[None] * 8 + [2])).json()
    assert [(alert["kind"], alert["item"]) for alert in body["alerts"]] == [("critical_item", 9)]
    assert (body["score"]["total"], body["score"]["validity"]) == (None, "incomplete")
    assert "crisis line" in body["safety_text"]
    assert await alert_kinds(api) == [("critical_item", "open")]
    assert (await void(api, made["id"], 3)).json()["alerts"] == []
    assert await alert_kinds(api) == [("critical_item", "withdrawn")]


async def test_a_patients_own_correction_raises_the_alert(api: Api, patient_api: PatientApi) -> None:
    """In the transaction of the patient, who is told where help is; the clinic sees the alert."""
    made = await add_form(patient_api, patient_api.patient_id, responses=LOW)
    assert await alert_kinds(api) == []
    body = (await amend(patient_api, made["id"], responses=HIGH)).json()
    assert "crisis line" in body["safety_text"]
    assert [alert["kind"] for alert in body["alerts"]] == ["critical_item"]
    assert ("critical_item", "open") in await alert_kinds(api)


async def alert_kinds(api: Api) -> list[tuple[str, str]]:
    """All of the clinic's, with where each stands."""
    alerts = (await api.http.get("/v1/alerts?status=open&status=withdrawn")).json()["data"]
    return [(alert["kind"], alert["status"]) for alert in alerts]


async def latest_total(api: Api) -> float:
    """Of the only patient of the clinic."""
    (entry,) = (await api.http.get("/v1/caseload")).json()["data"]
    total: float = entry["last_form"]["total"]
    return total


async def test_the_caseload_follows_the_newest_answers(api: Api) -> None:
    """The latest total is the corrected one; a void leaves the form before it."""
    patient = await api.add_patient()
    await add_form(api, patient, taken_at="2026-02-01T09:00:00-07:00")
    last = await add_form(api, patient, responses=LOW)
    assert await latest_total(api) == 8
    assert (await amend(api, last["id"], responses=FORMS[14])).status_code == 201
    assert await latest_total(api) == 14
    assert (await void(api, last["id"], 2)).status_code == 200
    assert await latest_total(api) == 19


async def test_a_repeated_submission_is_answered_as_it_was(api: Api) -> None:
    """A telephone that repeats its form after a correction neither undoes it nor sees a conflict."""
    id_, patient = str(uuid4()), await api.add_patient()
    made = await add_form(api, patient, id=id_)
    assert (await amend(api, id_, responses=LOW)).status_code == 201
    assert await add_form(api, patient, id=id_) == made
    assert (await api.http.get(f"{PATH}/{id_}")).json()["responses"] == LOW


@pytest.mark.parametrize(("call", "clash"), [(amend, {"responses": HIGH}), (void, {"reason": "else"})])
async def test_a_change_is_replayed(api: Api, call: Any, clash: dict[str, Any]) -> None:
    """Under its key it is made once and answered alike; other content under the key is refused."""
    made, body = await add_form(api), {} if call is void else {"responses": LOW}
    first = await call(api, made["id"], key="once", **body)
    if call is amend:
        assert (await amend(api, made["id"], 2, mode="proxy")).status_code == 201
    again = await call(api, made["id"], key="once", **body)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert (again.headers["etag"], again.headers["idempotency-replayed"]) == ('"2"', "true")
    path = f"{PATH}/{made['id']}/{'void' if call is void else 'amendments'}"
    other = await post(api, path, {"reason": "misread"} | body | clash, 1, "once")
    assert (other.status_code, other.json()["type"]) == (422, "/problems/key-reused")
    assert len(await history(api, made["id"])) == (2 if call is void else 3)


async def test_each_change_leaves_one_row_in_the_trail(api: Api, database: Database) -> None:
    """With the patient and the form; refusals and repeats leave none."""
    made = await add_form(api)
    for _ in range(2):
        await amend(api, made["id"], key="once", responses=LOW)
        await amend(api, made["id"], responses=HIGH)
        await void(api, made["id"], 2, key="then")
    of_form = (made["patient_id"], made["id"])
    actions = ("assessment.create", "assessment.amend", "assessment.void")
    assert await events(database, api) == [(action, *of_form) for action in actions]


# --- At once ----------------------------------------------------------------------------------------------------------


async def test_of_parallel_writers_one_wins(api: Api, admin: Api) -> None:
    """Eight corrections and four voids of one version, from two people: one is stored, the others are told."""
    made = await add_form(api)
    calls = [amend((api, admin)[number % 2], made["id"], responses=[number % 4] * 9) for number in range(8)]
    answers = await asyncio.gather(*calls, *(void(api, made["id"]) for _ in range(4)))
    won = [answer for answer in answers if answer.status_code in {200, 201}]
    assert {answer.status_code for answer in answers} - {412, 503} == {won[0].status_code}
    assert [answer.json()["version"] for answer in won] == [2]
    assert [row["version"] for row in await history(api, made["id"])] == [2, 1]
    assert (await api.http.get(f"{PATH}/{made['id']}")).content == won[0].content


async def test_parallel_twins_are_one_correction(api: Api) -> None:
    """Twelve with one key: one version, equal answers."""
    made = await add_form(api)
    answers = await asyncio.gather(*(amend(api, made["id"], key="twin", responses=LOW) for _ in range(12)))
    assert {answer.status_code for answer in answers} <= {201, 503}, "a crowded pool may ask to come back"
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert [row["version"] for row in await history(api, made["id"])] == [2, 1]


# --- The story of before ----------------------------------------------------------------------------------------------


async def test_a_course_is_told_as_it_was_known_before_a_correction(api: Api) -> None:
    """Before: 19 to 8 and a response. After: 19 to 14 and none. Each at its own time, for ever."""
    patient = await api.add_patient()
    await submit(api, patient, 0, FORMS[19])
    last = await submit(api, patient, 28, FORMS[8])
    before = datetime.now(UTC).isoformat()
    old = await trajectory(api, patient, known_at=before)
    assert (await amend(api, last, responses=FORMS[14])).status_code == 201
    amended = datetime.now(UTC).isoformat()
    new = await trajectory(api, patient, known_at=amended)
    assert (await void(api, last, 2)).status_code == 200
    gone = await trajectory(api, patient)

    assert await trajectory(api, patient, known_at=before) == old
    assert await trajectory(api, patient, known_at=amended) == new
    assert [point["total"] for point in old["points"]] == [19, 8]
    assert [point["total"] for point in new["points"]] == [19, 14]
    assert [point["total"] for point in gone["points"]] == [19]
    assert (verdict(old, "response"), verdict(new, "response"), gone["latest"]) == (True, False, None)
    assert (old["latest"]["change"], new["latest"]["change"]) == (-11, -5)


async def test_a_form_moved_in_time_moves_in_the_course(api: Api) -> None:
    """The baseline is chosen anew, and the old choice stays told."""
    patient = await api.add_patient()
    first, second = await submit(api, patient, 0, FORMS[19]), await submit(api, patient, 7, FORMS[14])
    before = datetime.now(UTC).isoformat()
    assert (await amend(api, second, taken_at="2026-02-20T09:00:00Z")).status_code == 201
    assert (await trajectory(api, patient))["baseline"]["assessment_id"] == second
    assert (await trajectory(api, patient, known_at=before))["baseline"]["assessment_id"] == first


def verdict(course: dict[str, Any], rule: str) -> bool:
    met: bool = next(found["met"] for found in course["latest"]["verdicts"] if found["rule"] == rule)
    return met
