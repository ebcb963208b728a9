"""Treatment sessions over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, change."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import httpx2
import pytest

from app.db import Database
from app.schemas.limits import DOSE_LIMITS, MAX_DAYS_AHEAD
from app.schemas.treatment_sessions import Concomitant, Medicine, Route, Setting
from app.services.histories import find_histories
from tests.api.treatment import (
    DOSE,
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
    ("POST", "/v1/episodes/ID/treatment-sessions", DOSE),
    ("GET", "/v1/episodes/ID/treatment-sessions", None),
]
CALLS_OF_ONE: list[tuple[str, str, Any]] = [
    ("GET", "/v1/treatment-sessions/ID", None),
    ("PATCH", "/v1/treatment-sessions/ID", {"group": True, "reason": "y"}),
    ("GET", "/v1/treatment-sessions/ID/history", None),
]
CANCELLED = {"status": "cancelled", "started_at": None, "ended_at": None}


async def test_strangers_and_researchers_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that reaches no single row."""
    calls = [(method, path.replace("ID", str(uuid4())), body) for method, path, body in CALLS + CALLS_OF_ONE]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)


async def test_clinician_administrator_and_program_may_write(api: Api, admin: Api, service: Api) -> None:
    """Three roles, one record."""
    episode = (await add_episode(api))["id"]
    for one in (api, admin, service):
        await add_session(one, episode)


async def test_another_clinics_are_absent(api: Api, other_api: Api) -> None:
    """The episode and the session, byte for byte."""
    session = await add_session(other_api)
    await assert_foreign_is_absent(api, session["episode_id"], CALLS)
    await assert_foreign_is_absent(api, session["id"], CALLS_OF_ONE)


