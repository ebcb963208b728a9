"""The chain of the trail: sealed without holding anybody up, unbroken under load, and every kind of tampering found."""

import asyncio
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.auth import Actor, Role
from app.db import Database
from app.delivery import Worker
from app.embedded_postgres import PostgresAddress
from app.errors import InvalidError
from app.ids import new_id
from app.schemas.assessments import AssessmentSubmit
from app.schemas.patients import PatientCreate
from app.services import audit_chain, clinics
from app.services.assessments import record_assessment
from app.services.audit_chain import (
    BEGINNING,
    FIRST_ID,
    STRETCH,
    STRETCHES_A_TURN,
    Sealer,
    canonical,
    chain_key,
    link_hash,
    seal,
)
from app.services.audit_verification import verify
from app.services.derivation import rederive
from app.services.patients import record_patient
from app.tables import AuditEvent
from app.webhook_client import WebhookClient
from tests.services import trail
from tests.services.trail import a_chain, add_event, an_actor, checked, fault, head, links, show, write

pytestmark = pytest.mark.anyio

KEY = bytes(range(32))
MANY = """
INSERT INTO audit_event (clinic_id, id, at, actor_id, actor_role, action, resource_id)
SELECT $1, ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $3, $1, 'service', 'assessment.create', $1
FROM generate_series(1, $2::int) n
"""


@pytest.fixture
async def clinic_id(stored: Database) -> UUID:
    return (await clinics.record_clinic(stored, "Trail", "UTC")).clinic_id


# --- The hash ---------------------------------------------------------------------------------------------------------

EVENT: dict[str, Any] = {
    "clinic_id": UUID(int=1),
    "id": UUID(int=2),
    "at": datetime(2026, 11, 20, 19, 31, tzinfo=UTC),
    "actor_id": UUID(int=3),
    "actor_role": "clinician",
    "action": "assessment.create",
    "subject_id": UUID(int=4),
    "resource_id": UUID(int=5),
}


EVERY_COLUMN = EVENT | {
    "request_id": UUID(int=6),
    "address": "192.0.2.7",
    "purpose": "treatment",
    "outcome": "done",
    "rows": 2,
    "filter": "instrument=phq-9",
    "subjects_digest": "a" * 64,
    "emergency_id": UUID(int=7),
}


async def test_the_hash_is_this_one_for_ever() -> None:
    """Chains sealed by one version have to be proven by every later one."""
    assert canonical(EVENT) == (
        b'{"action":"assessment.create","actor_id":"00000000-0000-0000-0000-000000000003","actor_role":"clinician",'
        b'"at":"2026-11-20T19:31:00.000000+00:00","clinic_id":"00000000-0000-0000-0000-000000000001",'
        b'"id":"00000000-0000-0000-0000-000000000002","resource_id":"00000000-0000-0000-0000-000000000005",'
        b'"subject_id":"00000000-0000-0000-0000-000000000004"}'
    )
    assert link_hash(1, BEGINNING, EVENT).hex() == "685581af360ab5d2111a2df8d47afbf41ed4f3d0b8657445fd7048e8adb06002"


async def test_every_column_counts() -> None:
    """Of the table as it is: whichever is changed, by however little, the hash is another. Its order is no matter."""
    assert EVERY_COLUMN.keys() == AuditEvent.model_fields.keys()
    sealed = link_hash(1, BEGINNING, EVERY_COLUMN)
    for name, value in EVERY_COLUMN.items():
        match value:
            case UUID():
                other: Any = UUID(int=value.int ^ 1)
            case datetime():
                other = value + timedelta(microseconds=1)
            case int():
                other = value ^ 1
            case _:
                other = f"{value[:-1]}{chr(ord(value[-1]) ^ 1)}"
        assert link_hash(1, BEGINNING, EVERY_COLUMN | {name: other}) != sealed, name
    assert link_hash(1, BEGINNING, EVERY_COLUMN | {"subject_id": None}) != sealed
    assert link_hash(2, BEGINNING, EVERY_COLUMN) != sealed
    assert link_hash(1, bytes(31) + b"\1", EVERY_COLUMN) != sealed
    berlin = EVENT["at"].astimezone(timezone(timedelta(hours=1)))
    assert link_hash(1, BEGINNING, dict(reversed(list(EVERY_COLUMN.items()))) | {"at": berlin}) == sealed


async def test_a_later_column_leaves_old_hashes_alone() -> None:
    """Empty it changes nothing, filled it counts; one of a kind nobody thought of is refused, not guessed at."""
    for name in EVERY_COLUMN.keys() - EVENT.keys():
        assert canonical(EVENT | {name: None}) == canonical(EVENT)
        assert canonical(EVENT | {name: EVERY_COLUMN[name]}) != canonical(EVENT)
    with pytest.raises(TypeError):
        canonical(EVENT | {"weight": 1.5})


# --- Sealing ----------------------------------------------------------------------------------------------------------


