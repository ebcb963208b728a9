"""`kill -9` of a real worker in the middle of a release: the next one begins anew, and nothing half is ever ready."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.db import Database
from app.embedded_postgres import PostgresAddress
from tests.api.test_releases import approve, ask, download, send, treat
from tests.conftest import Api
from tests.process.service import ROOT, plain_environment

pytestmark = pytest.mark.anyio

PEOPLE = 12


@contextmanager
def worker(address: PostgresAddress, said: Path) -> "Iterator[subprocess.Popen[bytes]]":
    environment = plain_environment(TIDEMARK_DATABASE_URL=address.runtime_url)
    with said.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "worker", "--interval-seconds", "0.1"],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def until_status(api: Api, release: dict[str, Any], status: str) -> dict[str, Any]:
    async with asyncio.timeout(40):
        while True:
            found = await send(api, "GET", f"/v1/releases/{release['id']}")
            if found["status"] == status:
                return found
            await asyncio.sleep(0.02)


async def test_killed_in_the_middle_it_is_built_anew(
    callers: tuple[Api, Api, Database], own_address: PostgresAddress, tmp_path: Path
) -> None:
    """Held up at storing by a lock of ours, so that the kill falls where most is at stake."""
    admin, researcher, database = callers
    for number in range(PEOPLE):
        await treat(admin, number)
    release = await ask(researcher)
    await approve(admin, release)
    said = tmp_path / "said.log"
    owner = await asyncpg.connect(own_address.owner_url)
    with worker(own_address, said) as process:
        async with owner.transaction():
            await owner.execute("LOCK release_chunk IN ACCESS EXCLUSIVE MODE")
            await until_status(researcher, release, "building")
            await asyncio.sleep(1)
            process.kill()
            process.wait()
    await owner.close()
    left = await send(researcher, "GET", f"/v1/releases/{release['id']}")
    assert (left["status"], left["manifest"]) == ("building", None)
    assert await counts(database, admin.clinic_id) == (0, 0)
    async with database.connection(admin.clinic_id) as connection:  # as a minute later
        await connection.execute("UPDATE release SET leased_until = now() WHERE id = $1", UUID(release["id"]))
    with worker(own_address, said):
        ready = await until_status(researcher, release, "ready")
    assert ready["progress"]["attempts"] >= 2
    assert (await counts(database, admin.clinic_id))[0] == PEOPLE
    assert (await download(researcher, ready, "scores.parquet")).status_code == 200


async def counts(database: Database, clinic_id: UUID) -> tuple[int, int]:
    async with database.connection(clinic_id) as connection:
        persons = await connection.fetchval("SELECT count(*) FROM release_person")
        return persons, await connection.fetchval("SELECT count(*) FROM release_chunk")
