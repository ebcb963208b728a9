"""Check-ins over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.db import Database
from tests.conftest import Api

pytestmark = pytest.mark.anyio

PHQ9 = [2, 1, 3, 2, 0, 1, 1, 0, 0, 1]


def form(patient_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "patient_id": patient_id,
        "instrument": "phq-9",
        "responses": PHQ9,
        "taken_at": "2026-11-20T19:30:00-07:00",
    } | changes


async def stored(database: Database, api: Api) -> int:
    """How many versions of forms the clinic has."""
    async with database.connection(api.clinic_id) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM assessment"))


async def test_anonymous_is_asked_who_it_is(anonymous: httpx2.AsyncClient) -> None:
    """Without a token there is a 401 that says how to send one."""
    answer = await anonymous.post("/v1/assessments", json=form(str(uuid4())))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "/problems/unauthenticated"


async def test_researcher_may_never_write(researcher: Api) -> None:
    """A role without the permission gets 403 whatever it sends."""
    answer = await researcher.http.post("/v1/assessments", json=form(str(uuid4())))
    assert answer.status_code == 403


async def test_other_clinics_patient_is_an_absent_one(api: Api, other_api: Api, database: Database) -> None:
    """A foreign id answers byte for byte as an id that never existed, and nothing is stored."""
    foreign = await other_api.add_patient()
    answers = [await api.http.post("/v1/assessments", json=form(patient)) for patient in (foreign, str(uuid4()))]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert await stored(database, api) == await stored(database, other_api) == 0


async def test_valid_form_is_scored_and_stored(api: Api) -> None:
    """The answer is the contract's example."""
    patient = await api.add_patient()
    answer = await api.http.post("/v1/assessments", json=form(patient))
    assert answer.status_code == 201
    body = answer.json()
    assert body["instrument"] == "phq-9@1"
    assert (body["version"], body["status"], body["mode"], body["language"]) == (1, "final", "self", "en")
    assert (body["taken_at"], body["taken_at_offset"]) == ("2026-11-21T02:30:00Z", "-07:00")
    assert body["responses"] == PHQ9
    assert body["score"] == {
        "total": 10,
        "minimum": 0,
        "maximum": 27,
        "validity": "valid",
        "answered": 9,
        "missing": [],
        "subscales": {},
        "severity": {"code": "moderate", "label": "Moderate", "minimum": 10, "maximum": 14},
        "screens": [
            {"code": "cut_point_10", "met": True},
            {"code": "major_depressive_syndrome", "met": False},
            {"code": "other_depressive_syndrome", "met": True},
        ],
        "critical_items": [{"item": 9, "code": "self_harm", "raised": False}],
        "functional_difficulty": 1,
    }
    assert body["alerts"] == []
    assert answer.headers["etag"] == '"1"'
    read = await api.http.get(answer.headers["location"])
    assert read.status_code == 200
    assert read.json() == body


async def test_item_nine_is_named_on_an_incomplete_form_too(api: Api) -> None:
    """A form too incomplete for a total still says that somebody must look."""
    patient = await api.add_patient()
    responses = [None, None, None, 0, 0, 0, 0, 0, 1]
    body = (await api.http.post("/v1/assessments", json=form(patient, responses=responses))).json()
    assert body["score"]["total"] is None
    assert body["score"]["validity"] == "incomplete"
    assert [alert["item"] for alert in body["alerts"]] == [9]


