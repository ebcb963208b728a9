"""`tidemark export`: from a request to the files; what is whole stays, what is cut off goes on, what ended is told."""

import asyncio
import fcntl
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from rich.console import Console
from typer.testing import CliRunner

from app import cli_export
from app.auth import Role
from app.cli import cli
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.errors import AppError, ConflictError, GoneError, InvalidError, NotFoundError
from app.export_directory import ORDER
from app.ids import new_id
from app.main import create_app
from app.paging import PageRequest
from app.schemas.releases import ReleaseDecision
from app.services import clinics, release_downloads, releases
from app.services.data_keys import get_key
from app.services.operators import get_operator
from app.services.release_downloads import CHUNK_BYTES, store_file
from app.settings import Settings
from tests.api.test_releases import ASKED, send, treat
from tests.conftest import Api

T = TypeVar("T")
OnDatabase = Callable[[Callable[[Database], Coroutine[Any, Any, Any]]], Any]
LARGE = os.urandom(2 * CHUNK_BYTES + 17)
FILES: Mapping[str, bytes] = {
    "scores.csv": LARGE,
    "sessions.ndjson": b"",
    "manifest.json": b"{}\n",
}  # several pieces, none, one
PEOPLE = 12


async def a_release(
    database: Database,
    status: str = "ready",
    persons: int = 0,
    files: Mapping[str, bytes] = FILES,
    promised: Mapping[str, bytes] | None = None,
    **told: Any,
) -> tuple[UUID, UUID]:
    """Clinic and release; what its manifest promises is what it has, if nothing else is said."""
    clinic_id, id_ = (await clinics.record_clinic(database, "Command line", "UTC")).clinic_id, new_id()
    facts = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "rows": None}
        for name, content in (promised or files).items()
    ]
    manifest = json.dumps({"persons_out": persons, "files": facts, **told}) if status == "ready" else None
    async with database.connection(clinic_id) as connection:
        await connection.execute(
            "INSERT INTO release (clinic_id, id, status, request, requested_at, requested_by, manifest, attempts, "
            "persons_read, rows_written) VALUES ($1, $2, $3, $4, now(), $5, $6, 1, 0, 0)",
            *(clinic_id, id_, status, json.dumps({"recipient": "University of Example"}), uuid4(), manifest),
        )
        key = await get_key(connection, database.keys, clinic_id, id_)
        for name, content in files.items():
            await store_file(connection, key, clinic_id, id_, name, BytesIO(content))
    return clinic_id, id_


def run(clinic_id: UUID, out: Path, *more: Any) -> Any:
    asked = ["export", "--clinic", str(clinic_id), "--out", str(out), *map(str, more)]
    return CliRunner().invoke(cli, asked)


