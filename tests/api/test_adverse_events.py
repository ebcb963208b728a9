"""Adverse events over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, change."""

from typing import Any, get_args
from uuid import uuid4

import httpx2
import pytest

from app.db import Database
from app.schemas.adverse_events import Severity, Term
from tests.api.treatment import (
    add,
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

EVENT: dict[str, Any] = {
    "term": "nausea",
    "severity": "mild",
    "serious": False,
    "onset_at": "2026-02-03T10:40:00-07:00",
}
CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/treatment-sessions/ID/adverse-events", EVENT),
    ("GET", "/v1/treatment-sessions/ID/adverse-events", None),
]
CALLS_OF_ONE: list[tuple[str, str, Any]] = [
    ("GET", "/v1/adverse-events/ID", None),
    ("PATCH", "/v1/adverse-events/ID", {"severity": "severe", "reason": "y"}),
    ("GET", "/v1/adverse-events/ID/history", None),
]


async def path_of_session(api: Api) -> str:
    return f"/v1/treatment-sessions/{(await add_session(api))['id']}/adverse-events"


async def test_strangers_and_researchers_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that reaches no single row."""
    calls = [(method, path.replace("ID", str(uuid4())), body) for method, path, body in CALLS + CALLS_OF_ONE]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)


async def test_clinician_administrator_and_program_may_write(api: Api, admin: Api, service: Api) -> None:
    """Three roles, one record."""
    path = await path_of_session(api)
    for one in (api, admin, service):
        await add(one, path, EVENT)


async def test_another_clinics_are_absent(api: Api, other_api: Api) -> None:
    """The session and the event, byte for byte."""
    event = await add(other_api, await path_of_session(other_api), EVENT)
    await assert_foreign_is_absent(api, event["treatment_session_id"], CALLS)
    await assert_foreign_is_absent(api, event["id"], CALLS_OF_ONE)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"term": "boredom"}, "/term", "literal_error"),
        ({"term": "other"}, "/note", "missing_for_other"),
        ({"note": "x" * 501}, "/note", "string_too_long"),
        ({"note": " "}, "/note", "string_too_short"),
        ({"severity": "fatal"}, "/severity", "literal_error"),
        ({"serious": "no"}, "/serious", "bool_type"),
        ({"serious": None}, "/serious", "bool_type"),
        ({"onset_at": "2999-01-01T00:00:00Z"}, "/onset_at", "in_the_future"),
        ({"onset_at": "10:40"}, "/onset_at", "not_a_time"),
        ({"resolved_at": "2999-01-01T00:00:00Z"}, "/resolved_at", "in_the_future"),
        ({"resolved_at": "2026-02-03T10:39:59-07:00"}, "/resolved_at", "before_onset"),
        ({"cause": "ketamine"}, "", "unknown_field"),
    ],
)
async def test_invalid_content_is_refused(
    api: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule, and nothing is stored."""
    path = await path_of_session(api)
    assert_refused(await api.http.post(path, json=EVENT | change), pointer, code)
    assert (await api.http.get(path)).json()["data"] == []
    assert "adverse_event.create" not in [action for action, _, _ in await events(database, api)]


async def test_every_term_and_severity_can_be_stored(api: Api) -> None:
    """With a note as long as it may be, lasting or over at once, serious or not."""
    path = await path_of_session(api)
    for term in get_args(Term):
        made = await add(api, path, EVENT | {"term": term, "note": "n" * 500})
        assert (made["term"], made["note"], made["resolved_at"]) == (term, "n" * 500, None)
    for severity in get_args(Severity):
        over = EVENT | {"severity": severity, "serious": True, "resolved_at": EVENT["onset_at"]}
        made = await add(api, path, over)
        assert (made["severity"], made["serious"], made["note"]) == (severity, True, None)
        assert (made["onset_at"], made["onset_at_offset"]) == ("2026-02-03T17:40:00Z", "-07:00")
        assert (made["resolved_at"], made["resolved_at_offset"]) == ("2026-02-03T17:40:00Z", "-07:00")


async def test_list_is_paged_latest_onset_first(api: Api) -> None:
    """Each once."""
    path = await path_of_session(api)
    made = [await add(api, path, EVENT | {"onset_at": f"2026-02-03T1{hour}:00:00Z"}) for hour in range(4)]
    first = await api.http.get(f"{path}?limit=3")
    second = await api.http.get(first.links["next"]["url"])
    assert [row["id"] for page in (first, second) for row in page.json()["data"]] == [row["id"] for row in made[::-1]]


async def test_a_repeat_is_stored_once(api: Api) -> None:
    """Whatever arrives at once, and later."""
    await assert_created_once(api, await path_of_session(api), EVENT, {"severity": "severe"})


async def test_a_change_is_the_next_version(api: Api) -> None:
    """428, 412, one winner, the whole history."""
    event = await add(api, await path_of_session(api), EVENT)
    await assert_versions_kept(api, f"/v1/adverse-events/{event['id']}", {"resolved_at": "2026-02-03T20:00:00Z"})


async def test_a_change_can_be_repeated(api: Api) -> None:
    """Under its key it is made once."""
    event = await add(api, await path_of_session(api), EVENT)
    await assert_change_replayed(api, f"/v1/adverse-events/{event['id']}", {"serious": True}, {"severity": "severe"})


async def test_changes_are_held_to_the_same_rules(api: Api) -> None:
    """Together with what stays; a mistake is marked, not removed."""
    event = await add(api, await path_of_session(api), EVENT)
    path = f"/v1/adverse-events/{event['id']}"
    for change, pointer, code in (
        ({"resolved_at": "2026-02-03T17:39:59Z"}, "/resolved_at", "before_onset"),
        ({"term": "other"}, "/note", "missing_for_other"),
        ({"severity": None}, "/severity", "literal_error"),
        ({}, "", "nothing_to_change"),
    ):
        assert_refused(await patch(api, path, change | {"reason": "y"}), pointer, code)
    marked = await patch(api, path, {"entered_in_error": True, "reason": "wrong patient"})
    assert marked.json()["entered_in_error"] is True


async def test_each_write_leaves_one_row_in_the_trail(api: Api, database: Database) -> None:
    """Who did what to whose event."""
    event = await add(api, await path_of_session(api), EVENT)
    for _ in range(2):
        await patch(api, f"/v1/adverse-events/{event['id']}", {"severity": "moderate", "reason": "misheard"})
    assert (await events(database, api))[2:] == [
        ("adverse_event.create", event["patient_id"], event["id"]),
        ("adverse_event.amend", event["patient_id"], event["id"]),
    ]
