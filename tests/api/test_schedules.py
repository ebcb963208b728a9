"""Schedules over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, versions."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.db import Database
from app.scoring.protocols import all_protocols
from tests.api.schedules import DAY_AFTER, WEEKLY, expected_rows, fill, plan, put
from tests.api.treatment import (
    add_episode,
    add_session,
    assert_closed_to,
    assert_foreign_is_absent,
    assert_refused,
    events,
    patch,
)
from tests.conftest import Api

pytestmark = pytest.mark.anyio

SCHEDULE = "/v1/episodes/ID/schedule"
BODY: dict[str, Any] = {"entries": [DAY_AFTER]}
OF_EPISODE: list[tuple[str, str, Any]] = [("GET", SCHEDULE, None), ("GET", f"{SCHEDULE}/history", None)]
PROTOCOLS: list[tuple[str, str, Any]] = [("GET", "/v1/protocols", None), ("GET", "/v1/protocols/kap-standard", None)]


async def test_strangers_and_researchers_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that sees no patient."""
    paths = [*PROTOCOLS, *OF_EPISODE, ("PUT", SCHEDULE, BODY)]
    calls = [(method, path.replace("ID", str(uuid4())), body) for method, path, body in paths]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)


async def test_another_clinics_are_absent(api: Api, other_api: Api, database: Database) -> None:
    """Byte for byte, and nothing is written there."""
    foreign = await add_episode(other_api)
    made = await plan(other_api, foreign["id"], DAY_AFTER)
    await assert_foreign_is_absent(api, foreign["id"], [*OF_EPISODE, ("PUT", SCHEDULE, BODY | {"reason": "y"})])
    assert (await other_api.http.get(SCHEDULE.replace("ID", foreign["id"]))).json() == made
    assert await events(database, api) == []


# --- Protocols --------------------------------------------------------------------------------------------------------


async def test_protocols_are_those_of_the_core_with_their_warnings(api: Api) -> None:
    """Each readable by itself, with and without its version; whoever takes its entries as they are is answered them."""
    listed = (await api.http.get("/v1/protocols")).json()
    assert [(one["code"], one["version"]) for one in listed["data"]] == [
        (one.code, one.version) for one in all_protocols()
    ]
    assert listed["next_cursor"] is None
    for one in listed["data"]:
        for reference in (one["code"], f"{one['code']}@{one['version']}"):
            assert (await api.http.get(f"/v1/protocols/{reference}")).json() == one
        made = await plan(api, (await add_episode(api))["id"], *one["entries"])
        assert (made["entries"], made["warnings"]) == (one["entries"], one["warnings"])
    standard = (await api.http.get("/v1/protocols/kap-standard")).json()
    assert {warning["code"] for warning in standard["warnings"]} >= {"recall_reaches_before_dose"}
    assert (await api.http.get("/v1/protocols/none")).status_code == 404
    assert (await api.http.get("/v1/protocols/kap-standard@9")).status_code == 404
    assert (await api.http.get("/v1/protocols/KAP")).status_code == 422


async def test_a_protocol_is_taken_with_its_version_and_entries(api: Api, database: Database) -> None:
    """So that a later version of it changes nobody's schedule."""
    episode = await add_episode(api)
    answer = await put(api, episode["id"], {"protocol": "kap-standard"})
    assert answer.status_code == 201, answer.text
    protocol = (await api.http.get("/v1/protocols/kap-standard")).json()
    assert answer.json()["protocol"] == f"kap-standard@{protocol['version']}"
    assert (answer.json()["entries"], answer.json()["warnings"]) == (protocol["entries"], protocol["warnings"])
    await add_session(api, episode["id"])
    codes = {row["code"] for row in await expected_rows(database, api, episode["patient_id"])}
    assert codes == {entry["code"] for entry in protocol["entries"]}


# --- The first schedule -----------------------------------------------------------------------------------------------


