"""The same release made again of the record as it was known then: the same bytes, whatever was recorded since."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db import Database
from tests.api.test_release_differences import people
from tests.api.test_releases import ASKED, built, made_of, send, withdraw
from tests.cohort_clinic import settle
from tests.conftest import Api

pytestmark = pytest.mark.anyio

COLUMNS = [
    *("persons.age", "persons.category", "persons.route", "scores.week", "scores.instrument"),
    *("scores.total", "scores.responses", "sessions.week", "sessions.started_on"),
]
EVERY_FORMAT = ASKED | {
    "tier": "limited_data_set", "agreement": "DUA 7", "columns": COLUMNS, "formats": ["csv", "ndjson", "parquet"],
}  # fmt: skip


async def made(database: Database, clinic_id: UUID, known_at: datetime, names: dict[UUID, str]) -> dict[str, Any]:
    """The SHA-256 of each file, and the manifest."""
    manifest, files = await made_of(database, clinic_id, EVERY_FORMAT, known_at, names)
    return {name: hashlib.sha256(file).hexdigest() for name, file in files.items()} | {"manifest": manifest}


async def test_whatever_was_recorded_since(researcher: Api, admin: Api, database: Database) -> None:
    """Forms, sessions, consents given and withdrawn, Part 2, other releases: none of it was known."""
    await settle(database, admin.clinic_id, people(24))
    patients = [one["id"] for one in (await send(admin, "GET", "/v1/patients?limit=100"))["data"]]
    names = {UUID(patient): uuid4().hex for patient in patients}
    await built(researcher, admin, database, columns=["persons.route", "scores.total"])
    await withdraw(admin, patients[0])
    known_at = datetime.now(UTC)
    first = await made(database, admin.clinic_id, known_at, names)
    assert first["manifest"]["persons_out"] == 23
    assert first["manifest"]["beside_earlier_releases"]["releases"] == 1
    assert len([name for name in first if name.endswith((".csv", ".ndjson", ".parquet"))]) >= 6
    assert await made(database, admin.clinic_id, known_at, names) == first

    await asyncio.sleep(0.01)
    given = {"purpose": "research", "how": "signed", "given_at": "2026-01-05T10:00:00Z", "reason": "asked again"}
    tag = (await admin.http.get(f"/v1/patients/{patients[0]}/consents")).headers["etag"]
    await send(
        admin,
        "PUT",
        f"/v1/patients/{patients[0]}/consents",
        given | {"given_at": f"{known_at:%Y-%m-%dT%H:%M:%S.%fZ}"},
        **{"If-Match": tag},
    )
    consent = (await send(admin, "GET", f"/v1/patients/{patients[1]}/consents"))["data"][0]["id"]
    earlier = {"withdrawn_at": f"{known_at - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"}
    await send(admin, "POST", f"/v1/patients/{patients[1]}/consents/{consent}/withdrawal", earlier)
    flag = {"applies": True, "reason": "programme of substance use treatment"}
    await send(admin, "PUT", f"/v1/patients/{patients[2]}/part-2", flag, **{"If-Match": '"1"'})
    form = (await send(admin, "GET", f"/v1/assessments?patient_id={patients[3]}"))["data"][0]["id"]
    await send(admin, "POST", f"/v1/assessments/{form}/void", {"reason": "a slip"}, **{"If-Match": '"1"'})
    await settle(database, admin.clinic_id, people(12))
    assert (await built(researcher, admin, database))["status"] == "ready"
    assert await made(database, admin.clinic_id, known_at, names) == first

    for one in (await send(admin, "GET", "/v1/patients?limit=100"))["data"]:
        names.setdefault(UUID(one["id"]), uuid4().hex)
    assert await made(database, admin.clinic_id, datetime.now(UTC), names) != first
