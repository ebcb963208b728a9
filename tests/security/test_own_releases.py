"""What the database itself tells of the releases that hold somebody: to whom, of whom, and at what price."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.auth import Actor, Role
from app.db import Database, Whom
from app.embedded_postgres import PostgresAddress
from tests.security.conftest import Pair
from tests.security.estate import Estate, release_long_ago

pytestmark = pytest.mark.anyio

TOLD = "SELECT release_id FROM releases_of($1)"


async def told(database: Database, whom: Whom, patient: str) -> list[str]:
    async with database.connection(whom) as connection:
        return [str(row["release_id"]) for row in await connection.fetch(TOLD, UUID(patient))]


def own(estate: Estate) -> Actor:
    return Actor(estate.clinic_id, uuid4(), Role.PATIENT, UUID(estate.things["patient"]))


def clinician(estate: Estate, *hidden: str) -> Actor:
    return Actor(estate.clinic_id, uuid4(), Role.CLINICIAN, hidden=frozenset(map(UUID, hidden)))


# --- To whom ----------------------------------------------------------------------------------------------------------


async def test_a_patient_is_told_of_their_own_alone(pair: Pair, database: Database) -> None:
    mine, other = pair.own.things, pair.own.others
    assert await told(database, own(pair.own), mine["patient"]) == [mine["past_release"]]
    for patient in (other["patient"], mine["restricted"], pair.foreign.things["patient"], str(uuid4())):
        assert await told(database, own(pair.own), patient) == []


async def test_the_staff_is_told_of_whom_they_see(pair: Pair, database: Database) -> None:
    """Of a restricted patient, and of one of another clinic, nobody is told more than of one who never was."""
    mine, other = pair.own.things, pair.own.others
    for patient in (mine, other):
        assert await told(database, clinician(pair.own), patient["patient"]) == [patient["past_release"]]
        assert await told(database, pair.own.clinic_id, patient["patient"]) == [patient["past_release"]]
        assert await told(database, pair.foreign.clinic_id, patient["patient"]) == []
    hides = clinician(pair.own, other["patient"])
    assert await told(database, hides, other["patient"]) == []
    assert await told(database, hides, mine["patient"]) == [mine["past_release"]]


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.LINK, Role.CODE])
async def test_who_sees_no_patient_is_told_of_none(pair: Pair, database: Database, role: Role) -> None:
    actor = Actor(pair.own.clinic_id, uuid4(), role)
    assert await told(database, actor, pair.own.things["patient"]) == []


async def test_without_a_clinic_nothing_is_told(pair: Pair, database: Database) -> None:
    assert await database.fetch_alone(TOLD, UUID(pair.own.things["patient"])) == []


async def test_a_superusers_function_is_as_narrow(pair: Pair, unbound: str) -> None:
    """Who installs the schema as one is held by no policy: then the function's own question is all there is."""
    async with rolled_back(unbound) as connection:
        await connection.execute("ALTER FUNCTION releases_of(uuid) OWNER TO sees_everything")
        await connection.execute("SET LOCAL ROLE tidemark_runtime")
        mine, other = pair.own.things, pair.own.others
        seen = {
            (str(pair.own.clinic_id), ""): [mine, other],
            (str(pair.own.clinic_id), mine["patient"]): [mine],
            (str(pair.own.clinic_id), str(UUID(int=0))): [],
            (str(pair.foreign.clinic_id), ""): [],
            ("", ""): [],
        }
        for (clinic_id, bound), theirs in seen.items():
            await connection.execute(f"SET LOCAL app.clinic_id = '{clinic_id}'; SET LOCAL app.patient_id = '{bound}'")
            for things in (mine, other):
                found = [str(row["release_id"]) for row in await connection.fetch(TOLD, UUID(things["patient"]))]
                assert found == ([things["past_release"]] if things in theirs else []), (clinic_id, bound)


