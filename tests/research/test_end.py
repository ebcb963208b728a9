"""A release that has ended: refused, its pieces gone, and copies of them that somebody kept open to no key any more."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.crypto import BrokenSealError, DataKey
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.errors import NotFoundError
from app.services.data_keys import find_keys
from app.services.release_downloads import open_file
from app.services.releases import end_releases
from app.services.sealing import place
from tests.api.test_releases import download, end_of_time, withdraw
from tests.conftest import Api, client
from tests.research.conftest import Downloaded, Study, new_study, released

pytestmark = pytest.mark.anyio

PIECES = "SELECT name, number, content FROM release_chunk WHERE clinic_id = $1 AND release_id = $2"


@pytest.fixture
async def small(app: FastAPI, database: Database) -> AsyncIterator[Study]:
    """A clinic of which something may be taken away."""
    study = await new_study(app, database, 80, seed=2)
    yield study
    for api in (study.researcher, study.admin):
        await api.http.aclose()


@pytest.fixture
async def release(small: Study, tmp_path: Path) -> Downloaded:
    return await released(small, tmp_path, "limited_data_set")


@pytest.fixture
async def colleague(app: FastAPI, database: Database, small: Study) -> AsyncIterator[Api]:
    """Another researcher of the same clinic."""
    found = await client(app, database, small.clinic, Role.RESEARCHER)
    async with found.http:
        yield found


async def kept_by_a_thief(study: Study, release: Downloaded) -> list[asyncpg.Record]:
    """The pieces as they lie in the database, and in its backups."""
    async with study.database.connection(study.clinic_id) as connection:
        rows: list[asyncpg.Record] = await connection.fetch(PIECES, study.clinic_id, UUID(release.told["id"]))
    return rows


async def keys_of_the_clinic(study: Study) -> dict[UUID, DataKey]:
    """All there are: with the master key they open."""
    async with study.database.connection(study.clinic_id) as connection:
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM data_key")]
        return await find_keys(connection, study.database.keys, study.clinic_id, ids)


def opened(study: Study, release: Downloaded, pieces: Sequence[asyncpg.Record], key: DataKey) -> list[bytes]:
    home = place("release_chunk", "content", study.clinic_id, UUID(release.told["id"]))
    return [key.open(one["content"], f"{home} {one['name']} {one['number']}") for one in pieces]


@pytest.mark.parametrize("way", ["withdrawn", "revoked", "expired"])
async def test_nobody_reads_what_has_ended(
    small: Study, release: Downloaded, colleague: Api, address: PostgresAddress, way: str
) -> None:
    """All who ask are refused at once; when the worker has been, whoever has a copy of the pieces has nothing."""
    kept, keys = await kept_by_a_thief(small, release), await keys_of_the_clinic(small)
    whole = opened(small, release, kept, keys[UUID(release.told["id"])])
    assert sum(map(len, whole)) == sum(path.stat().st_size for path in release.directory.iterdir())
    before = await download(colleague, release.told, "scores.csv")
    match way:
        case "withdrawn":
            await withdraw(small.admin, str(release.names[min(release.names)]))
        case "revoked":
            await small.researcher.http.post(f"/v1/releases/{release.told['id']}/revocation")
        case "expired":
            await end_of_time(address, small.clinic_id, release.told)
    for name in ("scores.csv", "manifest.json"):
        for api in (small.researcher, small.admin):
            answer = await download(api, release.told, name)
            assert (answer.status_code, answer.json()["type"]) == (410, "/problems/gone")
    assert await end_releases(small.database, small.clinic_id) > 0
    assert await kept_by_a_thief(small, release) == []
    left = await keys_of_the_clinic(small)
    assert UUID(release.told["id"]) not in left
    assert len(left) > 60
    for key in left.values():
        for piece in kept:
            with pytest.raises(BrokenSealError):
                opened(small, release, [piece], key)
    for file in release.manifest["files"]:
        with pytest.raises(NotFoundError):
            await open_file(small.database, small.clinic_id, UUID(release.told["id"]), file)
    after = await download(colleague, release.told, "scores.csv")
    absent = await colleague.http.get(f"/v1/releases/{UUID(int=7)}/files/scores.csv")
    assert (before.status_code, before.content, after.content) == (404, absent.content, absent.content)


async def test_at_rest_no_row_can_be_read(small: Study, release: Downloaded) -> None:
    """Neither a name of the release, nor a header; and a piece opens in its own place alone."""
    kept, keys = await kept_by_a_thief(small, release), await keys_of_the_clinic(small)
    words = [name.encode() for name in release.names] + [b"patient", b"phq-9@1", b"PAR1", b"instrument"]
    assert not any(word in piece["content"] for piece in kept for word in words)
    one, other = [piece for piece in kept if piece["name"] in {"scores.csv", "persons.csv"} and piece["number"] == 0]
    moved = [{"name": one["name"], "number": 0, "content": other["content"]}]
    with pytest.raises(BrokenSealError):
        opened(small, release, moved, keys[UUID(release.told["id"])])


async def test_one_withdrawal_ends_every_release_with_that_person_and_no_other(
    small: Study, release: Downloaded, tmp_path: Path
) -> None:
    """The next one is built without them, whatever their course was."""
    (tmp_path / "again").mkdir()
    leaving = release.names[max(release.names)]
    await withdraw(small.admin, str(leaving))
    assert (await download(small.researcher, release.told, "persons.csv")).status_code == 410
    again = await released(small, tmp_path / "again", "limited_data_set")
    assert leaving not in again.names.values()
    assert again.manifest["persons_in"] == release.manifest["persons_in"] - 1
