"""`tidemark audit`: heads and verification from the command line, on a real database, by exit status and one line."""

import asyncio
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from app import cli_audit
from app.cli import cli, main
from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress
from app.errors import ConflictError, InvalidError, NotFoundError
from app.ids import new_id
from app.services import clinics
from app.settings import Settings
from tests.services import trail
from tests.services.trail import a_chain, breaking_in

T = TypeVar("T")
KEY = base64.b64encode(hashlib.sha256(b"a key").digest()).decode()
OTHER_KEY = base64.b64encode(hashlib.sha256(b"another key").digest()).decode()


@pytest.fixture(scope="module")
def address(postgres: EmbeddedPostgres) -> Iterator[PostgresAddress]:
    with trail.database_of_its_own(postgres, "trail_cli") as address:
        yield address


@pytest.fixture
def clinic(on_database: Callable[..., Any]) -> str:
    """One with eight sealed events."""

    async def work(database: Database) -> str:
        clinic = await clinics.record_clinic(database, "Command line", "UTC")
        await a_chain(database, clinic.clinic_id)
        return str(clinic.clinic_id)

    made: str = on_database(work)
    return made


def tamper(address: PostgresAddress, statement: str, *values: Any) -> None:
    async def work() -> None:
        async with breaking_in(address) as connection:
            await connection.execute(statement, *values)

    asyncio.run(work())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["audit", *arguments])