@asynccontextmanager
async def rolled_back(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


# --- What a transaction sees besides ----------------------------------------------------------------------------------


async def assert_narrow(connection: asyncpg.Connection, estate: Estate) -> None:
    """No release, no file, no download; of people and of the map the own rows."""
    for unseen in ("release", "release_chunk", "audit_event WHERE action LIKE 'release%'"):
        assert await connection.fetchval(f"SELECT count(*) FROM {unseen}") == 0, unseen
    for table, column in (("patient", "id"), ("release_person", "patient_id")):
        rows = await connection.fetch(f"SELECT {column}::text AS id FROM {table}")
        assert {row["id"] for row in rows} == {estate.things["patient"]}, table


async def test_a_transaction_is_as_narrow_afterwards(pair: Pair, database: Database) -> None:
    """Also when it was asked of somebody else. What it does not see is there."""
    address = f"/v1/releases/{pair.own.things['ready_release']}/files/assessments.csv"
    assert (await pair.own.http[Role.ADMIN].get(address)).status_code == 200
    async with database.connection(own(pair.own)) as connection:
        for patient in (pair.own.things["patient"], pair.own.others["patient"]):
            await connection.fetch(TOLD, UUID(patient))
            await assert_narrow(connection, pair.own)


async def test_a_transaction_is_as_narrow_after_an_error(fresh: Estate, database: Database) -> None:
    """Of a release that cannot be told: whoever goes on after it sees no more than before."""
    await release_long_ago(fresh, fresh.things["patient"], instruments="not a list")
    async with database.connection(own(fresh)) as connection:
        with pytest.raises(asyncpg.InvalidParameterValueError):
            async with connection.transaction():
                await connection.fetch(TOLD, UUID(fresh.things["patient"]))
        await assert_narrow(connection, fresh)


# --- At what price ----------------------------------------------------------------------------------------------------


FILL = (
    """WITH new AS (INSERT INTO patient (clinic_id, id, created_at)
           SELECT $1, gen_random_uuid(), now() FROM generate_series(1, $2) RETURNING id)
       INSERT INTO release_person (clinic_id, release_id, patient_id) SELECT $1, $3, id FROM new""",
    """INSERT INTO audit_event (clinic_id, id, at, actor_id, actor_role, action, resource_id, outcome, rows)
       SELECT $1, gen_random_uuid(), now(), $1, 'researcher', CASE WHEN n <= 3 THEN 'release_file.read' ELSE 'x' END,
           $3, 'done', 9 FROM generate_series(1, $2) n""",
)
READ = """
SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS read
FROM pg_stat_xact_user_tables WHERE relname IN ('release_person', 'audit_event')
"""


async def test_ten_thousand_others_are_not_read(fresh: Estate, database: Database, address: PostgresAddress) -> None:
    """The own row of the map and the three downloads, out of ten thousand and more of each; planned once and anew."""
    people, things = 10_000, fresh.things
    async with database.connection(fresh.clinic_id) as connection:
        await connection.execute("SET LOCAL statement_timeout = '120s'")  # while other tests load the machine
        for statement in FILL:
            await connection.execute(statement, fresh.clinic_id, people, UUID(things["past_release"]))
    owner = await asyncpg.connect(address.owner_url)
    await owner.execute("ANALYZE release_person, audit_event")
    await owner.close()
    for mode in ("force_custom_plan", "force_generic_plan"):
        async with database.connection(own(fresh)) as connection:
            await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
            before = await rows_read(connection)
            row = await connection.fetchrow("SELECT downloaded_at FROM releases_of($1)", UUID(things["patient"]))
            after = await rows_read(connection)
        assert len(row["downloaded_at"]) == 3
        after.subtract(before)
        assert +after == {"release_person": 1, "audit_event": 3}, mode


async def rows_read(connection: asyncpg.Connection) -> Counter[str]:
    return Counter({row["relname"]: row["read"] for row in await connection.fetch(READ)})
