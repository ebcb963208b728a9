"""`tidemark caseload`, `due`, `alerts`: as tables that fit a terminal and as JSON, read from the real database."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.db import Database
from app.errors import InvalidError, NotFoundError
from app.services import clinics
from app.services.operators import OPERATOR_PRINCIPAL
from tests.api import caseload_oracle as oracle
from tests.api.caseload_oracle import Person

T = TypeVar("T")
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def settled(on_database: Callable[..., Any], people: list[Person]) -> str:
    """The id of a new clinic with these patients."""

    async def work(database: Database) -> str:
        clinic = await clinics.record_clinic(database, "Command line", "UTC")
        async with database.connection(clinic.clinic_id) as connection:
            await oracle.store(connection, database.keys, clinic.clinic_id, people, "phq-9")
        return str(clinic.clinic_id)

    made: str = on_database(work)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def said(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def answered(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said(*arguments, "--json"))
    return answer


def person(number: int, ref: str | None, **facts: Any) -> Person:
    return replace(Person(UUID(int=number << 64 | uuid4().int >> 64, version=4), ref, NOW - 50 * DAY), **facts)


def standing(**changes: Any) -> dict[str, Any]:
    row = {
        "episode_id": None,
        "assessment_id": uuid4(),
        "taken_at": NOW - timedelta(days=6, hours=1),
        "validity": "valid",
        "total": 190 / 9,
        "severity": "severe",
        "change_since_last": 1,
        "baseline_id": uuid4(),
        "baseline_rule": "first",
        "baseline_total": 18,
        "change": 28 / 9,
        "percent_change": 17.3,
        "category": "deteriorated",
        "on_track": False,
        "on_track_reason": "no_improvement_in_time",
        "forms": 5,
        "doses": 0,
        "last_dose_at": None,
    }
    return row | changes


def three() -> list[Person]:
    """One who is worse, one nobody has heard of, one who is well."""
    late = (NOW - 2 * DAY, NOW - DAY, NOW + DAY, False)
    missed = (NOW - 9 * DAY, NOW - 8 * DAY, NOW - 7 * DAY, False)
    session = oracle.Session("integration", [("planned", NOW + timedelta(days=3, hours=1), False)])
    return [
        person(1, "chart-1", standing=standing(category="recovered", on_track=True, change=-12)),
        person(
            2,
            "a reference that is far too long for a table",
            standing=standing(),
            alerts=[("open", NOW - 3 * DAY), ("acknowledged", NOW - 5 * DAY), ("resolved", NOW)],
            windows=[late, missed],
            sessions=[session],
        ),
        person(3, None),
    ]


def lines_of(table: str) -> list[str]:
    lines = table.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def test_the_caseload_fits_80_columns_and_says_what_is_unknown(on_database: Callable[..., Any]) -> None:
    """Worst first; a patient without forms is there with question marks; the counts and the warning stand below."""
    people = three()
    lines = lines_of(said("caseload", "--clinic", settled(on_database, people)))
    assert lines[0] == "patient        score change category     track alerts late missed silent next"
    assert lines[1].split()[-9:] == ["21.1", "+3.11", "deteriorated", "no", "1+1", "1", "1", "6d", "3d"]
    assert lines[1].startswith("a reference")
    assert lines[2].split() == [f"…{str(people[2].id)[-12:]}", "?", "?", "?", "?", "0+0", "0", "0", "never", "none"]
    assert lines[3].split() == ["chart-1", "21.1", "-12", "recovered", "yes", "0+0", "0", "0", "6d", "none"]
    told = " ".join(lines[4:])
    assert "3 of 3 shown. 3 patients in the clinic, 1 of them without any phq-9." in told
    assert "No alert is no all-clear." in told


def test_a_reference_cannot_command_the_terminal(on_database: Callable[..., Any]) -> None:
    """Neither by escape sequences nor by the markup of the table's printer."""
    clinic_id = settled(on_database, [person(1, "\x1b[2J\x07[red]x")])
    table = said("caseload", "--clinic", clinic_id)
    assert "\x1b" not in table
    assert "?[2J?[red]x" in table


def test_the_caseload_as_json_is_what_the_api_answers(on_database: Callable[..., Any]) -> None:
    """Whole ids, rules, counts; filters, order and pages as there."""
    people = oracle.made_up(41, 40)
    clinic_id = settled(on_database, people)
    whole = answered("caseload", "--clinic", clinic_id, "--sort", "name")
    assert [row["patient_id"] for row in whole["data"]] == oracle.ids(oracle.in_order(people, "name", -1))
    assert "no all-clear" in whole["rules"]["alerts"]
    order = ("caseload", "--clinic", clinic_id, "--category", "harmed", "--category", "unknown", "--no-alerts")
    wanted = {"category": ["harmed", "unknown"], "has_open_alerts": "false"}
    expected = oracle.ids(oracle.in_order([p for p in people if oracle.matches(p, wanted)], "worst", -1))
    first = answered(*order, "--limit", "3")
    second = answered(*order, "--cursor", first["next_cursor"])
    assert len(first["data"]) == 3
    assert [row["patient_id"] for row in first["data"] + second["data"]] == expected
    one = answered("caseload", "--clinic", clinic_id, "--patient", str(people[7].id))
    assert [row["patient_id"] for row in one["data"]] == [str(people[7].id)]


