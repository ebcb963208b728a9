"""What the tests of the trail share: a database of its own, events, and a superuser who does what nobody may."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app import migrate
from app.audit import record_event, record_read
from app.auth import Actor, Role
from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress
from app.ids import new_id
from app.paging import PageRequest
from app.services.audit_chain import FIRST_ID, seal
from app.services.audit_heads import Head
from app.services.audit_verification import Verification, get_head, verify

SUPERUSER = "breaker"
PASSWORD = "only-in-tests"
ADD = """
INSERT INTO audit_event (clinic_id, id, at, actor_id, actor_role, action, subject_id, resource_id)
VALUES ($1, $2, $3, $4, 'clinician', 'assessment.create', $5, $6)
"""


@contextmanager
def database_of_its_own(postgres: EmbeddedPostgres, name: str) -> Iterator[PostgresAddress]:
    """Where triggers can be taken off without other tests noticing."""
    address = postgres.create_database(name)
    postgres._query_or_fail(f"CREATE ROLE {SUPERUSER} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    try:
        migrate.upgrade(address.owner_url)
        yield address
    finally:
        postgres.drop_database(name)
        postgres._query_or_fail(f"DROP ROLE {SUPERUSER}")


async def as_superuser(address: PostgresAddress) -> asyncpg.Connection:
    url = f"postgresql://{SUPERUSER}:{PASSWORD}@{address.host}:{address.port}/{address.database}"
    return await asyncpg.connect(url)


@asynccontextmanager
async def breaking_in(address: PostgresAddress) -> AsyncIterator[asyncpg.Connection]:
    """A superuser who has taken the triggers off, and puts them back so that nobody notices."""
    connection = await as_superuser(address)
    tables = ("audit_event", "audit_link", "audit_subject")
    try:
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER only_added_to")
        yield connection
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER only_added_to")
    finally:
        await connection.close()


def an_actor(clinic_id: UUID) -> Actor:
    return Actor(clinic_id, uuid4(), Role.CLINICIAN, hidden=frozenset())


async def write(database: Database, actor: Actor, **changes: Any) -> None:
    """One event in a transaction of its own, as every write of the service adds one."""
    at = changes.get("at", datetime.now(UTC))
    subject_id = changes.get("subject_id", uuid4())
    async with database.session(actor.clinic_id) as session:
        record_event(session, actor, "assessment.create", at=at, subject_id=subject_id, resource_id=new_id())


async def show(database: Database, actor: Actor, patients: Iterable[UUID]) -> None:
    """One read of a list, in a transaction of its own."""
    async with database.connection(actor.clinic_id) as connection:
        await record_read(connection, actor, "patient.list", of=patients, rows=2, asked=PageRequest(2))


async def add_event(connection: asyncpg.Connection, clinic_id: UUID, id_: UUID, at: datetime) -> None:
    await connection.execute(ADD, clinic_id, id_, at, uuid4(), uuid4(), uuid4())


async def a_chain(database: Database, clinic_id: UUID, length: int = 8) -> None:
    actor = an_actor(clinic_id)
    for _ in range(length):
        await write(database, actor)
    assert await seal(database, clinic_id, FIRST_ID) == (length, None)


async def links(database: Database, clinic_id: UUID) -> list[tuple[int, UUID]]:
    async with database.connection(clinic_id) as connection:
        rows = await connection.fetch("SELECT number, event_id FROM audit_link ORDER BY number")
    return [(row["number"], row["event_id"]) for row in rows]


async def event_at(database: Database, clinic_id: UUID, number: int) -> UUID:
    return dict(await links(database, clinic_id))[number]


async def checked(
    database: Database, clinic_id: UUID, *heads: Head, signer: Ed25519PublicKey | None = None
) -> Verification:
    return await verify(database, clinic_id, heads, signer, lambda _done, _total: None)


async def fault(database: Database, clinic_id: UUID, *heads: Head) -> tuple[str, int] | None:
    found = (await checked(database, clinic_id, *heads)).fault
    return None if found is None else (found.code, found.number)


async def head(database: Database, clinic_id: UUID, key: Ed25519PrivateKey | None = None) -> Head:
    return await get_head(database, clinic_id, key)
