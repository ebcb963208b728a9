"""No column can be written by its name: every column of every table, offered in every object of every body."""

import json
from typing import Any, Final

import pytest
from sqlmodel import SQLModel

from app.auth import Role
from tests.api import schema_reader
from tests.security.answers import told
from tests.security.conftest import Pair
from tests.security.operations import DOCUMENT, OPERATIONS, WRITES, Operation, at, leaves_of, put_at

pytestmark = pytest.mark.anyio

COLUMNS: Final = sorted({column.name for table in SQLModel.metadata.tables.values() for column in table.columns})
# What the service alone decides: whose a row is, who wrote it and when, and all that is computed.
OURS: Final = {
    "actor_id", "actor_role", "clinic_id", "created_at", "created_by", "device_skew_seconds", "fingerprint",
    "instrument_version", "principal_id", "received_at", "recorded_at", "recorded_by", "role", "secret", "secret_hash",
    "total", "tries_left", "validity", "version",
}  # fmt: skip


def objects_of(operation: Operation, body: Any) -> list[tuple[tuple[Any, ...], dict[str, Any] | None]]:
    """Where a body has objects, with the schema of each; none for a mapping whose keys are data."""
    places = [place for place in leaves_of(body) if isinstance(at(body, place), dict)]
    return [(place, schema_at(operation, place)) for place in places]


def schema_at(operation: Operation, place: tuple[Any, ...]) -> dict[str, Any] | None:
    schema = variant(operation.entry["requestBody"]["content"]["application/json"]["schema"])
    for key in place:
        if schema is None:
            return None
        schema = variant(schema.get("items", {}) if isinstance(key, int) else schema["properties"][key])
    return schema if schema and "properties" in schema else None


def variant(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The one that is not null."""
    schema = schema_reader.resolved(schema, DOCUMENT)
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return schema_reader.resolved(kinds[0], DOCUMENT) if kinds else schema


def properties() -> set[str]:
    """Every field a body may have."""
    return {
        name
        for operation in WRITES
        for _, schema in objects_of(operation, operation.sound.body)
        for name in (schema or {}).get("properties", ())
        if (operation.id, name) != ("create_token", "role")  # what a new token may do is its maker's to say
    }


def test_no_body_has_a_field_the_service_decides() -> None:
    """Neither at the top nor inside."""
    assert set(COLUMNS) >= OURS
    assert properties() & OURS == set()


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.id)
async def test_every_column_is_refused(pair: Pair, operation: Operation) -> None:
    """Each in each object of the body, next to what makes it sound: 422 for the name, and nothing stored."""
    asked = operation.request(pair.own.things)
    http = pair.own.http[min(operation.roles)]
    before = await pair.own.rows()
    for place, schema in objects_of(operation, asked["json"]):
        inside = at(asked["json"], place)
        known = {} if schema is None else schema["properties"]
        offered = {
            name: inside.get(name, "01a1fe14-6628-7bfe-a496-d362af068d9b") for name in COLUMNS if name not in known
        }
        answer = await http.request(**asked | {"json": put_at(asked["json"], place, inside | offered)})
        faults = refusals(operation, answer.json())
        assert faults, (operation.id, place, answer.text)
        if schema is not None:
            assert faults.count("unknown_field") == len(offered), (operation.id, place)
    assert without_tries(await pair.own.rows()) == without_tries(before)


def refusals(operation: Operation, answer: dict[str, Any]) -> list[str]:
    """The codes of what is wrong; of its row, where many are sent."""
    if operation.id == "submit_batch" and "outcomes" in answer:
        (outcome,) = answer["outcomes"]
        assert "assessment" not in outcome
        answer = outcome["problem"]
    assert answer["status"] == 422, answer
    return [error["code"] for error in answer["errors"]]


def without_tries(rows: dict[str, list[str]]) -> dict[str, list[str]]:
    """A refused answer costs a try of its link, and what is refused about research data is told in the trail."""
    kept = [event for event in rows["audit_event"] if json.loads(event)["outcome"] != "refused"]
    return rows | {"check_in_link": [], "audit_event": kept}


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.PATIENT])
async def test_no_column_in_a_query_changes_an_answer(pair: Pair, role: Role) -> None:
    """What a route does not ask for it does not read, whoever's id stands there."""
    for operation in OPERATIONS:
        if operation.is_write or role not in operation.roles:
            continue
        asked = operation.request(pair.own.things)
        more = {name: str(pair.foreign.clinic_id) for name in COLUMNS if name not in operation.parameters("query")}
        answers = [
            await pair.own.http[role].request(**asked | {"params": params})
            for params in (asked["params"], asked["params"] | more)
        ]
        assert answers[0].status_code == 200, operation.id
        if operation.id in {"list_audit_events", "list_accesses"}:  # each look adds itself to what the next one sees
            before, after = (answer.json()["data"] for answer in answers)
            assert after[1 : len(before) + 1] == before[: len(after) - 1]
        elif operation.id == "get_everything":  # the trail is a part of it
            before, after = (answer.json() | {"as_of": None} for answer in answers)
            assert after["parts"].pop("audit_event")[1:] == before["parts"].pop("audit_event")
            assert after == before
        else:
            assert told(answers[0]) == told(answers[1]), operation.id
