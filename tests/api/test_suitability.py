"""Checklists and screens over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, change, standing."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db import Database
from app.services.suitability import ScreenInForce, standing_at
from tests.api.treatment import (
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

CHECKLISTS = "/v1/suitability-checklists"
CHECKLIST: dict[str, Any] = {
    "title": "Before each dose",
    "valid_days": 30,
    "questions": [
        {"code": "pregnant", "text": "Pregnant?", "answer": "yes_no"},
        {"code": "systolic", "text": "Systolic pressure (mmHg)", "answer": "number"},
        {"code": "alcohol", "text": "Alcohol?", "answer": "choice", "choices": ["none", "some"], "look_back_days": 90},
    ],
}
ANSWERS: dict[str, Any] = {"pregnant": False, "systolic": 128, "alcohol": "some"}
SCREEN: dict[str, Any] = {
    "answers": ANSWERS,
    "answered_at": "2026-02-01T16:00:00-07:00",
    "outcome": "suitable",
    "decided_by": "Dr. Example",
}
READS: list[tuple[str, str, Any]] = [
    ("GET", f"{CHECKLISTS}/ID", None),
    ("GET", f"{CHECKLISTS}/ID/history", None),
]
CHANGE: tuple[str, str, Any] = ("PATCH", f"{CHECKLISTS}/ID", {"title": "x", "reason": "y"})
SCREENS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/episodes/ID/suitability-screens", SCREEN | {"checklist_id": str(uuid4())}),
    ("GET", "/v1/episodes/ID/suitability-screens", None),
]


def question(**changes: Any) -> dict[str, Any]:
    return {"questions": [{"code": "a", "text": "A?", "answer": "yes_no"} | changes]}


async def add_checklist(admin: Api, **changes: Any) -> str:
    return str((await add(admin, CHECKLISTS, CHECKLIST | changes))["id"])


async def add_screen(api: Api, episode_id: str, checklist_id: str, **changes: Any) -> dict[str, Any]:
    path = f"/v1/episodes/{episode_id}/suitability-screens"
    return await add(api, path, SCREEN | {"checklist_id": checklist_id} | changes)


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_strangers_and_researchers_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that reaches no single row."""
    paths = [("POST", CHECKLISTS, CHECKLIST), ("GET", CHECKLISTS, None), *READS, CHANGE, *SCREENS]
    paths.append(("GET", "/v1/suitability-screens/ID", None))
    calls = [(method, path.replace("ID", str(uuid4())), body) for method, path, body in paths]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)


async def test_the_administrator_alone_writes_checklists(api: Api, admin: Api, service: Api) -> None:
    """Clinicians and programs read them, and record screens by them."""
    checklist, episode = await add_checklist(admin), (await add_episode(api))["id"]
    for one in (api, service):
        await assert_closed_to(one, 403, [("POST", CHECKLISTS, CHECKLIST), (CHANGE[0], CHANGE[1], CHANGE[2])])
        assert (await one.http.get(f"{CHECKLISTS}/{checklist}")).status_code == 200
    for one in (api, admin, service):
        await add_screen(one, episode, checklist)


async def test_another_clinics_are_absent(api: Api, admin: Api, other_api: Api, other_admin: Api) -> None:
    """Checklist, episode and screen, in paths and in a body, byte for byte."""
    checklist, episode = await add_checklist(other_admin), (await add_episode(other_api))["id"]
    screen = (await add_screen(other_api, episode, checklist))["id"]
    await assert_foreign_is_absent(admin, checklist, [*READS, CHANGE])
    await assert_foreign_is_absent(api, episode, SCREENS)
    await assert_foreign_is_absent(api, screen, [("GET", "/v1/suitability-screens/ID", None)])
    own = f"/v1/episodes/{(await add_episode(api))['id']}/suitability-screens"
    await assert_foreign_is_absent(api, checklist, [("POST", own, SCREEN | {"checklist_id": "ID"})])
    assert (await api.http.get(own)).json()["data"] == []
    assert (await api.http.get(CHECKLISTS)).json()["data"] == []


