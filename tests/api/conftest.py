"""More callers: another clinic's administrator, a program, a patient."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.tables import Clinic
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
