"""The `tidemark` command as people and scripts run it: output, exit status, one line for what went wrong."""

import asyncio
import csv
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
import typer
from typer.testing import CliRunner

from app import deps
from app.auth import parse_token
from app.cli import cli, main
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress
from app.services.operators import OPERATOR_PRINCIPAL
from tests.process.service import Service, plain_environment

ROOT = Path(__file__).parent.parent
FORMS = ROOT / "tests" / "data" / "madeup_phq9.csv"
MAPPED = ("--map", "patient=person", "--map", "responses=phq1..phq9", "--map", "taken_at=filled_in")
ANSWERS = "2,1,3,,0,1,1,0,0"
NOBODY = str(UUID(int=7))


@pytest.fixture(scope="session")
def environment(address: PostgresAddress) -> dict[str, str]:
    """The suite's own Postgres, as an operator would name it."""
    return plain_environment(TIDEMARK_DATABASE_URL=address.runtime_url, TIDEMARK_OWNER_DATABASE_URL=address.owner_url)


def tidemark(environment: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def printed(environment: Mapping[str, str], *arguments: str) -> str:
    finished = tidemark(environment, *arguments)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def said(environment: Mapping[str, str], *arguments: str) -> str:
    """The same from inside this process, because starting one takes more than a second."""
    outer = {name: None for name in os.environ if name.startswith("TIDEMARK_")}
    result = CliRunner().invoke(cli, arguments, env={**outer, **environment})
    assert (result.exit_code, result.stderr) == (0, ""), repr(result.exception)
    return result.stdout


@dataclass
class Refused:
    """Runs a command that has to fail, and gives the one line that a failure is."""

    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def __call__(self, environment: Mapping[str, str], *arguments: str) -> str:
        """In this process, because starting one takes most of a second; the same `main` runs as in any other."""
        for name in [name for name in os.environ if name.startswith("TIDEMARK_")]:
            self.patch.delenv(name)
        for name, value in environment.items():
            self.patch.setenv(name, value)
        self.patch.setattr(sys, "argv", ["tidemark", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code in (1, 2)
        return only_line(*self.capture.readouterr())


def only_line(stdout: str, stderr: str) -> str:
    assert stdout == ""
    (line,) = stderr.splitlines()
    assert line.startswith("tidemark: ")
    assert "Traceback" not in line
    assert "defect" not in line
    return line.removeprefix("tidemark: ")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    return Refused(capsys, monkeypatch)


@pytest.fixture(scope="session")
def clinic_id(environment: dict[str, str]) -> str:
    return str(json.loads(said(environment, "clinic", "create", "Command clinic", "--json"))["clinic_id"])


# --- Every command ----------------------------------------------------------------------------------------------------


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


COMMANDS = sorted(commands(typer.main.get_command(cli)))


def test_the_commands_of_the_contract_are_there() -> None:
    """Scripts of others are written against these names."""
    contract = {("serve",), ("demo",), ("migrate",), ("clinic", "create"), ("token", "create"), ("token", "revoke")}
    assert contract | {("import",), ("score",), ("instruments",)} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_helps(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--help` says what it does, under the name it is called by, without any setting or database."""
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", "nonsense")
    monkeypatch.setattr(sys, "argv", ["tidemark", *command, "--help"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert f"Usage: tidemark {' '.join(command)}" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_documented(command: tuple[str, ...]) -> None:
    """The page on operations names each."""
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert f"`tidemark {' '.join(command)}" in page


def test_saying_nothing_is_asking_for_help() -> None:
    """The list of commands, and an exit status that a script notices."""
    finished = tidemark(plain_environment())
    assert finished.returncode == 2
    assert "Commands" in finished.stdout
    assert finished.stderr == ""


# --- What they print --------------------------------------------------------------------------------------------------


def test_clinic_and_token_as_json(environment: dict[str, str], clinic_id: str) -> None:
    """Exactly the fields of the contract; the token is one the service knows."""
    assert UUID(clinic_id).version == 7
    answer = json.loads(said(environment, "token", "create", "--clinic", clinic_id, "--role", "admin", "--json"))
    assert answer.keys() == {"token_id", "token"}
    parts = parse_token(answer["token"])
    assert (str(parts.clinic_id), str(parts.token_id)) == (clinic_id, answer["token_id"])


def test_tokens_are_listed_without_their_secrets(environment: dict[str, str], clinic_id: str) -> None:
    """Newest first, each with what it may and how long; as a table too."""
    create = ("token", "create", "--clinic", clinic_id, "--role", "service", "--label", "nightly")
    scopes = ("--scope", "patients:read", "--scope", "assessments:write")
    made = json.loads(said(environment, *create, *scopes, "--expires", "30", "--json"))
    listed, *_ = json.loads(said(environment, "token", "list", "--clinic", clinic_id, "--json"))
    assert (listed["id"], listed["scopes"]) == (made["token_id"], ["assessments:write", "patients:read"])
    lives = datetime.fromisoformat(listed["expires_at"]) - datetime.fromisoformat(listed["created_at"])
    assert abs(lives - timedelta(days=30)) < timedelta(minutes=1)
    table = printed(environment | {"COLUMNS": "250"}, "token", "list", "--clinic", clinic_id)
    assert made["token_id"] in table
    assert made["token"][48:] not in table


@pytest.mark.anyio
async def test_a_code_of_the_command_line_lets_a_telephone_in(
    environment: dict[str, str], clinic_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """As the patient it was made for; the trail says that the operator made it."""
    by_admin = ("token", "create", "--clinic", clinic_id, "--role", "admin", "--json")
    token = json.loads(await asyncio.to_thread(said, environment, *by_admin))["token"]
    staff = {"Authorization": f"Bearer {token}"}
    patient = (await anonymous.post("/v1/patients", json={}, headers=staff)).json()["id"]
    create = ("enrolment", "create", "--clinic", clinic_id, "--patient", patient)
    made = json.loads(await asyncio.to_thread(said, environment, *create, "--expires", "2", "--json"))
    answer = await anonymous.post("/v1/enrolment", headers={"Authorization": f"Bearer {made['token']}"})
    assert answer.json()["patient_id"] == patient
    (event,) = (await anonymous.get("/v1/audit-events", params={"action": "enrolment.create"}, headers=staff)).json()[
        "data"
    ]
    assert (event["actor_id"], event["resource_id"]) == (str(OPERATOR_PRINCIPAL), made["enrolment_id"])


@pytest.mark.anyio
async def test_a_revoked_token_is_refused(
    environment: dict[str, str], clinic_id: str, anonymous: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works until it is revoked, and never again; revoking twice is no error."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 0.0)
    create = ("token", "create", "--clinic", clinic_id, "--role", "clinician", "--json")
    made = json.loads(await asyncio.to_thread(said, environment, *create))
    headers = {"Authorization": f"Bearer {made['token']}"}
    revoke = ("token", "revoke", made["token_id"], "--clinic", clinic_id)
    assert (await anonymous.get("/v1/instruments", headers=headers)).status_code == 200
    for _ in range(2):
        assert await asyncio.to_thread(said, environment, *revoke) == "The token is revoked.\n"
    assert (await anonymous.get("/v1/instruments", headers=headers)).status_code == 401


def test_score_as_json(environment: dict[str, str]) -> None:
    """Eight answers that sum to 8 are prorated to 9; what the blank could change is unknown."""
    answer = json.loads(said(environment, "score", "phq-9", ANSWERS, "--json"))
    assert (answer["instrument"], answer["total"], answer["validity"]) == ("phq-9@1", 9, "prorated")
    assert answer["severity"] == "Mild"
    assert answer["screen cut_point_10"] is None


def test_score_as_a_table(environment: dict[str, str]) -> None:
    """The same for people: unknown is said, not left out."""
    table = said(environment, "score", "phq-9", ANSWERS)
    assert re.search(r"^ *validity +prorated *$", table, flags=re.MULTILINE)
    assert re.search(r"^ *screen cut_point_10 +unknown *$", table, flags=re.MULTILINE)


def test_instruments(environment: dict[str, str]) -> None:
    """The table and the JSON have the same ones."""
    listed = json.loads(said(environment, "instruments", "--json"))
    table = printed(environment, "instruments")
    assert {"phq-9", "pcl-5-month", "pcl-5-week"} <= {one["id"] for one in listed}
    assert [one["id"] for one in listed if f"{one['id']}@{one['version']}" not in table] == []


def test_a_reader_that_has_enough_is_no_defect(environment: dict[str, str]) -> None:
    """`tidemark instruments | head -1` ends without a word of complaint."""
    line = f"{sys.executable} -m app instruments | head -n 1 >/dev/null"
    finished = subprocess.run(
        ["/bin/sh", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert finished.stderr == ""


def test_import_twice_stores_once(environment: dict[str, str], clinic_id: str) -> None:
    """The first run stores every row, the second none; neither says who they are about."""
    order = ("import", str(FORMS), "--clinic", clinic_id, "--instrument", "phq-9", *MAPPED, "--json")
    with FORMS.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    rows = len({(line["person"], line["filled_in"]) for line in lines})
    first, second = (tidemark(environment, *order) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    summaries = [json.loads(run.stdout) for run in (first, second)]
    assert [summary["stored"] for summary in summaries] == [rows, 0]
    assert [summary["already_stored"] for summary in summaries] == [0, rows]
    assert [line for line in lines if line["person"] in first.stderr + second.stderr] == []


def test_migrating_twice_is_no_error(environment: dict[str, str]) -> None:
    """An upgrade script may run it at every start."""
    assert re.fullmatch(r"The database is at revision \w+\.\n", said(environment, "migrate"))


# --- What goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("score", "phq-99", ANSWERS), "There is no such instrument"),
        (("score", "phq-9", "1,2"), "takes 9 to 10 responses, 2 were given"),
        (("score", "phq-9", "1,2,x,0,0,0,0,0,0"), "whole numbers"),
        (("score", "phq-9", "9,9,9,9,9,9,9,9,9"), "item 1 has no such answer"),
        (("clinic", "create", "X", "--timezone", "Mars/Olympus"), "no such time zone"),
        (("clinic", "create", " "), "needs a name"),
        (("token", "create", "--clinic", NOBODY, "--role", "admin"), "no such clinic"),
        (("token", "create", "--clinic", NOBODY, "--role", "admin", "--scope", "king"), "may not do this"),
        (("token", "create", "--clinic", NOBODY, "--role", "link"), "Choose one of"),
        (("token", "list", "--clinic", NOBODY), "no such clinic"),
        (("enrolment", "create", "--clinic", NOBODY, "--patient", NOBODY), "no such clinic"),
        (("token", "create", "--clinic", "7", "--role", "admin"), "--clinic"),
        (("token", "create", "--clinic", NOBODY, "--role", "king"), "--role"),
        (("token", "revoke", NOBODY, "--clinic", NOBODY), "no such token"),
        (("import", "nothing.csv", "--clinic", NOBODY, "--instrument", "phq-9", "--map", "patient=a"), "nothing.csv"),
        (("import", str(FORMS), "--clinic", NOBODY, "--instrument", "phq-9", *MAPPED), "no such clinic"),
        (("import", str(FORMS), "--clinic", NOBODY, "--instrument", "phq-9", "--map", "oops"), "map"),
        (("serve", "--port", "70000"), "65535"),
        (("serve", "--host", "no-such-host.invalid"), "cannot be used"),
        (("demo",), "unset TIDEMARK_DATABASE_URL"),
        (("nonsense",), "No such command"),
        (("score",), "Missing argument"),
    ],
)
def test_a_mistake_is_one_clear_line(
    refused: Refused, environment: dict[str, str], arguments: tuple[str, ...], told: str
) -> None:
    """It names what is wrong; no box, no usage, no traceback."""
    assert told in refused(environment, *arguments)


@pytest.mark.parametrize(
    ("settings", "arguments", "told"),
    [
        ({}, ("score", "phq-99", ANSWERS), "There is no such instrument"),
        (
            {"TIDEMARK_DATABASE_URL": "postgresql://a:5f0c29e1b7d84a36@127.0.0.1:1/c"},
            ("serve", "--port", "0"),
            "127.0.0.1",
        ),
        ({"TIDEMARK_POOL_SIZE": "many"}, ("serve",), "TIDEMARK_POOL_SIZE"),
    ],
)
def test_a_process_that_fails_says_one_line(settings: dict[str, str], arguments: tuple[str, ...], told: str) -> None:
    """What the tests around this one see from inside is what a shell sees."""
    finished = tidemark(plain_environment(**settings), *arguments)
    assert finished.returncode == 1
    assert told in only_line(finished.stdout, finished.stderr)


DATABASE_COMMANDS = [("migrate",), ("clinic", "create", "X"), ("serve", "--port", "0")]


@pytest.mark.parametrize("command", DATABASE_COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://login:5f0c29e1b7d84a36@127.0.0.1:1/name", "127.0.0.1"),
        ("postgresql://login:5f0c29e1b7d84a36@no-such-host.invalid/name", "cannot be used"),
        (
            "postgresql://login:5f0c29e1b7d84a36@127.0.0.1:port/name",
            "TIDEMARK_DATABASE_URL is no address of a Postgres",
        ),
        ("mysql://login:5f0c29e1b7d84a36@127.0.0.1/name", "TIDEMARK_DATABASE_URL is no address of a Postgres"),
    ],
)
def test_a_database_out_of_reach_is_one_clear_line(
    refused: Refused, command: tuple[str, ...], url: str, told: str
) -> None:
    """It says what does not answer, and never the password."""
    line = refused(plain_environment(TIDEMARK_DATABASE_URL=url), *command)
    assert told in line
    assert "5f0c29e1b7d84a36" not in line


@pytest.mark.parametrize("command", [*DATABASE_COMMANDS, ("worker", "--once")], ids=lambda command: command[0])
@pytest.mark.parametrize("variable", ["TIDEMARK_DATABASE_URL", "TIDEMARK_OWNER_DATABASE_URL"])
def test_a_well_known_password_is_one_clear_line(
    refused: Refused, environment: dict[str, str], command: tuple[str, ...], variable: str
) -> None:
    """Before anything is asked of the database: which variable, and how to make a good one."""
    line = refused(environment | {variable: "postgresql://tidemark_app:tidemark123@db/tidemark"}, *command)
    assert line == f"{variable} is not safe: the password is well known. Make a new one with `openssl rand -hex 32`."


@pytest.mark.parametrize("command", DATABASE_COMMANDS, ids=lambda command: command[0])
def test_a_refused_login_is_one_clear_line(
    refused: Refused, address: PostgresAddress, command: tuple[str, ...]
) -> None:
    """In Postgres's words: they name the login."""
    url = address.runtime_url.replace(address.runtime_password, "5f0c29e1b7d84a36")
    assert "password authentication failed" in refused(plain_environment(TIDEMARK_DATABASE_URL=url), *command)


@pytest.mark.parametrize("command", DATABASE_COMMANDS, ids=lambda command: command[0])
def test_a_missing_database_is_one_clear_line(
    refused: Refused, address: PostgresAddress, command: tuple[str, ...]
) -> None:
    """In Postgres's words: they name the database, or say that this login may not enter it."""
    url = address.runtime_url.rpartition("/")[0] + "/elsewhere"
    assert '"elsewhere"' in refused(plain_environment(TIDEMARK_DATABASE_URL=url), *command)


def test_a_database_without_tables_says_migrate(refused: Refused, postgres: EmbeddedPostgres) -> None:
    """Who forgot to migrate is told so."""
    empty = postgres.create_database(f"empty_{uuid4().hex}")
    environment = plain_environment(TIDEMARK_DATABASE_URL=empty.runtime_url)
    assert "run `tidemark migrate`" in refused(environment, "clinic", "create", "X")


def test_the_owner_does_not_serve(refused: Refused, environment: dict[str, str], postgres: EmbeddedPostgres) -> None:
    """A role that sees past row-level security is refused before anything is served."""
    superuser = environment["TIDEMARK_DATABASE_URL"].split("@")[1]
    password = json.loads((postgres._directory.secrets_file).read_text())["postgres"]
    settings = {"TIDEMARK_DATABASE_URL": f"postgresql://postgres:{password}@{superuser}"}
    settings["TIDEMARK_DATABASE_POOLER"] = "transaction"  # the role is not switched, the login itself serves
    assert "is a superuser" in refused(plain_environment(**settings), "serve", "--port", "0")


@pytest.mark.parametrize(
    ("name", "value"),
    [("POOL_SIZE", "many"), ("POOL_SIZE", "0"), ("DATABASE_POOLER", "maybe"), ("MAX_BODY_BYTES", "-1")],
)
def test_a_bad_setting_is_named(refused: Refused, environment: dict[str, str], name: str, value: str) -> None:
    """By its variable, without its value: it may be a secret in the wrong place."""
    line = refused(environment | {f"TIDEMARK_{name}": value}, "clinic", "create", "X")
    assert line == f"these settings are not usable: TIDEMARK_{name}"


def test_a_data_directory_that_cannot_be_made_is_one_clear_line(refused: Refused, tmp_path: Path) -> None:
    """A file stands in the way."""
    (tmp_path / "file").touch()
    environment = plain_environment(TIDEMARK_DATA_DIR=str(tmp_path / "file" / "data"))
    assert str(tmp_path) in refused(environment, "clinic", "create", "X")


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_taken_port_is_one_clear_line(refused: Refused, environment: dict[str, str], command: str) -> None:
    """Before anything is started."""
    settings = environment if command == "serve" else plain_environment(TIDEMARK_DATA_DIR="/nonexistent/never-made")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(settings, command, "--port", str(port)).startswith(f"Port {port} of 127.0.0.1 cannot be used")


def test_one_process_ends_with_status_0(environment: dict[str, str], tmp_path: Path) -> None:
    """A service manager that says SIGTERM gets an orderly end, also without workers."""
    settings = environment | {"TIDEMARK_DATA_DIR": str(tmp_path)}
    service = Service(("serve", "--no-worker"), settings, tmp_path / "said.log")  # or it would work for all other tests
    try:
        service.start()
        assert service.stop() == 0
        assert service.said.read_text() == ""
    finally:
        service.end()