async def test_what_the_service_writes_is_sealed_by_the_worker(stored: Database, clinic_id: UUID) -> None:
    """In the order of its ids, from 1, once."""
    actor = an_actor(clinic_id)
    async with stored.session(clinic_id) as session:
        patient = (await record_patient(session, actor, PatientCreate(), None))[0].id
    form = AssessmentSubmit(patient_id=patient, instrument="phq-9", responses=[1] * 9, taken_at=datetime.now(UTC))
    await record_assessment(stored, actor, form, None)
    async with WebhookClient(frozenset(), None) as client:
        for _ in range(2):
            await Worker(stored, client, rederive, Sealer(stored), asyncio.Event()).run_once()
    async with stored.connection(clinic_id) as connection:
        events = await connection.fetch("SELECT id, action FROM audit_event ORDER BY id")
    assert [event["action"] for event in events] == ["patient.create", "assessment.create"]
    assert await links(stored, clinic_id) == [(1, events[0]["id"]), (2, events[1]["id"])]
    found = await checked(stored, clinic_id)
    assert (found.fault, found.checked, found.overdue, found.backdated) == (None, 2, 0, 0)


async def test_a_check_in_never_waits_for_the_chain(stored: Database, clinic_id: UUID) -> None:
    """It is stored while a sealer sits on the chain's lock."""
    actor = an_actor(clinic_id)
    async with stored.session(clinic_id) as session:
        patient = (await record_patient(session, actor, PatientCreate(), None))[0].id
    form = AssessmentSubmit(patient_id=patient, instrument="phq-9", responses=[1] * 9, taken_at=datetime.now(UTC))
    async with stored.locked(clinic_id, [chain_key(clinic_id)]):
        await record_assessment(stored, actor, form, None)  # one that waited would be refused after its time for locks
    assert await seal(stored, clinic_id, FIRST_ID) == (2, None)


async def test_fifty_writers_and_two_sealers_leave_an_unbroken_chain(stored: Database, clinic_id: UUID) -> None:
    """Two thousand events, each its own transaction, sealed while they are written: none left out, none twice."""
    done = asyncio.Event()

    async def keep_writing() -> None:
        actor = an_actor(clinic_id)
        for _ in range(40):
            await write(stored, actor)

    async def keep_sealing() -> int:
        sealed = 0
        while not done.is_set():
            sealed += (await seal(stored, clinic_id, FIRST_ID))[0]
            await asyncio.sleep(0.01)
        return sealed

    sealers = [asyncio.create_task(keep_sealing()) for _ in range(2)]
    await asyncio.gather(*(keep_writing() for _ in range(50)))
    done.set()
    early = [await sealer for sealer in sealers]
    assert all(early), "both sealers had work while the writers were writing"
    rest, _ = await seal(stored, clinic_id, FIRST_ID)
    assert sum(early) + rest == 2_000
    assert [number for number, _ in await links(stored, clinic_id)] == list(range(1, 2_001))
    found = await checked(stored, clinic_id)
    assert (found.fault, found.checked) == (None, 2_000)


async def test_what_is_committed_late_is_sealed_later(stored: Database, clinic_id: UUID) -> None:
    """An older id that shows up afterwards takes the next number; nothing is moved for it."""
    actor, late = an_actor(clinic_id), new_id()
    async with stored.connection(clinic_id) as connection:
        await add_event(connection, clinic_id, late, datetime.now(UTC))
        await asyncio.sleep(0.002)
        for _ in range(2):
            await write(stored, actor)
        assert await seal(stored, clinic_id, FIRST_ID) == (2, None)
    assert await seal(stored, clinic_id, FIRST_ID) == (1, None)
    order = await links(stored, clinic_id)
    assert order[-1] == (3, late)
    assert late < order[0][1]
    found = await checked(stored, clinic_id)
    assert (found.fault, found.checked, found.backdated) == (None, 3, 0)


