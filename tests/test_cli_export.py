"""`tidemark export`: what is whole stays, what is cut off is fetched again, what has ended is not given out."""

import hashlib
import json
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.db import Database
from app.errors import AppError, ConflictError, GoneError, NotFoundError
from app.ids import new_id
from app.services import clinics
from app.services.data_keys import get_key
from app.services.release_downloads import CHUNK_BYTES, store_file

T = TypeVar("T")
LARGE = os.urandom(2 * CHUNK_BYTES + 17)
FILES = {"scores.csv": LARGE, "manifest.json": b"{}\n"}


async def a_release(database: Database, status: str = "ready") -> tuple[UUID, UUID]:
    """Clinic and release; two files, of which one has several pieces."""
    clinic_id, id_ = (await clinics.record_clinic(database, "Command line", "UTC")).clinic_id, new_id()
    facts = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "rows": None}
        for name, content in FILES.items()
    ]
    manifest = json.dumps({"persons_out": 0, "files": facts}) if status == "ready" else None
    async with database.connection(clinic_id) as connection:
        await connection.execute(
            "INSERT INTO release (clinic_id, id, status, request, requested_at, requested_by, manifest, attempts, "
            "persons_read, rows_written) VALUES ($1, $2, $3, $4, now(), $5, $6, 1, 0, 0)",
            *(clinic_id, id_, status, json.dumps({"recipient": "University of Example"}), uuid4(), manifest),
        )
        key = await get_key(connection, database.keys, clinic_id, id_)
        for name, content in FILES.items():
            await store_file(connection, key, clinic_id, id_, name, BytesIO(content))
    return clinic_id, id_


def run(clinic_id: UUID, release_id: UUID, out: Path) -> Any:
    asked = ["export", "--clinic", str(clinic_id), "--release", str(release_id), "--out", str(out)]
    return CliRunner().invoke(cli, asked)


def held(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_all_files_are_fetched_and_whole_ones_kept(on_database: Callable[..., Any], tmp_path: Path) -> None:
    """A second call fetches nothing; one after an interruption what is cut off or changed."""
    clinic_id, release_id = on_database(a_release)
    out = tmp_path / "release"
    assert "2 files fetched" in run(clinic_id, release_id, out).output
    assert held(out) == FILES
    assert "0 files fetched" in run(clinic_id, release_id, out).output
    (out / "scores.csv").write_bytes(LARGE[:-1])
    assert "1 files fetched" in run(clinic_id, release_id, out).output
    assert held(out) == FILES


@pytest.mark.parametrize(("status", "error"), [("requested", ConflictError), ("absent", NotFoundError)])
def test_what_is_not_ready_is_not_given_out(
    on_database: Callable[..., Any], tmp_path: Path, status: str, error: type[AppError]
) -> None:
    clinic_id, release_id = on_database(lambda database: a_release(database, status.replace("absent", "requested")))
    found = run(clinic_id, uuid4() if status == "absent" else release_id, tmp_path)
    assert (type(found.exception), held(tmp_path)) == (error, {})


def test_what_has_ended_is_not_given_out(on_database: Callable[..., Any], tmp_path: Path) -> None:
    clinic_id, release_id = on_database(a_release)

    async def revoke(database: Database) -> None:
        async with database.connection(clinic_id) as connection:
            await connection.execute(
                "UPDATE release SET status = 'revoked', ended_at = now(), ended_because = 'revoked' WHERE id = $1",
                release_id,
            )

    on_database(revoke)
    found = run(clinic_id, release_id, tmp_path)
    assert (type(found.exception), held(tmp_path)) == (GoneError, {})
