"""Two clinics with one of everything, made once for each file."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI

from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress
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


@pytest.fixture(scope="module")
def unbound(postgres: EmbeddedPostgres, address: PostgresAddress) -> Iterator[str]:
    """A login that row-level security does not bind."""
    postgres._query_or_fail("CREATE ROLE sees_everything LOGIN SUPERUSER PASSWORD 'only-here'")
    yield f"postgresql://sees_everything:only-here@{address.host}:{address.port}/{address.database}"
    postgres._query_or_fail("DROP ROLE sees_everything")