async def test_prorated_total_is_the_unrounded_decimal(api: Api) -> None:
    """Two missing answers: sum * 9 / 7, and it reads back the same."""
    patient = await api.add_patient()
    sent = await api.http.post("/v1/assessments", json=form(patient, responses=[2, 1, None, 2, 0, 1, None, 0, 0]))
    assert sent.json()["score"]["total"] == pytest.approx(6 * 9 / 7, rel=1e-12)
    assert sent.json()["score"]["missing"] == [3, 7]
    assert (await api.http.get(sent.headers["location"])).json() == sent.json()


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"responses": [99, *PHQ9[1:]]}, "/responses/0", "not_a_choice"),
        ({"responses": [-1, *PHQ9[1:]]}, "/responses/0", "not_a_choice"),
        ({"responses": ["2", *PHQ9[1:]]}, "/responses/0", "int_type"),
        ({"responses": [1.0, *PHQ9[1:]]}, "/responses/0", "int_type"),
        ({"responses": [True, *PHQ9[1:]]}, "/responses/0", "int_type"),
        ({"responses": [10**30, *PHQ9[1:]]}, "/responses/0", "not_a_choice"),
        ({"responses": PHQ9 + [0] * 10}, "/responses", "wrong_length"),
        ({"responses": [0] * 101}, "/responses", "too_long"),
        ({"responses": []}, "/responses", "wrong_length"),
        ({"responses": "2,1"}, "/responses", "list_type"),
        ({"responses": None}, "/responses", "list_type"),
        ({"instrument": "phq-99"}, "/instrument", "unknown_instrument"),
        ({"instrument": "phq-9@7"}, "/instrument", "unknown_instrument"),
        ({"instrument": "PHQ 9"}, "/instrument", "string_pattern_mismatch"),
        ({"taken_at": "2999-01-01T00:00:00Z"}, "/taken_at", "in_the_future"),
        ({"taken_at": "2026-11-20T19:30:00"}, "/taken_at", "not_a_time"),
        ({"taken_at": "2026-11-20"}, "/taken_at", "not_a_time"),
        ({"taken_at": 1700000000}, "/taken_at", "not_a_time"),
        ({"taken_at": "1700000000"}, "/taken_at", "not_a_time"),
        ({"taken_at": "2026-02-30T12:00:00Z"}, "/taken_at", "not_a_time"),
        ({"taken_at": "0001-01-01T00:00:00+14:00"}, "/taken_at", "not_a_time"),
        ({"taken_at": "9999-12-31T23:59:59-12:00"}, "/taken_at", "not_a_time"),
        ({"taken_at": "1970-01-01T00:00:00Z"}, "/taken_at", "too_long_ago"),
        ({"mode": "telepathy"}, "/mode", "literal_error"),
        ({"language": "no language"}, "/language", "string_pattern_mismatch"),
        ({"patient_id": "x"}, "/patient_id", "not_a_uuid"),
        ({"id": 7}, "/id", "not_a_uuid"),
        ({"total": 3}, "", "unknown_field"),
        ({"clinic_id": str(uuid4())}, "", "unknown_field"),
        ({"version": 2}, "", "unknown_field"),
    ],
)
async def test_invalid_content_is_refused_by_place_and_rule(
    api: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """422 names the place and the rule, repeats nothing of the content, and nothing is stored."""
    patient = await api.add_patient()
    answer = await api.http.post("/v1/assessments", json=form(patient) | change)
    assert answer.status_code == 422, answer.text
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in answer.json()["errors"]]
    for value in change.values():
        if len(str(value)) > 4:
            assert str(value) not in answer.text
    assert await stored(database, api) == 0


async def test_a_little_clock_skew_is_tolerated(api: Api) -> None:
    """Four minutes ahead of our clock is a phone, not an error."""
    patient = await api.add_patient()
    soon = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    assert (await api.http.post("/v1/assessments", json=form(patient, taken_at=soon))).status_code == 201


async def test_a_repeat_is_a_repeat_when_the_clock_was_set_right(api: Api) -> None:
    """Its time lies ahead by the clock of now; a new form with that time is refused as before."""
    patient = await api.add_patient()
    ahead = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    sent = form(patient, id=str(uuid4()), taken_at=ahead)
    first = await api.http.post("/v1/assessments", json=sent, headers={"Device-Time": ahead})
    assert first.status_code == 201, first.text
    again = await api.http.post("/v1/assessments", json=sent)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert (await api.http.post("/v1/assessments", json=sent | {"id": str(uuid4())})).status_code == 422


