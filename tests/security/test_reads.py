"""Every answer that shows something of a patient is one event of the trail, no more and no less."""

import random
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.auth import Role
from tests.security.conftest import Pair
from tests.security.estate import Estate
from tests.security.operations import BY_ID, OPERATIONS, Operation

pytestmark = pytest.mark.anyio

# Written out, so that a route is in the one or the other by a decision.
ACTIONS = {
    "list_assessments": "assessment.list",
    "get_assessment": "assessment.read",
    "list_assessment_versions": "assessment.history",
    "get_trajectory": "trajectory.read",
    "get_trajectory_picture": "trajectory_picture.read",
    "get_comparison": "comparison.read",
    "list_caseload": "caseload.list",
    "get_cohort_outcomes": "cohort.read",
    "get_cohort_picture": "cohort.read",
    "list_patients": "patient.list",
    "get_patient": "patient.read",
    "list_patient_versions": "patient.history",
    "list_episodes": "episode.list",
    "get_episode": "episode.read",
    "list_episode_versions": "episode.history",
    "get_schedule": "schedule.read",
    "list_schedule_versions": "schedule.history",
    "list_due_of_patient": "due.list",
    "list_due": "due.list",
    "list_treatment_sessions": "treatment_session.list",
    "get_treatment_session": "treatment_session.read",
    "list_treatment_session_versions": "treatment_session.history",
    "list_observations": "observation.list",
    "get_observation": "observation.read",
    "list_observation_versions": "observation.history",
    "list_adverse_events": "adverse_event.list",
    "get_adverse_event": "adverse_event.read",
    "list_adverse_event_versions": "adverse_event.history",
    "list_alerts": "alert.list",
    "get_alert_latency": "alert_latency.read",
    "get_alert": "alert.read",
    "list_audit_events": "audit_event.list",
    "list_accesses": "access.list",
    "list_suitability_screens": "suitability_screen.list",
    "get_suitability_screen": "suitability_screen.read",
    "list_webhook_deliveries": "delivery.list",
    "list_check_in_links": "check_in_link.list",
    "get_check_in_link": "check_in_link.read",
    "get_check_in": "check_in.read",
    "list_enrolments": "enrolment.list",
    "get_enrolment": "enrolment.read",
    "list_tokens": "token.list",
    "get_token": "token.read",
    "get_care_team": "care_team.read",
    "list_care_team_versions": "care_team.history",
    "list_emergency_accesses": "emergency_access.list",
    "get_emergency_access": "emergency_access.read",
    "list_consents": "consent.list",
    "list_consent_versions": "consent.history",
    "get_part_two": "part_two.read",
    "list_part_two_versions": "part_two.history",
    "get_everything": "everything.read",
    "list_erasures": "erasure.list",
    "get_erasure": "erasure.read",
    "download_release_file": "release_file.read",
}
OF_NOBODY = {
    "livez", "readyz", "list_instruments", "get_instrument_by_reference", "score_without_storing", "list_protocols",
    "get_protocol", "get_clinic", "list_clinic_versions", "list_suitability_checklists", "get_suitability_checklist",
    "list_suitability_checklist_versions", "list_thresholds", "get_threshold", "list_threshold_versions",
    "list_webhooks", "get_webhook", "get_metrics", "get_principal", "list_releases", "get_release",
}  # fmt: skip
READS = [operation for operation in OPERATIONS if operation.id in ACTIONS]
WHOLE_CLINIC = [one for one in READS if one.id.startswith("list_") and "{" not in one.path]
PURPOSE = {"Purpose": "treatment"}


def test_every_route_that_reads_is_decided_about() -> None:
    """Of a patient, or of nobody; what writes is neither."""
    assert {one.id for one in OPERATIONS if not one.is_write} | {"score_without_storing"} == ACTIONS.keys() | OF_NOBODY


async def told_of(estate: Estate, answer: httpx2.Response) -> list[dict[str, Any]]:
    """The events of one request, each with all patients it is about."""
    statement = """
        SELECT event.*, array_remove(subject_id || ARRAY(SELECT patient_id FROM audit_subject subject
            WHERE subject.clinic_id = event.clinic_id AND subject.event_id = event.id), NULL)::text[] AS patients
        FROM audit_event event WHERE clinic_id = $1 AND request_id = $2"""
    request_id = UUID(answer.headers["x-request-id"])
    async with estate.database.connection(estate.clinic_id) as connection:
        return [dict(row) for row in await connection.fetch(statement, estate.clinic_id, request_id)]


def patients_in(body: Any) -> set[str]:
    """Whoever is named anywhere in an answer."""
    if isinstance(body, list):
        return {id_ for one in body for id_ in patients_in(one)}
    if not isinstance(body, dict):
        return set()
    own = {body["patient_id"]} if body.get("patient_id") else set()
    return own | {id_ for one in body.values() for id_ in patients_in(one)}


