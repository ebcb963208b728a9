"""Alerts over HTTP: anonymous, wrong role, other clinic, stale, invalid, valid, replay, paging, latency."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.schemas.alerts import LATENCY_RULE, NOTE
from app.scoring.alerting import AlertCause, AlertKind
from app.services import clinics
from app.services.alert_states import reconcile_alerts
from app.services.locks import lock_key
from app.tables import Clinic
from tests.api.treatment import assert_closed_to, assert_foreign_is_absent, assert_refused, events
from tests.conftest import Api

pytestmark = pytest.mark.anyio

PATH = "/v1/alerts"
SAFE = [1, 1, 1, 1, 1, 1, 1, 1, 0]
RAISED = [1, 1, 1, 1, 1, 1, 1, 1, 1]
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DONE: dict[str, Any] = {"action": "safety_plan", "note": "plan renewed by telephone"}
READS: list[tuple[str, str, Any]] = [("GET", PATH, None), ("GET", f"{PATH}/latency", None), ("GET", f"{PATH}/ID", None)]
WRITES: list[tuple[str, str, Any]] = [
    ("POST", f"{PATH}/ID/acknowledgement", {}),
    ("POST", f"{PATH}/ID/resolution", {"action": "referred"}),
]


@pytest.fixture
async def patient_api(app: FastAPI, database: Database, clinic: Clinic, api: Api) -> AsyncIterator[Api]:
    """A patient of the test's own clinic."""
    patient_id = UUID(await api.add_patient())
    _, token = await clinics.record_token(database, clinic.clinic_id, Role.PATIENT, patient_id=patient_id)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test", headers=headers) as http:
        yield Api(http, clinic.clinic_id)


async def submit(api: Api, patient_id: str, responses: list[int], day: int = 0) -> str:
    taken_at = (START + timedelta(days=day)).isoformat()
    body = {"patient_id": patient_id, "instrument": "phq-9", "responses": responses, "taken_at": taken_at}
    answer = await api.http.post("/v1/assessments", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def raise_alert(api: Api) -> dict[str, Any]:
    """The alert of a new patient who answered the critical item."""
    patient_id = await api.add_patient()
    await submit(api, patient_id, RAISED)
    (alert,) = (await api.http.get(f"{PATH}?patient_id={patient_id}")).json()["data"]
    return dict(alert)


async def missed(database: Database, api: Api, patient_id: str, at: datetime) -> None:
    """An alert that came to be known at this time."""
    cause = AlertCause(AlertKind.MISSED_CHECK_INS, None, None, "weekly/1", None, at)
    async with database.locked(api.clinic_id, [lock_key(UUID(patient_id))]) as connection:
        await reconcile_alerts(connection, api.clinic_id, {UUID(patient_id): [cause]}, at)


async def post(
    api: Api, alert: dict[str, Any], step: str, body: dict[str, Any], version: int = 1, key: str | None = None
) -> httpx2.Response:
    headers = {"If-Match": f'"{version}"'} | ({} if key is None else {"Idempotency-Key": key})
    return await api.http.post(f"{PATH}/{alert['id']}/{step}", json=body, headers=headers)


async def test_strangers_researchers_and_patients_see_none(
    anonymous: httpx2.AsyncClient, researcher: Api, patient_api: Api
) -> None:
    """401 without a token, 403 for who treats nobody; a patient is not shown what others make of their answers."""
    calls = [(method, path.replace("ID", str(uuid4())), body) for method, path, body in READS + WRITES]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)
    await assert_closed_to(patient_api, 403, calls)


async def test_a_program_reads_and_settles_nothing(api: Api, service: Api) -> None:
    """A person has to have seen it."""
    alert = await raise_alert(api)
    await assert_closed_to(
        service, 403, [(method, path.replace("ID", alert["id"]), body) for method, path, body in WRITES]
    )
    assert (await service.http.get(PATH)).json()["data"] == [alert]


async def test_another_clinics_are_absent(api: Api, other_api: Api) -> None:
    """Byte for byte, in lists, in figures, and for who would settle them."""
    foreign = await raise_alert(other_api)
    await assert_foreign_is_absent(api, foreign["id"], [READS[-1], *WRITES])
    assert (await api.http.get(PATH)).json()["data"] == []
    assert (await api.http.get(f"{PATH}?patient_id={foreign['patient_id']}")).json()["data"] == []
    assert {kind["opened"] for kind in (await api.http.get(f"{PATH}/latency")).json()["kinds"]} == {0}
    assert (await other_api.http.get(f"{PATH}/{foreign['id']}")).json()["version"] == 1


