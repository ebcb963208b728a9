"""Patients over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.db import Database
from app.scoring.schedule import ZoneFrom
from app.services.time_zones import known_zones, zone_at, zones_of
from tests.api.conftest import PatientApi
from tests.api.treatment import assert_closed_to, assert_foreign_is_absent, assert_refused, events, patch
from tests.conftest import Api

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("GET", ""), ("GET", f"/{UUID(int=1)}")])
async def test_anonymous_and_researcher_see_no_patient(
    anonymous: httpx2.AsyncClient, researcher: Api, method: str, path: str
) -> None:
    """401 without a token, 403 for a role that reaches no identity."""
    body: dict[str, str] | None = {} if method == "POST" else None
    assert (await anonymous.request(method, f"/v1/patients{path}", json=body)).status_code == 401
    assert (await researcher.http.request(method, f"/v1/patients{path}", json=body)).status_code == 403


async def test_other_clinics_patient_reads_as_absent(api: Api, other_api: Api) -> None:
    """Byte for byte, and lists hold one's own alone."""
    foreign = await other_api.add_patient("theirs")
    answers = [await api.http.get(f"/v1/patients/{id_}") for id_ in (foreign, uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert (await api.http.get("/v1/patients")).json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    "body",
    [
        '{"external_ref": ""}',
        '{"external_ref": "   "}',
        '{"external_ref": 7}',
        '{"external_ref": "' + "x" * 201 + '"}',
        '{"id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a"}',
        '{"clinic_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a"}',
        "[]",
        "7",
        "null",
    ],
)
async def test_invalid_patient_is_refused(api: Api, body: str) -> None:
    """422, and none is stored."""
    answer = await api.http.post("/v1/patients", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert (await api.http.get("/v1/patients")).json()["data"] == []


async def test_patient_is_stored_and_read_back(api: Api) -> None:
    """With its own reference, or with none."""
    created = await api.http.post("/v1/patients", json={"external_ref": " chart Ω 7 "})
    assert created.status_code == 201
    assert created.json()["external_ref"] == "chart Ω 7"
    assert (created.json()["version"], created.json()["time_zone"]) == (1, "Europe/Berlin")
    read = await api.http.get(created.headers["location"])
    assert (read.content, read.headers["etag"]) == (created.content, '"1"')
    assert created.headers["etag"] == '"1"'
    assert (await api.http.post("/v1/patients", json={})).json()["external_ref"] is None


async def test_reference_is_unique_in_its_clinic_alone(api: Api, other_api: Api) -> None:
    """A second one is a conflict; another clinic's is nobody's business."""
    await api.add_patient("chart-1")
    assert (await api.http.post("/v1/patients", json={"external_ref": "chart-1"})).status_code == 409
    assert (await other_api.http.post("/v1/patients", json={"external_ref": "chart-1"})).status_code == 201
    for _ in range(2):
        await api.add_patient(None)


async def test_parallel_twins_make_one_patient(api: Api) -> None:
    """Forty with one key: one patient, forty equal answers."""
    answers = await asyncio.gather(
        *(
            api.http.post("/v1/patients", json={"external_ref": "twin"}, headers={"Idempotency-Key": "twin"})
            for _ in range(40)
        )
    )
    assert {answer.status_code for answer in answers} <= {201, 503}, "a crowded pool may ask to come back"
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    again = await api.http.post("/v1/patients", json={"external_ref": "twin"}, headers={"Idempotency-Key": "twin"})
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    other = await api.http.post("/v1/patients", json={"external_ref": "else"}, headers={"Idempotency-Key": "twin"})
    assert (other.status_code, other.json()["type"]) == (422, "/problems/key-reused")
    assert len((await api.http.get("/v1/patients")).json()["data"]) == 1


async def test_list_is_paged_newest_first(api: Api) -> None:
    """Each patient once, over pages that stay put while patients are added."""
    made = [await api.add_patient(f"p{number}") for number in range(5)]
    first = await api.http.get("/v1/patients?limit=3")
    await api.add_patient("late")
    second = await api.http.get("/v1/patients", params={"limit": 3, "cursor": first.json()["next_cursor"]})
    seen = [row["id"] for page in (first, second) for row in page.json()["data"]]
    assert seen == made[::-1]
    assert second.json()["next_cursor"] is None


# --- Where the clock stands -------------------------------------------------------------------------------------------

MOVE: dict[str, Any] = {"time_zone": "Europe/Lisbon", "reason": "moved"}


async def zones(database: Database, api: Api, *patients: str) -> list[tuple[ZoneFrom, ...]]:
    ids = [UUID(patient) for patient in patients]
    async with database.connection(api.clinic_id) as connection:
        found = await zones_of(connection, api.clinic_id, ids)
    assert set(found) == set(ids)
    return [found[id_] for id_ in ids]


async def test_strangers_researchers_and_patients_set_no_clock(
    anonymous: httpx2.AsyncClient, researcher: Api, patient_api: PatientApi
) -> None:
    """401 without a token, 403 for roles that may never: a patient asks the clinic."""
    path = f"/v1/patients/{patient_api.patient_id}"
    calls = [("PATCH", path, MOVE), ("GET", f"{path}/history", None)]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)
    await assert_closed_to(patient_api, 403, calls)


async def test_the_clock_of_another_clinics_patient_is_absent(api: Api, other_api: Api, database: Database) -> None:
    """Byte for byte, and nothing is stored."""
    foreign = await other_api.add_patient()
    path = "/v1/patients/ID"
    await assert_foreign_is_absent(api, foreign, [("PATCH", path, MOVE), ("GET", f"{path}/history", None)])
    assert await zones(database, other_api, foreign) == [(ZoneFrom(None, "America/Denver"),)]


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"time_zone": "Berlin"}, "/time_zone", "unknown_time_zone"),
        ({"time_zone": "europe/berlin"}, "/time_zone", "unknown_time_zone"),
        ({"time_zone": "localtime"}, "/time_zone", "unknown_time_zone"),
        ({"time_zone": "../etc/passwd"}, "/time_zone", "unknown_time_zone"),
        ({"time_zone": "+01:00"}, "/time_zone", "unknown_time_zone"),
        ({"time_zone": ""}, "/time_zone", "string_too_short"),
        ({"time_zone": None}, "/time_zone", "missing"),
        ({"time_zone_from": "2026-12-18T06:00:00"}, "/time_zone_from", "not_a_time"),
        ({"time_zone_from": "2026-12-18"}, "/time_zone_from", "not_a_time"),
        ({"time_zone_from": (datetime.now(UTC) + timedelta(days=367)).isoformat()}, "/time_zone_from", "too_far_ahead"),
        ({"reason": ""}, "/reason", "string_too_short"),
        ({"date_of_birth": "1985-13-01"}, "/date_of_birth", "not_a_date"),
        ({"created_at": "2026-12-18T06:00:00Z"}, "", "unknown_field"),
    ],
)
async def test_an_invalid_clock_is_refused(
    api: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule, and nothing is stored."""
    patient = await api.add_patient()
    assert_refused(await patch(api, f"/v1/patients/{patient}", MOVE | change), pointer, code)
    assert (await api.http.get(f"/v1/patients/{patient}")).json()["version"] == 1
    assert await events(database, api) == []


BORN = {"external_ref": "chart-7", "name": "Ada Ω Example", "contact": "ada@example.org", "date_of_birth": "1985-01-31"}


@pytest.mark.parametrize(
    "birth", ["1985-02-30", "31.01.1985", "1899-12-31", "2999-01-01", "1985-01-31T00:00:00Z", 1985]
)
async def test_a_birth_is_a_date_of_the_past(api: Api, birth: object) -> None:
    """422, and nobody is added."""
    answer = await api.http.post("/v1/patients", json={"date_of_birth": birth})
    assert_refused(answer, "/date_of_birth", "not_a_birth" if birth in ("1899-12-31", "2999-01-01") else "not_a_date")
    assert (await api.http.get("/v1/patients")).json()["data"] == []


async def test_who_a_patient_is_is_corrected_in_place(api: Api, database: Database) -> None:
    """Only what is sent changes, null empties; each change is a version, and the clock stays where it was."""
    made = await api.http.post("/v1/patients", json=BORN)
    path = made.headers["location"]
    assert {name: made.json()[name] for name in BORN} == BORN
    married = await patch(api, path, {"name": "Ada Sample", "contact": None, "reason": "married"})
    assert married.status_code == 200, married.text
    assert {name: married.json()[name] for name in BORN} == BORN | {"name": "Ada Sample", "contact": None}
    assert (married.json()["version"], married.json()["time_zone"]) == (2, "Europe/Berlin")
    assert (await api.http.get(path)).content == married.content
    assert (await api.http.get("/v1/patients")).json()["data"] == [married.json()]
    (zone,) = {zone.zone for zone in (await zones(database, api, made.json()["id"]))[0]}
    assert zone == "Europe/Berlin"
    assert [row["reason"] for row in (await api.http.get(f"{path}/history")).json()["data"]] == ["married", None]


async def test_a_reference_can_be_moved_and_not_taken(api: Api) -> None:
    """409 for one that is another's, whichever way it is asked for; what is given up can be used again."""
    first, second = await api.add_patient("chart-1"), await api.add_patient("chart-2")
    taken = await patch(api, f"/v1/patients/{second}", {"external_ref": "chart-1", "reason": "slip"})
    assert (taken.status_code, taken.json()["type"]) == (409, "/problems/conflict")
    assert (await api.http.get(f"/v1/patients/{second}")).json()["version"] == 1
    assert (await patch(api, f"/v1/patients/{first}", {"external_ref": None, "reason": "slip"})).status_code == 200
    again = await patch(api, f"/v1/patients/{second}", {"external_ref": "chart-1", "reason": "slip"})
    assert again.json()["external_ref"] == "chart-1"


async def test_a_change_of_nothing_is_refused(api: Api) -> None:
    """A reason alone changes nothing."""
    answer = await patch(api, f"/v1/patients/{await api.add_patient()}", {"reason": "no idea"})
    assert_refused(answer, "", "nothing_to_change")


async def test_a_move_holds_from_now_on(api: Api, database: Database) -> None:
    """The patient's answer, the list and the derivation see the same zone; others keep the clinic's."""
    patient, other = await api.add_patient(), await api.add_patient()
    before = datetime.now(UTC)
    answer = await patch(api, f"/v1/patients/{patient}", MOVE)
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert (answer.json()["version"], answer.json()["time_zone"]) == (2, "Europe/Lisbon")
    assert (await api.http.get(f"/v1/patients/{patient}")).content == answer.content
    listed = (await api.http.get("/v1/patients")).json()["data"]
    assert [(row["id"], row["time_zone"]) for row in listed] == [(other, "Europe/Berlin"), (patient, "Europe/Lisbon")]
    own, others = await zones(database, api, patient, other)
    assert others == (ZoneFrom(None, "Europe/Berlin"),)
    assert [zone.zone for zone in own] == ["Europe/Berlin", "Europe/Lisbon"]
    assert own[1].valid_from is not None
    assert before <= own[1].valid_from <= datetime.now(UTC)
    assert zone_at(own, before) == "Europe/Berlin"
    assert zone_at(own, own[1].valid_from) == "Europe/Lisbon"


async def test_a_journey_is_entered_ahead_and_behind(api: Api, database: Database) -> None:
    """There and back in a month: now the clinic's zone holds; a flight of last week is told by its time."""
    patient = await api.add_patient()
    path, now = f"/v1/patients/{patient}", datetime.now(UTC).replace(microsecond=0)
    flights = [
        (now + timedelta(days=30), "America/New_York"),
        (now + timedelta(days=40), "Europe/Berlin"),
        (now - timedelta(days=7), "Europe/Athens"),
        (now + timedelta(days=30), "America/Toronto"),
    ]
    for version, (at, zone) in enumerate(flights, start=1):
        change = {"time_zone": zone, "time_zone_from": at.isoformat(), "reason": "flies"}
        answer = await patch(api, path, change, version)
        assert answer.json()["time_zone"] == ("Europe/Berlin" if version < 3 else "Europe/Athens")
    (own,) = await zones(database, api, patient)
    names = ["Europe/Berlin", "Europe/Athens", "America/New_York", "America/Toronto", "Europe/Berlin"]
    assert [zone.zone for zone in own] == names
    assert zone_at(own, now + timedelta(days=35)) == "America/Toronto", "of two from one time on the later entry holds"
    assert zone_at(own, now - timedelta(days=8)) == "Europe/Berlin"


async def test_every_change_of_the_clock_is_kept(api: Api) -> None:
    """428, 412, one winner of six, and a history that begins with the clinic's zone."""
    patient = await api.add_patient()
    path = f"/v1/patients/{patient}"
    missing = await api.http.patch(path, json=MOVE)
    assert (missing.status_code, missing.json()["type"]) == (428, "/problems/precondition-required")
    assert (await patch(api, path, MOVE, 2)).status_code == 412
    sent = MOVE | {"time_zone_from": "2026-03-01T12:00:00-07:00"}
    answers = await asyncio.gather(*(patch(api, path, sent) for _ in range(6)))
    assert sorted({answer.status_code for answer in answers} - {503}) == [200, 412]
    assert len([answer for answer in answers if answer.status_code == 200]) == 1
    second, first = (await api.http.get(f"{path}/history")).json()["data"]
    assert (second["version"], second["time_zone"], second["reason"]) == (2, "Europe/Lisbon", "moved")
    assert (second["time_zone_from"], second["time_zone_from_offset"]) == ("2026-03-01T19:00:00Z", "-07:00")
    assert (first["version"], first["time_zone"], first["time_zone_from"]) == (1, "Europe/Berlin", None)
    assert (first["recorded_by"], first["reason"]) == (None, None)
    assert (await patch(api, path, sent)).status_code == 412


async def test_a_change_of_the_clock_is_replayed(api: Api) -> None:
    """Made once under its key, answered alike after the next one, as the creation of the patient is."""
    created = await api.http.post("/v1/patients", json={}, headers={"Idempotency-Key": "new"})
    path = created.headers["location"]
    made = await patch(api, path, MOVE, key="once")
    assert (await patch(api, path, {"time_zone": "Asia/Tokyo", "reason": "moved on"}, 2)).status_code == 200
    again = await patch(api, path, MOVE, key="once")
    assert (again.status_code, again.content, again.headers["etag"]) == (200, made.content, '"2"')
    assert again.headers["idempotency-replayed"] == "true"
    clash = await patch(api, path, MOVE | {"time_zone": "Asia/Tokyo"}, key="once")
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    repeated = await api.http.post("/v1/patients", json={}, headers={"Idempotency-Key": "new"})
    assert (repeated.content, repeated.headers["etag"]) == (created.content, '"1"')
    assert len((await api.http.get(f"{path}/history")).json()["data"]) == 3


async def test_a_replay_tells_the_clock_as_it_stood(api: Api) -> None:
    """The journey that has begun since then is in what is read, not in what was answered."""
    path, begins = f"/v1/patients/{await api.add_patient()}", datetime.now(UTC) + timedelta(seconds=0.5)
    change = MOVE | {"time_zone_from": begins.isoformat()}
    made = await patch(api, path, change, key="once")
    assert made.json()["time_zone"] == "Europe/Berlin"
    await asyncio.sleep((begins - datetime.now(UTC)).total_seconds() + 0.05)
    assert (await api.http.get(path)).json()["time_zone"] == "Europe/Lisbon"
    assert (await patch(api, path, change, key="once")).content == made.content


async def test_each_change_of_the_clock_leaves_one_row_in_the_trail(api: Api, database: Database) -> None:
    """A refusal leaves none."""
    patient = await api.add_patient()
    for _ in range(2):
        await patch(api, f"/v1/patients/{patient}", MOVE)
    assert await events(database, api) == [("patient.amend", patient, patient)]


async def test_zones_are_places_of_the_whole_world() -> None:
    """The names of the time zone database, without the two that are no place."""
    assert known_zones() >= {"UTC", "Pacific/Apia", "Europe/Berlin", "America/Argentina/Ushuaia"}
    assert not known_zones() & {"localtime", "Factory"}
