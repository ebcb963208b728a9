"""Row-level security holds by itself: no check of the application is asked here."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlmodel import select

from app.auth import Actor, Role
from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress
from app.schemas.assessments import AssessmentSubmit
from app.schemas.patients import PatientCreate
from app.services import clinics
from app.services.assessments import record_assessment
from app.services.histories import find_histories, history_sql
from app.services.patients import record_patient
from app.settings import Settings
from app.tables import APPEND_ONLY, Clinic, Patient

pytestmark = pytest.mark.anyio

# Tables that hold no patient's identity, answers or treatment.
OF_NOBODY = {
    *("clinic", "clinic_rules", "suitability_checklist", "threshold", "derivation"),  # the clinic's own
    *("webhook", "delivery"),  # what was told stands in `notification`
    "audit_link",  # places and hashes
    "idempotency_key",  # ids behind keys of the caller's own
    "request_rate",  # numbers
    *("release", "release_chunk"),  # what was asked; files under a key that goes with them
    *("principal", "issuer_key_set"),  # of the staff, and of whoever vouches for them
    "cohort_question",  # conditions and told figures; who belongs to a cohort is nowhere kept
}


async def test_every_table_of_a_clinic_has_a_forced_policy(address: PostgresAddress) -> None:
    """Read from the catalogue, so that a new table cannot be forgotten."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        rows = await connection.fetch("""
            SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced,
                   coalesce(bool_and(p.polqual IS NOT NULL AND (p.polwithcheck IS NOT NULL OR p.polcmd = 'r')), false)
                       AS covered,
                   (SELECT a.attname FROM pg_index i
                    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                    WHERE i.indrelid = c.oid AND i.indisprimary) AS leads
            FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid
            WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'alembic_version'
            GROUP BY c.oid""")
    finally:
        await connection.close()
    assert len(rows) >= len(APPEND_ONLY)
    assert [row["relname"] for row in rows if not (row["forced"] and row["covered"])] == []
    assert [row["relname"] for row in rows if row["leads"] != "clinic_id"] == []


async def test_every_index_and_foreign_key_begins_with_the_clinic(address: PostgresAddress) -> None:
    """So that each fits one shard and no key tells of another clinic."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        rows = await connection.fetch("""
            SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE c.relnamespace = 'public'::regnamespace AND a.attname NOT IN ('clinic_id', 'version_num')
            UNION ALL
            SELECT k.conname FROM pg_constraint k
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
            WHERE k.contype = 'f' AND a.attname <> 'clinic_id'""")
    finally:
        await connection.close()
    assert rows == []


async def test_runtime_role_is_no_superuser_no_bypasser_no_owner(database: Database, address: PostgresAddress) -> None:
    """Neither by the role it acts as, nor by the login behind it."""
    assert await database.runtime_role_faults() == []
    connection = await asyncpg.connect(address.runtime_url)
    try:
        login = await connection.fetchrow(
            "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = session_user"
        )
        owned = await connection.fetchval("SELECT count(*) FROM pg_class WHERE relowner = session_user::regrole")
    finally:
        await connection.close()
    assert login[0] is False
    assert owned == 0


async def test_append_only_tables_cannot_be_changed(database: Database, clinic: Clinic) -> None:
    """The role that serves may add and read, nothing else."""
    for table in sorted(APPEND_ONLY):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET clinic_id = clinic_id", f"TRUNCATE {table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with database.connection(clinic.clinic_id) as connection:
                    await connection.execute(statement)


async def test_without_a_clinic_nothing_is_seen(database: Database, clinic: Clinic) -> None:
    """A forgotten binding shows an empty database, not everybody's."""
    assert await database.fetch_alone("SELECT * FROM clinic") == []
    assert clinic.clinic_id is not None


