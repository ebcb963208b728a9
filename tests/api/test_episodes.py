"""Episodes over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, change."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import httpx2
import pytest

from app.db import Database
from app.schemas.episodes import EndReason, Modality
from app.schemas.limits import MAX_VERSIONS
from app.services.data_keys import get_key
from app.services.sealing import place, seal_text
from tests.api.treatment import (
    DOSE,
    EPISODE,
    PLANNED,
    add,
    add_episode,
    add_session,
    assert_change_replayed,
    assert_closed_to,
    assert_created_once,
    assert_foreign_is_absent,
    assert_refused,
    assert_versions_kept,
    events,
    patch,
)
from tests.conftest import Api

pytestmark = pytest.mark.anyio

CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/patients/ID/episodes", EPISODE),
    ("GET", "/v1/patients/ID/episodes", None),
]
CALLS_OF_ONE: list[tuple[str, str, Any]] = [
    ("GET", "/v1/episodes/ID", None),
    ("PATCH", "/v1/episodes/ID", {"label": "x", "reason": "y"}),
    ("GET", "/v1/episodes/ID/history", None),
]


async def test_strangers_and_researchers_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that reaches no single row."""
    calls = [(method, path.replace("ID", str(uuid4())), body) for method, path, body in CALLS + CALLS_OF_ONE]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)


async def test_clinician_administrator_and_program_may_write(api: Api, admin: Api, service: Api) -> None:
    """Three roles, one record."""
    patient = await api.add_patient()
    for one in (api, admin, service):
        await add_episode(one, patient)
    assert len((await api.http.get(f"/v1/patients/{patient}/episodes")).json()["data"]) == 3