async def test_a_form_that_raises_is_listed_and_told_why(api: Api) -> None:
    """By its rule and source, with the form it rests on; and the list says what it is not."""
    patient_id = await api.add_patient()
    form_id = await submit(api, patient_id, RAISED)
    listed = (await api.http.get(PATH)).json()
    (alert,) = listed["data"]
    assert alert.pop("answered_at") == (await api.http.get(f"/v1/assessments/{form_id}")).json()["taken_at"]
    assert listed["note"] == NOTE
    assert "crisis" in NOTE
    about = {"kind": "critical_item", "instrument": "phq-9", "item": 9, "label": "PHQ-9 item 9 answered above 0"}
    stands = {"status": "open", "acknowledged_at": None, "resolved_at": None, "reopened": 0, "version": 1}
    assert alert == {"id": alert["id"], "patient_id": patient_id, "raised_at": alert["raised_at"], **about, **stands}
    answer = await api.http.get(f"{PATH}/{alert['id']}")
    found = answer.json()
    assert answer.headers["etag"] == '"1"'
    assert {name: found[name] for name in alert} == alert
    assert found["rule"] == "Item 9 answered 1 or more, on an incomplete form too, and whatever the total."
    assert "Louzon 2016" in found["source"]
    (cause,) = found["causes"]
    assert (cause["assessment_id"], cause["raised_at"]) == (form_id, alert["raised_at"])
    (event,) = found["events"]
    assert event["label"] == "Raised: PHQ-9 item 9 answered above 0"
    assert (event["number"], event["kind"], event["assessment_id"]) == (1, "raised", form_id)
    assert (event["actor_id"], event["action"], event["note"]) == (None, None, None)


async def test_no_alert_for_a_form_without_cause(api: Api) -> None:
    """A 0 raises nothing, which the note does not take for good news."""
    await submit(api, await api.add_patient(), SAFE)
    assert (await api.http.get(PATH)).json() == {"data": [], "next_cursor": None, "note": NOTE}


async def test_acknowledged_then_resolved(api: Api, database: Database) -> None:
    """Who, when, what and why stand in the events, each with one row in the trail; then it is off the list."""
    alert = await raise_alert(api)
    seen = await post(api, alert, "acknowledgement", {"note": "  calling at noon "})
    assert (seen.status_code, seen.headers["etag"]) == (200, '"2"')
    assert (seen.json()["status"], seen.json()["resolved_at"]) == ("acknowledged", None)
    assert seen.json()["acknowledged_at"] > alert["raised_at"]
    assert [row["status"] for row in (await api.http.get(PATH)).json()["data"]] == ["acknowledged"]
    done = await post(api, alert, "resolution", DONE, 2)
    assert (done.status_code, done.headers["etag"], done.json()["status"]) == (200, '"3"', "resolved")
    assert (await api.http.get(f"{PATH}/{alert['id']}")).content == done.content
    assert (await api.http.get(PATH)).json()["data"] == []
    told = [(event["kind"], event["label"], event["action"], event["note"]) for event in done.json()["events"][1:]]
    assert told == [
        ("acknowledged", "Acknowledged", None, "calling at noon"),
        ("resolved", "Resolved: a safety plan was made or renewed", "safety_plan", DONE["note"]),
    ]
    assert done.json()["events"][1]["actor_id"] == done.json()["events"][2]["actor_id"] is not None
    assert [row for row in await events(database, api) if row[0].startswith("alert.")] == [
        ("alert.acknowledge", alert["patient_id"], alert["id"]),
        ("alert.resolve", alert["patient_id"], alert["id"]),
    ]


async def test_resolved_without_an_acknowledgement(admin: Api) -> None:
    """One step does for both."""
    alert = await raise_alert(admin)
    done = (await post(admin, alert, "resolution", {"action": "no_action_needed"})).json()
    assert (done["status"], done["version"]) == ("resolved", 2)
    assert done["resolved_at"] is not None