def whom(operation: Operation, body: Any, named: str) -> set[str]:
    """Of whom an answer shows something; `named` is the patient of the things in the path."""
    if operation.id == "get_alert_latency":
        return set()
    if operation.id == "list_patients":
        return {row["id"] for row in body["data"]}
    others = {"list_webhook_deliveries", "get_emergency_access", "get_erasure", "get_cohort_outcomes"}
    is_of_clinic = operation in WHOLE_CLINIC or operation.id in others
    return patients_in(body) | (set() if is_of_clinic else {named})


def how_many(operation: Operation, body: Any) -> int:
    match operation.id:
        case "get_trajectory":
            return len(body["points"])
        case "get_comparison":
            return 2  # forms of the course
        case "get_check_in":
            return len(body["forms"])
        case "get_alert_latency":
            return sum(kind["opened"] for kind in body["kinds"])
    return len(body["data"]) if "data" in body else 1


@pytest.mark.parametrize("caller", Role)
async def test_an_answer_is_one_event(pair: Pair, caller: str) -> None:
    """Who, in which role, what, of whom, how many, why, from where; asked for one patient and for all."""
    own, seen = pair.own, 0
    for operation in READS:
        if caller not in operation.roles:
            continue
        asked = operation.request(own.things)
        for params in (asked["params"], {"instrument": "phq-9"} if "instrument" in asked["params"] else {}):
            answer = await own.http[caller].request(**asked | {"params": params, "headers": PURPOSE})
            assert answer.status_code == 200, (operation.id, answer.text)
            (event,) = await told_of(own, answer)
            assert event["action"] == ACTIONS[operation.id]
            assert (event["actor_role"], event["outcome"], event["purpose"]) == (caller, "done", "treatment")
            assert event["address"] == "127.0.0.1"
            if answer.headers["content-type"] == "image/svg+xml":
                assert set(event["patients"]) == ({own.things["patient"]} if "{" in operation.path else set())
            elif operation.id == "download_release_file":  # of nobody in particular: who is in it stands in its map
                assert (event["patients"], event["rows"]) == ([], 1)
            else:
                assert set(event["patients"]) == whom(operation, answer.json(), own.things["patient"]), operation.id
                assert event["rows"] == how_many(operation, answer.json()), operation.id
            seen += 1
    assert seen > 0 or caller in {Role.RESEARCHER, Role.CODE, Role.REFRESH}


async def test_what_is_of_nobody_is_not_told(pair: Pair) -> None:
    """Instruments and the clinic's own rules."""
    for operation_id in OF_NOBODY:
        operation = BY_ID[operation_id]
        answer = await pair.own.http[Role.ADMIN].request(**operation.request(pair.own.things))
        assert answer.status_code == 200
        assert await told_of(pair.own, answer) == [], operation_id


async def test_an_empty_list_is_about_whom_it_was_asked_for(pair: Pair) -> None:
    """That somebody has no alert is worth knowing; a patient the clinic does not have is nobody."""
    http, patient = pair.own.http[Role.CLINICIAN], pair.own.things["patient"]
    for path in ("/v1/alerts?status=resolved", "/v1/assessments?from=2100-01-01T00:00:00Z", "/v1/due?status=missed"):
        for asked, subjects in ((patient, [patient]), (pair.foreign.things["patient"], []), (str(uuid4()), [])):
            answer = await http.get(f"{path}&patient_id={asked}")
            assert answer.json()["data"] == []
            (event,) = await told_of(pair.own, answer)
            assert (event["patients"], event["rows"]) == (subjects, 0)


async def test_what_was_asked_for_is_told_in_words(pair: Pair) -> None:
    """Times in UTC, words of ours; neither the patient, who is the subject, nor a form that may be another clinic's."""
    http, patient = pair.own.http[Role.CLINICIAN], pair.own.things["patient"]
    for path, expected in (
        ("/v1/alerts?status=open&status=resolved&kind=critical_item", "statuses=open,resolved kind=critical_item"),
        (f"/v1/assessments?patient_id={patient}&instrument=phq-9", "instrument=phq-9"),
        ("/v1/assessments?from=2026-01-01T01:00:00%2B01:00", "taken_from=2026-01-01T00:00:00+00:00"),
        ("/v1/caseload?category=unchanged&overdue=false&limit=7", None),
        ("/v1/patients", None),
    ):
        answer = await http.get(path)
        (event,) = await told_of(pair.own, answer)
        assert answer.status_code == 200, answer.text
        if "caseload" in path:
            assert event["filter"] == "instrument=phq-9 categories=unchanged overdue=false sort=worst limit=7"
        else:
            assert event["filter"] == expected
    foreign = pair.foreign.things["assessment"]
    answer = await http.get(f"/v1/patients/{patient}/trajectory?instrument=phq-9&baseline={foreign}")
    assert foreign not in str(await told_of(pair.own, answer))


