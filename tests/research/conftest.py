"""Releases of one clinic in every tier, asked for, approved, built and downloaded once for all tests of this folder."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.services import clinics, release_builds
from app.services.data_keys import get_key
from app.services.sealing import open_text, place
from app.tables import Clinic
from tests.conftest import Api, client
from tests.research.clinic import Person, people, settle

INSTRUMENTS = ["phq-9", "pcl-5-week"]


@dataclass(frozen=True)
class Study:
    """A clinic, who is in it, and the two people it takes to make a release."""

    database: Database
    clinic: Clinic
    people: list[Person]
    researcher: Api
    admin: Api

    @property
    def clinic_id(self) -> UUID:
        return self.clinic.clinic_id


@dataclass(frozen=True)
class Downloaded:
    """A release as its recipient has it; and, which no recipient has, who is who."""

    told: dict[str, Any]
    directory: Path
    names: dict[str, UUID]  # by pseudonym

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = self.told["manifest"]
        return found


async def new_study(app: FastAPI, database: Database, number: int, seed: int = 1) -> Study:
    clinic = await clinics.record_clinic(database, f"Study of {number}", "UTC")
    persons = await asyncio.to_thread(people, number, seed)
    await settle(database, clinic.clinic_id, persons)
    callers = [await client(app, database, clinic, role) for role in (Role.RESEARCHER, Role.ADMIN)]
    return Study(database, clinic, persons, *callers)


async def released(study: Study, directory: Path, tier: str, **other: Any) -> Downloaded:
    """From request to files, by the API alone."""
    asked = {
        "purpose": "What an attacker finds in a release",
        "recipient": "University of Example",
        "tier": tier,
        "instruments": INSTRUMENTS,
        "formats": ["csv", "ndjson", "parquet"],
        "agreement": "DUA 7" if tier == "limited_data_set" else None,
        "determination": "Determination 3" if tier == "expert" else None,
    }
    one = (await study.researcher.http.post("/v1/releases", json=asked | other)).json()
    answer = await study.admin.http.post(f"/v1/releases/{one['id']}/approval", json={"decision": "approved"})
    assert answer.is_success, answer.text
    assert await release_builds.build_next(study.database, study.clinic_id) == 1
    told = (await study.researcher.http.get(f"/v1/releases/{one['id']}")).json()
    assert told["status"] == "ready", told
    for file in told["manifest"]["files"]:
        answer = await study.researcher.http.get(f"/v1/releases/{one['id']}/files/{file['name']}")
        assert answer.is_success, answer.text
        (directory / file["name"]).write_bytes(answer.content)
    return Downloaded(told, directory, await who_is_who(study, UUID(one["id"])))


async def who_is_who(study: Study, release_id: UUID) -> dict[str, UUID]:
    """The map, opened with the key of the release."""
    query = "SELECT patient_id, pseudonym FROM release_person WHERE clinic_id = $1 AND release_id = $2"
    async with study.database.connection(study.clinic_id) as connection:
        key = await get_key(connection, study.database.keys, study.clinic_id, release_id)
        rows = await connection.fetch(query, study.clinic_id, release_id)
    found = {}
    for row in rows:
        home = place("release_person", "pseudonym", study.clinic_id, release_id, row["patient_id"])
        found[open_text(key, row["pseudonym"], home)] = UUID(bytes=row["patient_id"].bytes)
    return found


@pytest.fixture(scope="session")
async def study(app: FastAPI, database: Database) -> AsyncIterator[Study]:
    """Some hundreds of people over nearly three years. Nobody changes anything in it."""
    study = await new_study(app, database, 450)
    yield study
    for api in (study.researcher, study.admin):
        await api.http.aclose()


@pytest.fixture(scope="session")
async def safe_harbor(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Downloaded:
    """In every shape."""
    shapes = ["long", "wide", "omop", "cdisc"]
    return await released(study, tmp_path_factory.mktemp("safe_harbor"), "safe_harbor", shapes=shapes)


@pytest.fixture(scope="session")
async def safe_harbor_again(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Downloaded:
    """Of the same people, on the same day."""
    return await released(study, tmp_path_factory.mktemp("again"), "safe_harbor")


@pytest.fixture(scope="session")
async def limited(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Downloaded:
    """With every column that the tier has."""
    return await released(study, tmp_path_factory.mktemp("limited"), "limited_data_set", columns=EVERYTHING)


@pytest.fixture(scope="session")
async def expert(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Downloaded:
    """With the days, and without the answers."""
    columns = [name for name in EVERYTHING if name not in {"scores.responses", *DATED}]
    return await released(study, tmp_path_factory.mktemp("expert"), "expert", columns=columns)


DATED = {"scores.taken_on", "sessions.started_on"}
EVERYTHING = [
    *(f"persons.{name}" for name in ("age", "index_year", "modality", "medicine", "route", "dose_mg", "category")),
    *(f"scores.{name}" for name in ("week", "instrument", "total", "validity", "taken_on", "day", "responses")),
    *(f"sessions.{name}" for name in ("week", "kind", "started_on")),
]


@pytest.fixture(params=["safe_harbor", "limited", "expert"])
def downloaded(request: pytest.FixtureRequest) -> Downloaded:
    """Each tier in turn."""
    found: Downloaded = request.getfixturevalue(request.param)
    return found