async def test_what_is_settled_cannot_be_settled_again(api: Api) -> None:
    """409 for the second acknowledgement, the second resolution, and whatever comes after a withdrawal."""
    alert = await raise_alert(api)
    assert (await post(api, alert, "acknowledgement", {})).status_code == 200
    assert (await post(api, alert, "acknowledgement", {}, 2)).status_code == 409
    assert (await post(api, alert, "resolution", DONE, 2)).status_code == 200
    for step, body in (("acknowledgement", {}), ("resolution", DONE)):
        answer = await post(api, alert, step, body, 3)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    assert (await api.http.get(f"{PATH}/{alert['id']}")).json()["version"] == 3


async def test_withdrawn_ones_cannot_be_settled(api: Api, database: Database) -> None:
    """The record no longer gives any cause, so there is nothing to see; the story stays readable."""
    alert = await raise_alert(api)
    async with database.locked(api.clinic_id, [lock_key(UUID(alert["patient_id"]))]) as connection:
        await reconcile_alerts(connection, api.clinic_id, {UUID(alert["patient_id"]): []}, datetime.now(UTC))
    assert (await api.http.get(PATH)).json()["data"] == []
    for step, body in (("acknowledgement", {}), ("resolution", DONE)):
        assert (await post(api, alert, step, body, 2)).status_code == 409
    found = (await api.http.get(f"{PATH}/{alert['id']}")).json()
    assert (found["status"], found["causes"], len(found["events"])) == ("withdrawn", [], 2)
    assert found["events"][1]["label"] == "Withdrawn: the record no longer gives this cause"
    assert found["events"][1]["assessment_id"] == found["events"][0]["assessment_id"]