def held(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


# --- A release that is ready ------------------------------------------------------------------------------------------


def test_all_files_are_fetched_and_whole_ones_kept(on_database: OnDatabase, tmp_path: Path) -> None:
    """For their owner's eyes. A second call fetches nothing; one after a change what is changed."""
    clinic_id, release_id = on_database(a_release)
    out = tmp_path / "release"
    assert "3 files fetched" in run(clinic_id, out, "--release", release_id).output
    assert held(out) == FILES
    assert [path.stat().st_mode & 0o777 for path in (out, *out.iterdir())] == [0o700, 0o600, 0o600, 0o600]
    assert "0 files fetched" in run(clinic_id, out, "--release", release_id).output
    (out / "scores.csv").write_bytes(LARGE[:-1])
    assert "1 files fetched" in run(clinic_id, out, "--release", release_id).output
    assert held(out) == FILES


def test_what_earlier_releases_find_beside_it_is_said(on_database: OnDatabase, tmp_path: Path) -> None:
    """Whoever runs the command may have them, too."""
    found = {"releases": 2, "k": 3, "alone_rate": 0.0, "small_rate": 0.25, "others_k": None}
    clinic_id, release_id = on_database(lambda database: a_release(database, beside_earlier_releases=found))
    said = run(clinic_id, tmp_path, "--release", release_id)
    assert said.stderr.startswith("Whoever also has the 2 earlier releases of people in here")
    assert "25 % among fewer than 11: at least 3 look alike." in said.stderr
    assert "3 files fetched" in said.stdout


def test_a_part_goes_on_where_it_was(on_database: OnDatabase, address: PostgresAddress, tmp_path: Path) -> None:
    """With the first piece gone from the database it can only be the one that is here already."""
    clinic_id, release_id = on_database(a_release)
    asyncio.run(as_owner(address, clinic_id, "DELETE FROM release_chunk WHERE name = 'scores.csv' AND number = 0"))
    (tmp_path / "scores.csv.part").write_bytes(LARGE[: CHUNK_BYTES + 5])
    assert "3 files fetched" in run(clinic_id, tmp_path, "--release", release_id).output
    assert held(tmp_path) == FILES


@pytest.mark.parametrize("part", [b"?" * (CHUNK_BYTES + 5), b"?" * 5, LARGE + b"?", LARGE], ids=len)
def test_a_part_of_something_else_is_fetched_anew(on_database: OnDatabase, tmp_path: Path, part: bytes) -> None:
    clinic_id, release_id = on_database(a_release)
    (tmp_path / "scores.csv.part").write_bytes(part)
    assert "3 files fetched" in run(clinic_id, tmp_path, "--release", release_id).output
    assert held(tmp_path) == FILES


def test_what_is_cut_off_is_never_whole(on_database: OnDatabase, address: PostgresAddress, tmp_path: Path) -> None:
    clinic_id, release_id = on_database(a_release)
    asyncio.run(as_owner(address, clinic_id, "DELETE FROM release_chunk WHERE name = 'scores.csv' AND number = 2"))
    found = run(clinic_id, tmp_path, "--release", release_id)
    assert (type(found.exception), list(held(tmp_path))) == (NotFoundError, ["scores.csv.part"])


def test_other_bytes_than_those_of_the_manifest_are_never_whole(on_database: OnDatabase, tmp_path: Path) -> None:
    promised = {"scores.csv": LARGE[::-1]}
    clinic_id, release_id = on_database(lambda database: a_release(database, promised=promised))
    found = run(clinic_id, tmp_path, "--release", release_id)
    assert "not as the manifest says" in str(found.exception)
    assert list(held(tmp_path)) == ["scores.csv.part"]


@pytest.mark.parametrize(("status", "error"), [("requested", ConflictError), ("absent", NotFoundError)])
def test_what_is_not_ready_is_not_given_out(
    on_database: OnDatabase, address: PostgresAddress, tmp_path: Path, status: str, error: type[AppError]
) -> None:
    clinic_id, release_id = on_database(lambda database: a_release(database, "requested"))
    found = run(clinic_id, tmp_path, "--release", uuid4() if status == "absent" else release_id)
    assert (type(found.exception), held(tmp_path)) == (error, {})
    outcome = "absent" if status == "absent" else "refused"
    assert outcomes(address, clinic_id) == [("release.export", outcome)]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ("status = 'revoked', ended_at = now(), ended_because = 'revoked'", GoneError, "was revoked"),
        ("status = 'revoked', ended_at = now(), ended_because = 'consent'", GoneError, "has withdrawn consent"),
        ("status = 'approved', expires_at = now()", GoneError, "has expired"),
        ("status = 'rejected', decision_note = 'no agreement'", ConflictError, "said no. “no agreement” Ask"),
        ("status = 'failed', failure = 'too_few_people'", ConflictError, "Choose a wider one. Then ask again"),
        ("status = 'failed', failure = 'nobody_can_be_hidden'", ConflictError, "Ask for fewer columns"),
        ("status = 'failed', failure = 'defect'", ConflictError, "report the defect"),
    ],
)
def test_why_nothing_more_comes_of_it_is_said(
    on_database: OnDatabase, address: PostgresAddress, tmp_path: Path, change: str, error: type[AppError], words: str
) -> None:
    clinic_id, release_id = on_database(lambda database: a_release(database, "requested"))
    asyncio.run(as_owner(address, clinic_id, f"UPDATE release SET {change}"))
    found = run(clinic_id, tmp_path, "--release", release_id)
    assert (type(found.exception), held(tmp_path)) == (error, {})
    assert words in str(found.exception)
    assert outcomes(address, clinic_id) == [("release.export", "refused")]