def said(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


@pytest.fixture
def heads(clinic: str, tmp_path: Path) -> Path:
    """A file with the chain's head of now, not signed."""
    file = tmp_path / "heads.ndjson"
    file.write_text(said("head", "--clinic", clinic, "--json"))
    return file


def test_a_whole_trail_is_said_to_be_whole(clinic: str, heads: Path) -> None:
    """In one line, with how much was looked at and whether any head was there to compare."""
    line = said("verify", "--clinic", clinic)
    assert line.startswith("The trail is whole: 8 events, no head was compared. Hash at its end: ")
    assert line.count("\n") == 1
    assert "1 of 1 heads agree" in said("verify", "--clinic", clinic, "--head", str(heads))
    found = json.loads(said("verify", "--clinic", clinic, "--json"))
    assert (found["whole"], found["events"], found["fault"], found["warnings"]) == (True, 8, None, [])
    assert found["hash"] == json.loads(heads.read_text())["hash"]


def test_a_head_says_whether_it_is_signed(clinic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key on standard error, so that what is sent away stays one line of JSON."""
    plain = run("head", "--clinic", clinic, "--json")
    assert json.loads(plain.stdout)["signature"] is None
    assert "this head is not signed" in plain.stderr
    monkeypatch.setenv("TIDEMARK_AUDIT_KEY", KEY)
    signed = run("head", "--clinic", clinic, "--json")
    head = json.loads(signed.stdout)
    assert head["signature"].startswith("ed25519:")
    assert (head["clinic_id"], head["number"], signed.stderr) == (clinic, 8, "")
    table = said("head", "--clinic", clinic).splitlines()
    assert [line.split()[0] for line in table] == ["at", "clinic_id", "hash", "number", "signature"]


def test_signatures_are_checked_with_the_key(clinic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right key proves, another refuses, none says that it could not."""
    monkeypatch.setenv("TIDEMARK_AUDIT_KEY", KEY)
    file = tmp_path / "heads.ndjson"
    file.write_text("".join(said("head", "--clinic", clinic, "--json") for _ in range(2)))
    arguments = ("verify", "--clinic", clinic, "--head", str(file))
    assert "2 of 2 heads agree" in said(*arguments)
    monkeypatch.setenv("TIDEMARK_AUDIT_KEY", OTHER_KEY)
    refused = run(*arguments)
    assert isinstance(refused.exception, ConflictError)
    assert "not signed by this key" in refused.exception.detail
    monkeypatch.delenv("TIDEMARK_AUDIT_KEY")
    unchecked = run(*arguments)
    assert unchecked.exit_code == 0
    assert "signatures of heads were not checked" in unchecked.stderr


def test_who_verifies_needs_no_private_key(clinic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public one proves, also where another private one is set, and signs nothing."""
    pair = json.loads(said("key", "--json"))
    monkeypatch.setenv("TIDEMARK_AUDIT_KEY", pair["private_key"])
    file = tmp_path / "heads.ndjson"
    file.write_text(said("head", "--clinic", clinic, "--json"))
    monkeypatch.setenv("TIDEMARK_AUDIT_KEY", OTHER_KEY)
    arguments = ("verify", "--clinic", clinic, "--head", str(file))
    assert "1 of 1 heads agree" in said(*arguments, "--public-key", pair["public_key"])
    monkeypatch.delenv("TIDEMARK_AUDIT_KEY")
    assert "1 of 1 heads agree" in said(*arguments, "--public-key", pair["public_key"])
    stranger = json.loads(said("key", "--json"))["public_key"]
    assert isinstance(run(*arguments, "--public-key", stranger).exception, ConflictError)
    assert isinstance(run(*arguments, "--public-key", "none").exception, InvalidError)


def test_a_key_is_made_for_people_too() -> None:
    """Without a database, and in a form that can be copied: both lines name what they hold."""
    private, public = said("key").splitlines()
    assert private.startswith("private key  ")
    assert public.startswith("public key   ")
    Settings.model_validate({"audit_key": private.split()[-1]}).refuse_weak_secrets()


def test_a_changed_trail_is_refused_with_the_row(clinic: str, address: PostgresAddress) -> None:
    """As a person reads it, and as a program does; exit status 1 for both."""
    tamper(
        address,
        "UPDATE audit_event SET action = 'x' WHERE id = "
        "(SELECT event_id FROM audit_link WHERE clinic_id = $1 AND number = 3)",
        UUID(clinic),
    )
    told = subprocess.run(
        [sys.executable, "-m", "app", "audit", "verify", "--clinic", clinic],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"TIDEMARK_DATABASE_URL": address.runtime_url},
    )
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (1, "", 1)
    assert told.stderr.startswith("tidemark: The trail is not whole. Number 3: the event ")
    result = run("verify", "--clinic", clinic, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["whole"], found["events"]) == (1, False, 2)
    assert (found["fault"]["code"], found["fault"]["number"]) == ("changed", 3)
    assert found["fault"]["event_id"] in told.stderr


def test_a_cut_end_needs_a_head(clinic: str, address: PostgresAddress, heads: Path) -> None:
    """Without one the trail looks whole, which is why heads are kept elsewhere."""
    tamper(
        address,
        "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_link WHERE clinic_id = $1 AND number > 7)",
        UUID(clinic),
    )
    tamper(address, "DELETE FROM audit_link WHERE clinic_id = $1 AND number > 7", UUID(clinic))
    assert "whole: 7 events" in said("verify", "--clinic", clinic)
    refused = run("verify", "--clinic", clinic, "--head", str(heads))
    assert isinstance(refused.exception, ConflictError)
    assert "Number 8: the link is gone" in refused.exception.detail
    assert "was cut off" in refused.exception.detail


def test_what_is_not_sealed_is_pointed_out(
    clinic: str, address: PostgresAddress, on_database: Callable[..., Any]
) -> None:
    """A warning and no fault: nothing proves that anybody did wrong. `worker --once` seals it, and it is older."""
    old = new_id()

    async def work(database: Database) -> None:
        async with database.connection(UUID(clinic)) as connection:
            at = await connection.fetchval("SELECT now() - interval '2 hours'")
            await trail.add_event(connection, UUID(clinic), old, at)

    on_database(work)
    result = run("verify", "--clinic", clinic)
    assert result.exit_code == 0
    assert f"1 events older than an hour are not sealed, first {old}" in result.stderr
    subprocess.run(
        [sys.executable, "-m", "app", "worker", "--once"],
        check=True,
        env=os.environ | {"TIDEMARK_DATABASE_URL": address.runtime_url},
    )
    result = run("verify", "--clinic", clinic)
    assert "whole: 9 events" in result.stdout
    assert "not sealed" not in result.stderr
    assert f"first {old}: a wrong clock, or written in afterwards" in result.stderr


@pytest.mark.parametrize("key", ["", "short", base64.b64encode(bytes(31)).decode(), "A" * 64, "§" * 44, "A" * 43])
def test_a_weak_key_is_no_key(key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused with the name of the setting and without its value."""
    monkeypatch.setenv("TIDEMARK_AUDIT_KEY", key)
    monkeypatch.setattr(sys, "argv", ["tidemark", "audit", "head", "--clinic", str(uuid4())])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert capsys.readouterr().err == "tidemark: these settings are not usable: TIDEMARK_AUDIT_KEY\n"


def test_what_cannot_be_compared_is_refused(clinic: str, heads: Path, tmp_path: Path) -> None:
    """An unknown clinic, another clinic's head, and a file that holds none."""
    assert isinstance(run("verify", "--clinic", str(uuid4())).exception, NotFoundError)
    assert isinstance(run("head", "--clinic", str(uuid4())).exception, NotFoundError)
    heads.write_text(heads.read_text().replace(clinic, str(uuid4())))
    assert isinstance(run("verify", "--clinic", clinic, "--head", str(heads)).exception, InvalidError)
    for content in (b"", b"\xff\xfe", b"{}"):
        file = tmp_path / "none"
        file.write_bytes(content)
        assert isinstance(run("verify", "--clinic", clinic, "--head", str(file)).exception, InvalidError)
    assert run("verify", "--clinic", clinic, "--head", str(tmp_path / "absent")).exit_code == 2


def test_people_see_a_bar(clinic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, and on standard error, so that the answer can be piped on."""
    shown = io.StringIO()
    monkeypatch.setattr(cli_audit, "err", Console(file=shown, force_terminal=True, width=80))
    assert "whole: 8 events" in said("verify", "--clinic", clinic)
    assert "8/8" in shown.getvalue()


def test_without_a_key_the_database_login_is_enough(address: PostgresAddress, clinic: str) -> None:
    """The commands run as the service's role: it sees the chain and cannot touch it."""

    async def work() -> None:
        connection = await asyncpg.connect(address.runtime_url)
        try:
            await connection.execute(f"SET app.clinic_id = '{clinic}'")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("UPDATE audit_link SET number = number")
        finally:
            await connection.close()

    asyncio.run(work())