async def test_what_is_committed_very_late_is_found_by_the_rare_look(
    stored: Database, clinic_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older than the usual look goes back: overdue for the verifier at first, then sealed, and pointed out."""
    sealer = Sealer(stored)
    await write(stored, an_actor(clinic_id))
    assert [await sealer.take_turn(clinic_id) for _ in range(2)] == [1, 0]
    old = UUID("018f0000-0000-7000-8000-000000000001")
    async with stored.connection(clinic_id) as connection:
        await add_event(connection, clinic_id, old, datetime.now(UTC) - timedelta(hours=2))
    await write(stored, an_actor(clinic_id))
    assert [await sealer.take_turn(clinic_id) for _ in range(2)] == [1, 0]
    found = await checked(stored, clinic_id)
    assert (found.fault, found.checked, found.overdue, found.first_overdue) == (None, 2, 1, old)
    monkeypatch.setattr(audit_chain, "SWEEP_SECONDS", 0.0)
    assert await sealer.take_turn(clinic_id) == 1
    found = await checked(stored, clinic_id)
    assert (found.checked, found.overdue, found.backdated, found.first_backdated) == (3, 0, 1, old)


async def test_a_backlog_is_sealed_in_bounded_turns_and_verified_in_bounded_memory(
    stored: Database, clinic_id: UUID
) -> None:
    """Stretch by stretch, in order; proving it holds a page of it at a time."""
    count = STRETCH * STRETCHES_A_TURN + 7
    async with stored.connection(clinic_id) as connection:
        await connection.execute(MANY, clinic_id, count, datetime.now(UTC))
    sealer = Sealer(stored)
    told: list[tuple[int, int]] = []
    assert [await sealer.take_turn(clinic_id) for _ in range(3)] == [count - 7 + 1, 7, 0]
    tracemalloc.start()
    try:
        found = await verify(stored, clinic_id, (), None, lambda done, total: told.append((done, total)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.fault, found.checked) == (None, count)
    assert told[-1] == (count, count)
    assert len(told) > 5
    assert peak < 12_000_000, "bytes; all of the trail at once would be three times as much"


async def test_each_clinic_has_a_chain_of_its_own(stored: Database, clinic_id: UUID) -> None:
    """Numbers begin anew, locks differ, and one's head proves nothing of another."""
    other = (await clinics.record_clinic(stored, "Other", "UTC")).clinic_id
    await a_chain(stored, clinic_id, 3)
    await a_chain(stored, other, 2)
    assert [number for number, _ in await links(stored, other)] == [1, 2]
    assert chain_key(clinic_id) != chain_key(other)
    with pytest.raises(InvalidError):
        await checked(stored, clinic_id, await head(stored, other))


# --- Who may change what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["audit_event", "audit_link", "audit_subject"])
@pytest.mark.parametrize("who", ["owner", "superuser", "superuser as a replica"])
async def test_nobody_changes_the_trail_by_a_statement(
    stored: Database, own: PostgresAddress, clinic_id: UUID, table: str, who: str
) -> None:
    """Not even where row-level security lets them see the rows, or where they see none."""
    await show(stored, an_actor(clinic_id), [uuid4(), uuid4()])
    assert await seal(stored, clinic_id, FIRST_ID) == (1, None)
    connection = await (asyncpg.connect(own.owner_url) if who == "owner" else trail.as_superuser(own))
    try:
        await connection.execute(f"SET app.clinic_id = '{clinic_id}'")
        assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE clinic_id = $1", clinic_id) > 0
        if who == "superuser as a replica":
            await connection.execute("SET session_replication_role = replica")
        for statement in (f"UPDATE {table} SET clinic_id = clinic_id", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(statement)
        await connection.execute("RESET app.clinic_id")
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(f"DELETE FROM {table}")
    finally:
        await connection.close()


async def test_bound_to_a_patient_only_their_own_events_are_seen(stored: Database, clinic_id: UUID) -> None:
    """Neither another's, nor those about nobody, nor the chain; and none of them can be written."""
    mine, actor = uuid4(), an_actor(clinic_id)
    for subject_id in (mine, uuid4(), None):
        await write(stored, actor, subject_id=subject_id)
    await seal(stored, clinic_id, FIRST_ID)
    async with stored.connection(Actor(clinic_id, uuid4(), Role.PATIENT, mine)) as connection:
        rows = await connection.fetch("SELECT subject_id FROM audit_event")
        assert [row["subject_id"] for row in rows] == [mine]
        assert await connection.fetchval("SELECT count(*) FROM audit_link") == 0
    for subject_id in (uuid4(), None):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with stored.connection(Actor(clinic_id, uuid4(), Role.PATIENT, mine)) as connection:
                await connection.execute(
                    trail.ADD, clinic_id, new_id(), datetime.now(UTC), uuid4(), subject_id, uuid4()
                )


async def test_bound_to_a_patient_the_lists_they_are_in_are_seen(stored: Database, clinic_id: UUID) -> None:
    """And of those on the lists themselves alone; they put nobody else on one."""
    mine, other, actor = uuid4(), uuid4(), an_actor(clinic_id)
    for patients in ([mine, other], [other, uuid4()]):
        await show(stored, actor, patients)
    async with stored.connection(Actor(clinic_id, uuid4(), Role.PATIENT, mine)) as connection:
        (event,) = await connection.fetch("SELECT * FROM audit_event")
        assert (event["action"], event["subject_id"]) == ("patient.list", None)
        (subject,) = await connection.fetch("SELECT * FROM audit_subject")
        assert (subject["event_id"], subject["patient_id"]) == (event["id"], mine)
    add = "INSERT INTO audit_subject VALUES ($1, $2, $3, now())"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with stored.connection(Actor(clinic_id, uuid4(), Role.PATIENT, mine)) as connection:
            await connection.execute(add, clinic_id, event["id"], other)


async def test_an_administrator_of_the_api_is_no_administrator_of_the_chain(stored: Database, clinic_id: UUID) -> None:
    """The runtime role can add a link and nothing more; one that is wrong is found."""
    await a_chain(stored, clinic_id, 2)
    await write(stored, Actor(clinic_id, uuid4(), Role.ADMIN))
    async with stored.connection(clinic_id) as connection:
        event_id = await connection.fetchval(
            "SELECT id FROM audit_event e WHERE NOT EXISTS (SELECT FROM audit_link WHERE event_id = e.id)"
        )
        await connection.execute("INSERT INTO audit_link VALUES ($1, 3, $2, $3)", clinic_id, event_id, bytes(32))
    assert await fault(stored, clinic_id) == ("changed", 3)