def beyond(route: str) -> list[tuple[dict[str, Any], str]]:
    """Just outside each end of each limit of a route: the dose alone, then the dose for each kilogram."""
    mg, per_kg = DOSE_LIMITS[route].mg, DOSE_LIMITS[route].mg_per_kg
    doses: list[tuple[float, float | None, str]] = [
        (mg.minimum * 0.99, None, "implausible_for_route"),
        (mg.maximum * 1.01, None, "implausible_for_route"),
        (mg.minimum, mg.minimum / per_kg.minimum * 1.01, "implausible_for_weight"),
        (per_kg.maximum * 25 * 1.01, 25, "implausible_for_weight"),
    ]
    return [
        ({"route": route, "dose_mg": dose, "weight_kg": weight}, code)
        for dose, weight, code in doses
        if weight is None or (25 <= weight <= 300 and mg.holds(dose))
    ]


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"kind": "follow_up"}, "/kind", "literal_error"),
        ({"status": "maybe"}, "/status", "literal_error"),
        ({"setting": "moon"}, "/setting", "literal_error"),
        ({"group": "yes"}, "/group", "bool_type"),
        ({"group": 1}, "/group", "bool_type"),
        ({"therapist_hours": -0.1}, "/therapist_hours", "greater_than_equal"),
        ({"therapist_hours": 72.1}, "/therapist_hours", "less_than_equal"),
        ({"medicine": "aspirin"}, "/medicine", "literal_error"),
        ({"route": "by ear"}, "/route", "literal_error"),
        ({"dose_mg": "35"}, "/dose_mg", "float_type"),
        ({"dose_mg": True}, "/dose_mg", "float_type"),
        ({"dose_mg": 0}, "/dose_mg", "greater_than_equal"),
        ({"dose_mg": -35}, "/dose_mg", "greater_than_equal"),
        ({"medicine": "other", "dose_mg": 5000.1}, "/dose_mg", "less_than_equal"),
        ({"weight_kg": 24.9}, "/weight_kg", "greater_than_equal"),
        ({"weight_kg": 300.1}, "/weight_kg", "less_than_equal"),
        ({"concomitant_medicines": ["wine"]}, "/concomitant_medicines/0", "literal_error"),
        ({"concomitant_medicines": ["naltrexone", "naltrexone"]}, "/concomitant_medicines", "repeated"),
        ({"concomitant_medicines": ["other"] * 11}, "/concomitant_medicines", "too_long"),
        ({"concomitant_medicines": "naltrexone"}, "/concomitant_medicines", "list_type"),
        ({"scheduled_at": "2026-02-03"}, "/scheduled_at", "not_a_time"),
        ({"started_at": None, "ended_at": None}, "/started_at", "missing_when_done"),
        ({"started_at": None}, "/ended_at", "not_started"),
        ({"status": "planned"}, "/started_at", "not_done"),
        ({"status": "cancelled"}, "/started_at", "not_done"),
        ({"status": "planned", "started_at": None}, "/ended_at", "not_started"),
        ({"ended_at": "2026-02-03T10:09:59-07:00"}, "/ended_at", "before_start"),
        ({"ended_at": "2026-02-04T10:10:01-07:00"}, "/ended_at", "too_long"),
        ({"started_at": "2999-01-01T00:00:00Z"}, "/started_at", "in_the_future"),
        ({"ended_at": "2999-01-01T00:00:00Z"}, "/ended_at", "in_the_future"),
        ({"status": "planned", "started_at": None, "ended_at": None, "scheduled_at": None}, "/scheduled_at", "missing"),
        ({"medicine": None}, "/medicine", "missing_when_done"),
        ({"route": None}, "/route", "missing_when_done"),
        ({"dose_mg": None}, "/dose_mg", "missing_when_done"),
        *(
            ({"kind": "integration"}, f"/{name}", "dosing_only")
            for name in ("medicine", "route", "dose_mg", "weight_kg")
        ),
        ({"kind": "preparation", "concomitant_medicines": []}, "/concomitant_medicines", "dosing_only"),
        ({"dose_mg": 0.5}, "/dose_mg", "implausible_for_route"),
        ({"dose_mg": 35, "weight_kg": None, "route": "intravenous", "entered_in_error": True}, "", "unknown_field"),
        ({"started_at": "2026-01-05T08:59:59-07:00"}, "/started_at", "outside_episode"),
        ({"started_at": "2026-03-01T00:00:00Z", "ended_at": None}, "/started_at", "outside_episode"),
        ({"started_at": "2026-02-27T23:00:00Z", "ended_at": "2026-02-28T00:00:01Z"}, "/ended_at", "outside_episode"),
        (
            {"status": "planned", "started_at": None, "ended_at": None, "scheduled_at": "2026-03-01T00:00:00Z"},
            "/scheduled_at",
            "outside_episode",
        ),
        *((change, "/dose_mg", code) for route in get_args(Route) for change, code in beyond(route)),
        ({"mg_per_kg": 0.5}, "", "unknown_field"),
        ({"moved": True}, "", "unknown_field"),
    ],
)
async def test_invalid_content_is_refused(
    api: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule, and nothing is stored."""
    episode = (await add_episode(api, closed_at="2026-02-28T00:00:00Z"))["id"]
    path = f"/v1/episodes/{episode}/treatment-sessions"
    assert_refused(await api.http.post(path, json=DOSE | change), pointer, code)
    assert (await api.http.get(path)).json()["data"] == []
    assert [action for action, _, _ in await events(database, api)] == ["episode.create"]


async def test_two_years_ahead_is_a_slip_of_the_year(api: Api) -> None:
    """A plan may lie in the future, within reason."""
    episode = (await add_episode(api))["id"]
    near, far = [
        await api.http.post(
            f"/v1/episodes/{episode}/treatment-sessions",
            json=PLANNED | {"scheduled_at": (datetime.now(UTC) + timedelta(days=days)).isoformat()},
        )
        for days in (MAX_DAYS_AHEAD - 1, MAX_DAYS_AHEAD + 1)
    ]
    assert near.status_code == 201
    assert_refused(far, "/scheduled_at", "too_far_ahead")


async def test_a_dose_is_stored_with_what_was_given(api: Api) -> None:
    """UTC with offsets, milligrams for each kilogram derived, no screen yet."""
    episode = await add_episode(api)
    told = {"therapist_hours": 2.5, "group": True, "setting": "home", "concomitant_medicines": ["lamotrigine"]}
    made = await add(api, f"/v1/episodes/{episode['id']}/treatment-sessions", DOSE | told)
    assert (made["patient_id"], made["episode_id"]) == (episode["patient_id"], episode["id"])
    assert (made["kind"], made["status"], made["setting"], made["group"]) == ("dosing", "done", "home", True)
    assert (made["started_at"], made["started_at_offset"]) == ("2026-02-03T17:10:00Z", "-07:00")
    assert (made["ended_at"], made["ended_at_offset"]) == ("2026-02-03T19:00:00Z", "-07:00")
    assert (made["dose_mg"], made["weight_kg"], made["mg_per_kg"]) == (35.0, 70.0, 0.5)
    assert (made["therapist_hours"], made["concomitant_medicines"]) == (2.5, ["lamotrigine"])
    assert (made["moved"], made["entered_in_error"]) == (False, False)
    assert made["suitability"] == {"status": "none", "screen_id": None}


async def test_dose_per_kilogram_is_rounded_for_reading_alone(api: Api) -> None:
    """Three decimals; unknown without a weight."""
    assert (await add_session(api, dose_mg=50, weight_kg=71.3))["mg_per_kg"] == 0.701
    assert (await add_session(api, weight_kg=None))["mg_per_kg"] is None


async def test_what_depends_on_other_fields_has_a_default(api: Api) -> None:
    """With a start it was held, and planned by then; without one it is planned."""
    episode = (await add_episode(api))["id"]
    path = f"/v1/episodes/{episode}/treatment-sessions"
    held = await add(api, path, {"kind": "integration", "started_at": "2026-02-04T10:00:00+01:00"})
    assert (held["status"], held["scheduled_at"], held["scheduled_at_offset"]) == (
        "done",
        "2026-02-04T09:00:00Z",
        "+01:00",
    )
    assert (held["suitability"], held["ended_at"], held["setting"], held["group"]) == (None, None, "clinic", False)
    planned = await add(api, path, PLANNED)
    assert (planned["status"], planned["started_at"], planned["concomitant_medicines"]) == ("planned", None, None)


async def test_every_choice_can_be_stored(api: Api) -> None:
    """Each medicine, route at both ends of its limits, setting and other medicine; a day's length is not too long."""
    episode = (await add_episode(api))["id"]
    for route in get_args(Route):
        for dose in (DOSE_LIMITS[route].mg.minimum, DOSE_LIMITS[route].mg.maximum):
            await add_session(api, episode, route=route, dose_mg=dose, weight_kg=None)
    for medicine in get_args(Medicine):
        await add_session(api, episode, medicine=medicine)
    await add_session(api, episode, medicine="other", dose_mg=5000)
    for setting in get_args(Setting):
        await add_session(api, episode, setting=setting)
    await add_session(api, episode, concomitant_medicines=list(get_args(Concomitant)))
    await add_session(api, episode, concomitant_medicines=[], ended_at="2026-02-04T10:10:00-07:00")
    await add_session(api, episode, **CANCELLED)


async def test_a_dose_can_be_planned_before_it_is_decided(api: Api) -> None:
    """A planned dosing session needs no dose; what it has is held to the limits."""
    planned = await add_session(
        api, status="planned", started_at=None, ended_at=None, medicine=None, route=None, dose_mg=None, weight_kg=None
    )
    path = f"/v1/treatment-sessions/{planned['id']}"
    held = {"status": "done", "started_at": "2026-02-03T10:00:00Z", "medicine": "esketamine", "route": "intranasal"}
    assert_refused(await patch(api, path, held | {"reason": "held"}), "/dose_mg", "missing_when_done")
    assert_refused(
        await patch(api, path, held | {"dose_mg": 0.084, "reason": "held"}), "/dose_mg", "greater_than_equal"
    )
    assert (await patch(api, path, held | {"dose_mg": 84, "reason": "held"})).json()["status"] == "done"


async def test_list_is_paged_latest_scheduled_first(api: Api) -> None:
    """Each session once, at its newest place."""
    episode = (await add_episode(api))["id"]
    made = [await add_session(api, episode, scheduled_at=f"2026-02-0{day}T09:00:00Z") for day in range(1, 5)]
    await patch(
        api, f"/v1/treatment-sessions/{made[0]['id']}", {"scheduled_at": "2026-02-09T09:00:00Z", "reason": "moved"}
    )
    seen: list[str] = []
    url = f"/v1/episodes/{episode}/treatment-sessions?limit=3"
    while url:
        answer = await api.http.get(url)
        seen += [row["id"] for row in answer.json()["data"]]
        url = answer.links["next"]["url"] if "next" in answer.links else ""
    assert seen == [made[index]["id"] for index in (0, 3, 2, 1)]


async def test_a_repeat_is_stored_once(api: Api) -> None:
    """Whatever arrives at once, and later."""
    episode = (await add_episode(api))["id"]
    await assert_created_once(api, f"/v1/episodes/{episode}/treatment-sessions", DOSE, {"dose_mg": 36})


async def test_a_change_is_the_next_version(api: Api) -> None:
    """428, 412, one winner, the whole history."""
    await assert_versions_kept(api, f"/v1/treatment-sessions/{(await add_session(api))['id']}", {"dose_mg": 40})


async def test_a_change_can_be_repeated(api: Api) -> None:
    """Under its key it is made once."""
    path = f"/v1/treatment-sessions/{(await add_session(api))['id']}"
    await assert_change_replayed(api, path, {"dose_mg": 40}, {"dose_mg": 45})


async def test_a_moved_session_says_so_for_ever(api: Api) -> None:
    """Also when it is moved back; the history tells from when to when. Naming the same moment is no move."""
    session = await add_session(api, **PLANNED, status="planned", started_at=None, ended_at=None, **_no_medicine())
    path = f"/v1/treatment-sessions/{session['id']}"
    moves = ["2026-02-01T17:00:00Z", "2026-02-08T10:00:00-07:00", "2026-02-01T10:00:00-07:00"]
    moved = []
    for version, at in enumerate(moves, 1):
        answer = await patch(api, path, {"scheduled_at": at, "reason": "patient travels"}, version)
        moved.append(answer.json()["moved"])
    assert moved == [False, True, True]
    history = (await api.http.get(f"{path}/history")).json()["data"]
    assert [row["scheduled_at"][:10] for row in history] == ["2026-02-01", "2026-02-08", "2026-02-01", "2026-02-01"]
    assert [row["moved"] for row in history] == [True, True, False, False]


def _no_medicine() -> dict[str, None]:
    return dict.fromkeys(("medicine", "route", "dose_mg", "weight_kg"))


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"reason": "y"}, "", "nothing_to_change"),
        ({"dose_mg": 40}, "/reason", "missing"),
        ({"dose_mg": 400, "reason": "y"}, "/dose_mg", "implausible_for_route"),
        ({"weight_kg": 301, "reason": "y"}, "/weight_kg", "less_than_equal"),
        ({"kind": "integration", "reason": "y"}, "/dose_mg", "dosing_only"),
        ({"kind": None, "reason": "y"}, "/kind", "literal_error"),
        ({"group": None, "reason": "y"}, "/group", "bool_type"),
        ({"status": "cancelled", "reason": "y"}, "/started_at", "not_done"),
        ({"started_at": "2026-01-01T00:00:00Z", "reason": "y"}, "/started_at", "outside_episode"),
        ({"episode_id": str(uuid4()), "reason": "y"}, "", "unknown_field"),
    ],
)
async def test_invalid_changes_are_refused(api: Api, change: dict[str, Any], pointer: str, code: str) -> None:
    """A change is held to the rules of new content, together with what stays."""
    path = f"/v1/treatment-sessions/{(await add_session(api))['id']}"
    assert_refused(await patch(api, path, change), pointer, code)
    assert (await api.http.get(path)).headers["etag"] == '"1"'


