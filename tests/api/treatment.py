"""What the tests of the treatment record share: sound content, and the promises every versioned thing keeps."""

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import httpx2

from app.db import Database
from tests.conftest import Api

EPISODE: dict[str, Any] = {"modality": "ketamine_assisted_psychotherapy", "opened_at": "2026-01-05T09:00:00-07:00"}
DOSE: dict[str, Any] = {
    "kind": "dosing",
    "status": "done",
    "scheduled_at": "2026-02-03T10:00:00-07:00",
    "started_at": "2026-02-03T10:10:00-07:00",
    "ended_at": "2026-02-03T12:00:00-07:00",
    "medicine": "ketamine_racemic",
    "route": "intravenous",
    "dose_mg": 35,
    "weight_kg": 70,
}
PLANNED: dict[str, Any] = {"kind": "preparation", "scheduled_at": "2026-02-01T10:00:00-07:00"}


async def add(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What was stored, which reads back under its Location as it was answered."""
    answer = await api.http.post(path, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["etag"] == '"1"'
    read = await api.http.get(answer.headers["location"])
    assert (read.status_code, read.content, read.headers["etag"]) == (200, answer.content, '"1"')
    made: dict[str, Any] = answer.json()
    return made


async def add_episode(api: Api, patient_id: str | None = None, **changes: Any) -> dict[str, Any]:
    patient_id = patient_id or await api.add_patient()
    return await _post(api, f"/v1/patients/{patient_id}/episodes", EPISODE | changes)


async def add_session(api: Api, episode_id: str | None = None, **changes: Any) -> dict[str, Any]:
    episode_id = episode_id or (await add_episode(api))["id"]
    return await _post(api, f"/v1/episodes/{episode_id}/treatment-sessions", DOSE | changes)


async def _post(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.http.post(path, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def patch(api: Api, path: str, body: dict[str, Any], version: int = 1, key: str | None = None) -> httpx2.Response:
    headers = {"If-Match": f'"{version}"'} | ({} if key is None else {"Idempotency-Key": key})
    return await api.http.patch(path, json=body, headers=headers)


async def events(database: Database, api: Api) -> list[tuple[str, str | None, str]]:
    """What was written in the clinic, but for its patients' own rows: action, patient, thing."""
    return [event for event in await writes(database, api) if event[0] != "patient.create"]


async def writes(database: Database, api: Api) -> list[tuple[str, str | None, str]]:
    """The trail of the clinic without reads, which say how many rows they showed, and refusals."""
    statement = "SELECT action, subject_id::text, resource_id::text FROM audit_event WHERE rows IS NULL"
    async with database.connection(api.clinic_id) as connection:
        rows = await connection.fetch(f"{statement} AND outcome = 'done' ORDER BY at")
    return [tuple(row) for row in rows]


async def assert_closed_to(api: Api | httpx2.AsyncClient, status: int, calls: Iterable[tuple[str, str, Any]]) -> None:
    """Each call is answered with this status, whatever it names."""
    http = api.http if isinstance(api, Api) else api
    for method, path, body in calls:
        answer = await http.request(method, path, headers={"If-Match": '"1"'}, json=body)
        assert answer.status_code == status, (method, path, answer.text)


async def assert_foreign_is_absent(api: Api, foreign: str, calls: Iterable[tuple[str, str, Any]]) -> None:
    """`ID` in a path or a body stands for the id. A foreign one answers byte for byte as one that never was."""
    for method, path, body in calls:
        answers = []
        for id_ in (foreign, str(uuid4())):
            named = body and {key: id_ if value == "ID" else value for key, value in body.items()}
            url = path.replace("ID", id_)
            answers.append(await api.http.request(method, url, headers={"If-Match": '"1"'}, json=named))
        assert [answer.status_code for answer in answers] == [404, 404], (method, path, answers[0].text)
        assert answers[0].content == answers[1].content


def assert_refused(answer: httpx2.Response, pointer: str, code: str) -> None:
    assert answer.status_code == 422, answer.text
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in answer.json()["errors"]], answer.text


async def assert_created_once(api: Api, path: str, body: dict[str, Any], other: dict[str, Any]) -> None:
    """Twelve twins with one key, a late one, and one with other content: one is stored."""
    key = {"Idempotency-Key": f"once-{uuid4()}"}
    twins = await asyncio.gather(*(api.http.post(path, json=body, headers=key) for _ in range(12)))
    assert {answer.status_code for answer in twins} <= {201, 503}, "a crowded pool may ask to come back"
    assert len({answer.content for answer in twins if answer.status_code == 201}) == 1
    late = await api.http.post(path, json=body, headers=key)
    assert (late.status_code, late.headers["idempotency-replayed"]) == (201, "true")
    clash = await api.http.post(path, json=body | other, headers=key)
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    assert [row["id"] for row in (await api.http.get(path)).json()["data"]] == [late.json()["id"]]


async def assert_versions_kept(api: Api, path: str, change: dict[str, Any], *, post: str = "") -> None:
    """The promises of every change: 428, 412, the next version, its replay, one winner, the whole history."""
    first = await api.http.get(path)
    method, body = ("POST" if post else "PATCH"), change | {"reason": "a slip"}

    async def send(tag: str | None, **headers: str) -> httpx2.Response:
        sent = headers | ({} if tag is None else {"If-Match": tag})
        return await api.http.request(method, path + post, json=body, headers=sent)

    for tag in (None, "*"):
        missing = await send(tag)
        assert (missing.status_code, missing.json()["type"]) == (428, "/problems/precondition-required")
    for tag in ('"2"', 'W/"1"', "1", '"0"', '"1", "2"', '"99999999999"', ""):
        stale = await send(tag)
        assert (stale.status_code, stale.json()["type"]) == (412, "/problems/stale"), tag
    assert (await api.http.get(path)).content == first.content

    twins = await asyncio.gather(*(send('"1"') for _ in range(6)))
    assert sorted({answer.status_code for answer in twins} - {503}) == [200, 412]
    (winner,) = [answer for answer in twins if answer.status_code == 200]
    assert winner.headers["etag"] == '"2"'
    assert (winner.json()["version"], winner.json()["reason"]) == (2, "a slip")
    assert (await api.http.get(path)).content == winner.content
    history = (await api.http.get(f"{path}/history")).json()
    assert history == {"data": [winner.json(), first.json()], "next_cursor": None}
    assert (await send('"1"')).status_code == 412


async def assert_change_replayed(api: Api, path: str, change: dict[str, Any], later: dict[str, Any]) -> None:
    """The same change under the same key is made once, and answered alike even after it was changed again."""
    body, key = change | {"reason": "a slip"}, f"change-{uuid4()}"
    made = await patch(api, path, body, key=key)
    assert made.status_code == 200, made.text
    assert (await patch(api, path, later | {"reason": "again"}, 2)).status_code == 200
    again = await patch(api, path, body, key=key)
    assert (again.status_code, again.content, again.headers["etag"]) == (200, made.content, '"2"')
    assert again.headers["idempotency-replayed"] == "true"
    clash = await patch(api, path, body | later, key=key)
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    assert len((await api.http.get(f"{path}/history")).json()["data"]) == 3
