"""What Postgres shows to whom when no check of the application is asked any more."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from app import deps
from app.auth import Actor, Role
from app.db import Database
from app.ids import new_id
from app.services import clinics
from app.tables import Clinic
from tests.security.answers import told
from tests.security.estate import Estate, open_estate
from tests.security.operations import OPERATIONS, Operation
from tests.security.sabotage import forgetful
from tests.services.test_tenancy import OF_NOBODY

pytestmark = pytest.mark.anyio

SECURED = [operation for operation in OPERATIONS if operation.path.startswith("/v1/")]
UNNAMED = [operation for operation in SECURED if not operation.is_write and "{" not in operation.path]
# What a clinic has decided, with or without patients.
CLINICS_OWN = {
    "get_clinic", "list_clinic_versions", "list_suitability_checklists", "list_thresholds", "list_webhooks",
    "list_tokens", "list_releases",
}  # fmt: skip


@pytest.fixture(scope="module")
async def estate(app: FastAPI, database: Database) -> AsyncIterator[Estate]:
    async with open_estate(app, database, "delta") as estate:
        yield estate


@pytest.fixture
def no_check(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every role may do everything, and goes on when it has ended itself: or chance would decide what answers 401."""
    monkeypatch.setattr(deps, "require", lambda _actor, _permission: None)
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 3_600.0)
    return iter(())


async def rows_of_patients(estate: Estate) -> dict[str, list[str]]:
    return {table: rows for table, rows in (await estate.rows()).items() if table not in OF_NOBODY}


def marks_of(estate: Estate) -> frozenset[str]:
    """Every id that stands for something of a patient."""
    clinics_own = {
        estate.things[kind]
        for kind in ("checklist", "threshold", "webhook", "erasure", "principal", "release", "ready_release")
    }
    return frozenset([*estate.things.values(), *estate.others.values()]) - clinics_own


# Rows of staff, and of the clinic itself.
ABOUT_OTHERS_TOO = {"api_token": "patient_id IS NOT NULL", "data_key": "id <> clinic_id"}


# --- Researchers ------------------------------------------------------------------------------------------------------


async def test_a_researchers_transaction_sees_no_row_of_any_patient(estate: Estate) -> None:
    """In every table of patients, though each of them holds some."""
    filled = {table for table, rows in (await rows_of_patients(estate)).items() if rows}
    assert len(filled) >= 19
    async with estate.database.connection(Actor(estate.clinic_id, new_id(), Role.RESEARCHER)) as connection:
        for table in sorted(filled):
            of_patients = ABOUT_OTHERS_TOO.get(table, "true")
            assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE {of_patients}") == 0, table


async def test_a_researchers_transaction_writes_about_no_patient(estate: Estate) -> None:
    """Neither a new one nor one that there is; an event about nobody it may add."""
    values = [estate.clinic_id, new_id()]
    actor = Actor(estate.clinic_id, new_id(), Role.RESEARCHER)
    event = "INSERT INTO audit_event (clinic_id, id, at, actor_id, actor_role, action, subject_id, resource_id)"
    for statement in (
        "INSERT INTO patient (clinic_id, id, created_at) VALUES ($1, $2, now())",
        f"{event} VALUES ($1, $2, now(), $2, 'researcher', 'forged', $2, $2)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with estate.database.connection(actor) as connection:
                await connection.execute(statement, *values)
    async with estate.database.connection(actor) as connection:
        await connection.execute(f"{event} VALUES ($1, $2, now(), $2, 'researcher', 'sound', NULL, $2)", *values)


@pytest.mark.usefixtures("no_check")
async def test_with_no_check_left_a_researcher_sees_no_patient(estate: Estate) -> None:
    """Whatever they name answers as what nobody has; no answer shows an id; nothing of any patient changes."""
    http, marks, before = estate.http[Role.RESEARCHER], marks_of(estate), await rows_of_patients(estate)
    for operation in SECURED:
        nobodys = {kind: str(new_id()) if id_ in marks else id_ for kind, id_ in estate.things.items()}
        theirs, absent = [await http.request(**operation.request(named)) for named in (estate.things, nobodys)]
        assert shown(operation, theirs, marks, estate.things) == [], operation.id
        if names_any_of(marks, operation, estate.things):
            assert told(theirs) == told(absent), operation.id
    after = await rows_of_patients(estate)
    for rows in (before, after):
        rows.pop("audit_event")  # what they did to the clinic's own
    assert after == before


@pytest.mark.usefixtures("no_check")
async def test_with_no_check_left_a_clinic_counts_as_an_empty_one(
    app: FastAPI, database: Database, clinic: Clinic, estate: Estate
) -> None:
    """To a researcher: the same bytes whether the clinic treats anybody or not."""
    _, token = await clinics.record_token(database, clinic.clinic_id, Role.RESEARCHER)
    compared = 0
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test", headers={"Authorization": f"Bearer {token}"}
    ) as empty:
        for operation in UNNAMED:
            if operation.id in CLINICS_OWN:
                continue
            asked = operation.request(estate.things) | {"params": {}}
            full = await estate.http[Role.RESEARCHER].request(**asked)
            assert told(full) == told(await empty.request(**asked)), operation.id
            compared += full.status_code == 200
    assert compared >= 8