async def test_an_unchanged_answer_is_a_read(pair: Pair) -> None:
    """304 says that nothing has changed, which is something of the patient."""
    http, patient = pair.own.http[Role.CLINICIAN], pair.own.things["patient"]
    for path in (f"/v1/patients/{patient}/trajectory", f"/v1/patients/{patient}/trajectory.svg"):
        first = await http.get(path, params={"instrument": "phq-9"})
        again = await http.get(path, params={"instrument": "phq-9"}, headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
        assert [event["patients"] for event in await told_of(pair.own, again)] == [[patient]]


async def test_whoever_was_on_a_page_finds_it_among_their_accesses(fresh: Estate) -> None:
    """Each patient of a list, by the administrator's look and by their own; nobody else of the page is named there."""
    answer = await fresh.http[Role.CLINICIAN].get("/v1/caseload", params={"instrument": "phq-9"}, headers=PURPOSE)
    shown = [row["patient_id"] for row in answer.json()["data"]]
    known = {fresh.things["patient"], fresh.others["patient"]}
    assert set(shown) > known
    for patient in known:
        for caller in (Role.ADMIN, Role.PATIENT) if patient == fresh.things["patient"] else (Role.ADMIN,):
            found = await fresh.http[caller].get(f"/v1/patients/{patient}/accesses?limit=200")
            (look,) = [row for row in found.json()["data"] if row["action"] == "caseload.list"]
            assert (look["actor_role"], look["purpose"]) == ("clinician", "treatment")
            assert set(shown) - {patient} == {one for one in shown if one not in found.text}
        listed = await fresh.http[Role.ADMIN].get("/v1/audit-events", params={"patient_id": patient})
        actions = Counter(row["action"] for row in listed.json()["data"])
        assert actions["caseload.list"] == 1


async def test_the_accesses_of_a_patient_go_on_from_page_to_page(fresh: Estate) -> None:
    """What is about them alone and what is about several, in one order, nothing left out."""
    http, patient = fresh.http[Role.CLINICIAN], fresh.things["patient"]
    for path in ("/v1/patients", f"/v1/patients/{patient}") * 4:
        await http.get(path)
    whole = (await http.get(f"/v1/patients/{patient}/accesses?limit=200")).json()["data"]
    assert Counter(row["action"] for row in whole)["patient.list"] == 4
    got, link = [], f"/v1/patients/{patient}/accesses?limit=3"
    while link:
        answer = await http.get(link)
        got += answer.json()["data"]
        link = answer.links.get("next", {}).get("url", "")
    assert [row for row in got if row["action"] != "access.list"] == whole


@pytest.mark.parametrize("caller", [role for role in Role if role is not Role.LINK])
async def test_what_was_refused_or_absent_is_told_without_ids(pair: Pair, caller: str) -> None:
    """By operation and outcome alone, in the caller's own clinic; a foreign thing and one that never was look alike."""
    for operation in READS:
        if "{" not in operation.path:
            continue
        nobodys = {kind: str(uuid4()) for kind in pair.own.things}
        for things in (pair.foreign.things, nobodys):
            answer = await pair.own.http[caller].request(**operation.request(things))
            outcome = {403: "refused", 404: "absent"}[answer.status_code]
            (event,) = await told_of(pair.own, answer)
            assert (event["action"], event["outcome"], event["patients"]) == (operation.id, outcome, [])
            assert event["resource_id"] == pair.own.clinic_id
            assert (event["filter"], event["rows"]) == (None, None)
            assert await told_of(pair.foreign, answer) == []


async def test_random_traffic_leaves_as_many_events_as_answers(fresh: Estate, pair: Pair) -> None:
    """Reads and writes of all roles on what is theirs, another's and nobody's, sound and not: seeded, 600 requests."""
    draw = random.Random(20261121)  # noqa: S311  # no secret
    before, expected, statuses = await count(fresh), 0, Counter[int]()
    nobodys = {kind: str(uuid4()) for kind in fresh.things}
    for _ in range(600):
        operation, caller = draw.choice(OPERATIONS), draw.choice([*fresh.http])
        things = draw.choice([fresh.things, fresh.things, fresh.others, pair.foreign.things, nobodys])
        asked = operation.request(things)
        if draw.random() < 0.1:
            asked["headers"] = {"Purpose": "curiosity"}
        answer = await fresh.http[caller].request(**asked)
        events = await told_of(fresh, answer)
        statuses[answer.status_code] += 1
        if operation.id != "withdraw_consent" or events:  # once withdrawn it stays so, and to say it again is no event
            assert len(events) == events_due(operation, caller, answer), (operation.id, caller, answer.status_code)
        expected += len(events)
    assert await count(fresh) - before == expected
    assert statuses[500] == 0
    assert min(statuses[status] for status in (200, 201, 401, 403, 404, 422)) > 0


def events_due(operation: Operation, caller: str, answer: httpx2.Response) -> int:
    if caller == "anonymous" or answer.status_code in {401, 409, 412, 422, 428}:
        return 0
    if answer.status_code in {403, 404}:
        return 1
    assert answer.is_success, (operation.id, answer.text)
    if operation.id in OF_NOBODY:
        return 0
    if operation.id == "submit_batch":
        return sum(row["status"] == 201 for row in answer.json()["outcomes"])
    return 0 if operation.is_write and "idempotency-replayed" in answer.headers else 1


async def count(estate: Estate) -> int:
    async with estate.database.connection(estate.clinic_id) as connection:
        number: int = await connection.fetchval("SELECT count(*) FROM audit_event")
        return number