async def test_each_write_leaves_one_row_in_the_trail(api: Api, database: Database) -> None:
    """Who did what to whose session."""
    session = await add_session(api)
    for _ in range(2):
        await patch(api, f"/v1/treatment-sessions/{session['id']}", {"dose_mg": 40, "reason": "typo"})
    assert (await events(database, api))[1:] == [
        ("treatment_session.create", session["patient_id"], session["id"]),
        ("treatment_session.amend", session["patient_id"], session["id"]),
    ]


async def doses(database: Database, api: Api, patient_id: str, known_at: datetime) -> list[tuple[str, str]]:
    async with database.connection(api.clinic_id) as connection:
        found = await find_histories(connection, api.clinic_id, [UUID(patient_id)], known_at)
    episodes = found.get(UUID(patient_id), ())
    return [(dose.id, dose.started_at.isoformat()) for episode in episodes for dose in episode.doses]


async def test_doses_are_told_as_they_were_known(api: Api, database: Database) -> None:
    """Held dosing sessions alone, oldest first; corrected, cancelled and mistaken ones as they stood then."""
    patient = await api.add_patient()
    episode = (await add_episode(api, patient))["id"]
    first = await add_session(api, episode)
    earlier = await add_session(api, episode, started_at="2026-01-20T10:00:00Z", ended_at=None)
    await add_session(api, episode, **_no_medicine(), kind="integration")
    await add_session(api, episode, status="planned", started_at=None, ended_at=None)
    await add_session(api)
    at_first = datetime.fromisoformat(first["recorded_at"])
    begun, other = (first["id"], "2026-02-03T17:10:00+00:00"), (earlier["id"], "2026-01-20T10:00:00+00:00")
    assert await doses(database, api, patient, at_first - timedelta(microseconds=1)) == []
    assert await doses(database, api, patient, at_first) == [begun]
    assert await doses(database, api, patient, datetime.now(UTC)) == [other, begun]
    before_changes = datetime.now(UTC)

    path = f"/v1/treatment-sessions/{first['id']}"
    await patch(api, path, {"started_at": "2026-02-03T17:20:00Z", "reason": "clock was wrong"})
    assert await doses(database, api, patient, datetime.now(UTC)) == [other, (first["id"], "2026-02-03T17:20:00+00:00")]
    await patch(api, path, CANCELLED | {"reason": "was not held"}, 2)
    assert await doses(database, api, patient, datetime.now(UTC)) == [other]
    await patch(api, f"/v1/treatment-sessions/{earlier['id']}", {"entered_in_error": True, "reason": "wrong patient"})
    assert await doses(database, api, patient, datetime.now(UTC)) == []
    assert await doses(database, api, patient, before_changes) == [other, begun]
