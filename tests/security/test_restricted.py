"""To a clinician of another care team a restricted patient is as absent as another clinic's: by every route."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from fastapi import FastAPI

from app import deps
from app.auth import Actor, Role
from app.db import Database
from app.ids import new_id
from tests.security.answers import told
from tests.security.estate import Estate, open_estate
from tests.security.operations import OPERATIONS
from tests.security.test_floor import rows_of_patients
from tests.security.test_object_authorization import is_absence, swaps

pytestmark = pytest.mark.anyio


@pytest.fixture
async def estate(app: FastAPI, database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Estate]:
    """The second patient, with one of everything, is restricted to nobody."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 0.0)
    async with open_estate(app, database, "foxtrot") as estate:
        address = f"/v1/patients/{estate.others['patient']}/care-team"
        team = {"restricted": True, "members": [], "reason": "a colleague"}
        answer = await estate.http[Role.ADMIN].put(address, json=team, headers={"If-Match": '"1"'})
        assert answer.status_code == 200
        yield estate


async def test_whatever_of_the_patient_is_named_answers_as_absent(estate: Estate) -> None:
    """In paths, queries and bodies: the same status, headers and bytes; nothing of the patient changes."""
    before, tried = await rows_of_patients(estate), 0
    for operation, slot in swaps(Role.CLINICIAN):
        hidden = estate.others[slot.kind]
        if hidden == estate.things[slot.kind]:
            continue
        answers = [
            await estate.http[Role.CLINICIAN].request(**operation.request(estate.things, slot, by))
            for by in (hidden, str(new_id()))
        ]
        named = f"{operation.id} {slot}"
        assert told(answers[0]) == told(answers[1]), named
        assert is_absence(operation, slot, answers[0]), (named, answers[0].text)
        tried += 1
    assert tried > 50
    assert {**await rows_of_patients(estate), "audit_event": []} == {**before, "audit_event": []}


async def test_no_answer_shows_anything_of_the_patient(estate: Estate) -> None:
    """Whatever is read without naming it, with each page as long as it can be."""
    marks = frozenset(estate.others.values()) - frozenset(estate.things.values())
    for operation in OPERATIONS:
        if Role.CLINICIAN in operation.roles and not operation.is_write:
            asked = operation.request(estate.things)
            limits = {"limit": 200} if "limit" in operation.parameters("query") else {}
            wide = {name: value for name, value in asked["params"].items() if name == "instrument"}
            answer = await estate.http[Role.CLINICIAN].request(**asked | {"params": wide | limits})
            assert answer.status_code == 200, (operation.id, answer.text)
            assert [mark for mark in marks if mark in answer.text] == [], operation.id


async def test_the_clinicians_own_transactions_hold_no_row_of_the_patient(estate: Estate) -> None:
    """Postgres keeps them back, table by table, whatever the application asks for."""
    hidden = UUID(estate.others["patient"])
    rows = await rows_of_patients(estate)
    held = {table for table, found in rows.items() if any(str(hidden) in row for row in found)}
    assert len(held) >= 16
    actor = Actor(estate.clinic_id, new_id(), Role.CLINICIAN, hidden=frozenset({hidden}))
    async with estate.database.connection(actor) as connection:
        for table in sorted(held):
            seen = await connection.fetch(f"SELECT to_jsonb(t)::text AS row FROM {table} t")
            assert [row["row"] for row in seen if str(hidden) in row["row"]] == [], table
            assert seen, table
