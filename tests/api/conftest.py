"""More callers: another clinic's administrator, a program, a patient."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from app import deps
from app.auth import Role
from app.db import Database
from app.tables import Clinic
from tests.api.check_ins import Bearer, make_link
from tests.conftest import Api, client


@pytest.fixture
async def other_admin(app: FastAPI, database: Database, other_clinic: Clinic) -> AsyncIterator[Api]:
    """An administrator of another clinic."""
    api = await client(app, database, other_clinic, Role.ADMIN)
    async with api.http:
        yield api


@pytest.fixture
async def service(app: FastAPI, database: Database, clinic: Clinic) -> AsyncIterator[Api]:
    """A program of the test's own clinic."""
    api = await client(app, database, clinic, Role.SERVICE)
    async with api.http:
        yield api


@dataclass
class PatientApi(Api):
    """A patient's own client."""

    patient_id: str


@pytest.fixture
async def patient_api(app: FastAPI, database: Database, clinic: Clinic, api: Api) -> AsyncIterator[PatientApi]:
    """A patient of the test's own clinic."""
    patient = await api.add_patient()
    own = await client(app, database, clinic, Role.PATIENT, UUID(patient))
    async with own.http:
        yield PatientApi(own.http, own.clinic_id, patient)


@pytest.fixture
async def patient_id(api: Api) -> str:
    return await api.add_patient("Chart 4711 of Somebody")


@pytest.fixture
async def link(api: Api, patient_id: str) -> dict[str, Any]:
    """A check-in link of that patient, with its token."""
    return await make_link(api, patient_id)


@pytest.fixture
async def bearer(anonymous: httpx2.AsyncClient, link: dict[str, Any]) -> Bearer:
    return Bearer(anonymous, link)


@pytest.fixture
def no_waiting_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call looks its token up, as the first one after a second does."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 0.0)