async def test_a_researcher_is_refused_before_anything_is_read(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every filter, order, count and tag: one answer in the same bytes, and the one statement that tells of it."""
    http = estate.http[Role.RESEARCHER]
    assert (await http.get("/v1/instruments")).status_code == 200  # the token is known for a second from here on
    refused = [operation for operation in SECURED if Role.RESEARCHER not in operation.roles]
    with forgetful(monkeypatch) as sent:
        answers = [await http.request(**asked) for operation in refused for asked in attempts(operation, estate)]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.content for answer in answers}) == 1
    of_who_asks = ("api_token", "request_rate", "INSERT INTO audit_event")
    assert [one for one in sent if not any(name in one for name in of_who_asks)] == []
    assert len(answers) > 2 * len(refused)


def attempts(operation: Operation, estate: Estate) -> Iterator[dict[str, Any]]:
    """Sound, for another's thing, with every parameter filled in rightly and wrongly, and conditional."""
    yield (asked := operation.request(estate.things))
    yield operation.request({kind: str(new_id()) for kind in estate.things})
    for name in operation.parameters("query"):
        for value in (estate.things["patient"], "worst", "true", "1", "2026-01-01T00:00:00Z", "'", ""):
            yield asked | {"params": {name: value}}
    yield asked | {"headers": {"If-Match": '"1"', "Idempotency-Key": "k", "If-None-Match": '"1"'}}


# --- Who stands for one patient ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", [Role.PATIENT, Role.LINK])
@pytest.mark.usefixtures("no_check")
async def test_with_no_check_left_a_patient_sees_no_other(app: FastAPI, database: Database, caller: Role) -> None:
    """Whatever they name of another patient answers as what nobody has; no answer shows anything of the other."""
    async with open_estate(app, database, "echo") as estate:
        http = estate.http[caller]
        marks = frozenset(estate.others.values()) - frozenset(estate.things.values())
        before = await rows_of_patients(estate)
        for operation in SECURED:
            nobodys = {kind: str(new_id()) if id_ in marks else id_ for kind, id_ in estate.others.items()}
            theirs, absent = [await http.request(**operation.request(named)) for named in (estate.others, nobodys)]
            assert shown(operation, theirs, marks, estate.others) == [], operation.id
            if names_any_of(marks, operation, estate.others):
                assert told(theirs) == told(absent), operation.id
            wide = await http.request(**operation.request(estate.things) | {"params": {}})
            assert shown(operation, wide, marks, {}) == [], operation.id
        after = await rows_of_patients(estate)
    other = estate.others["patient"]
    assert [row for rows in after.values() for row in rows if other in row] == [
        row for rows in before.values() for row in rows if other in row
    ]


def names_any_of(marks: frozenset[str], operation: Operation, things: dict[str, str]) -> bool:
    return any(things[slot.kind] in marks for slot in operation.slots())


def shown(operation: Operation, answer: httpx2.Response, marks: frozenset[str], named: dict[str, str]) -> list[str]:
    """What an answer shows beyond what was asked for by name."""
    asked = str(operation.request(named)) if named else ""
    return [mark for mark in marks if mark in answer.text and mark not in asked]
