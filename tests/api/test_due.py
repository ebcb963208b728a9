"""What is due over HTTP: anonymous, wrong role, other clinic, invalid, valid, the patient's own."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Actor, Role
from app.db import Database
from app.paging import PageRequest
from app.schemas.due import OpenStatus, Status
from app.scoring.schedule import Expected
from app.scoring.schedule_matching import DueStatus, due_status
from app.services import clinics
from app.services.due import DueFilter, due_sql, find_due_of_patient
from tests.api.schedules import DAY_AFTER, WEEKLY, expected_rows, fill, plan
from tests.api.treatment import add_episode, add_session, assert_closed_to, assert_foreign_is_absent
from tests.conftest import Api

pytestmark = pytest.mark.anyio

EACH = ("upcoming", "due", "overdue", "missed")
OF_PATIENT = "/v1/patients/ID/due"


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


async def asked(api: Api, patient: str | None = None, instrument: str = "phq-9") -> str:
    """A patient with one check-in of each unanswered status, by the time since the dose."""
    doses = {"upcoming": 5, "due": 20, "overdue": 40, "missed": 60}
    patient = patient or await api.add_patient()
    for status, hours in doses.items():
        episode = await add_episode(api, patient, opened_at=hours_ago(100).isoformat())
        await plan(api, episode["id"], DAY_AFTER | {"code": status, "anchor": "first_dose", "instrument": instrument})
        at = hours_ago(hours).isoformat()
        await add_session(api, episode["id"], scheduled_at=at, started_at=at, ended_at=None)
    return patient


async def due_of(api: Api, patient: str, *statuses: str) -> dict[str, Any]:
    answer = await api.http.get(OF_PATIENT.replace("ID", patient), params={"status": list(statuses)})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def due(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = await api.http.get("/v1/due", params=query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


@asynccontextmanager
async def as_patient(app: FastAPI, database: Database, api: Api, patient: str) -> AsyncIterator[Api]:
    _, token = await clinics.record_token(database, api.clinic_id, Role.PATIENT, patient_id=UUID(patient))
    transport, headers = httpx2.ASGITransport(app), {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
        yield Api(http, api.clinic_id)


async def test_strangers_and_researchers_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that sees no patient."""
    calls: list[tuple[str, str, Any]] = [
        ("GET", OF_PATIENT.replace("ID", str(uuid4())), None),
        ("GET", "/v1/due", None),
    ]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)


async def test_another_clinics_are_absent(api: Api, other_api: Api) -> None:
    """Byte for byte, and in no list."""
    foreign = await asked(other_api)
    await assert_foreign_is_absent(api, foreign, [("GET", OF_PATIENT, None)])
    assert await due(api) == []
    assert await due(api, patient_id=foreign) == []
    assert len(await due(other_api)) == 2


async def test_patients_see_their_own_alone(api: Api, app: FastAPI, database: Database) -> None:
    """Another one's answers as one that never was; the clinic's list is not theirs."""
    mine, other = await asked(api), await asked(api)
    async with as_patient(app, database, api, mine) as me:
        seen, told = await due_of(me, mine), await due_of(api, mine)
        assert (seen["data"], seen["counts"]) == (told["data"], told["counts"])
        assert len(seen["data"]) == 2
        await assert_foreign_is_absent(me, other, [("GET", OF_PATIENT, None)])
        await assert_closed_to(me, 403, [("GET", "/v1/due", None)])


@pytest.mark.parametrize(
    "query",
    [
        "status=",
        "status=late",
        "status=due&status=late",
        "status=received",
        "instrument=phq-9@1",
        "patient_id=me",
        "limit=0",
        "limit=201",
        "cursor=x",
    ],
)
async def test_a_question_nobody_can_answer_is_refused(api: Api, query: str) -> None:
    """422; of a whole clinic only what is unanswered is listed."""
    assert (await api.http.get(f"/v1/due?{query}")).status_code == 422


async def test_statuses_are_those_of_the_core() -> None:
    """The declared choices are all there are."""
    assert set(get_args(Status)) == set(DueStatus)
    assert set(get_args(OpenStatus)) == {status for status in DueStatus if not status.startswith("received")}


async def test_a_patient_without_a_schedule_has_nothing_due(api: Api) -> None:
    """No error: an empty list and counts of 0."""
    found = await due_of(api, await api.add_patient())
    assert (found["data"], set(found["counts"].values())) == ([], {0})


async def test_due_of_a_patient_by_status(api: Api, database: Database) -> None:
    """Due and overdue unless asked otherwise, in order of opening; counts are of all."""
    patient = await asked(api)
    found = await due_of(api, patient)
    assert [(row["code"], row["status"]) for row in found["data"]] == [("overdue", "overdue"), ("due", "due")]
    assert found["counts"] == dict.fromkeys(EACH, 1) | {"received": 0, "received_late": 0}
    for status in EACH:
        (row,) = (await due_of(api, patient, status))["data"]
        assert (row["code"], row["status"], row["patient_id"]) == (status, status, patient)
    everything = (await due_of(api, patient, *get_args(Status)))["data"]
    assert [row["code"] for row in everything] == ["missed", "overdue", "due", "upcoming"]
    stored = {str(row["id"]): row for row in await expected_rows(database, api, patient)}
    for row in everything:
        for name in ("target_at", "opens_at", "overdue_at", "closes_at"):
            assert datetime.fromisoformat(row[name]) == stored[row["id"]][name]