async def test_bound_to_a_patient_nothing_of_another_is_seen(database: Database, clinic: Clinic) -> None:
    """In every table that names a patient, read from the catalogue: one patient's binding hides all others."""
    actor = Actor(clinic.clinic_id, uuid4(), Role.CLINICIAN, hidden=frozenset())
    async with database.session(clinic.clinic_id) as session:
        mine, other = [(await record_patient(session, actor, PatientCreate(), None))[0].id for _ in range(2)]
    taken_at = datetime(2026, 3, 1, tzinfo=UTC)
    for patient in (mine, other):
        form = AssessmentSubmit(patient_id=patient, instrument="phq-9", responses=[1] * 9, taken_at=taken_at)
        await record_assessment(database, actor, form, None)
    async with database.connection(clinic.clinic_id) as connection:
        tables = [
            row["table_name"]
            for row in await connection.fetch("""
                SELECT table_name FROM information_schema.columns
                WHERE table_schema = 'public' AND column_name = 'patient_id' AND table_name <> 'api_token'""")
        ]
    assert len(tables) >= 14
    seen = dict.fromkeys(tables, 0)
    for bound, hidden in ((mine, other), (other, mine)):
        async with database.connection(Actor(clinic.clinic_id, uuid4(), Role.PATIENT, bound)) as connection:
            assert [row["id"] for row in await connection.fetch("SELECT id FROM patient")] == [bound]
            for table in tables:
                found = {row["patient_id"] for row in await connection.fetch(f"SELECT patient_id FROM {table}")}
                assert hidden not in found, table
                seen[table] += len(found)
    assert {table for table, count in seen.items() if count == 2} >= {"assessment", "alert", "alert_event", "standing"}


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.ADMIN, Role.SERVICE}))
async def test_who_is_not_known_to_see_patients_sees_none(database: Database, clinic: Clinic, role: Role) -> None:
    """A new role, one that should stand for a patient and does not, a clinician of whom nobody asked who is hidden."""
    async with database.session(clinic.clinic_id) as session:
        admin = Actor(clinic.clinic_id, uuid4(), Role.ADMIN)
        patient, _ = await record_patient(session, admin, PatientCreate(), None)
    actor = Actor(clinic.clinic_id, uuid4(), role)
    assert not actor.sees(patient.id)
    async with database.connection(actor) as connection:
        assert await connection.fetch("SELECT FROM patient") == []


async def test_every_table_is_of_patients_and_confined_to_those_in_view_or_is_of_nobody(
    address: PostgresAddress,
) -> None:
    """Read from the catalogue: a new table fails here until somebody has decided which of the two it is."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        rows = await connection.fetch("""
            SELECT c.relname, p.polcmd = '*' AND NOT p.polpermissive
                AND pg_get_expr(p.polqual, p.polrelid) LIKE '%app.hidden_patients%'
                AND pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%app.hidden_patients%' AS confined
            FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'own_patient'
            WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
            AND c.relname <> 'alembic_version'""")
        named = await connection.fetch("""
            SELECT table_name FROM information_schema.columns
            WHERE table_schema = 'public' AND column_name IN ('patient_id', 'subject_id')""")
    finally:
        await connection.close()
    assert {row["relname"] for row in rows if not row["confined"]} == OF_NOBODY
    assert OF_NOBODY & {row["table_name"] for row in named} == set()


async def test_a_row_cannot_be_written_for_another_clinic(
    database: Database, clinic: Clinic, other_clinic: Clinic
) -> None:
    """The policy checks what is written, too."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.connection(clinic.clinic_id) as connection:
            await connection.execute(
                "INSERT INTO patient (clinic_id, id, created_at) VALUES ($1, $2, now())",
                other_clinic.clinic_id,
                uuid4(),
            )


async def test_a_pooled_connection_never_carries_a_clinic_over(
    address: PostgresAddress, clinic: Clinic, other_clinic: Clinic
) -> None:
    """Two hundred alternating transactions on one connection of each pool: no row of the other clinic, ever."""
    database = Database(address.runtime_url, Settings(pool_size=1, orm_pool_size=1, pool_wait_seconds=30))
    await database.open()
    try:
        await asyncio.gather(*(_sees_only(database, (clinic, other_clinic)[turn % 2].clinic_id) for turn in range(200)))
        assert await database.fetch_alone("SELECT * FROM clinic") == []
    finally:
        await database.close()


async def _sees_only(database: Database, clinic_id: UUID) -> None:
    async with database.connection(clinic_id) as connection:
        assert [row["clinic_id"] for row in await connection.fetch("SELECT clinic_id FROM clinic")] == [clinic_id]
    async with database.session(clinic_id) as session:
        assert (await session.exec(select(Clinic.clinic_id))).all() == [clinic_id]


async def test_a_failed_transaction_leaves_no_clinic_behind(address: PostgresAddress, clinic: Clinic) -> None:
    """Neither the error nor the rollback keeps the binding."""
    database = Database(address.runtime_url, Settings(pool_size=1, orm_pool_size=1))
    await database.open()
    try:
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with database.connection(clinic.clinic_id) as connection:
                await connection.execute("SELECT 1 / 0")
        assert await database.fetch_alone("SELECT * FROM clinic") == []
        unnamed = {"identifiers": None, "ref_index": None}
        patient = Patient(clinic_id=clinic.clinic_id, id=uuid4(), created_at=clinic.created_at, **unnamed)
        with pytest.raises(ZeroDivisionError):
            await _add_and_fail(database, patient)
        async with database.session(clinic.clinic_id) as session:
            assert (await session.exec(select(Patient))).all() == []
    finally:
        await database.close()


async def _add_and_fail(database: Database, patient: Patient) -> None:
    async with database.session(patient.clinic_id) as session:
        session.add(patient)
        await session.flush()
        raise ZeroDivisionError


