"""Two releases side by side: whoever has both learns nothing of a few people by which of them they are in."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.db import Database
from app.services import release_builds, release_contents
from app.services.releases import end_releases
from tests.api.test_releases import approve, ask, built, rows_of, send, withdraw
from tests.cohort_clinic import START, Invented, settle
from tests.conftest import Api

pytestmark = pytest.mark.anyio

BY_VEIN = {"route": "intravenous"}


def people(count: int, **others: Any) -> list[Invented]:
    """Every second one responds."""
    return [
        Invented(START + timedelta(minutes=number), forms={"phq-9": [(-2, 18), (8, 17 - 10 * (number % 2))]}, **others)
        for number in range(count)
    ]


async def trail(database: Database, api: Api) -> list[str]:
    async with database.connection(api.clinic_id) as connection:
        rows = await connection.fetch("SELECT action FROM audit_event WHERE action LIKE 'release.%' ORDER BY at, id")
    return [row["action"] for row in rows]


def said(release: dict[str, Any]) -> tuple[str, str | None]:
    return release["status"], release["failure"]


@pytest.mark.parametrize("ended", [False, True])
async def test_all_but_a_few_are_not_released_after_all(
    researcher: Api, admin: Api, database: Database, *, ended: bool
) -> None:
    """That eight had it by mouth would be told by who is missing. Also when the first has ended and is forgotten."""
    await settle(database, admin.clinic_id, people(20) + people(8, route="oral"))
    everybody = await built(researcher, admin, database)
    assert everybody["manifest"]["persons_out"] == 28
    if ended:
        await send(researcher, "POST", f"/v1/releases/{everybody['id']}/revocation")
        assert await end_releases(database, admin.clinic_id) == 1
    refused = await built(researcher, admin, database, cohort=BY_VEIN)
    assert said(refused) == ("failed", "too_near_an_earlier_release")
    assert refused["progress"]["persons_read"] == 0
    assert (await trail(database, admin))[-1] == "release.fail"
    again = await built(researcher, admin, database)
    assert (again["status"], again["manifest"]["persons_out"]) == ("ready", 28)


async def test_a_few_who_are_new_wait_until_they_are_enough(researcher: Api, admin: Api, database: Database) -> None:
    """The same people again, and the new ones counted among those left out; eleven are told."""
    await settle(database, admin.clinic_id, people(20))
    await built(researcher, admin, database)
    await settle(database, admin.clinic_id, people(10))
    few = (await built(researcher, admin, database))["manifest"]
    assert (few["persons_in"], few["persons_out"], few["persons_left_out"]) == (30, 20, 10)
    assert (few["rows_in"], few["rows_out"]) == (30 * 4, 20 * 4)
    await settle(database, admin.clinic_id, people(1))
    enough = (await built(researcher, admin, database))["manifest"]
    assert (enough["persons_in"], enough["persons_out"]) == (31, 31)


async def test_others_altogether_are_not_compared(researcher: Api, admin: Api, database: Database) -> None:
    await settle(database, admin.clinic_id, people(20) + people(12, route="oral"))
    assert (await built(researcher, admin, database, cohort=BY_VEIN))["status"] == "ready"
    assert (await built(researcher, admin, database, cohort={"route": "oral"}))["status"] == "ready"


@pytest.mark.parametrize("way", ["withdrawn", "erased"])
async def test_who_has_left_does_not_stand_in_the_way(
    researcher: Api, admin: Api, database: Database, way: str
) -> None:
    """The next release is without them, and is made."""
    await settle(database, admin.clinic_id, people(20))
    await built(researcher, admin, database)
    patient = (await send(admin, "GET", "/v1/patients"))["data"][3]["id"]
    if way == "withdrawn":
        await withdraw(admin, patient)
    else:
        gone = await admin.http.delete(f"/v1/patients/{patient}?ground=patient_request", headers={"If-Match": '"1"'})
        assert gone.is_success
    next_ = await built(researcher, admin, database)
    assert (next_["status"], next_["manifest"]["persons_in"], next_["manifest"]["persons_out"]) == ("ready", 19, 19)


async def test_nobody_is_left_out_beside_a_release_that_has_them(
    researcher: Api, admin: Api, database: Database
) -> None:
    """Told more coarsely instead: who is missing from the second would be known to be unusual."""
    usual, unusual = people(60), people(2, dose_mg=200)
    await settle(database, admin.clinic_id, usual + unusual)
    coarse = ["persons.modality", "persons.category", "scores.total"]
    first = await built(researcher, admin, database, columns=coarse)
    assert first["manifest"]["persons_out"] == 62
    fine = [*coarse, "persons.dose_mg"]
    second = await built(researcher, admin, database, columns=fine)
    assert (second["manifest"]["persons_out"], second["manifest"]["rungs"]["dose_mg"]) == (62, 3)


def overtake(monkeypatch: pytest.MonkeyPatch, admin: Api, database: Database, fast: dict[str, Any]) -> None:
    """After the next release is read, and before it is stored, this one becomes ready."""
    genuine: Callable[..., Any] = release_contents.build

    async def overtaken(*arguments: Any) -> release_contents.Built:
        made: release_contents.Built = await genuine(*arguments)
        monkeypatch.setattr(release_builds, "build", genuine)
        await approve(admin, fast)
        assert await release_builds.build_next(database, admin.clinic_id, UUID(fast["id"])) == 1
        return made

    monkeypatch.setattr(release_builds, "build", overtaken)


async def test_the_slower_of_two_looks_at_the_faster(
    researcher: Api, admin: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither saw the other in its snapshot; the one that comes second is built anew beside the first."""
    await settle(database, admin.clinic_id, people(20) + people(8, route="oral"))
    slow, fast = await ask(researcher, cohort=BY_VEIN), await ask(researcher)
    await approve(admin, slow)
    overtake(monkeypatch, admin, database, fast)
    await release_builds.build_next(database, admin.clinic_id)
    assert said(await send(researcher, "GET", f"/v1/releases/{fast['id']}")) == ("ready", None)
    assert said(await send(researcher, "GET", f"/v1/releases/{slow['id']}")) == ("approved", None)
    await release_builds.build_next(database, admin.clinic_id)
    now = await send(researcher, "GET", f"/v1/releases/{slow['id']}")
    assert said(now) == ("failed", "too_near_an_earlier_release")


