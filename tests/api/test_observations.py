"""Observations over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, change."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.db import Database
from app.schemas.limits import LIMITS
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

SEEN: dict[str, Any] = {
    "observed_at": "2026-02-03T10:50:00-07:00",
    "systolic": 138,
    "diastolic": 86,
    "heart_rate": 84,
    "oxygen_saturation": 97,
    "dissociation": {"scale": "cadss", "score": 31},
}
CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/treatment-sessions/ID/observations", SEEN),
    ("GET", "/v1/treatment-sessions/ID/observations", None),
]
CALLS_OF_ONE: list[tuple[str, str, Any]] = [
    ("GET", "/v1/observations/ID", None),
    ("PATCH", "/v1/observations/ID", {"systolic": 140, "reason": "y"}),
    ("GET", "/v1/observations/ID/history", None),
]


async def path_of_session(api: Api) -> str:
    return f"/v1/treatment-sessions/{(await add_session(api))['id']}/observations"


async def test_strangers_and_researchers_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that reaches no single row."""
    calls = [(method, path.replace("ID", str(uuid4())), body) for method, path, body in CALLS + CALLS_OF_ONE]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)


async def test_clinician_administrator_and_program_may_write(api: Api, admin: Api, service: Api) -> None:
    """Three roles, one record."""
    path = await path_of_session(api)
    for one in (api, admin, service):
        await add(one, path, SEEN)


async def test_another_clinics_are_absent(api: Api, other_api: Api) -> None:
    """The session and the observation, byte for byte."""
    seen = await add(other_api, await path_of_session(other_api), SEEN)
    await assert_foreign_is_absent(api, seen["treatment_session_id"], CALLS)
    await assert_foreign_is_absent(api, seen["id"], CALLS_OF_ONE)