async def test_even_a_superusers_login_is_confined(
    postgres: EmbeddedPostgres, address: PostgresAddress, clinic: Clinic
) -> None:
    """With one URL for everything the service still acts as the runtime role."""
    postgres._query_or_fail("CREATE ROLE one_for_all LOGIN SUPERUSER PASSWORD 'only-here'")
    url = f"postgresql://one_for_all:only-here@{address.host}:{address.port}/{address.database}"
    database = Database(url, Settings(pool_size=1))
    await database.open()
    try:
        assert await database.runtime_role_faults() == []
        assert await database.fetch_alone("SELECT * FROM clinic") == []
        async with database.connection(clinic.clinic_id) as connection:
            assert await connection.fetchval("SELECT count(*) FROM clinic") == 1
    finally:
        await database.close()
        postgres._query_or_fail("DROP ROLE one_for_all")


async def test_behind_a_pooler_an_owners_login_is_found_out(address: PostgresAddress) -> None:
    """There the role cannot be taken on, so the login itself must be the unprivileged one."""
    settings = Settings(pool_size=1, database_pooler="transaction")
    found = {}
    for url in (address.owner_url, address.runtime_url):
        database = Database(url, settings)
        await database.open()
        try:
            found[url] = await database.runtime_role_faults()
        finally:
            await database.close()
    assert found == {address.owner_url: ["owns tables of this database"], address.runtime_url: []}


async def test_pooler_mode_serves_both_pools(address: PostgresAddress) -> None:
    """Without any cached statement, reads and writes go through."""
    database = Database(address.runtime_url, Settings(database_pooler="transaction"))
    await database.open()
    try:
        clinic = await clinics.record_clinic(database, "Behind a pooler", "UTC")
        await _sees_only(database, clinic.clinic_id)
    finally:
        await database.close()


async def test_a_snapshot_spells_days_and_numbers_alike_on_every_server(
    address: PostgresAddress, clinic: Clinic
) -> None:
    """A release is made of such texts: a server that writes 02.03.2026 and cuts digits off would change its files."""
    owner = await asyncpg.connect(address.owner_url)
    name = await owner.fetchval("SELECT quote_ident(current_database())")
    database = Database(address.runtime_url, Settings(pool_size=1, orm_pool_size=1))
    try:
        await owner.execute(f"ALTER DATABASE {name} SET datestyle = 'German'")
        await owner.execute(f"ALTER DATABASE {name} SET extra_float_digits = -9")
        await database.open()
        async with database.snapshot(clinic.clinic_id, most_seconds=30) as snapshot:
            told = await snapshot.fetchval("SELECT concat(DATE '2026-03-02', ' ', 10.333333333333334::float8)")
    finally:
        await database.close()
        await owner.execute(f"ALTER DATABASE {name} RESET datestyle")
        await owner.execute(f"ALTER DATABASE {name} RESET extra_float_digits")
        await owner.close()
    assert told == "2026-03-02 10.333333333333334"


async def test_a_snapshot_keeps_no_plan(database: Database, clinic: Clinic) -> None:
    """One of an empty database, kept until the next ANALYZE, took a quarter of an hour after an import."""
    plans = "SELECT coalesce(sum(generic_plans), 0), sum(custom_plans) FROM pg_prepared_statements WHERE statement = $1"
    async with database.snapshot(clinic.clinic_id, most_seconds=30) as snapshot:
        counts = []
        for times in (1, 7):  # five are planned for their values anyway
            for _ in range(times):
                await find_histories(snapshot, clinic.clinic_id, [uuid4() for _ in range(500)], datetime.now(UTC))
            counts.append(await snapshot.fetchrow(plans, history_sql("$1", "$2::uuid[]", "$3")))
    assert [after - before for before, after in zip(*counts, strict=True)] == [0, 7]


async def test_a_snapshot_stays_as_it_was(database: Database, clinic: Clinic) -> None:
    """What others store meanwhile is not in it, it sees its own clinic alone, and it stores nothing itself."""
    add = "INSERT INTO patient (clinic_id, id, created_at) VALUES ($1, gen_random_uuid(), now())"
    count = "SELECT count(*) FROM patient"
    async with database.snapshot(clinic.clinic_id, most_seconds=30) as snapshot:
        assert await snapshot.fetchval(count) == 0
        async with database.connection(clinic.clinic_id) as other:
            await other.execute(add, clinic.clinic_id)
        assert await snapshot.fetchval(count) == 0
    async with database.connection(clinic.clinic_id) as connection:
        assert await connection.fetchval(count) == 1
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with database.snapshot(clinic.clinic_id, most_seconds=30) as snapshot:
            await snapshot.execute(add, clinic.clinic_id)