def test_it_is_not_given_out_when_somebody_was_erased(
    on_database: OnDatabase, address: PostgresAddress, tmp_path: Path
) -> None:
    clinic_id, release_id = on_database(lambda database: a_release(database, persons=1))
    found = run(clinic_id, tmp_path, "--release", release_id)
    assert (type(found.exception), held(tmp_path)) == (GoneError, {})
    assert outcomes(address, clinic_id) == [("release.export", "refused")]


def test_one_that_ends_on_the_way_says_why(
    on_database: OnDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is taken away by the worker is not told as a file that never was."""
    clinic_id, release_id = on_database(a_release)
    open_file = release_downloads.open_file

    async def revoked_first(database: Database, *which: Any) -> Any:
        actor = await get_operator(database, clinic_id)
        async with database.session(actor) as session:
            await releases.revoke_release(session, actor, release_id, None)
        await releases.end_releases(database, clinic_id)
        return await open_file(database, *which)

    monkeypatch.setattr(release_downloads, "open_file", revoked_first)
    found = run(clinic_id, tmp_path, "--release", release_id)
    assert (type(found.exception), held(tmp_path)) == (GoneError, {})


@pytest.mark.parametrize(
    ("in_the_way", "words"), [("scores.csv.part", "scores.csv cannot be written: Is a dir"), (".", "cannot be made")]
)
def test_what_is_in_the_way_is_named(on_database: OnDatabase, tmp_path: Path, in_the_way: str, words: str) -> None:
    """A directory where a file should be, and a file where the directory should."""
    clinic_id, release_id = on_database(a_release)
    out = tmp_path / "release"
    if in_the_way == ".":
        out.write_bytes(b"")
        out = out / "deeper"
    else:
        (out / in_the_way).mkdir(parents=True)
    found = run(clinic_id, out, "--release", release_id)
    assert isinstance(found.exception, AppError)
    assert words in str(found.exception)


def test_two_in_one_directory_would_spoil_it(on_database: OnDatabase, tmp_path: Path) -> None:
    clinic_id, release_id = on_database(a_release)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    found = run(clinic_id, tmp_path, "--release", release_id)
    os.close(descriptor)
    assert (found.exit_code, held(tmp_path)) == (cli_export.NOT_YET, {})
    assert "Another `tidemark export`" in found.stderr


# --- From a request ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def administrator(address: PostgresAddress, clinic_id: UUID) -> AsyncIterator[Api]:
    """Over the API."""
    app = create_app(Settings(rate_per_token=0, rate_per_address=0), address.runtime_url)
    async with app.router.lifespan_context(app):
        _, token = await clinics.record_token(app.state.database, clinic_id, Role.ADMIN)
        headers = {"Authorization": f"Bearer {token}"}
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
            yield Api(http, clinic_id)


async def a_clinic(database: Database) -> UUID:
    return (await clinics.record_clinic(database, "Command line", "UTC")).clinic_id


async def decide(address: PostgresAddress, clinic_id: UUID, decision: str) -> None:
    """The newest release of the clinic, by somebody else."""
    async with administrator(address, clinic_id) as admin:
        newest = (await send(admin, "GET", "/v1/releases"))["data"][0]
        await send(admin, "POST", f"/v1/releases/{newest['id']}/approval", {"decision": decision})


def outcomes(address: PostgresAddress, clinic_id: UUID) -> list[tuple[str, str]]:
    """What the trail tells of releases."""
    told = "SELECT action, outcome FROM audit_event WHERE action LIKE 'release%' ORDER BY id"
    return [(row["action"], row["outcome"]) for row in asyncio.run(as_owner(address, clinic_id, told))]


async def as_owner(address: PostgresAddress, clinic_id: UUID, statement: str) -> list[asyncpg.Record]:
    owner = await asyncpg.connect(address.owner_url)
    try:
        async with owner.transaction():
            await owner.execute(f"SET LOCAL app.clinic_id = '{clinic_id}'")
            return list(await owner.fetch(statement))
    finally:
        await owner.close()


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(ASKED), encoding="utf-8")
    return file


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """None runs here, so that waiting for one only takes time."""
    monkeypatch.setattr(cli_export, "TAKEN_WITHIN", timedelta(0))
    monkeypatch.setattr(cli_export, "LOOK_SECONDS", 0.01)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_export, "err", Console(stderr=True, force_terminal=True, width=100))


@pytest.mark.usefixtures("no_worker", "terminal")
def test_from_a_request_to_the_files(
    on_database: OnDatabase, address: PostgresAddress, request_file: Path, tmp_path: Path
) -> None:
    """As a job does that runs again and again: asked for once, approved by another, built here, fetched, kept."""
    clinic_id, out = on_database(a_clinic), tmp_path / "release"

    async def treat_some() -> None:
        async with administrator(address, clinic_id) as admin:
            for number in range(PEOPLE):
                await treat(admin, number)

    asyncio.run(treat_some())
    asked = ("--request", request_file, "--no-wait")
    first, second = (run(clinic_id, out, *asked) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (cli_export.NOT_YET,) * 2, first.output
    ((release_id,),) = asyncio.run(as_owner(address, clinic_id, "SELECT id FROM release"))
    assert f"Release {release_id} waits for approval." in first.stderr
    assert "The same command later goes on." in first.stderr
    assert second.stderr == first.stderr
    asyncio.run(decide(address, clinic_id, "approved"))
    found = run(clinic_id, out, *asked)
    assert found.exit_code == 0, found.output
    assert re.search(f"build.* {PEOPLE} persons read, [1-9][0-9]* rows written", found.stderr)
    assert re.search("export.*100%|export.*kB", found.stderr)
    files = json.loads((out / "manifest.json").read_bytes())["files"]
    assert {"scores.csv", "scores.parquet"} <= {file["name"] for file in files}
    assert all((out / file["name"]).stat().st_mode & 0o777 == 0o600 for file in files)
    assert (out / ORDER).stat().st_mode & 0o777 == 0o600
    assert "0 files fetched" in run(clinic_id, out, *asked).output
    steps = {action for action, _ in outcomes(address, clinic_id)}
    assert steps == {"release.request", "release.decide", "release.build", "release.export"}


def test_the_operator_decides_nothing_alone(on_database: OnDatabase, request_file: Path, tmp_path: Path) -> None:
    clinic_id = on_database(a_clinic)
    run(clinic_id, tmp_path / "release", "--request", request_file, "--no-wait")

    async def approve(database: Database) -> None:
        actor = await get_operator(database, clinic_id)
        async with database.session(actor) as session:
            (row,) = await releases.find_releases(session, actor, PageRequest())
            await releases.decide_release(session, actor, row.id, ReleaseDecision(decision="approved"), None)

    with pytest.raises(ConflictError, match="Another administrator"):
        on_database(approve)


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize(("decision", "words"), [("approved", "Choose a wider one"), ("rejected", "said no")])
def test_an_end_without_files_is_told_and_stays(
    on_database: OnDatabase, address: PostgresAddress, request_file: Path, tmp_path: Path, decision: str, words: str
) -> None:
    """Nobody is in this clinic."""
    clinic_id, out = on_database(a_clinic), tmp_path / "release"
    run(clinic_id, out, "--request", request_file, "--no-wait")
    asyncio.run(decide(address, clinic_id, decision))
    for _ in range(2):
        found = run(clinic_id, out, "--request", request_file)
        assert isinstance(found.exception, ConflictError)
        assert words in str(found.exception)
        assert "new directory" in str(found.exception)


def test_nothing_is_asked_for_that_could_not_be_found_again(
    on_database: OnDatabase, address: PostgresAddress, request_file: Path, tmp_path: Path
) -> None:
    clinic_id, out = on_database(a_clinic), tmp_path / "release"
    (out / f"{ORDER}.part").mkdir(parents=True)
    found = run(clinic_id, out, "--request", request_file)
    assert isinstance(found.exception, InvalidError)
    assert "cannot be written to" in str(found.exception)
    assert not asyncio.run(as_owner(address, clinic_id, "SELECT id FROM release"))


def test_killed_before_its_id_was_kept_it_asks_for_no_other(
    on_database: OnDatabase, address: PostgresAddress, request_file: Path, tmp_path: Path
) -> None:
    clinic_id, out = on_database(a_clinic), tmp_path / "release"
    run(clinic_id, out, "--request", request_file, "--no-wait")
    kept = json.loads((out / ORDER).read_text())
    (out / ORDER).write_text(json.dumps(kept | {"release_id": None}))
    assert run(clinic_id, out, "--request", request_file, "--no-wait").exit_code == cli_export.NOT_YET
    assert json.loads((out / ORDER).read_text()) == kept
    assert len(asyncio.run(as_owner(address, clinic_id, "SELECT id FROM release"))) == 1


@pytest.mark.parametrize("known", [True, False])
def test_a_directory_has_one_request(on_database: OnDatabase, request_file: Path, tmp_path: Path, known: bool) -> None:
    """Of one clinic; whether the kill came before its id was kept or after."""
    clinic_id, other_id, out = on_database(a_clinic), on_database(a_clinic), tmp_path / "release"
    run(clinic_id, out, "--request", request_file, "--no-wait")
    assert isinstance(run(other_id, out, "--request", request_file).exception, InvalidError)
    request_file.write_text(json.dumps(ASKED | {"recipient": "Another university"}), encoding="utf-8")
    if not known:
        (out / ORDER).write_text(json.dumps(json.loads((out / ORDER).read_text()) | {"release_id": None}))
    found = run(clinic_id, out, "--request", request_file)
    assert isinstance(found.exception, ConflictError)
    assert "another request" in str(found.exception)
    (out / ORDER).write_text("{")
    assert isinstance(run(clinic_id, out, "--request", request_file).exception, InvalidError)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{\n  "purpose": oops}', "request.json, line 2, column 14, cannot be used. The file is not valid JSON."),
        (b'{"tier": 1, "tier": 2}', "request.json cannot be used. An object of the file has the same key twice."),
        (b"\xff", "request.json cannot be used. The file is not UTF-8."),
        (b"[]", "All of it: Write an object."),
        (json.dumps(ASKED | {"tier": "raw"}).encode(), "/tier: This is not one of the choices."),
        (json.dumps(ASKED | {"secret": 1}).encode(), "All of it: There is a field here that nobody knows."),
        (json.dumps(ASKED | {"disclosure": {"k": 2}}).encode(), "/disclosure/k: The number is too small."),
        (json.dumps(ASKED | {"tier": "limited_data_set"}).encode(), "/agreement: A limited data set needs"),
        (json.dumps(ASKED | {"instruments": ["phq-10"]}).encode(), "/instruments/0"),
    ],
)
def test_a_request_that_breaks_a_rule_says_where(
    on_database: OnDatabase, address: PostgresAddress, request_file: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    clinic_id = on_database(a_clinic)
    request_file.write_bytes(content)
    found = run(clinic_id, tmp_path / "release", "--request", request_file)
    assert isinstance(found.exception, InvalidError), found.output
    assert words in str(found.exception)
    assert not asyncio.run(as_owner(address, clinic_id, "SELECT id FROM release"))


def test_a_request_of_a_windows_editor_is_read(on_database: OnDatabase, request_file: Path, tmp_path: Path) -> None:
    request_file.write_text(json.dumps(ASKED), encoding="utf-8-sig")
    found = run(on_database(a_clinic), tmp_path / "release", "--request", request_file, "--no-wait")
    assert found.exit_code == cli_export.NOT_YET


@pytest.mark.parametrize("both", [True, False])
def test_either_a_request_or_a_release(request_file: Path, tmp_path: Path, both: bool) -> None:
    more = ("--request", request_file, "--release", uuid4()) if both else ()
    assert run(uuid4(), tmp_path / "out", *more).exit_code == 2