# --- Checklists -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"title": ""}, "/title", "string_too_short"),
        ({"title": "x" * 201}, "/title", "string_too_long"),
        ({"valid_days": 0}, "/valid_days", "greater_than_equal"),
        ({"valid_days": 367}, "/valid_days", "less_than_equal"),
        ({"valid_days": 30.0}, "/valid_days", "int_type"),
        ({"questions": []}, "/questions", "too_short"),
        ({"questions": [question()["questions"][0] | {"code": f"q{n}"} for n in range(101)]}, "/questions", "too_long"),
        ({"questions": question()["questions"] * 2}, "/questions", "repeated"),
        (question(code="A b"), "/questions/0/code", "string_pattern_mismatch"),
        (question(code="a" * 61), "/questions/0/code", "string_pattern_mismatch"),
        (question(text=""), "/questions/0/text", "string_too_short"),
        (question(text="x" * 501), "/questions/0/text", "string_too_long"),
        (question(answer="essay"), "/questions/0/answer", "literal_error"),
        (question(answer="choice"), "/questions/0", "choices_misplaced"),
        (question(choices=["a", "b"]), "/questions/0", "choices_misplaced"),
        (question(answer="choice", choices=["a"]), "/questions/0/choices", "too_short"),
        (question(answer="choice", choices=["a"] * 2), "/questions/0", "repeated"),
        (question(answer="choice", choices=[f"c{n}" for n in range(21)]), "/questions/0/choices", "too_long"),
        (question(look_back_days=0), "/questions/0/look_back_days", "greater_than_equal"),
        (question(look_back_days=36_501), "/questions/0/look_back_days", "less_than_equal"),
        (question(weight=3), "/questions/0", "unknown_field"),
        ({"rule": "x"}, "", "unknown_field"),
    ],
)
async def test_invalid_checklist_is_refused(admin: Api, change: dict[str, Any], pointer: str, code: str) -> None:
    """New or changed, by place and rule, and nothing is stored."""
    assert_refused(await admin.http.post(CHECKLISTS, json=CHECKLIST | change), pointer, code)
    assert (await admin.http.get(CHECKLISTS)).json()["data"] == []
    path = f"{CHECKLISTS}/{await add_checklist(admin)}"
    assert_refused(await patch(admin, path, change | {"reason": "y"}), pointer, code)


async def test_a_checklist_is_stored_whole(admin: Api) -> None:
    """Every field of a question is answered; it belongs to no patient."""
    made = await add(admin, CHECKLISTS, CHECKLIST)
    assert made["questions"][0] == CHECKLIST["questions"][0] | {"choices": None, "look_back_days": None}
    assert made["questions"][2] == CHECKLIST["questions"][2]
    assert (made["title"], made["valid_days"], made["version"]) == ("Before each dose", 30, 1)


async def test_the_example_is_a_sound_checklist_and_says_what_it_is(admin: Api, repository: Path) -> None:
    """It can be posted as it stands."""
    example = json.loads((repository / "docs" / "examples" / "suitability-checklist.json").read_text())
    assert "not a recommendation" in example["title"]
    made = await add(admin, CHECKLISTS, example)
    assert len(made["questions"]) == len(example["questions"]) > 15


async def test_checklists_are_kept_like_all_else(admin: Api) -> None:
    """Stored once under a key, paged, changed by versions."""
    await assert_created_once(admin, CHECKLISTS, CHECKLIST, {"valid_days": 31})
    first = await add_checklist(admin, title="second")
    await assert_versions_kept(admin, f"{CHECKLISTS}/{first}", {"valid_days": 14})
    await assert_change_replayed(admin, f"{CHECKLISTS}/{await add_checklist(admin)}", question(), {"title": "new"})
    await patch(admin, f"{CHECKLISTS}/{first}", {"title": "third", "reason": "renamed"}, 2)
    page = await admin.http.get(f"{CHECKLISTS}?limit=2")
    rest = await admin.http.get(page.links["next"]["url"])
    assert [row["title"] for answer in (page, rest) for row in answer.json()["data"]] == [
        "third",
        "new",
        "Before each dose",
    ]