async def test_of_what_has_ended_the_names_are_gone_and_the_people_are_kept(
    researcher: Api, admin: Api, database: Database
) -> None:
    await settle(database, admin.clinic_id, people(12))
    release = await built(researcher, admin, database)
    assert len(await rows_of(researcher, release)) == 24
    await send(researcher, "POST", f"/v1/releases/{release['id']}/revocation")
    await end_releases(database, admin.clinic_id)
    async with database.connection(admin.clinic_id) as connection:
        rows = await connection.fetch("SELECT pseudonym FROM release_person")
    assert [row["pseudonym"] for row in rows] == [None] * 12


# --- What all of them tell together -----------------------------------------------------------------------------------

ROUTES, DOSES = ["persons.route", "scores.total"], ["persons.dose_mg", "scores.total"]
CROSSED = [(12, "intravenous", 35), (12, "intravenous", 200), (12, "oral", 35), (1, "oral", 200)]


def crossed() -> list[Invented]:
    """One alone with his route and dose together, and among a dozen by each."""
    return [one for count, route, dose in CROSSED for one in people(count, route=route, dose_mg=dose)]


def beside(release: dict[str, Any]) -> dict[str, Any] | None:
    assert release["status"] == "ready", release["failure"]
    found: dict[str, Any] | None = release["manifest"]["beside_earlier_releases"]
    return found