async def test_the_first_schedule_is_made(api: Api, database: Database) -> None:
    """201 with its address and version; it reads back as it was answered, and leaves one row in the trail."""
    episode = await add_episode(api)
    path = SCHEDULE.replace("ID", episode["id"])
    assert (await api.http.get(path)).status_code == 404
    quiet = {"from": "20:00", "until": "07:30"}
    answer = await put(api, episode["id"], {"entries": [WEEKLY, DAY_AFTER], "quiet_hours": quiet, "reason": "unused"})
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, path, '"1"')
    made = answer.json()
    assert (made["episode_id"], made["patient_id"]) == (episode["id"], episode["patient_id"])
    assert (made["version"], made["protocol"], made["quiet_hours"], made["reason"]) == (1, None, quiet, None)
    assert made["entries"][0] == WEEKLY | {
        "after": {"hours": None, "days": 7, "months": None},
        "repeat": {"every_days": 7, "every_months": None, "times": 4},
    }
    read = await api.http.get(path)
    assert (read.status_code, read.content, read.headers["etag"]) == (200, answer.content, '"1"')
    assert (await api.http.get(f"{path}/history")).json() == {"data": [made], "next_cursor": None}
    assert ("schedule.put", episode["patient_id"], episode["id"]) in await events(database, api)