# --- Screens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"answers": ANSWERS | {"secret_9": True}}, "/answers", "unknown_question"),
        ({"answers": {"pregnant": True, "systolic": 128}}, "/answers/alcohol", "missing"),
        ({"answers": ANSWERS | {"pregnant": "no"}}, "/answers/pregnant", "not_yes_no"),
        ({"answers": ANSWERS | {"pregnant": 0}}, "/answers/pregnant", "not_yes_no"),
        ({"answers": ANSWERS | {"systolic": "128"}}, "/answers/systolic", "not_number"),
        ({"answers": ANSWERS | {"systolic": True}}, "/answers/systolic", "not_number"),
        ({"answers": ANSWERS | {"systolic": 10**10}}, "/answers/systolic", "not_number"),
        ({"answers": ANSWERS | {"alcohol": "daily"}}, "/answers/alcohol", "not_choice"),
        ({"answers": ANSWERS | {"alcohol": ["some"]}}, "/answers/alcohol", "not_choice"),
        ({"answers": {f"q{n}": None for n in range(101)}}, "/answers", "too_long"),
        ({"answers": []}, "/answers", "dict_type"),
        ({"answered_at": "2999-01-01T00:00:00Z"}, "/answered_at", "in_the_future"),
        ({"answered_at": "yesterday"}, "/answered_at", "not_a_time"),
        ({"outcome": "fine"}, "/outcome", "literal_error"),
        ({"outcome": None}, "/outcome", "literal_error"),
        ({"decided_by": " "}, "/decided_by", "string_too_short"),
        ({"decided_by": "x" * 201}, "/decided_by", "string_too_long"),
        ({"checklist_version": 1}, "", "unknown_field"),
    ],
)
async def test_invalid_screen_is_refused(
    api: Api, admin: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule; what the sender made up does not come back; nothing is stored."""
    path = f"/v1/episodes/{(await add_episode(api))['id']}/suitability-screens"
    answer = await api.http.post(path, json=SCREEN | {"checklist_id": await add_checklist(admin)} | change)
    assert_refused(answer, pointer, code)
    assert "secret_9" not in answer.text
    assert (await api.http.get(path)).json()["data"] == []
    assert "suitability_screen.create" not in [action for action, _, _ in await events(database, api)]


async def test_a_screen_records_what_was_decided(api: Api, admin: Api) -> None:
    """The outcome is the clinician's, whatever the answers are; the version of the checklist is stamped."""
    checklist, episode = await add_checklist(admin), await add_episode(api)
    for outcome in ("suitable", "consult", "not_suitable"):
        screen = await add_screen(api, episode["id"], checklist, outcome=outcome, answers=ANSWERS | {"pregnant": True})
        assert (screen["outcome"], screen["checklist_version"]) == (outcome, 1)
        assert (screen["patient_id"], screen["episode_id"]) == (episode["patient_id"], episode["id"])
        assert (screen["answered_at"], screen["answered_at_offset"]) == ("2026-02-01T23:00:00Z", "-07:00")
        assert screen["answers"] == ANSWERS | {"pregnant": True}
    unanswered = await add_screen(api, episode["id"], checklist, answers=dict.fromkeys(ANSWERS))
    assert unanswered["answers"] == dict.fromkeys(ANSWERS)
    await patch(admin, f"{CHECKLISTS}/{checklist}", question() | {"reason": "shorter"})
    by_new = await add_screen(api, episode["id"], checklist, answers={"a": True})
    assert by_new["checklist_version"] == 2


async def test_screens_are_paged_latest_answered_first_and_stored_once(api: Api, admin: Api) -> None:
    """Each once, under a key too."""
    checklist, episode = await add_checklist(admin), (await add_episode(api))["id"]
    path = f"/v1/episodes/{episode}/suitability-screens"
    made = [await add_screen(api, episode, checklist, answered_at=f"2026-02-0{day}T09:00:00Z") for day in range(1, 5)]
    first = await api.http.get(f"{path}?limit=3")
    second = await api.http.get(first.links["next"]["url"])
    assert [row["id"] for page in (first, second) for row in page.json()["data"]] == [row["id"] for row in made[::-1]]
    other = f"/v1/episodes/{(await add_episode(api))['id']}/suitability-screens"
    await assert_created_once(api, other, SCREEN | {"checklist_id": checklist}, {"outcome": "consult"})


async def test_a_session_says_what_the_last_screen_before_it_said(api: Api, admin: Api) -> None:
    """None, current, stale after its days, consult, not suitable; screens of later days and other episodes are none."""
    checklist = await add_checklist(admin, valid_days=2)
    session = await add_session(api)  # starts 2026-02-03T17:10:00Z
    path, episode = f"/v1/treatment-sessions/{session['id']}", session["episode_id"]

    async def standing() -> tuple[str, str | None]:
        found = (await api.http.get(path)).json()["suitability"]
        return found["status"], found["screen_id"]

    await add_screen(api, (await add_episode(api))["id"], checklist)
    await add_screen(api, episode, checklist, answered_at="2026-02-03T17:10:01Z")
    assert await standing() == ("none", None)
    for answered_at, outcome, status in (
        ("2026-02-01T17:09:59Z", "suitable", "stale"),
        ("2026-02-01T17:10:00Z", "suitable", "current"),
        ("2026-02-01T17:10:00Z", "consult", "consult"),
        ("2026-02-01T18:00:00Z", "not_suitable", "not_suitable"),
        ("2026-02-03T17:10:00Z", "suitable", "current"),
    ):
        screen = await add_screen(api, episode, checklist, answered_at=answered_at, outcome=outcome)
        assert await standing() == (status, screen["id"])
    (listed,) = (await api.http.get(f"/v1/episodes/{episode}/treatment-sessions")).json()["data"]
    assert listed == (await api.http.get(path)).json()


async def test_a_changed_checklist_does_not_change_how_long_a_screen_stands(api: Api, admin: Api) -> None:
    """The screen keeps the version it was answered by."""
    checklist, session = await add_checklist(admin, valid_days=7), await add_session(api)
    await add_screen(api, session["episode_id"], checklist, answered_at="2026-01-30T09:00:00Z")
    await patch(admin, f"{CHECKLISTS}/{checklist}", {"valid_days": 1, "reason": "stricter"})
    found = (await api.http.get(f"/v1/treatment-sessions/{session['id']}")).json()
    assert found["suitability"]["status"] == "current"


async def test_a_replayed_session_answers_as_at_first(api: Api, admin: Api) -> None:
    """A screen recorded since is not in the first answer; the history keeps it so, too."""
    episode, checklist = (await add_episode(api))["id"], await add_checklist(admin)
    path, key = f"/v1/episodes/{episode}/treatment-sessions", {"Idempotency-Key": "once"}
    body = {"kind": "dosing", "scheduled_at": "2026-02-03T10:00:00Z"}
    first = await api.http.post(path, json=body, headers=key)
    await add_screen(api, episode, checklist)
    again = await api.http.post(path, json=body, headers=key)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    now = await api.http.get(first.headers["location"])
    assert (first.json()["suitability"]["status"], now.json()["suitability"]["status"]) == ("none", "current")
    history = (await api.http.get(f"{first.headers['location']}/history")).json()["data"]
    assert [row["suitability"]["status"] for row in history] == ["none"]


async def test_each_write_leaves_one_row_in_the_trail(api: Api, admin: Api, database: Database) -> None:
    """A checklist belongs to no patient, a screen to one."""
    checklist, episode = await add_checklist(admin), await add_episode(api)
    for _ in range(2):
        await patch(admin, f"{CHECKLISTS}/{checklist}", {"title": "x", "reason": "y"})
    screen = await add_screen(api, episode["id"], checklist)
    assert await events(database, api) == [
        ("suitability_checklist.create", None, checklist),
        ("episode.create", episode["patient_id"], episode["id"]),
        ("suitability_checklist.amend", None, checklist),
        ("suitability_screen.create", episode["patient_id"], screen["id"]),
    ]


NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
SCREENS_IN_ORDER = st.lists(
    st.tuples(st.integers(-60, 60), st.sampled_from(["suitable", "consult", "not_suitable"]), st.integers(1, 40)),
    max_size=6,
).map(lambda drawn: [screen_at(days, outcome, valid) for days, outcome, valid in sorted(drawn)])


def screen_at(days: int, outcome: str, valid_days: int) -> ScreenInForce:
    return ScreenInForce(uuid4(), outcome, NOON + timedelta(days=days), NOON, valid_days)


@given(SCREENS_IN_ORDER)
def test_only_a_screen_before_the_session_ever_speaks(screens: list[ScreenInForce]) -> None:
    """The last of them, by its own word; "current" only within its days, and never out of a doubt or a no."""
    standing = standing_at(screens, NOON)
    named = [screen for screen in screens if screen.id == standing.screen_id]
    assert bool(named) == (standing.status != "none")
    for screen in named:
        assert screen.answered_at <= NOON
        assert all(later.answered_at > NOON for later in screens[screens.index(screen) + 1 :])
        assert (standing.status in {"current", "stale"}) == (screen.outcome == "suitable")
        assert (standing.status == "current") <= (NOON - screen.answered_at <= timedelta(days=screen.valid_days))
