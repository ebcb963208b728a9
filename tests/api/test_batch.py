"""Many check-ins at once: an outcome for each, and no row that harms another."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.db import Database
from app.schemas.assessments import MAX_BATCH
from tests.conftest import Api

pytestmark = pytest.mark.anyio

BATCH = "/v1/assessments/batch"
SINGLE = "/v1/assessments"


def row(patient_id: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    taken_at = datetime(2026, 3, 1, 9, tzinfo=UTC) + timedelta(days=number)
    answers = [number % 4, 1, 0, 2, 1, 0, 1, 0, 0, 1]
    form = {"patient_id": patient_id, "instrument": "phq-9", "responses": answers, "taken_at": taken_at.isoformat()}
    return form | {"id": str(uuid4())} | changes


async def send(api: Api, rows: list[Any], **headers: str) -> httpx2.Response:
    return await api.http.post(BATCH, json={"assessments": rows}, headers=headers)


async def stored(database: Database, api: Api) -> int:
    async with database.connection(api.clinic_id) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM assessment"))


async def test_anonymous_and_researchers_are_refused(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """Whatever they send."""
    assert (await anonymous.post(BATCH, json={"assessments": []})).status_code == 401
    assert (await send(researcher, [row(str(uuid4()))])).status_code == 403


async def test_each_row_is_answered_as_it_would_have_been_alone(api: Api) -> None:
    """Same form, same answer, but for the time it arrived."""
    patient, other = await api.add_patient(), await api.add_patient()
    rows = [row(patient, number) for number in range(5)]
    answer = await send(api, rows)
    assert answer.status_code == 200
    outcomes = answer.json()["outcomes"]
    assert [(one["index"], one["status"], one["replayed"]) for one in outcomes] == [(n, 201, False) for n in range(5)]
    for sent, outcome in zip(rows, outcomes, strict=True):
        alone = (await api.http.post(SINGLE, json=sent | {"patient_id": other, "id": str(uuid4())})).json()
        assert (await api.http.get(f"{SINGLE}/{sent['id']}")).json() == outcome["assessment"]
        same = {"score", "taken_at", "taken_at_offset", "responses", "instrument", "mode", "language", "context"}
        assert {key: outcome["assessment"][key] for key in same} == {key: alone[key] for key in same}


async def test_a_bad_row_harms_no_other(api: Api, other_api: Api, database: Database) -> None:
    """Each refused row has the problem it would have had alone, in its place; the rest is stored."""
    patient, foreign = await api.add_patient(), await other_api.add_patient()
    good = [row(patient, number) for number in range(3)]
    taken = row(patient, 7)
    await api.http.post(SINGLE, json=taken)
    bad: list[Any] = [
        row(patient, responses=[9] * 9),
        row(patient, taken_at="2026-03-01T09:00:00"),
        row(patient, instrument="phq-99"),
        row(foreign),
        row(str(uuid4())),
        {"patient_id": patient},
        "not a form",
        None,
        row(patient, unknown=1),
        taken | {"mode": "proxy"},
        row(patient, taken_at="2999-01-01T00:00:00Z"),
    ]
    rows = [good[0], *bad[:6], good[1], *bad[6:], good[2]]
    outcomes = (await send(api, rows)).json()["outcomes"]
    statuses = [one["status"] for one in outcomes]
    assert statuses == [201, 422, 422, 422, 404, 404, 422, 201, 422, 422, 422, 422, 422, 201]
    assert await stored(database, api) == 4
    alone = await api.http.post(SINGLE, json=bad[0])
    assert outcomes[1]["problem"] == alone.json()
    foreign_problem, absent_problem = (outcomes[place]["problem"] for place in (4, 5))
    assert foreign_problem == absent_problem
    assert outcomes[11]["problem"]["type"] == "/problems/key-reused"
    assert all(("assessment" in one) != ("problem" in one) for one in outcomes)


async def test_twins_within_a_batch_are_stored_once(api: Api, database: Database) -> None:
    """The first is new, its twins repeat it; one with its id and other content is refused."""
    patient = await api.add_patient()
    twin = row(patient)
    outcomes = (await send(api, [twin, twin, twin | {"language": "de"}, row(patient, 1)])).json()["outcomes"]
    assert [(one["status"], one["replayed"]) for one in outcomes] == [
        (201, False),
        (201, True),
        (422, False),
        (201, False),
    ]
    assert outcomes[0]["assessment"] == outcomes[1]["assessment"]
    assert await stored(database, api) == 2


async def test_a_repeated_batch_is_stored_once(api: Api, database: Database) -> None:
    """With ids or with a key; with the key the rows need no ids of their own. Other content under the key: 422."""
    patient = await api.add_patient()
    rows = [row(patient, number) for number in range(4)]
    first, again = await send(api, rows), await send(api, rows)
    assert [one["assessment"] for one in first.json()["outcomes"]] == [
        one["assessment"] for one in again.json()["outcomes"]
    ]
    assert {one["replayed"] for one in again.json()["outcomes"]} == {True}
    nameless = [{key: value for key, value in row(patient, 10 + n).items() if key != "id"} for n in range(3)]
    first = await send(api, nameless, **{"Idempotency-Key": "night-17"})
    again = await send(api, nameless, **{"Idempotency-Key": "night-17"})
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert [one["assessment"]["id"] for one in first.json()["outcomes"]] == [
        one["assessment"]["id"] for one in again.json()["outcomes"]
    ]
    clash = await send(api, nameless[:2], **{"Idempotency-Key": "night-17"})
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    assert await stored(database, api) == 7


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"assessments": [{}] * (MAX_BATCH + 1)}, "/assessments", "too_long"),
        ({"assessments": []}, "/assessments", "too_short"),
        ({"assessments": {}}, "/assessments", "list_type"),
        ({}, "/assessments", "missing"),
        ({"assessments": [{}], "more": 1}, "", "unknown_field"),
    ],
)
async def test_a_batch_that_is_none_is_refused_whole(
    api: Api, database: Database, body: dict[str, Any], pointer: str, code: str
) -> None:
    """501 rows, no rows, no list: nothing is looked at."""
    answer = await api.http.post(BATCH, json=body)
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
    assert await stored(database, api) == 0


async def test_the_largest_batch_fits(api: Api, database: Database) -> None:
    """Five hundred forms of twenty answers, of several patients, in one request of less than 1 MiB; beyond it 413."""
    patients = [await api.add_patient() for _ in range(5)]
    rows = [
        row(patients[number % 5], number % 60, instrument="pcl-5-week", responses=[number % 5] * 20)
        for number in range(MAX_BATCH)
    ]
    answer = await send(api, rows)
    assert {one["status"] for one in answer.json()["outcomes"]} == {201}
    assert await stored(database, api) == MAX_BATCH
    too_large = await api.http.post(BATCH, content=b" " * 1_048_577, headers={"Content-Type": "application/json"})
    assert too_large.status_code == 413


async def test_parallel_batches_with_common_rows_store_each_once(api: Api, database: Database) -> None:
    """Two processes of a phone send the same month in different orders: every row once, all with the same answer."""
    patients = [await api.add_patient() for _ in range(3)]
    rows = [row(patients[number % 3], number) for number in range(60)]
    batches = [rows, rows[::-1], rows[30:] + rows[:30], [*rows[::2], *rows[1::2]]]
    answers = await asyncio.gather(*(send(api, batch) for batch in batches))
    assert {answer.status_code for answer in answers} <= {200, 503}
    seen: dict[str, Any] = {}
    for answer in answers:
        for outcome in answer.json()["outcomes"] if answer.status_code == 200 else ():
            found = outcome["assessment"]
            assert seen.setdefault(found["id"], found["score"]) == found["score"]
    assert await stored(database, api) == len(rows) == len(seen)


async def test_each_stored_row_leaves_one_row_in_the_trail(api: Api, database: Database) -> None:
    """Refused and repeated rows leave none."""
    patient = await api.add_patient()
    twin = row(patient)
    await send(api, [twin, twin, row(patient, 1), row(str(uuid4())), {}])
    async with database.connection(api.clinic_id) as connection:
        count = await connection.fetchval("SELECT count(*) FROM audit_event WHERE action = 'assessment.create'")
    assert count == 2