async def test_repeated_id_is_stored_once(api: Api, database: Database) -> None:
    """The same id and content gives the first answer again, marked as replayed, in any field order."""
    patient = await api.add_patient()
    sent = form(patient, id=str(uuid4()))
    first = await api.http.post("/v1/assessments", json=sent)
    again = await api.http.post("/v1/assessments", json=dict(reversed(sent.items())) | {"mode": "self"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert await stored(database, api) == 1


async def test_repeated_id_with_other_content_is_refused(api: Api) -> None:
    """The stored form stays what it was."""
    patient = await api.add_patient()
    sent = form(patient, id=str(uuid4()))
    first = await api.http.post("/v1/assessments", json=sent)
    clash = await api.http.post("/v1/assessments", json=sent | {"responses": [0] * 9})
    assert clash.status_code == 422
    assert clash.json()["type"] == "/problems/key-reused"
    assert (await api.http.get(first.headers["location"])).json() == first.json()


async def test_idempotency_key_does_the_same_without_an_id(api: Api, database: Database) -> None:
    """Same key and content: same answer and status. Same key, other content: 422."""
    patient = await api.add_patient()
    key = {"Idempotency-Key": "retry-1"}
    first = await api.http.post("/v1/assessments", json=form(patient), headers=key)
    again = await api.http.post("/v1/assessments", json=form(patient), headers=key)
    other = await api.http.post("/v1/assessments", json=form(patient, responses=[0] * 9), headers=key)
    assert [first.status_code, again.status_code, other.status_code] == [201, 201, 422]
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    assert await stored(database, api) == 1


async def test_a_key_cannot_move_to_another_form(api: Api, database: Database) -> None:
    """A key sent with the id of a form that has other content is refused, and stays refused."""
    patient = await api.add_patient()
    sent = form(patient, id=str(uuid4()))
    await api.http.post("/v1/assessments", json=sent)
    for _ in range(2):
        clash = await api.http.post(
            "/v1/assessments", json=sent | {"responses": [0] * 9}, headers={"Idempotency-Key": "k"}
        )
        assert clash.status_code == 422
    assert await stored(database, api) == 1


async def test_two_clinics_may_use_the_same_id_and_key(api: Api, other_api: Api) -> None:
    """Ids and keys are unique in a clinic; nobody learns of the other's."""
    id_, key = str(uuid4()), {"Idempotency-Key": "same"}
    answers = []
    for one in (api, other_api):
        patient = await one.add_patient()
        answers.append(await one.http.post("/v1/assessments", json=form(patient, id=id_), headers=key))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert not any("idempotency-replayed" in answer.headers for answer in answers)


@pytest.mark.parametrize("with_key", [False, True])
async def test_parallel_twins_store_one_form(api: Api, database: Database, with_key: bool) -> None:
    """Forty at once: one row, forty equal answers, all but one marked as replayed."""
    patient = await api.add_patient()
    sent = form(patient) if with_key else form(patient, id=str(uuid4()))
    headers = {"Idempotency-Key": "twin"} if with_key else {}
    answers = await asyncio.gather(*(api.http.post("/v1/assessments", json=sent, headers=headers) for _ in range(40)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert await stored(database, api) == 1


async def test_unusable_key_is_refused(api: Api) -> None:
    """A key must be 1 to 255 visible characters."""
    patient = await api.add_patient()
    answer = await api.http.post("/v1/assessments", json=form(patient), headers={"Idempotency-Key": "x" * 256})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "header/idempotency-key"


async def test_list_is_paged_latest_first_and_filtered(api: Api) -> None:
    """Every form appears once over the pages, in order; filters narrow them."""
    patient, other = await api.add_patient(), await api.add_patient()
    for day in range(1, 6):
        await api.http.post("/v1/assessments", json=form(patient, taken_at=f"2026-03-0{day}T08:00:00+01:00"))
    await api.http.post("/v1/assessments", json=form(other, instrument="gad-7", responses=[1] * 7))
    seen: list[str] = []
    url = "/v1/assessments?limit=2"
    while url:
        answer = await api.http.get(url)
        seen += [row["taken_at"] for row in answer.json()["data"]]
        url = answer.links["next"]["url"] if "next" in answer.links else ""
        assert bool(url) == (answer.json()["next_cursor"] is not None)
    assert len(seen) == 6
    assert seen == sorted(seen, reverse=True)

    async def count(**query: str) -> int:
        return len((await api.http.get("/v1/assessments", params=query)).json()["data"])

    assert await count(patient_id=patient) == 5
    assert await count(instrument="gad-7") == 1
    assert await count(patient_id=patient, **{"from": "2026-03-02T00:00:00Z", "to": "2026-03-04T00:00:00Z"}) == 2
    assert await count(status="entered_in_error") == 0


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=201", "limit=9223372036854775808", "limit=x", "cursor=%00", "cursor=e30",
     "cursor=WzEsMl0", "cursor=" + "x" * 500, "patient_id=1", "from=2026-01-01", "status=lost",
     "instrument=" + "x" * 50, "instrument=phq-9%00"],
)  # fmt: skip
async def test_odd_parameters_are_refused(api: Api, query: str) -> None:
    """422, never 500."""
    assert (await api.http.get(f"/v1/assessments?{query}")).status_code == 422


async def test_foreign_assessment_reads_as_absent(api: Api, other_api: Api) -> None:
    """Byte for byte the same answer, and it is in nobody else's list."""
    patient = await other_api.add_patient()
    foreign = (await other_api.http.post("/v1/assessments", json=form(patient))).json()["id"]
    answers = [await api.http.get(f"/v1/assessments/{id_}") for id_ in (foreign, uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert (await api.http.get("/v1/assessments")).json()["data"] == []
    assert (await api.http.get(f"/v1/assessments?patient_id={patient}")).json()["data"] == []


async def test_each_write_leaves_one_audit_row(api: Api, database: Database) -> None:
    """Who stored which form of whom, once, in the same transaction; a replay or a refusal adds none."""
    patient = await api.add_patient()
    sent = form(patient, id=str(uuid4()))
    for body in (sent, sent, sent | {"responses": [3] * 9}):
        await api.http.post("/v1/assessments", json=body)
    async with database.connection(api.clinic_id) as connection:
        rows = await connection.fetch("SELECT action, subject_id::text, resource_id::text FROM audit_event ORDER BY at")
    assert [tuple(row) for row in rows] == [
        ("patient.create", patient, patient),
        ("assessment.create", patient, sent["id"]),
    ]


# --- Clocks -----------------------------------------------------------------------------------------------------------


def device(form_: dict[str, Any], ahead: timedelta, now: datetime) -> tuple[dict[str, Any], dict[str, str]]:
    """The form and the header as a device sends them whose clock runs ahead by that much."""
    taken = now - timedelta(hours=3)
    return form_ | {"taken_at": (taken + ahead).isoformat()}, {"Device-Time": (now + ahead).isoformat()}


@pytest.mark.parametrize(
    ("ahead", "minutes"),
    [
        (timedelta(0), 0),
        (timedelta(minutes=4, seconds=50), 0),
        (timedelta(minutes=-4, seconds=-50), 0),
        (timedelta(hours=2, minutes=13), 133),
        (timedelta(hours=-7), -420),
        (timedelta(days=400), 400 * 1440),
        (timedelta(days=-15_000), -15_000 * 1440),
    ],
)
async def test_a_wrong_clock_is_corrected_by_its_error(api: Api, ahead: timedelta, minutes: int) -> None:
    """Beyond five minutes, by whole minutes; what was measured is told, also when it is read back."""
    patient, now = await api.add_patient(), datetime.now(UTC)
    body, header = device(form(patient), ahead, now)
    answer = await api.http.post("/v1/assessments", json=body, headers=header)
    assert answer.status_code == 201, answer.text
    arrival = answer.json()["arrival"]
    assert arrival["clock_correction_minutes"] == minutes
    assert abs(arrival["device_skew_seconds"] - ahead.total_seconds()) <= 5
    kept = datetime.fromisoformat(answer.json()["taken_at"])
    assert abs(kept - (now - timedelta(hours=3))) <= timedelta(minutes=5)
    assert arrival["late"] is False
    assert (await api.http.get(answer.headers["location"])).json() == answer.json()


async def test_a_reset_clock_that_does_not_tell_is_refused(api: Api) -> None:
    """1970 without `Device-Time` cannot be placed; with it, it can."""
    patient = await api.add_patient()
    body = form(patient, taken_at="1970-01-01T00:10:00Z")
    refused = await api.http.post("/v1/assessments", json=body)
    assert [(error["pointer"], error["code"]) for error in refused.json()["errors"]] == [("/taken_at", "too_long_ago")]
    placed = await api.http.post("/v1/assessments", json=body, headers={"Device-Time": "1970-01-01T01:00:00Z"})
    assert placed.status_code == 201
    age = datetime.now(UTC) - datetime.fromisoformat(placed.json()["taken_at"])
    assert abs(age - timedelta(minutes=50)) < timedelta(minutes=2)


@pytest.mark.parametrize(
    "said", ["yesterday", "2026-11-20T19:30:00", "9999-01-01T00:00:00Z", "1969-01-01T00:00:00Z", ""]
)
async def test_an_unusable_device_time_is_refused(api: Api, database: Database, said: str) -> None:
    """Nothing is stored by a clock nobody can read."""
    patient = await api.add_patient()
    answer = await api.http.post("/v1/assessments", json=form(patient), headers={"Device-Time": said})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["header/device-time"]
    assert await stored(database, api) == 0


async def test_a_repeat_by_another_clock_is_the_same_form(api: Api) -> None:
    """The device's clock was set between two tries: the form stays where the first try put it."""
    patient, now = await api.add_patient(), datetime.now(UTC)
    body, header = device(form(patient, id=str(uuid4())), timedelta(hours=2), now)
    first = await api.http.post("/v1/assessments", json=body, headers=header)
    again = await api.http.post("/v1/assessments", json=body, headers={"Device-Time": now.isoformat()})
    assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (201, first.content, "true")


async def test_a_late_form_takes_its_place_and_says_so(api: Api) -> None:
    """Between those that were taken before and after it, whatever came first."""
    patient, now = await api.add_patient(), datetime.now(UTC)
    times = [now - timedelta(days=days) for days in (30, 2, 16)]
    sent = [
        (await api.http.post("/v1/assessments", json=form(patient, taken_at=at.isoformat()))).json() for at in times
    ]
    assert [(one["arrival"]["late"], round(one["arrival"]["hours_after"])) for one in sent] == [
        (True, 720),
        (True, 48),
        (True, 384),
    ]
    points = (await api.http.get(f"/v1/patients/{patient}/trajectory?instrument=phq-9")).json()["points"]
    assert [point["assessment_id"] for point in points] == [sent[0]["id"], sent[2]["id"], sent[1]["id"]]


async def test_a_repeat_is_answered_as_at_first(api: Api) -> None:
    """Though an episode with a dose was recorded in between, in which the form now stands."""
    patient = await api.add_patient()
    body = form(patient, id=str(uuid4()), taken_at="2026-02-10T12:00:00Z", responses=[1, 1, 1, 1, 1, 1, 1, 1, 1])
    first = await api.http.post("/v1/assessments", json=body)
    assert first.json()["safety_text"]
    assert [alert["kind"] for alert in first.json()["alerts"]] == ["critical_item"]
    episode = {"modality": "ketamine_assisted_psychotherapy", "opened_at": "2026-02-01T09:00:00Z"}
    assert (await api.http.post(f"/v1/patients/{patient}/episodes", json=episode)).status_code == 201
    corrected = {"responses": [1, 1, 1, 1, 1, 1, 1, 1, 0], "reason": "a slip"}
    amended = await api.http.post(
        f"{first.headers['location']}/amendments", json=corrected, headers={"If-Match": '"1"'}
    )
    assert amended.json()["alerts"] == []
    again = await api.http.post("/v1/assessments", json=body)
    assert (again.status_code, again.content) == (201, first.content)
    read = (await api.http.get(first.headers["location"])).json()
    assert (read["version"], read["alerts"], read["safety_text"]) == (2, [], None)
    assert read["context"]["episode_id"] is not None
