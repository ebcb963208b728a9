"""Two clinics with one of everything, made once for each file."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI

from app.db import Database
from tests.security.estate import Estate, open_estate


@dataclass
class Pair:
    """The clinic that asks, and the one nothing of which may show."""

    own: Estate
    foreign: Estate
    marks: frozenset[str]  # of the foreign one


@pytest.fixture(scope="module")
async def pair(app: FastAPI, database: Database) -> AsyncIterator[Pair]:
    async with open_estate(app, database, "alpha") as own, open_estate(app, database, "bravo") as foreign:
        yield Pair(own, foreign, await foreign.marks())


@pytest.fixture
async def fresh(app: FastAPI, database: Database) -> AsyncIterator[Estate]:
    """One more clinic, to be changed."""
    async with open_estate(app, database, "charlie") as estate:
        yield estate
