"""`tidemark export`, stopped while it waits, builds and downloads, also by `kill -9`: the same command goes on."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.cli_export import TAKEN_WITHIN
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.services.release_downloads import CHUNK_BYTES
from tests.api.test_releases import ASKED, approve, send, treat
from tests.conftest import Api
from tests.process.service import ROOT, plain_environment
from tests.process.test_release_crash import PEOPLE, until_status, worker
from tests.test_cli_export import a_release

pytestmark = pytest.mark.anyio

Callers = tuple[Api, Api, Database]
PIECES = 96  # enough to be met in the middle


@contextmanager
def export(address: PostgresAddress, out: Path, *more: Any) -> "Iterator[subprocess.Popen[str]]":
    patient = {"TIDEMARK_LOCK_TIMEOUT_MS": "60000", "TIDEMARK_STATEMENT_TIMEOUT_MS": "60000"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "export", "--out", str(out), *map(str, more)],
        cwd=ROOT,
        env=plain_environment(TIDEMARK_DATABASE_URL=address.runtime_url, **patient),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def said(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """At its end."""
    out, err = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, out, err


async def newest(admin: Api) -> dict[str, Any]:
    async with asyncio.timeout(40):
        while not (found := (await send(admin, "GET", "/v1/releases"))["data"]):  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.05)
    release: dict[str, Any] = found[0]
    return release


@asynccontextmanager
async def nothing_stored(address: PostgresAddress) -> AsyncIterator[None]:
    """Whoever builds is held up at storing, where most is at stake."""
    owner = await asyncpg.connect(address.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("LOCK release_chunk IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await owner.close()


async def change(database: Database, clinic_id: UUID, what: str) -> None:
    async with database.connection(clinic_id) as connection:
        await connection.execute(f"UPDATE release SET {what}")


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(ASKED), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("number", "status", "left", "attempts"),
    [
        (signal.SIGINT, 130, "approved", 1),
        (signal.SIGTERM, 130, "approved", 1),
        (signal.SIGKILL, -signal.SIGKILL, "building", 2),
    ],
)
async def test_stopped_while_it_builds(
    callers: Callers,
    own_address: PostgresAddress,
    request_file: Path,
    tmp_path: Path,
    number: signal.Signals,
    status: int,
    left: str,
    attempts: int,
) -> None:
    """No worker runs. Who is told to stop hands it back; after a kill it is begun anew when its minute is over."""
    admin, _, database = callers
    for person in range(PEOPLE):
        await treat(admin, person)
    asked = ("--clinic", admin.clinic_id, "--request", request_file)
    with export(own_address, tmp_path / "out", *asked) as process:
        release = await newest(admin)
        async with nothing_stored(own_address):
            await approve(admin, release)
            await change(database, admin.clinic_id, "decided_at = now() - interval '11 seconds'")
            await until_status(admin, release, "building")
            await asyncio.sleep(1)
            process.send_signal(number)
            found, _, err = await said(process)
    assert found == status, err
    assert ("The same command goes on from here." in err) == (number != signal.SIGKILL)
    assert (await newest(admin))["status"] == left
    if left == "building":
        await change(database, admin.clinic_id, "leased_until = now()")
    with export(own_address, tmp_path / "out", *asked) as process:
        assert (await said(process))[0] == 0
    ready = await newest(admin)
    assert (ready["id"], ready["status"], ready["progress"]["attempts"]) == (release["id"], "ready", attempts)
    assert (tmp_path / "out" / "scores.parquet").is_file()


async def test_a_worker_that_runs_builds_it(
    callers: Callers, own_address: PostgresAddress, request_file: Path, tmp_path: Path
) -> None:
    """And who waits at a terminal is served when it is approved."""
    admin, _, _ = callers
    for person in range(PEOPLE):
        await treat(admin, person)
    asked = ("--clinic", admin.clinic_id, "--request", request_file)
    with worker(own_address, tmp_path / "said.log"), export(own_address, tmp_path / "out", *asked) as process:
        await approve(admin, await newest(admin))
        found, out, err = await said(process)
    assert found == 0, err
    assert "files fetched into" in out
    times = await newest(admin)
    ready, decided = (datetime.fromisoformat(times[name]) for name in ("ready_at", "decided_at"))
    assert timedelta(0) < ready - decided < TAKEN_WITHIN


async def test_interrupted_while_it_waits_it_says_how_to_go_on(
    callers: Callers, own_address: PostgresAddress, request_file: Path, tmp_path: Path
) -> None:
    admin, _, _ = callers
    asked = ("--clinic", admin.clinic_id, "--request", request_file)
    with export(own_address, tmp_path / "out", *asked) as process:
        await newest(admin)
        await asyncio.sleep(1)
        process.send_signal(signal.SIGINT)
        found, _, err = await said(process)
    assert found == 130
    assert "The same command goes on from here." in err
    assert "Traceback" not in err


async def test_killed_in_the_middle_of_a_file_it_fetches_the_rest(
    callers: Callers, own_address: PostgresAddress, tmp_path: Path
) -> None:
    """What was there at the kill is taken away from the database: it is not asked for again."""
    database, content = callers[2], os.urandom(PIECES * CHUNK_BYTES)
    clinic_id, release_id = await a_release(database, files={"scores.csv": content})
    asked, part = ("--clinic", clinic_id, "--release", release_id), tmp_path / "out" / "scores.csv.part"
    with export(own_address, tmp_path / "out", *asked) as process:
        async with asyncio.timeout(40):
            while not part.exists() or part.stat().st_size < 2 * CHUNK_BYTES:  # noqa: ASYNC110  # nor of this
                await asyncio.sleep(0.001)
        process.kill()
        assert (await said(process))[0] == -signal.SIGKILL
    whole = part.stat().st_size // CHUNK_BYTES
    assert 2 <= whole < PIECES
    owner = await asyncpg.connect(own_address.owner_url)
    async with owner.transaction():
        await owner.execute(f"SET LOCAL app.clinic_id = '{clinic_id}'")
        gone = await owner.execute(f"DELETE FROM release_chunk WHERE number < {whole}")
    await owner.close()
    assert gone == f"DELETE {whole}"
    with export(own_address, tmp_path / "out", *asked) as process:
        found, out, err = await said(process)
    assert (found, "1 files fetched" in out) == (0, True), err
    assert (tmp_path / "out" / "scores.csv").read_bytes() == content
    assert not part.exists()