async def test_warnings_name_the_entry_and_offer_the_right_form(api: Api) -> None:
    """A form of the past month every week; the one of the past week in its place is not warned of."""
    monthly = WEEKLY | {"instrument": "pcl-5-month", "code": "too-often"}
    warned = (await plan(api, (await add_episode(api))["id"], DAY_AFTER, monthly))["warnings"]
    found = {(warning["entry"], warning["code"]): warning["offer"] for warning in warned}
    assert found[1, "asked_within_recall"] == "pcl-5-week"
    assert (await plan(api, (await add_episode(api))["id"], WEEKLY))["warnings"] == []


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"code": "Day after"}, "/entries/0/code", "string_pattern_mismatch"),
        ({"code": "day--after"}, "/entries/0/code", "ill_formed"),
        ({"instrument": "phq-99"}, "/entries/0/instrument", "unknown_instrument"),
        ({"instrument": "phq-9@1"}, "/entries/0/instrument", "string_pattern_mismatch"),
        ({"anchor": "birthday"}, "/entries/0/anchor", "literal_error"),
        ({"after": {}}, "/entries/0/after", "exactly_one"),
        ({"after": {"hours": 24, "days": 1}}, "/entries/0/after", "exactly_one"),
        ({"after": {"days": 1.5}}, "/entries/0/after/days", "int_type"),
        ({"after": {"days": 100_000}}, "/entries/0/after/days", "less_than_equal"),
        ({"after": {"weeks": 1}}, "/entries/0/after", "unknown_field"),
        ({"repeat": {"times": 3}}, "/entries/0/repeat", "exactly_one"),
        ({"repeat": {"every_days": 1, "every_months": 1, "times": 3}}, "/entries/0/repeat", "exactly_one"),
        ({"repeat": {"every_days": 0, "times": 3}}, "/entries/0/repeat/every_days", "greater_than_equal"),
        ({"repeat": {"every_days": 7, "times": 20}}, "/entries/0/repeat", "too_many"),
        ({"repeat": {"every_days": 3660, "times": 2}, "after": {"days": 3}}, "/entries/0/after", "too_far"),
        ({"at": "09:00"}, "/entries/0/at", "not_with_hours"),
        ({"at": "24:00"}, "/entries/0/at", "string_pattern_mismatch"),
        ({"window": DAY_AFTER["window"] | {"opens_hours": 24}}, "/entries/0/window", "never_opens"),
        ({"window": DAY_AFTER["window"] | {"overdue_hours": 25}}, "/entries/0/window", "overdue_outside"),
        ({"window": DAY_AFTER["window"] | {"closes_hours": 1e9}}, "/entries/0/window/closes_hours", "less_than_equal"),
        (
            {"after": {"days": 1}, "at": "22:00", "window": dict.fromkeys(DAY_AFTER["window"], 1) | {"opens_hours": 0}},
            "/entries/0/window",
            "window_in_quiet_hours",
        ),
    ],
)
async def test_an_entry_that_cannot_be_carried_out_is_refused(
    api: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule; nothing is stored, and what was asked before still is."""
    episode = await add_episode(api)
    await add_session(api, episode["id"])
    made = await plan(api, episode["id"], DAY_AFTER)
    before = await expected_rows(database, api, episode["patient_id"])
    trail = await events(database, api)
    body = {"entries": [DAY_AFTER | change], "reason": "a try"}
    assert_refused(await put(api, episode["id"], body, 1), pointer, code)
    assert (await api.http.get(SCHEDULE.replace("ID", episode["id"]))).json() == made
    assert await expected_rows(database, api, episode["patient_id"]) == before
    assert await events(database, api) == trail


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "", "exactly_one"),
        ({"protocol": "kap-standard", "entries": []}, "", "exactly_one"),
        ({"protocol": "kap-none"}, "/protocol", "unknown_protocol"),
        ({"protocol": "kap standard"}, "/protocol", "string_pattern_mismatch"),
        ({"entries": [DAY_AFTER, DAY_AFTER]}, "/entries/1/code", "duplicate_code"),
        ({"entries": [DAY_AFTER, DAY_AFTER | {"code": "twin"}]}, "/entries/1/after", "coincides"),
        ({"entries": [DAY_AFTER] * 51}, "/entries", "too_long"),
        ({"entries": [{}]}, "/entries/0/code", "missing"),
        (
            {"entries": [], "quiet_hours": {"from": "9", "until": "08:00"}},
            "/quiet_hours/from",
            "string_pattern_mismatch",
        ),
        ({"entries": [], "quiet_hours": {"from": "21:00"}}, "/quiet_hours/until", "missing"),
        ({"entries": [], "quiet_hours": {"begins": "21:00"}}, "/quiet_hours", "unknown_field"),
        ({"entries": [], "stop": True}, "", "unknown_field"),
    ],
)
async def test_a_body_that_is_no_schedule_is_refused(api: Api, body: dict[str, Any], pointer: str, code: str) -> None:
    """By place and rule, and nothing is stored."""
    episode = await add_episode(api)
    assert_refused(await put(api, episode["id"], body), pointer, code)
    assert (await api.http.get(SCHEDULE.replace("ID", episode["id"]))).status_code == 404


async def test_quiet_hours_of_the_schedule_and_of_the_clinic_are_kept_free(api: Api, admin: Api) -> None:
    """A window at 22 o'clock is refused by the default, taken where nights are not quiet, and the other way round."""
    window = {"opens_hours": 0, "overdue_hours": 1, "closes_hours": 1}
    late = DAY_AFTER | {"after": {"days": 1}, "at": "22:00", "window": window}
    never = {"from": "00:00", "until": "00:00"}
    episodes = [(await add_episode(api))["id"] for _ in range(2)]
    assert_refused(await put(api, episodes[0], {"entries": [late]}), "/entries/0/window", "window_in_quiet_hours")
    assert (await put(api, episodes[0], {"entries": [late], "quiet_hours": never})).status_code == 201
    rules = {"quiet_from": "05:00", "quiet_until": "06:00", "reason": "a clinic of shift workers"}
    assert (await patch(admin, "/v1/clinic", rules)).status_code == 200
    assert (await put(api, episodes[1], {"entries": [late]})).status_code == 201


async def test_an_episode_entered_in_error_gets_none(api: Api) -> None:
    """Nothing can be asked in it."""
    episode = await add_episode(api)
    wrong = {"entered_in_error": True, "reason": "of another person"}
    assert (await patch(api, f"/v1/episodes/{episode['id']}", wrong)).status_code == 200
    assert_refused(await put(api, episode["id"], BODY), "", "episode_in_error")


# --- Later versions ---------------------------------------------------------------------------------------------------


async def test_a_change_says_what_it_is_based_on_and_why(api: Api) -> None:
    """428 without `If-Match`, 412 for another version, 422 without a reason, one winner, the whole history."""
    episode = (await add_episode(api))["id"]
    path, other = SCHEDULE.replace("ID", episode), {"entries": [WEEKLY], "reason": "less to fill in"}
    assert (await put(api, episode, other, 1)).status_code == 412  # there is none yet
    first = await plan(api, episode, DAY_AFTER)
    for tag in (None, "*"):
        headers = {} if tag is None else {"If-Match": tag}
        missing = await api.http.put(path, json=other, headers=headers)
        assert (missing.status_code, missing.json()["type"]) == (428, "/problems/precondition-required")
    for tag in ('"2"', 'W/"1"', "1", '"0"', ""):
        stale = await api.http.put(path, json=other, headers={"If-Match": tag})
        assert (stale.status_code, stale.json()["type"]) == (412, "/problems/stale"), tag
    assert_refused(await put(api, episode, {"entries": [WEEKLY]}, 1), "/reason", "missing")
    assert (await api.http.get(path)).json() == first
    twins = await asyncio.gather(*(put(api, episode, other, 1) for _ in range(6)))
    assert sorted({answer.status_code for answer in twins} - {503}) == [200, 412]
    (winner,) = [answer for answer in twins if answer.status_code == 200]
    assert (winner.headers["etag"], winner.json()["version"], winner.json()["reason"]) == ('"2"', 2, other["reason"])
    assert "location" not in winner.headers
    assert (await api.http.get(path)).content == winner.content
    history = (await api.http.get(f"{path}/history")).json()
    assert history == {"data": [winner.json(), first], "next_cursor": None}


async def test_a_put_replaces_the_whole_schedule(api: Api, database: Database) -> None:
    """Protocol, quiet hours and entries of before are gone where they are not sent again."""
    episode = await add_episode(api)
    quiet = {"from": "20:00", "until": "07:30"}
    await put(api, episode["id"], {"protocol": "kap-light", "quiet_hours": quiet})
    answer = await put(api, episode["id"], {"entries": [DAY_AFTER], "reason": "ours is shorter"}, 1)
    assert (answer.json()["protocol"], answer.json()["quiet_hours"]) == (None, None)
    await add_session(api, episode["id"])
    assert [row["code"] for row in await expected_rows(database, api, episode["patient_id"])] == ["day-after"]


async def test_a_repeat_is_answered_alike(api: Api) -> None:
    """The first and a later one, after it was changed again too; twins make one; other content is refused."""
    episode = (await add_episode(api))["id"]
    twins = await asyncio.gather(*(put(api, episode, BODY, key="first") for _ in range(6)))
    assert {answer.status_code for answer in twins} <= {201, 503}, "a crowded pool may ask to come back"
    assert len({answer.content for answer in twins if answer.status_code == 201}) == 1
    later = {"entries": [], "reason": "asked to stop"}
    changed = await put(api, episode, later, 1, key="second")
    assert (await put(api, episode, BODY | {"reason": "goes on"}, 2)).status_code == 200
    for body, version, key, first in ((BODY, None, "first", twins[0]), (later, 1, "second", changed)):
        again = await put(api, episode, body, version, key)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert (again.headers["idempotency-replayed"], again.headers["etag"]) == ("true", first.headers["etag"])
        clash = await put(api, episode, body | {"quiet_hours": {"from": "20:00", "until": "08:00"}}, version, key)
        assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    assert len((await api.http.get(f"{SCHEDULE.replace('ID', episode)}/history")).json()["data"]) == 3


async def test_parallel_first_schedules_make_one(api: Api) -> None:
    """The others are told that there is one now."""
    episode = (await add_episode(api))["id"]
    answers = await asyncio.gather(*(put(api, episode, BODY) for _ in range(6)))
    codes = sorted(answer.status_code for answer in answers if answer.status_code != 503)
    assert codes == [201, *[428] * (len(codes) - 1)]


# --- Completeness -----------------------------------------------------------------------------------------------------


async def test_completeness_counts_by_the_schedule(api: Api) -> None:
    """By the version and the sessions known then; an instrument that is not asked expects nothing."""
    episode = await add_episode(api)
    patient = episode["patient_id"]
    dose = await add_session(api, episode["id"])
    began = datetime.fromisoformat(dose["started_at"])
    await fill(api, patient, began + timedelta(hours=24))
    path = f"/v1/patients/{patient}/trajectory"

    async def completeness(instrument: str = "phq-9", known_at: datetime | None = None) -> dict[str, Any]:
        query = {"instrument": instrument} | ({} if known_at is None else {"known_at": known_at.isoformat()})
        answer = await api.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["completeness"]
        return found

    assert (await completeness())["rule"] == "default_time_points@1"
    without = datetime.now(UTC)
    later = DAY_AFTER | {"code": "day-7", "after": {"days": 7}}
    await plan(api, episode["id"], DAY_AFTER, later)
    first = datetime.now(UTC)
    found = await completeness()
    counts = {name: found[name] for name in ("expected", "received", "late", "missing", "pending", "unexpected")}
    assert found["rule"] == "schedule@1"
    assert counts == {"expected": 2, "received": 1, "late": 0, "missing": 1, "pending": 0, "unexpected": 0}
    assert [(stage["code"], stage["received"]) for stage in found["stages"]] == [("day-after", 1), ("day-7", 0)]
    assert (await completeness("pcl-5-week"))["expected"] == 0
    await put(api, episode["id"], {"entries": [later], "reason": "less to fill in"}, 1)
    now = await completeness()
    assert (now["rule"], now["expected"], now["received"], now["unexpected"]) == ("schedule@2", 1, 0, 1)
    assert await completeness(known_at=first) == found
    assert (await completeness(known_at=without))["rule"] == "default_time_points@1"