async def test_answers_turn_into_received(api: Api) -> None:
    """In time or late, by when the form was filled in."""
    patient = await asked(api)
    forms = [await fill(api, patient, hours_ago(hours)) for hours in (13, 1, 20)]
    found = await due_of(api, patient, "received", "received_late")
    assert found["counts"] == {
        "upcoming": 1,
        "due": 0,
        "overdue": 0,
        "missed": 0,
        "received": 2,
        "received_late": 1,
    }
    answered = {row["assessment_id"]: (row["code"], row["status"]) for row in found["data"]}
    assert [answered[form] for form in forms] == [
        ("overdue", "received"),
        ("due", "received"),
        ("missed", "received_late"),
    ]


@pytest.mark.parametrize("answered", [None, -3, 0, 11, 12, 23])
@pytest.mark.parametrize("now", [-13, -12, 0, 11.9, 12, 23.9, 24, 30])
async def test_status_in_sql_is_the_cores(api: Api, database: Database, answered: float | None, now: float) -> None:
    """At the very ends of the window too: the pure core is the oracle."""
    target = datetime(2026, 2, 4, 12, tzinfo=UTC)
    at = {name: target + timedelta(hours=hours) for name, hours in (("opens", -12), ("overdue", 12), ("closes", 24))}
    answered_at = None if answered is None else target + timedelta(hours=answered)
    patient, looking = UUID(await api.add_patient()), target + timedelta(hours=now)
    async with database.connection(api.clinic_id) as connection:
        await connection.execute(
            "INSERT INTO expected_check_in (clinic_id, id, patient_id, episode_id, key, code, instrument, target_at, "
            "opens_at, overdue_at, closes_at, assessment_id, answered_at) "
            "VALUES ($1, $2, $3, $3, 'k', 'c', 'phq-9', $4, $5, $6, $7, $8, $9)",
            *(
                api.clinic_id,
                uuid4(),
                patient,
                target,
                *at.values(),
                None if answered is None else uuid4(),
                answered_at,
            ),
        )
    expected = Expected("k", "c", "phq-9", None, target, at["opens"], at["overdue"], at["closes"], None)
    actor = Actor(api.clinic_id, uuid4(), Role.CLINICIAN, hidden=frozenset())
    found = await find_due_of_patient(database, actor, patient, [due_status(expected, answered_at, looking)], looking)
    assert len(found.rows) == 1


# --- Of the clinic ----------------------------------------------------------------------------------------------------


async def test_due_of_the_clinic_by_filters(api: Api) -> None:
    """First to close first; by status, instrument and patient."""
    first, second = await asked(api), await asked(api, instrument="pcl-5-week")
    rows = await due(api)
    assert [row["status"] for row in rows] == ["overdue", "overdue", "due", "due"]
    assert [row["patient_id"] for row in rows] == [first, second] * 2
    assert rows == sorted(rows, key=lambda row: row["closes_at"])
    for status in EACH:
        assert [row["code"] for row in await due(api, status=status)] == [status] * 2
    assert [row["code"] for row in await due(api, status=EACH, patient_id=first)] == list(EACH[::-1])
    assert {row["patient_id"] for row in await due(api, instrument="pcl-5-week")} == {second}
    assert await due(api, instrument="phq-9", patient_id=second) == []
    assert await due(api, patient_id=str(uuid4())) == []


async def test_due_of_the_clinic_is_paged(api: Api) -> None:
    """Every row once, whatever the size of the page, also of what was missed alone."""
    for _ in range(3):
        await asked(api)
    for statuses in (EACH, ("due", "overdue"), ("missed",), ("upcoming",)):
        whole = await due(api, status=statuses)
        assert len(whole) == 3 * len(statuses)
        address: str | None = str(httpx2.URL("/v1/due", params={"status": statuses, "limit": 2}))
        seen: list[dict[str, Any]] = []
        while address is not None:
            answer = await api.http.get(address)
            assert len(answer.json()["data"]) <= 2
            seen += answer.json()["data"]
            address = answer.links["next"]["url"] if "next" in answer.links else None
        assert seen == whole


async def test_what_was_answered_is_in_no_list_of_the_clinic(api: Api) -> None:
    """It waits for nothing."""
    patient = await asked(api)
    await fill(api, patient, hours_ago(1))
    assert [row["code"] for row in await due(api)] == ["overdue"]
    await fill(api, patient, hours_ago(12))
    assert await due(api) == []


async def test_the_list_of_the_clinic_reads_the_index_of_what_is_open(api: Api, database: Database) -> None:
    """What was missed long ago is not walked through."""
    episode = await add_episode(api)
    await plan(api, episode["id"], WEEKLY)
    async with database.connection(api.clinic_id) as connection:
        await connection.execute(
            "INSERT INTO expected_check_in (clinic_id, id, patient_id, episode_id, key, code, instrument, target_at, "
            "opens_at, overdue_at, closes_at) SELECT $1, gen_random_uuid(), $2, $2, n::text, 'c', 'phq-9', at, at, at, "
            "at + interval '1 day' FROM generate_series(1, 3000) n, "
            "LATERAL (SELECT now() + interval '1 hour' - n * interval '1 day' AS at) times",
            api.clinic_id,
            UUID(episode["patient_id"]),
        )
        await connection.execute("SET LOCAL enable_seqscan = off")
        actor = Actor(api.clinic_id, uuid4(), Role.CLINICIAN, hidden=frozenset())
        statement, values = due_sql(actor, DueFilter(frozenset({"due", "overdue"})), PageRequest(), datetime.now(UTC))
        explained = await connection.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) {statement}", *values)
    text = "\n".join(row[0] for row in explained)
    assert "ix_expected_check_in_unanswered" in text
    assert "Sort" not in text
    assert max(int(rows) for rows in re.findall(r"actual rows=(\d+)", text)) == 1, text
    assert "Removed" not in text
