"""Rules of the clinic over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, history."""

from datetime import time
from typing import Any

import httpx2
import pytest

from app.db import Database
from app.services.clinic_rules import DEFAULTS, Rules, rules_of
from app.tables import Clinic
from tests.api.conftest import PatientApi
from tests.api.treatment import (
    assert_change_replayed,
    assert_closed_to,
    assert_refused,
    assert_versions_kept,
    events,
    patch,
)
from tests.conftest import Api

pytestmark = pytest.mark.anyio

PATH = "/v1/clinic"
CHANGE: dict[str, Any] = {"amend_window_hours": 48, "reason": "asked for"}
READS: list[tuple[str, str, Any]] = [("GET", PATH, None), ("GET", f"{PATH}/history", None)]


async def rules(database: Database, clinic: Clinic) -> Rules:
    async with database.connection(clinic.clinic_id) as connection:
        return await rules_of(connection, clinic.clinic_id)


async def test_strangers_researchers_and_patients_see_none(
    anonymous: httpx2.AsyncClient, researcher: Api, patient_api: PatientApi
) -> None:
    """401 without a token, 403 for roles that read no rules of a clinic."""
    calls = [*READS, ("PATCH", PATH, CHANGE)]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)
    await assert_closed_to(patient_api, 403, calls)


async def test_the_administrator_alone_writes(api: Api, service: Api, admin: Api) -> None:
    """Clinicians and programs read."""
    for one in (api, service):
        await assert_closed_to(one, 403, [("PATCH", PATH, CHANGE)])
        assert (await one.http.get(PATH)).content == (await admin.http.get(PATH)).content


async def test_a_clinic_begins_with_the_defaults(api: Api, clinic: Clinic, database: Database) -> None:
    """They are version 1, which nobody recorded, for readers and for programs alike."""
    answer = await api.http.get(PATH)
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
    body = answer.json()
    assert {name: body[name] for name in DEFAULTS} == DEFAULTS
    assert (body["id"], body["name"], body["time_zone"]) == (str(clinic.clinic_id), "Test clinic", "Europe/Berlin")
    assert (body["version"], body["recorded_by"], body["reason"]) == (1, None, None)
    assert (await api.http.get(f"{PATH}/history")).json() == {"data": [body], "next_cursor": None}
    assert await rules(database, clinic) == Rules(time(21), time(8), 24, 3, DEFAULTS["safety_text"])


async def test_the_words_on_safety_say_what_to_do(api: Api) -> None:
    """That nobody watches, where help is, and that the answer will be seen: in any country."""
    words = (await api.http.get(PATH)).json()["safety_text"]
    for part in ("Nobody watches", "at all hours", "emergency number", "crisis line", "someone near you", "will see"):
        assert part in words
    assert not any(letter.isdigit() for letter in words)
    assert len(words) <= 1000


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"quiet_from": "9:00"}, "/quiet_from", "string_pattern_mismatch"),
        ({"quiet_from": "24:00"}, "/quiet_from", "string_pattern_mismatch"),
        ({"quiet_until": "08:60"}, "/quiet_until", "string_pattern_mismatch"),
        ({"quiet_until": "08:00\n"}, "/quiet_until", "string_pattern_mismatch"),
        ({"quiet_until": None}, "/quiet_until", "string_type"),
        ({"amend_window_hours": -1}, "/amend_window_hours", "greater_than_equal"),
        ({"amend_window_hours": 8761}, "/amend_window_hours", "less_than_equal"),
        ({"amend_window_hours": 1.5}, "/amend_window_hours", "int_type"),
        ({"missed_in_a_row": 0}, "/missed_in_a_row", "greater_than_equal"),
        ({"missed_in_a_row": 21}, "/missed_in_a_row", "less_than_equal"),
        ({"safety_text": " "}, "/safety_text", "string_too_short"),
        ({"safety_text": "x" * 1001}, "/safety_text", "string_too_long"),
        ({"name": "Mine"}, "", "unknown_field"),
        ({}, "", "nothing_to_change"),
    ],
)
async def test_invalid_changes_are_refused(
    admin: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule, and nothing is stored."""
    assert_refused(await patch(admin, PATH, change | {"reason": "y"}), pointer, code)
    assert (await admin.http.get(PATH)).json()["version"] == 1
    assert await events(database, admin) == []


@pytest.mark.parametrize("reason", [{}, {"reason": ""}, {"reason": " "}, {"reason": None}])
async def test_no_change_without_a_reason(admin: Api, reason: dict[str, Any]) -> None:
    """A rule decides what patients may do."""
    answer = await patch(admin, PATH, {"amend_window_hours": 48} | reason)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/reason")


async def test_all_rules_can_be_changed_and_what_is_not_sent_stays(
    admin: Api, clinic: Clinic, database: Database
) -> None:
    """To the ends of their ranges."""
    first = {"quiet_from": "00:00", "quiet_until": "00:00", "missed_in_a_row": 20, "safety_text": " Ω. \n" * 3}
    made = (await patch(admin, PATH, first | {"reason": "a"})).json()
    assert {name: made[name] for name in DEFAULTS} == DEFAULTS | first | {"safety_text": (" Ω. \n" * 3).strip()}
    assert (await patch(admin, PATH, {"amend_window_hours": 8760, "reason": "b"}, 2)).status_code == 200
    assert await rules(database, clinic) == Rules(time(0), time(0), 8760, 20, (" Ω. \n" * 3).strip())


async def test_every_version_is_kept(admin: Api) -> None:
    """428, 412, one winner of six, the whole history down to the defaults."""
    await assert_versions_kept(admin, PATH, {"missed_in_a_row": 2})


async def test_a_change_is_replayed(admin: Api) -> None:
    """Made once under its key, answered alike for ever."""
    await assert_change_replayed(admin, PATH, {"missed_in_a_row": 2}, {"missed_in_a_row": 5})


async def test_another_clinics_rules_are_its_own(
    admin: Api, other_admin: Api, other_clinic: Clinic, database: Database
) -> None:
    """A change here changes nothing there."""
    assert (await patch(admin, PATH, CHANGE)).status_code == 200
    assert (await other_admin.http.get(PATH)).json()["amend_window_hours"] == DEFAULTS["amend_window_hours"]
    assert (await rules(database, other_clinic)).amend_window_hours == DEFAULTS["amend_window_hours"]


async def test_each_change_leaves_one_row_in_the_trail(admin: Api, database: Database) -> None:
    """A refusal leaves none."""
    for _ in range(2):
        await patch(admin, PATH, CHANGE)
    assert await events(database, admin) == [("clinic_rules.amend", None, str(admin.clinic_id))]