@pytest.mark.parametrize(("step", "body"), [("acknowledgement", {}), ("resolution", DONE)])
async def test_nothing_is_settled_that_was_not_seen(api: Api, step: str, body: dict[str, Any]) -> None:
    """428 without `If-Match`; 412 once another form gave a new cause, and then the new version can be settled."""
    alert = await raise_alert(api)
    address = f"{PATH}/{alert['id']}/{step}"
    for headers in ({}, {"If-Match": "*"}):
        assert (await api.http.post(address, json=body, headers=headers)).status_code == 428
    for tag in ('"0"', '"2"', 'W/"1"', "1", ""):
        assert (await api.http.post(address, json=body, headers={"If-Match": tag})).status_code == 412
    await submit(api, alert["patient_id"], RAISED, day=7)
    stale = await post(api, alert, step, body)
    assert (stale.status_code, stale.json()["type"]) == (412, "/problems/stale")
    assert (await api.http.get(f"{PATH}/{alert['id']}")).json()["status"] == "open"
    assert (await post(api, alert, step, body, 2)).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/action", "missing"),
        ({"action": "prayed"}, "/action", "literal_error"),
        ({"action": None}, "/action", "literal_error"),
        ({"action": "other", "note": ""}, "/note", "string_too_short"),
        ({"action": "other", "note": "x" * 501}, "/note", "string_too_long"),
        ({"action": "other", "status": "resolved"}, "", "unknown_field"),
    ],
)
async def test_invalid_resolutions_are_refused(
    api: Api, database: Database, body: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule; the alert still waits and the trail has no step of it."""
    alert = await raise_alert(api)
    assert_refused(await post(api, alert, "resolution", body), pointer, code)
    assert (await api.http.get(f"{PATH}/{alert['id']}")).json()["version"] == 1
    assert not [row for row in await events(database, api) if row[0].startswith("alert.")]


async def test_invalid_acknowledgements_are_refused(api: Api) -> None:
    """A note that is too long, and a field of the other step."""
    alert = await raise_alert(api)
    assert_refused(await post(api, alert, "acknowledgement", {"note": "x" * 501}), "/note", "string_too_long")
    assert_refused(await post(api, alert, "acknowledgement", {"action": "other"}), "", "unknown_field")


@pytest.mark.parametrize("action", ["contacted_patient", "safety_plan", "referred", "treatment_changed", "other"])
async def test_every_action_can_be_told(api: Api, action: str) -> None:
    """And each in its own words."""
    done = (await post(api, await raise_alert(api), "resolution", {"action": action})).json()
    assert done["events"][1]["action"] == action
    assert len(done["events"][1]["label"]) > len("Resolved: ")


@pytest.mark.parametrize(("step", "body"), [("acknowledgement", {"note": "seen"}), ("resolution", DONE)])
async def test_a_repeat_is_done_once_and_answered_alike(api: Api, step: str, body: dict[str, Any]) -> None:
    """Also after more has happened since; other content or another alert under the key is refused."""
    alert, key = await raise_alert(api), f"once-{uuid4()}"
    first = await post(api, alert, step, body, key=key)
    assert first.status_code == 200
    assert "idempotency-replayed" not in first.headers
    await submit(api, alert["patient_id"], RAISED, day=7)
    again = await post(api, alert, step, body, key=key)
    assert (again.status_code, again.content, again.headers["etag"]) == (200, first.content, '"2"')
    assert again.headers["idempotency-replayed"] == "true"
    for change in ({"body": body | {"note": "else"}}, {"alert": await raise_alert(api)}, {"version": 2}):
        sent: dict[str, Any] = {"alert": alert, "body": body, "version": 1} | change
        clash = await post(api, sent["alert"], step, sent["body"], sent["version"], key)
        assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    found = (await api.http.get(f"{PATH}/{alert['id']}")).json()
    assert [event["kind"] for event in found["events"]] == ["raised", first.json()["events"][1]["kind"], "raised"]


async def test_a_new_form_opens_a_resolved_alert_again(api: Api) -> None:
    """The same alert, told how often it came again; what was done before stays in its story."""
    alert = await raise_alert(api)
    await post(api, alert, "resolution", DONE)
    await submit(api, alert["patient_id"], RAISED, day=7)
    (found,) = (await api.http.get(PATH)).json()["data"]
    assert (found["id"], found["status"], found["reopened"]) == (alert["id"], "open", 1)
    assert (found["acknowledged_at"], found["resolved_at"]) == (None, None)
    assert found["raised_at"] > alert["raised_at"]
    detail = (await api.http.get(f"{PATH}/{alert['id']}")).json()
    assert [event["kind"] for event in detail["events"]] == ["raised", "resolved", "raised"]
    assert len(detail["causes"]) == 2


async def test_each_kind_has_its_words(api: Api) -> None:
    """A rise and a worsening after a dose-free baseline: label, rule and source are those of the instrument."""
    patient_id = await api.add_patient()
    await submit(api, patient_id, SAFE)
    await submit(api, patient_id, [3, 3, 3, 3, 3, 3, 3, 3, 2], day=7)
    alerts = {alert["kind"]: alert for alert in (await api.http.get(PATH)).json()["data"]}
    assert {kind: alert["label"] for kind, alert in alerts.items()} == {
        "critical_item": "PHQ-9 item 9 answered above 0",
        "critical_item_rise": "PHQ-9 item 9 answered higher than the time before",
        "reliable_worsening": "PHQ-9 reliably worse than at baseline",
    }
    worse = (await api.http.get(f"{PATH}/{alerts['reliable_worsening']['id']}")).json()
    assert worse["rule"] == (
        "The total became reliably worse than the baseline: reliable_change_6, a change of >= 6 points for the worse."
    )
    assert "NHS Talking Therapies" in worse["source"]
    assert worse["item"] is None


async def test_list_is_filtered(api: Api, database: Database) -> None:
    """By status, several at once, by kind, by patient; an unknown one is refused."""
    first, second = await raise_alert(api), await raise_alert(api)
    await missed(database, api, second["patient_id"], datetime.now(UTC))
    await post(api, first, "resolution", DONE)

    async def found(query: str) -> list[tuple[str, str]]:
        answer = await api.http.get(f"{PATH}?{query}")
        assert answer.status_code == 200, answer.text
        return [(row["patient_id"], row["kind"]) for row in answer.json()["data"]]

    resolved, critical = (first["patient_id"], "critical_item"), (second["patient_id"], "critical_item")
    # A reconciliation without its cause would have withdrawn the item's alert: only the missed one is derived there.
    lost = (second["patient_id"], "missed_check_ins")
    assert await found("") == [lost]
    assert await found("status=resolved") == [resolved]
    assert await found("status=withdrawn") == [critical]
    assert sorted(await found("status=resolved&status=open")) == sorted([resolved, lost])
    assert await found("status=withdrawn&kind=critical_item") == [critical]
    assert await found("kind=critical_item") == []
    assert await found(f"status=resolved&patient_id={second['patient_id']}") == []
    assert await found(f"patient_id={uuid4()}") == []
    for query in ("status=closed", "kind=sad", "patient_id=1"):
        assert (await api.http.get(f"{PATH}?{query}")).status_code == 422


async def test_pages_hold_while_alerts_are_settled(api: Api, database: Database) -> None:
    """Longest waiting first; what is settled or raised between two pages moves nothing past the reader."""
    patients = [await api.add_patient() for _ in range(7)]
    for number, patient_id in enumerate(patients):
        at = START + timedelta(hours=number // 2)  # several at the same instant
        await missed(database, api, patient_id, at)
    whole = (await api.http.get(PATH)).json()["data"]
    assert [row["raised_at"] for row in whole] == sorted(row["raised_at"] for row in whole)
    first = await api.http.get(f"{PATH}?limit=3")
    assert first.json()["data"] == whole[:3]
    await post(api, whole[0], "resolution", DONE)
    await post(api, whole[5], "resolution", DONE)
    await missed(database, api, await api.add_patient(), START + timedelta(days=1))
    second = await api.http.get(first.links["next"]["url"])
    third = await api.http.get(second.links["next"]["url"])
    assert second.json()["data"] == [whole[3], whole[4], whole[6]]
    assert [row["raised_at"] for row in third.json()["data"]] == ["2026-03-03T09:00:00Z"]
    assert third.json()["next_cursor"] is None


async def test_latency_of_a_period(api: Api, database: Database) -> None:
    """By kind, for the last 90 days unless asked otherwise; with its rule in words."""
    now = datetime.now(UTC)
    for hours in (1000, 30, 20, 10):
        await missed(database, api, await api.add_patient(), now - timedelta(hours=hours))
    for row in (await api.http.get(PATH)).json()["data"][1:3]:
        assert (await post(api, row, "acknowledgement", {})).status_code == 200
    answer = (await api.http.get(f"{PATH}/latency")).json()
    assert answer["rule"] == LATENCY_RULE
    assert [kind["kind"] for kind in answer["kinds"]] == [kind.value for kind in AlertKind]
    figures = answer["kinds"][-1]
    assert (figures["opened"], figures["open"], figures["unresolved"], figures["withdrawn_unseen"]) == (4, 2, 4, 0)
    assert figures["acknowledgement"]["n"] == 2
    seen = [figures["acknowledgement"][name] for name in ("p50", "p90", "maximum")]
    assert seen == pytest.approx([20, 30, 30], abs=0.1)
    assert figures["resolution"] == {"n": 0, "p50": None, "p90": None, "maximum": None}
    assert figures["longest_open_hours"] == pytest.approx(1000, abs=0.1)
    length = datetime.fromisoformat(answer["to"]) - datetime.fromisoformat(answer["from"])
    assert length == timedelta(days=90)

    asked = {"from": (now - timedelta(hours=25)).isoformat(), "to": (now - timedelta(hours=15)).isoformat()}
    narrow = (await api.http.get(f"{PATH}/latency", params=asked)).json()["kinds"][-1]
    assert (narrow["opened"], narrow["open"], narrow["acknowledgement"]["n"]) == (1, 0, 1)
    assert narrow["longest_open_hours"] == pytest.approx(1000, abs=0.1), "who waits longest is never out of sight"


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-03-02T00:00:00Z&to=2026-03-02T00:00:00Z",
        "from=2026-03-03T00:00:00Z&to=2026-03-02T00:00:00Z",
        "from=2024-03-02T00:00:00Z&to=2026-03-02T00:00:00Z",
        "from=2026-03-02",
        "to=1980-01-01T00:00:00Z",
    ],
)
async def test_latency_of_no_period(api: Api, query: str) -> None:
    """Empty, the wrong way round, longer than a year, no time."""
    answer = await api.http.get(f"{PATH}/latency?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("query/")


def test_the_document_says_what_alerts_are_not(app: FastAPI) -> None:
    """Whoever builds on the list reads it there: no crisis service, and no news of safety."""
    document = app.openapi()
    assert NOTE in document["paths"][PATH]["get"]["description"]
    (tag,) = (tag for tag in document["tags"] if tag["name"] == "alerts")
    assert "crisis" in tag["description"]
    assert "never means no risk" in tag["description"]