async def test_another_clinics_are_absent(api: Api, other_api: Api) -> None:
    """The patient and the episode, byte for byte."""
    patient = await other_api.add_patient()
    episode = await add_episode(other_api, patient)
    await assert_foreign_is_absent(api, patient, CALLS)
    await assert_foreign_is_absent(api, episode["id"], CALLS_OF_ONE)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"modality": "hypnosis"}, "/modality", "literal_error"),
        ({"modality": None}, "/modality", "literal_error"),
        ({"opened_at": None}, "/opened_at", "not_a_time"),
        ({"opened_at": "2026-01-05T09:00:00"}, "/opened_at", "not_a_time"),
        ({"opened_at": "1970-01-01T00:00:00Z"}, "/opened_at", "too_long_ago"),
        ({"opened_at": "2999-01-01T00:00:00Z"}, "/opened_at", "in_the_future"),
        ({"closed_at": "2999-01-01T00:00:00Z"}, "/closed_at", "in_the_future"),
        ({"closed_at": "2026-01-05T15:59:59Z"}, "/closed_at", "before_opening"),
        ({"end_reason": "completed"}, "/end_reason", "not_closed"),
        ({"end_reason": "bored", "closed_at": "2026-02-05T09:00:00Z"}, "/end_reason", "literal_error"),
        ({"label": " "}, "/label", "string_too_short"),
        ({"label": "x" * 201}, "/label", "string_too_long"),
        ({"entered_in_error": True}, "", "unknown_field"),
        ({"version": 2}, "", "unknown_field"),
        ({"patient_id": str(uuid4())}, "", "unknown_field"),
    ],
)
async def test_invalid_content_is_refused(
    api: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule, and nothing is stored."""
    patient = await api.add_patient()
    assert_refused(await api.http.post(f"/v1/patients/{patient}/episodes", json=EPISODE | change), pointer, code)
    assert (await api.http.get(f"/v1/patients/{patient}/episodes")).json()["data"] == []
    assert await events(database, api) == []


async def test_an_episode_is_stored_with_its_offsets(api: Api) -> None:
    """UTC with the sender's offset beside it; what was not said is null."""
    patient = await api.add_patient()
    path = f"/v1/patients/{patient}/episodes"
    closed = {"closed_at": "2026-03-01T09:00:00+05:45", "end_reason": "completed", "label": " A "}
    made = await add(api, path, EPISODE | closed)
    assert (made["version"], made["reason"], made["patient_id"]) == (1, None, patient)
    assert (made["opened_at"], made["opened_at_offset"]) == ("2026-01-05T16:00:00Z", "-07:00")
    assert (made["closed_at"], made["closed_at_offset"]) == ("2026-03-01T03:15:00Z", "+05:45")
    assert (made["label"], made["end_reason"], made["entered_in_error"]) == ("A", "completed", False)
    opened = await add(api, path, EPISODE)
    assert (opened["closed_at"], opened["closed_at_offset"], opened["end_reason"]) == (None, None, None)


async def test_every_modality_and_end_can_be_stored_and_episodes_overlap(api: Api) -> None:
    """Seven modalities beside each other in one patient, four ends, one of them at the moment of opening."""
    patient = await api.add_patient()
    for modality in get_args(Modality):
        await add_episode(api, patient, modality=modality)
    for end_reason in get_args(EndReason):
        await add_episode(api, patient, closed_at=EPISODE["opened_at"], end_reason=end_reason)
    assert len((await api.http.get(f"/v1/patients/{patient}/episodes")).json()["data"]) == 11


async def test_list_is_paged_latest_opened_first(api: Api) -> None:
    """Newest versions alone, each episode once, a moved one at its new place."""
    patient = await api.add_patient()
    made = [await add_episode(api, patient, opened_at=f"2026-01-0{day}T09:00:00Z") for day in range(1, 6)]
    await patch(api, f"/v1/episodes/{made[0]['id']}", {"opened_at": "2026-01-09T09:00:00Z", "reason": "typo"})
    seen: list[str] = []
    url = f"/v1/patients/{patient}/episodes?limit=2"
    while url:
        answer = await api.http.get(url)
        seen += [row["id"] for row in answer.json()["data"]]
        url = answer.links["next"]["url"] if "next" in answer.links else ""
    assert seen == [made[index]["id"] for index in (0, 4, 3, 2, 1)]


async def test_a_repeat_is_stored_once(api: Api) -> None:
    """Whatever arrives at once, and later."""
    patient = await api.add_patient()
    await assert_created_once(api, f"/v1/patients/{patient}/episodes", EPISODE, {"label": "else"})


async def test_a_key_is_for_one_patient(api: Api) -> None:
    """The same content for another patient is other content."""
    key = {"Idempotency-Key": "mine"}
    answers = [
        await api.http.post(f"/v1/patients/{await api.add_patient()}/episodes", json=EPISODE, headers=key)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 422]


async def test_a_change_is_the_next_version(api: Api) -> None:
    """428, 412, one winner, the whole history."""
    path = f"/v1/episodes/{(await add_episode(api, label='A'))['id']}"
    await assert_versions_kept(api, path, {"closed_at": "2026-06-01T09:00:00-07:00", "end_reason": "dropped_out"})


async def test_a_change_can_be_repeated(api: Api) -> None:
    """Under its key it is made once."""
    path = f"/v1/episodes/{(await add_episode(api))['id']}"
    await assert_change_replayed(api, path, {"label": "B"}, {"label": "C"})


async def test_what_is_not_sent_stays_and_null_empties(api: Api) -> None:
    """Offsets stay with their times; reopening empties the end."""
    made = await add_episode(api, label="A", closed_at="2026-06-01T09:00:00-07:00", end_reason="other")
    path = f"/v1/episodes/{made['id']}"
    renamed = (await patch(api, path, {"label": "B", "reason": "typo"})).json()
    same = {"label", "version", "reason", "recorded_at"}
    assert {k: v for k, v in renamed.items() if k not in same} == {k: v for k, v in made.items() if k not in same}
    reopened = (await patch(api, path, {"closed_at": None, "end_reason": None, "reason": "goes on"}, 2)).json()
    assert (reopened["closed_at"], reopened["closed_at_offset"], reopened["end_reason"]) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"reason": "y"}, "", "nothing_to_change"),
        ({"label": "x"}, "/reason", "missing"),
        ({"label": "x", "reason": " "}, "/reason", "string_too_short"),
        ({"opened_at": None, "reason": "y"}, "/opened_at", "not_a_time"),
        ({"modality": None, "reason": "y"}, "/modality", "literal_error"),
        ({"entered_in_error": None, "reason": "y"}, "/entered_in_error", "bool_type"),
        ({"closed_at": "2026-01-01T00:00:00Z", "reason": "y"}, "/closed_at", "before_opening"),
        ({"closed_at": "2999-01-01T00:00:00Z", "reason": "y"}, "/closed_at", "in_the_future"),
        ({"end_reason": "other", "reason": "y"}, "/end_reason", "not_closed"),
        ({"version": 7, "reason": "y"}, "", "unknown_field"),
    ],
)
async def test_invalid_changes_are_refused(api: Api, change: dict[str, Any], pointer: str, code: str) -> None:
    """A change is held to the rules of new content."""
    path = f"/v1/episodes/{(await add_episode(api))['id']}"
    assert_refused(await patch(api, path, change), pointer, code)
    assert (await api.http.get(path)).headers["etag"] == '"1"'