@pytest.mark.parametrize("ended", [False, True])
async def test_routes_beside_doses_are_told_to_find_somebody(
    researcher: Api, admin: Api, database: Database, *, ended: bool
) -> None:
    """Each has a k of its own above 11. Also when the first has ended and is forgotten: somebody has the files."""
    await settle(database, admin.clinic_id, crossed())
    first = await built(researcher, admin, database, columns=ROUTES)
    assert beside(first) is None
    if ended:
        await send(researcher, "POST", f"/v1/releases/{first['id']}/revocation")
        assert await end_releases(database, admin.clinic_id) == 1
    second = await built(researcher, admin, database, columns=DOSES)
    assert first["manifest"]["k"] == second["manifest"]["k"] == 13
    rate = pytest.approx(1 / 37)
    assert beside(second) == {"releases": 1, "k": 1, "alone_rate": rate, "small_rate": rate, "others_k": None}
    assert "finds 2.7 % alone, and 2.7 % among fewer than 11: some are alone." in second["manifest"]["odds"][-1]
    third = await built(researcher, admin, database, columns=["scores.total"])
    assert beside(third) == {"releases": 2, "k": 1, "alone_rate": rate, "small_rate": rate, "others_k": None}


async def test_the_same_columns_of_the_same_people_tell_no_more(
    researcher: Api, admin: Api, database: Database
) -> None:
    await settle(database, admin.clinic_id, crossed())
    for releases in range(3):
        again = await built(researcher, admin, database, columns=ROUTES)
        found = beside(again) or {"releases": 0, "k": again["manifest"]["k"]}
        assert (found["releases"], found["k"]) == (releases, 13)


async def test_a_few_who_are_new_in_their_class_are_told(researcher: Api, admin: Api, database: Database) -> None:
    """Enough in all, and few of each route."""
    await settle(database, admin.clinic_id, people(20) + people(20, route="oral"))
    await built(researcher, admin, database, columns=ROUTES)
    await settle(database, admin.clinic_id, people(6) + people(5, route="oral"))
    grown = await built(researcher, admin, database, columns=ROUTES)
    assert (grown["manifest"]["persons_out"], grown["manifest"]["k"]) == (51, 25)
    small_rate = pytest.approx(11 / 51)
    assert beside(grown) == {"releases": 1, "k": 5, "alone_rate": 0, "small_rate": small_rate, "others_k": None}


async def test_a_few_who_are_left_over_of_their_class_are_told(researcher: Api, admin: Api, database: Database) -> None:
    """By a filter: who is told in the first alone was not by vein, and one of them had another dose."""
    await settle(database, admin.clinic_id, crossed())
    await built(researcher, admin, database, columns=DOSES)
    by_vein = await built(researcher, admin, database, columns=DOSES, cohort=BY_VEIN)
    assert beside(by_vein) == {"releases": 1, "k": 12, "alone_rate": 0, "small_rate": 0, "others_k": 1}


@pytest.mark.parametrize(("columns", "status"), [(DOSES, "approved"), (ROUTES, "ready")])
async def test_the_slower_of_two_counts_the_faster(
    researcher: Api, admin: Api, database: Database, monkeypatch: pytest.MonkeyPatch, columns: list[str], status: str
) -> None:
    """With other columns it is built anew, or neither manifest would tell. The same ones tell no more of anybody."""
    await settle(database, admin.clinic_id, crossed())
    slow, fast = await ask(researcher, columns=columns), await ask(researcher, columns=ROUTES)
    await approve(admin, slow)
    overtake(monkeypatch, admin, database, fast)
    await release_builds.build_next(database, admin.clinic_id)
    now = await send(researcher, "GET", f"/v1/releases/{slow['id']}")
    assert said(now) == (status, None)
    if status == "approved":
        await release_builds.build_next(database, admin.clinic_id)
        found = beside(await send(researcher, "GET", f"/v1/releases/{slow['id']}"))
        assert found is not None
        assert (found["releases"], found["k"]) == (1, 1)


async def test_without_a_word_of_persons_there_is_no_class(researcher: Api, admin: Api, database: Database) -> None:
    await settle(database, admin.clinic_id, people(20))
    await built(researcher, admin, database, columns=["scores.total"])
    async with database.connection(admin.clinic_id) as connection:
        rows = await connection.fetch("SELECT told_as FROM release_person")
    assert [row["told_as"] for row in rows] == [None] * 20