def limits() -> list[tuple[dict[str, Any], str, str]]:
    """One beyond either end of each vital sign."""
    names = ("systolic", "diastolic", "heart_rate", "oxygen_saturation")
    low = [({name: int(LIMITS[name].minimum) - 1}, f"/{name}", "greater_than_equal") for name in names]
    high = [({name: int(LIMITS[name].maximum) + 1}, f"/{name}", "less_than_equal") for name in names]
    return low + high


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        *limits(),
        ({"systolic": 120.0}, "/systolic", "int_type"),
        ({"heart_rate": "84"}, "/heart_rate", "int_type"),
        ({"oxygen_saturation": True}, "/oxygen_saturation", "int_type"),
        ({"dissociation": {"scale": "cadss", "score": -1}}, "/dissociation/score", "greater_than_equal"),
        ({"dissociation": {"scale": "cadss", "score": 93}}, "/dissociation/score", "less_than_equal"),
        ({"dissociation": {"scale": "des", "score": 3}}, "/dissociation/scale", "literal_error"),
        ({"dissociation": {"scale": "cadss"}}, "/dissociation/score", "missing"),
        ({"dissociation": {"scale": "cadss", "score": 3, "note": "x"}}, "/dissociation", "unknown_field"),
        ({"diastolic": 138}, "/diastolic", "not_below_systolic"),
        ({"diastolic": 180}, "/diastolic", "not_below_systolic"),
        (dict.fromkeys(SEEN.keys() - {"observed_at"}), "", "nothing_observed"),
        ({"observed_at": "2999-01-01T00:00:00Z"}, "/observed_at", "in_the_future"),
        ({"observed_at": "2026-02-03 10:50"}, "/observed_at", "not_a_time"),
        ({"temperature": 37}, "", "unknown_field"),
    ],
)
async def test_invalid_content_is_refused(
    api: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule, and nothing is stored."""
    path = await path_of_session(api)
    assert_refused(await api.http.post(path, json=SEEN | change), pointer, code)
    assert (await api.http.get(path)).json()["data"] == []
    assert "observation.create" not in [action for action, _, _ in await events(database, api)]


async def test_an_observation_is_stored_as_seen(api: Api) -> None:
    """All of it, or any one value alone, at either end of its limits."""
    path = await path_of_session(api)
    seen = await add(api, path, SEEN)
    assert {name: seen[name] for name in SEEN if name != "observed_at"} == {
        name: value for name, value in SEEN.items() if name != "observed_at"
    }
    assert (seen["observed_at"], seen["observed_at_offset"]) == ("2026-02-03T17:50:00Z", "-07:00")
    for name in ("systolic", "diastolic", "heart_rate", "oxygen_saturation"):
        for value in (int(LIMITS[name].minimum), int(LIMITS[name].maximum)):
            alone = await add(api, path, {"observed_at": SEEN["observed_at"], name: value})
            assert alone[name] == value
            assert alone["dissociation"] is None
    for score in (0, 92):
        body = {"observed_at": SEEN["observed_at"], "dissociation": {"scale": "cadss", "score": score}}
        assert (await add(api, path, body))["dissociation"]["score"] == score
    await add(api, path, SEEN | {"systolic": 87, "diastolic": 86})


async def test_list_is_paged_latest_observed_first(api: Api) -> None:
    """Each once."""
    path = await path_of_session(api)
    made = [await add(api, path, SEEN | {"observed_at": f"2026-02-03T1{hour}:00:00Z"}) for hour in range(4)]
    first = await api.http.get(f"{path}?limit=3")
    second = await api.http.get(first.links["next"]["url"])
    assert [row["id"] for page in (first, second) for row in page.json()["data"]] == [row["id"] for row in made[::-1]]


async def test_a_repeat_is_stored_once(api: Api) -> None:
    """Whatever arrives at once, and later."""
    await assert_created_once(api, await path_of_session(api), SEEN, {"systolic": 139})


async def test_a_change_is_the_next_version(api: Api) -> None:
    """428, 412, one winner, the whole history."""
    seen = await add(api, await path_of_session(api), SEEN)
    await assert_versions_kept(api, f"/v1/observations/{seen['id']}", {"systolic": 148})


async def test_a_change_can_be_repeated(api: Api) -> None:
    """Under its key it is made once."""
    seen = await add(api, await path_of_session(api), SEEN)
    await assert_change_replayed(api, f"/v1/observations/{seen['id']}", {"dissociation": None}, {"systolic": 150})


async def test_changes_are_held_to_the_same_rules(api: Api) -> None:
    """Together with what stays; the dissociation score is changed as a whole; a mistake is marked, not removed."""
    seen = await add(api, await path_of_session(api), SEEN)
    path = f"/v1/observations/{seen['id']}"
    for change, pointer, code in (
        ({"systolic": 80}, "/diastolic", "not_below_systolic"),
        (dict.fromkeys(SEEN.keys() - {"observed_at"}), "", "nothing_observed"),
        ({"observed_at": None}, "/observed_at", "not_a_time"),
        ({}, "", "nothing_to_change"),
    ):
        assert_refused(await patch(api, path, change | {"reason": "y"}), pointer, code)
    changed = (await patch(api, path, {"dissociation": {"scale": "cadss", "score": 4}, "reason": "misread"})).json()
    assert (changed["dissociation"], changed["systolic"]) == ({"scale": "cadss", "score": 4}, 138)
    marked = (await patch(api, path, {"entered_in_error": True, "reason": "wrong patient"}, 2)).json()
    assert (marked["entered_in_error"], marked["dissociation"]) == (True, {"scale": "cadss", "score": 4})


async def test_each_write_leaves_one_row_in_the_trail(api: Api, database: Database) -> None:
    """Who did what to whose observation."""
    seen = await add(api, await path_of_session(api), SEEN)
    for _ in range(2):
        await patch(api, f"/v1/observations/{seen['id']}", {"systolic": 140, "reason": "misread"})
    assert (await events(database, api))[2:] == [
        ("observation.create", seen["patient_id"], seen["id"]),
        ("observation.amend", seen["patient_id"], seen["id"]),
    ]
