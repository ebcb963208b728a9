"""In which research releases somebody is, as they read it themselves: other clinic, other patients, valid, the end."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from app.audit import Outcome, record_read, record_refusal
from app.auth import Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.schemas.everything import ReleaseOfPerson
from app.services.releases import end_releases, worker_of
from app.tables import Clinic
from tests.api.test_everything import read
from tests.api.test_releases import ASKED, approve, ask, built, download, end_of_time, rows_of, send, withdraw
from tests.cohort_clinic import START, Invented, settle
from tests.conftest import Api, client

pytestmark = pytest.mark.anyio

PEOPLE = 12
DOWNLOADS = {"release_file.read", "release.export"}


@pytest.fixture
async def people(database: Database, admin: Api) -> list[str]:
    """Who consented and can hide among each other."""
    forms: dict[str, list[tuple[float, float | None]]] = {"phq-9": [(-2, 18), (8, 7)]}
    other = forms | {"phq-9": [(-2, 18), (8, 17)]}
    invented = [
        Invented(START + timedelta(minutes=number), forms=other if number % 2 else forms) for number in range(PEOPLE)
    ]
    await settle(database, admin.clinic_id, invented)
    return [row["id"] for row in (await send(admin, "GET", "/v1/patients"))["data"]]


@pytest.fixture
async def mine(app: FastAPI, database: Database, clinic: Clinic, people: list[str]) -> AsyncIterator[Api]:
    """The first of them."""
    api = await client(app, database, clinic, Role.PATIENT, UUID(people[0]))
    async with api.http:
        yield api


async def releases_of(api: Api, patient: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await read(api, patient))["parts"]["release_person"]
    return found


async def test_of_another_clinic_and_of_whoever_is_not_in_it_there_is_none(
    researcher: Api, admin: Api, other_api: Api, database: Database, people: list[str]
) -> None:
    outside = await admin.add_patient("consented to nothing")
    await built(researcher, admin, database)
    assert await releases_of(admin, outside) == []
    assert await releases_of(other_api, await other_api.add_patient()) == []
    assert (await other_api.http.get(f"/v1/patients/{people[0]}/everything")).status_code == 404


async def test_what_was_told_for_what_to_whom_until_when(
    researcher: Api, admin: Api, database: Database, mine: Api, people: list[str]
) -> None:
    """In the words of the release, to the patient as to the clinic."""
    release = await built(researcher, admin, database)
    told = await releases_of(mine, people[0])
    assert told == [
        {
            "release_id": release["id"],
            "purpose": ASKED["purpose"],
            "recipient": ASKED["recipient"],
            "tier": ASKED["tier"],
            "instruments": ["phq-9@1"],
            "columns": [f"{column['table']}.{column['name']}" for column in release["manifest"]["columns"]],
            "ready_at": release["ready_at"],
            "expires_at": release["expires_at"],
            "status": "ready",
            "downloads": [],
        }
    ]
    assert {"persons.category", "scores.total", "scores.week"} <= set(told[0]["columns"])
    assert await releases_of(admin, people[0]) == told


async def test_neither_the_name_there_nor_anything_of_the_others_is_told(
    researcher: Api, admin: Api, database: Database, mine: Api, people: list[str]
) -> None:
    """Not how many they are either: the manifest, which counts them, is not in it."""
    release = await built(researcher, admin, database)
    names = {row["patient"] for row in await rows_of(researcher, release, "persons.csv")}
    assert len(names) == PEOPLE
    (told,) = await releases_of(mine, people[0])
    assert set(told) == set(ReleaseOfPerson.model_fields)
    whole = json.dumps(await read(mine, people[0]))
    assert [one for one in {*names, *people[1:], "persons_out", "known_at"} if one in whole] == []
    assert PEOPLE not in told.values()


async def test_downloads_of_rows_are_told_with_who_asked_for_them(
    researcher: Api, admin: Api, database: Database, mine: Api, people: list[str]
) -> None:
    """Over the API and on the command line. A document has no rows of anybody; what was refused told nothing."""
    release = await built(researcher, admin, database)
    for api, name in ((researcher, "scores.csv"), (researcher, "datapackage.json"), (admin, "persons.csv")):
        assert (await download(api, release, name)).status_code == 200
    assert (await download(researcher, release, "no-such.csv")).status_code == 404
    operator = worker_of(admin.clinic_id)
    async with database.session(operator) as session:
        await record_read(session, operator, "release.export", of=None, resource_id=UUID(release["id"]), rows=PEOPLE)
    await send(admin, "POST", f"/v1/releases/{release['id']}/revocation")
    assert (await download(researcher, release, "scores.csv")).status_code == 410
    async with database.connection(operator) as connection:
        await record_refusal(connection, operator, "release.export", Outcome.REFUSED, UUID(release["id"]))
    (told,) = await releases_of(mine, people[0])
    events = (await send(admin, "GET", "/v1/audit-events"))["data"]
    of_rows = [one for one in reversed(events) if one["action"] in DOWNLOADS and one["rows"]]
    assert [one["action"] for one in of_rows] == ["release_file.read", "release_file.read", "release.export"]
    assert told["downloads"] == [{"at": one["at"], "actor_id": one["actor_id"]} for one in of_rows]
    assert len({one["actor_id"] for one in told["downloads"]}) == 3


async def test_what_never_became_ready_told_nobody_anything(
    researcher: Api, admin: Api, database: Database, mine: Api, people: list[str]
) -> None:
    """Asked for, approved, failed."""
    failed = await built(researcher, admin, database, cohort={"first_dose_to": "2025-01"})
    assert failed["status"] == "failed"
    await ask(researcher)
    await approve(admin, await ask(researcher))
    assert await releases_of(mine, people[0]) == []


async def test_what_was_told_before_a_withdrawal_stays_told(
    researcher: Api, admin: Api, database: Database, mine: Api, people: list[str]
) -> None:
    """With its time, which is before that of the withdrawal. The next release is without them, and has the others."""
    before = await built(researcher, admin, database)
    await withdraw(mine, people[0])
    assert await end_releases(database, admin.clinic_id) == 2  # ended, and its names destroyed
    after = await built(researcher, admin, database)
    assert after["manifest"]["persons_out"] == PEOPLE - 1
    found = await read(mine, people[0])
    (told,) = found["parts"]["release_person"]
    assert (told["release_id"], told["status"], told["ready_at"]) == (before["id"], "revoked", before["ready_at"])
    withdrawn = [one["withdrawn_at"] for one in found["parts"]["consent"] if one["withdrawn_at"]]
    assert [datetime.fromisoformat(told["ready_at"]) < datetime.fromisoformat(at) for at in withdrawn] == [True]
    of_another = await releases_of(admin, people[1])
    assert [(one["release_id"], one["status"]) for one in of_another] == [
        (after["id"], "ready"),
        (before["id"], "revoked"),
    ]


async def test_what_has_expired_is_still_told(
    researcher: Api, admin: Api, database: Database, mine: Api, people: list[str], address: PostgresAddress
) -> None:
    release = await built(researcher, admin, database)
    await end_of_time(address, admin.clinic_id, release)
    await end_releases(database, admin.clinic_id)
    (told,) = await releases_of(mine, people[0])
    assert (told["release_id"], told["status"]) == (release["id"], "expired")


async def test_who_was_erased_is_in_none_and_the_others_are_in_it_still(
    researcher: Api, admin: Api, database: Database, people: list[str]
) -> None:
    release = await built(researcher, admin, database)
    gone = f"/v1/patients/{people[0]}?ground=patient_request"
    await send(admin, "DELETE", gone, **{"If-Match": '"1"'})
    assert (await admin.http.get(f"/v1/patients/{people[0]}/everything")).status_code == 404
    async with database.connection(admin.clinic_id) as connection:
        assert await connection.fetch("SELECT FROM releases_of($1)", UUID(people[0])) == []
    assert [one["release_id"] for one in await releases_of(admin, people[1])] == [release["id"]]


async def test_of_more_than_are_shown_the_newest_stay(
    researcher: Api, admin: Api, database: Database, mine: Api, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [await built(researcher, admin, database) for _ in range(2)]
    assert [one["release_id"] for one in await releases_of(mine, people[0])] == [second["id"], first["id"]]
    monkeypatch.setattr("app.services.everything.MOST_ROWS", 1)
    found = await read(mine, people[0])
    assert [one["release_id"] for one in found["parts"]["release_person"]] == [second["id"]]
    assert "release_person" in found["cut"]