def test_due_lists_what_has_not_come(on_database: Callable[..., Any]) -> None:
    """Due and overdue unless other statuses are asked for; what came is refused, for nobody waits for it."""
    people = three()
    clinic_id = settled(on_database, people)
    lines = lines_of(said("due", "--clinic", clinic_id))
    assert lines[0].split() == ["patient", "instrument", "status", "late", "from", "(UTC)", "closes", "(UTC)"]
    assert lines[1].startswith("a reference")
    assert lines[1].split()[-6:-3] == ["pcl-5-week", "overdue", f"{NOW - DAY:%Y-%m-%d}"]
    assert lines[2:] == ["1 shown."]
    found = answered("due", "--clinic", clinic_id, "--status", "missed", "--status", "overdue")
    assert [(row["patient_id"], row["status"]) for row in found["data"]] == [
        (str(people[1].id), "missed"),
        (str(people[1].id), "overdue"),
    ]
    assert answered("due", "--clinic", clinic_id, "--patient", str(people[0].id))["data"] == []
    assert answered("due", "--clinic", clinic_id, "--instrument", "gad-7")["data"] == []
    assert isinstance(run("due", "--clinic", clinic_id, "--status", "received").exception, InvalidError)


def test_alerts_are_listed_longest_waiting_first(on_database: Callable[..., Any]) -> None:
    """Open and acknowledged unless other statuses are asked for, with the note that they are not everything."""
    people = three()
    clinic_id = settled(on_database, people)
    table = said("alerts", "--clinic", clinic_id)
    lines = lines_of(table)
    assert lines[0].split() == ["patient", "what", "status", "raised", "(UTC)", "age"]
    assert [line.split()[-1] for line in lines if line.startswith("a reference")] == ["5d", "3d"]
    assert "no alert never means no risk" in " ".join(lines)
    found = answered("alerts", "--clinic", clinic_id, "--limit", "1")
    assert [(row["patient_id"], row["status"]) for row in found["data"]] == [(str(people[1].id), "acknowledged")]
    following = answered("alerts", "--clinic", clinic_id, "--cursor", found["next_cursor"])
    assert [row["status"] for row in following["data"]] == ["open"]
    assert len(answered("alerts", "--clinic", clinic_id, "--status", "resolved")["data"]) == 1
    assert answered("alerts", "--clinic", clinic_id, "--kind", "critical_item")["data"] == []


@pytest.mark.parametrize("command", ["caseload", "due", "alerts"])
def test_each_clinic_by_itself(on_database: Callable[..., Any], command: str) -> None:
    """One without patients shows none of another's; one that does not exist is said to be unknown, not empty."""
    settled(on_database, three())
    empty = settled(on_database, [])
    assert answered(command, "--clinic", empty)["data"] == []
    assert max(map(len, said(command, "--clinic", empty).splitlines())) <= 80
    assert isinstance(run(command, "--clinic", str(uuid4())).exception, NotFoundError)
    assert isinstance(run(command, "--clinic", empty, "--cursor", "x").exception, InvalidError)


def test_what_was_shown_is_told_as_the_operators(on_database: Callable[..., Any]) -> None:
    """Of each look one event with whom it showed; without address, request or purpose, for there are none."""
    people = three()
    clinic = settled(on_database, people)
    for command, action, shown in (
        ("caseload", "caseload.list", people),
        ("due", "due.list", people[1:2]),
        ("alerts", "alert.list", people[1:2]),
    ):
        said(command, "--clinic", clinic)

        async def look(database: Database, action: str = action) -> list[Any]:
            statement = """
                SELECT event.*, ARRAY(SELECT patient_id FROM audit_subject WHERE event_id = event.id) AS several
                FROM audit_event event WHERE action = $1"""
            async with database.connection(UUID(clinic)) as connection:
                rows: list[Any] = await connection.fetch(statement, action)
            return rows

        (event,) = on_database(look)
        assert (event["actor_id"], event["outcome"]) == (OPERATOR_PRINCIPAL, "done")
        assert (event["address"], event["request_id"], event["purpose"]) == (None, None, None)
        assert {event["subject_id"], *event["several"]} - {None} == {person.id for person in shown}