async def test_an_episode_covers_its_sessions(api: Api) -> None:
    """Neither end may pass a session that is planned or done; a cancelled one is no obstacle."""
    episode = await add_episode(api)
    path = f"/v1/episodes/{episode['id']}"
    done = await add_session(api, episode["id"])
    early, late = "2026-02-03T10:10:01-07:00", "2026-02-03T11:59:59-07:00"
    assert_refused(await patch(api, path, {"opened_at": early, "reason": "y"}), "/opened_at", "sessions_outside")
    assert_refused(await patch(api, path, {"closed_at": late, "reason": "y"}), "/closed_at", "sessions_outside")
    assert_refused(
        await patch(api, path, {"entered_in_error": True, "reason": "y"}), "/entered_in_error", "has_sessions"
    )
    exact = {"opened_at": "2026-02-03T10:10:00-07:00", "closed_at": "2026-02-03T12:00:00-07:00", "reason": "y"}
    assert (await patch(api, path, exact)).status_code == 200
    cancel = {"status": "cancelled", "started_at": None, "ended_at": None, "reason": "was not held"}
    assert (await patch(api, f"/v1/treatment-sessions/{done['id']}", cancel)).status_code == 200
    assert (await patch(api, path, {"closed_at": late, "reason": "y"}, 2)).status_code == 200
    assert (await patch(api, path, {"entered_in_error": True, "reason": "y"}, 3)).json()["entered_in_error"] is True


async def test_a_session_cannot_slip_in_while_its_episode_closes(api: Api) -> None:
    """Whichever comes first, no session ends up outside."""
    for _ in range(6):
        episode = await add_episode(api)
        path = f"/v1/episodes/{episode['id']}"
        closing = patch(api, path, {"closed_at": "2026-02-01T00:00:00Z", "reason": "ends"})
        adding = api.http.post(f"{path}/treatment-sessions", json=DOSE)
        closed, added = await asyncio.gather(closing, adding)
        assert sorted((closed.status_code == 200, added.status_code == 201)) == [False, True]


async def test_nothing_is_added_to_an_episode_entered_in_error(api: Api) -> None:
    """The mark is for what should never have been there."""
    episode = await add_episode(api)
    path = f"/v1/episodes/{episode['id']}"
    await patch(api, path, {"entered_in_error": True, "reason": "wrong patient"})
    assert_refused(await api.http.post(f"{path}/treatment-sessions", json=PLANNED), "", "episode_in_error")


async def test_versions_are_not_without_end(api: Api, database: Database) -> None:
    """A program in a loop is stopped."""
    episode = await add_episode(api)
    id_, patient_id = UUID(episode["id"]), UUID(episode["patient_id"])
    async with database.connection(api.clinic_id) as connection:
        key = await get_key(connection, database.keys, api.clinic_id, patient_id)
        homes = [place("episode", "reason", api.clinic_id, id_, n) for n in range(2, MAX_VERSIONS + 1)]
        reasons = [seal_text(key, "loop", home) for home in homes]
        await connection.execute(
            """INSERT INTO episode SELECT clinic_id, id, n, recorded_at, recorded_by, looped.reason, patient_id,
            modality, NULL, opened_at, opened_at_offset_minutes, closed_at, closed_at_offset_minutes, end_reason,
            entered_in_error FROM episode, unnest($1::bytea[]) WITH ORDINALITY looped (reason, number),
            LATERAL (SELECT number + 1 AS n) following WHERE version = 1""",
            reasons,
        )
    path = f"/v1/episodes/{episode['id']}"
    assert (await patch(api, path, {"label": "x", "reason": "y"}, MAX_VERSIONS)).status_code == 409
    assert len((await api.http.get(f"{path}/history")).json()["data"]) == MAX_VERSIONS


async def test_a_little_clock_skew_is_tolerated(api: Api) -> None:
    """Four minutes ahead of our clock is a device, not an error."""
    soon = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    await add_episode(api, opened_at=soon)


async def test_each_write_leaves_one_row_in_the_trail(api: Api, database: Database) -> None:
    """Who did what to whose episode; a refusal and a replay leave none."""
    patient = await api.add_patient()
    body = EPISODE | {"label": "A"}
    path = f"/v1/patients/{patient}/episodes"
    made, _ = [(await api.http.post(path, json=body, headers={"Idempotency-Key": "k"})).json() for _ in range(2)]
    for _ in range(2):
        await patch(api, f"/v1/episodes/{made['id']}", {"label": "B", "reason": "typo"})
    assert await events(database, api) == [
        ("episode.create", patient, made["id"]),
        ("episode.amend", patient, made["id"]),
    ]
