"""A backup from before an erasure is put back, and the person stays erased: the real service, its real files."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from app.auth import Role
from app.db import Database
from app.embedded_postgres import EmbeddedPostgres
from app.services import clinics
from app.settings import Settings
from tests.process.service import ROOT, Service, data_directory, plain_environment

CANARY = "canary-of-one-person"
FORM: dict[str, Any] = {"instrument": "phq-9", "responses": [3] * 9, "taken_at": "2026-03-02T09:00:00+01:00"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with data_directory() as data_dir:
        service = Service(("serve",), plain_environment(TIDEMARK_DATA_DIR=str(data_dir)), tmp_path / "said.log")
        try:
            yield service
        finally:
            service.end()


def on_database(service: Service, work: Any) -> Any:
    """In the running service's own database, as the service sees it."""

    async def opened(url: str) -> Any:
        database = Database(url, Settings(pool_size=1))
        await database.open()
        try:
            return await work(database)
        finally:
            await database.close()

    with EmbeddedPostgres(service.cluster.parent) as joined:
        return asyncio.run(opened(joined.address.runtime_url))


def ledger_of(service: Service) -> Path:
    return service.cluster.parent / "erasures.ndjson"


def copy(source: Path, target: Path) -> None:
    """With owners and rights, as a backup of files keeps them."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def await_line(path: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text
        time.sleep(0.1)
    raise AssertionError("the worker did not write the erasure down")


async def everything_of(database: Database, clinic_id: UUID) -> str:
    """Every row of every table as text."""
    tables = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    async with database.connection(clinic_id) as connection:
        found = []
        for (name,) in await connection.fetch(tables):
            rows = await connection.fetch(f"SELECT to_jsonb(t)::text AS row FROM {name} t")
            found += [f"{name} {row['row']}" for row in rows]
    return "\n".join(found)


def test_a_restored_backup_does_not_bring_anybody_back(service: Service) -> None:
    """Erased by the time anybody can ask; named by the service; told in certificate and trail."""
    backup = service.cluster.parent.with_name(f"{service.cluster.parent.name}-backup")
    try:
        restore_after_erasing(service, backup)
    finally:
        shutil.rmtree(backup, ignore_errors=True)


def restore_after_erasing(service: Service, backup: Path) -> None:
    service.start()
    clinic_id, token = on_database(service, a_clinic)
    with httpx2.Client(base_url=service.url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
        patient, other = (http.post("/v1/patients", json={"external_ref": ref}).json()["id"] for ref in (CANARY, "b"))
        for one in (patient, other):
            assert http.post("/v1/assessments", json=FORM | {"patient_id": one}).status_code == 201
        service.stop()
        copy(service.cluster, backup)

        service.start()
        address = f"/v1/patients/{patient}?ground=patient_request"
        assert http.delete(address, headers={"If-Match": '"1"'}).status_code == 200
        (line,) = await_line(ledger_of(service)).splitlines()
        assert patient in line
        service.stop()
        shutil.rmtree(service.cluster)
        copy(backup, service.cluster)

        service.start()
        assert f"erased again: patient {patient} of clinic {clinic_id}" in service.said.read_text()
        assert http.get(f"/v1/patients/{patient}").status_code == 404
        assert http.get(f"/v1/patients/{other}").status_code == 200
        (certificate,) = http.get("/v1/erasures").json()["data"]
        assert (certificate["id"] in line, certificate["removed"]["assessment"]) == (True, 1)
        assert certificate["replayed_at"] > certificate["erased_at"]
        left = on_database(service, lambda database: everything_of(database, clinic_id))
        assert CANARY not in left
        assert {row.split()[0] for row in left.splitlines() if patient in row} == {"audit_event", "erasure"}
        service.stop()

    assert_refused_with_a_bad_line(service)


async def a_clinic(database: Database) -> tuple[UUID, str]:
    clinic = await clinics.record_clinic(database, "Test clinic", "Europe/Berlin")
    return clinic.clinic_id, (await clinics.record_token(database, clinic.clinic_id, Role.ADMIN))[1]


def assert_refused_with_a_bad_line(service: Service) -> None:
    """Rather than show somebody whose line cannot be read."""
    with ledger_of(service).open("a") as file:
        file.write("spilt coffee\n")
    command = [sys.executable, "-m", "app", "serve", "--port", str(service.port)]
    answer = subprocess.run(
        command, cwd=ROOT, env=service.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 1
    assert "tidemark: Line 2 of the erasure ledger is none of ours. Nothing was done." in answer.stderr
