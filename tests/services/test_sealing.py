"""What names people is sealed in the database, and is read by nobody without the keys."""

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import Text
from sqlalchemy.engine.default import DefaultDialect
from sqlmodel import SQLModel

from app import migrate
from app.auth import Role
from app.crypto import DataKey, KeyRing, MasterKeys, keyed_hash, new_master_key
from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress, temporary_postgres
from app.errors import InvalidError, UnavailableError
from app.main import create_app
from app.postgres_cluster import BOOTSTRAP
from app.services import data_keys, sealing
from app.services.data_keys import _REWRAP, check_keys, get_key, rewrap
from app.services.references import find_patient_id, find_references
from app.settings import Settings
from app.tables import Patient, Sealed
from tests.conftest import Api
from tests.process.service import MASTER_KEY
from tests.security.estate import open_estate

pytestmark = pytest.mark.anyio

CANARY = "Kanarienvogel-4711"


# --- Nothing on the disk ----------------------------------------------------------------------------------------------


async def test_no_name_and_no_free_text_is_on_the_disk_or_in_a_dump(tmp_path: Path) -> None:
    """A clinic with one of everything: data directory, write-ahead log and dump hold no word that names a person."""
    with temporary_postgres(durable=True) as server:
        address = server.address
        await asyncio.to_thread(migrate.upgrade, address.owner_url)
        app = create_app(Settings(data_dir=tmp_path, rate_per_address=0, rate_per_token=0), address.runtime_url)
        async with app.router.lifespan_context(app), open_estate(app, app.state.database, CANARY) as estate:
            await write_everywhere(estate.http[Role.ADMIN], estate.things)
        server._query_or_fail("CHECKPOINT")
        dump = dump_of(server)
        assert "CREATE TABLE public.patient" in dump
        clean = [CANARY + end for end in PERSONAL]
        assert [word for word in clean if word in dump] == []
        files = [path for path in server._directory.cluster.rglob("*") if path.is_file()]
        held = {word for path in files for word in clean if word.encode() in path.read_bytes()}
        assert held == set()
        # The search does find what is not sealed: the clinic's own words.
        assert any(f"{CANARY}-clinic-words".encode() in path.read_bytes() for path in files)


PERSONAL = ("-name", "-contact", "-reference", "-reason", "-note", "-label", "-decider")


async def write_everywhere(http: httpx2.AsyncClient, things: dict[str, str]) -> None:
    patient, episode, session = things["patient"], things["episode"], things["session"]
    who = {"name": f"{CANARY}-name", "contact": f"{CANARY}-contact", "external_ref": f"{CANARY}-reference"}
    why = {"reason": f"{CANARY}-reason"}
    alert = await http.get(f"/v1/alerts/{things['alert']}")
    calls: list[tuple[str, str, dict[str, Any], str]] = [
        ("PATCH", f"/v1/patients/{patient}", who | why, '"2"'),
        ("PATCH", f"/v1/episodes/{episode}", {"label": f"{CANARY}-label"} | why, '"1"'),
        ("PATCH", f"/v1/treatment-sessions/{session}", {"group": True} | why, '"1"'),
        ("PATCH", f"/v1/observations/{things['observation']}", {"systolic": 140} | why, '"1"'),
        ("PATCH", f"/v1/adverse-events/{things['adverse_event']}", {"note": f"{CANARY}-note"} | why, '"1"'),
        ("POST", f"/v1/assessments/{things['assessment']}/void", why, '"2"'),
        ("POST", f"/v1/alerts/{things['alert']}/acknowledgement", {"note": f"{CANARY}-note"}, alert.headers["etag"]),
        ("PATCH", "/v1/clinic", {"safety_text": f"{CANARY}-clinic-words", "reason": "new number"}, '"2"'),
    ]
    for method, address, body, tag in calls:
        answer = await http.request(method, address, json=body, headers={"If-Match": tag})
        assert answer.is_success, (address, answer.text)


def dump_of(server: EmbeddedPostgres) -> str:
    """By the superuser, whom no row is hidden from."""
    address = server.address
    program = server._binaries.client / "pg_dump"
    url = f"postgresql://{BOOTSTRAP}@{address.host}:{address.port}/{address.database}"
    password = {"PGPASSWORD": str(server._secrets[BOOTSTRAP])}
    return subprocess.run([program, "--inserts", url], capture_output=True, text=True, check=True, env=password).stdout


# --- In the database --------------------------------------------------------------------------------------------------


@pytest.fixture
async def patient(api: Api) -> str:
    who = {"name": "Ada Example", "external_ref": CANARY}
    return str((await api.http.post("/v1/patients", json=who)).json()["id"])


async def test_a_sealed_cell_opens_in_its_own_row_alone(api: Api, owner: asyncpg.Connection, patient: str) -> None:
    """Swapped with another patient's, it is a defect that is told to nobody; put back, it opens."""
    other = (await api.http.post("/v1/patients", json={"name": "Bea Example"})).json()["id"]
    swap = """UPDATE patient SET identifiers = CASE id WHEN $1 THEN (SELECT identifiers FROM patient WHERE id = $2)
                  ELSE (SELECT identifiers FROM patient WHERE id = $1) END WHERE id IN ($1, $2)"""
    await owner.execute("SELECT set_config('app.clinic_id', $1, false)", str(api.clinic_id))
    await owner.execute(swap, UUID(patient), UUID(other))
    for id_ in (patient, other):
        answer = await api.http.get(f"/v1/patients/{id_}")
        assert (answer.status_code, "Example" in answer.text) == (500, False)
    await owner.execute(swap, UUID(patient), UUID(other))
    assert (await api.http.get(f"/v1/patients/{patient}")).json()["name"] == "Ada Example"


async def test_who_is_erased_while_read_is_asked_for_again(
    api: Api, owner: asyncpg.Connection, database: Database, patient: str
) -> None:
    """The row was read, then its key was destroyed: not a defect, and the next read finds neither."""
    async with database.session(api.clinic_id) as session:
        row = await session.get(Patient, (api.clinic_id, UUID(patient)))
        assert row is not None
        await owner.execute("SELECT set_config('app.clinic_id', $1, false)", str(api.clinic_id))
        await owner.execute("DELETE FROM data_key WHERE id = $1", UUID(patient))
        with pytest.raises(UnavailableError, match="being erased"):
            await sealing.opened(session, [row])


def test_no_plain_text_reaches_a_sealed_column() -> None:
    """Whoever forgets to seal is told before anything is stored."""
    assert Sealed().process_bind_param(None, DefaultDialect()) is None
    assert Sealed().process_bind_param(b"sealed", DefaultDialect()) == b"sealed"
    with pytest.raises(TypeError, match="has to be sealed"):
        Sealed().process_bind_param("a name", DefaultDialect())


# What is left in the clear, and why: codes of ours, the clinic's own words about nobody, and words of its machines.
PLAIN = {
    "alert", "api_token", "clinic", "clinic_rules", "delivery", "expected_check_in", "standing", "threshold",
    "suitability_checklist", "notification", "request_rate", "idempotency_key", "audit_event", "erasure", "principal",
    "issuer_key_set", "enrolment", "cohort_question", "release", "release_chunk",
}  # fmt: skip
CODES = {
    "adverse_event": {"term", "severity"},
    "alert_event": {"kind", "cause", "action"},
    "assessment": {"instrument", "validity", "mode", "language", "status"},
    "consent": {"purpose", "how"},
    "episode": {"modality", "end_reason"},
    "observation": {"dissociation_scale"},
    "patient_time_zone": {"time_zone"},
    "schedule": {"protocol", "quiet_from", "quiet_until"},
    "suitability_screen": {"outcome"},
    "treatment_session": {"kind", "status", "setting", "medicine", "route"},
    "webhook": {"url", "label", "last_error"},
}


def test_every_text_of_a_patient_is_sealed_or_a_code() -> None:
    """A new column of text fails here until it is decided."""
    for name, table in SQLModel.metadata.tables.items():
        texts = {column.name for column in table.columns if isinstance(column.type, Text)}
        if name not in PLAIN:
            assert texts - CODES.get(name, set()) == set(), name


async def test_a_reference_is_found_by_its_keyed_index_alone(api: Api, database: Database, patient: str) -> None:
    """The stored index is no hash that can be tried without the key, and differs from clinic to clinic."""
    async with database.connection(api.clinic_id) as connection:
        index = await connection.fetchval("SELECT ref_index FROM patient WHERE id = $1", UUID(patient))
    assert index not in {hashlib.sha256(CANARY.encode()).digest(), keyed_hash(bytes(32), CANARY.encode())}
    async with database.session(api.clinic_id) as session:
        assert await find_patient_id(session, api.clinic_id, CANARY) == UUID(patient)
        assert await find_patient_id(session, api.clinic_id, CANARY + " ") is None


async def test_references_are_told_of_those_who_have_one(api: Api, database: Database, patient: str) -> None:
    """Who has a name alone, or nothing, is left out; so is who was not asked for."""
    other = await api.add_patient("4712")
    named = (await api.http.post("/v1/patients", json={"name": "Bea Example"})).json()["id"]
    nobody = await api.add_patient()
    async with database.connection(api.clinic_id) as connection:
        find = partial(find_references, connection, database.keys, api.clinic_id)
        assert await find() == {UUID(patient): CANARY, UUID(other): "4712"}
        assert await find([UUID(id_) for id_ in (patient, named, nobody)]) == {UUID(patient): CANARY}


# --- Master keys ------------------------------------------------------------------------------------------------------


async def test_keys_are_wrapped_anew_while_the_service_goes_on(
    api: Api, address: PostgresAddress, patient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the new key first nothing is lost; afterwards the old one is not needed, and opens nothing."""
    renewed = new_master_key()
    monkeypatch.setattr(data_keys, "REWRAPPED_AT_ONCE", 3)
    ids = [(await api.http.post("/v1/patients", json={"name": f"Person {n}"})).json()["id"] for n in range(5)]
    async with opened(address, f"{renewed},{MASTER_KEY}") as both:
        assert await rewrap(both, api.clinic_id) == 7  # five, the one before, and the clinic's own
        assert await rewrap(both, api.clinic_id) == 0
    async with opened(address, renewed) as new:
        app = create_app(Settings(master_keys=SecretStr(renewed), rate_per_address=0), address.runtime_url)
        async with app.router.lifespan_context(app):
            transport, headers = httpx2.ASGITransport(app), api.http.headers
            async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
                names = [(await http.get(f"/v1/patients/{id_}")).json()["name"] for id_ in [*ids, patient]]
        assert names == [*(f"Person {n}" for n in range(5)), "Ada Example"]
        async with new.connection(api.clinic_id) as connection:
            with pytest.raises(UnavailableError, match="TIDEMARK_MASTER_KEYS"):
                await get_key(connection, KeyRing(MasterKeys.parse(MASTER_KEY)), api.clinic_id, UUID(patient))
    async with opened(address, f"{MASTER_KEY},{renewed}") as back:
        assert await rewrap(back, api.clinic_id) == 7


async def test_a_key_that_was_destroyed_is_not_brought_back(
    api: Api, address: PostgresAddress, owner: asyncpg.Connection, patient: str
) -> None:
    """Between reading and wrapping anew a patient may be erased."""
    renewed = MasterKeys.parse(f"{new_master_key()},{MASTER_KEY}")
    async with opened(address, MASTER_KEY) as database, database.connection(api.clinic_id) as connection:
        row = await connection.fetchrow("SELECT wrapped FROM data_key WHERE id = $1", UUID(patient))
        await owner.execute("SELECT set_config('app.clinic_id', $1, false)", str(api.clinic_id))
        await owner.execute("DELETE FROM data_key WHERE id = $1", UUID(patient))
        again = renewed.wrap_again(row["wrapped"], f"data_key.wrapped {api.clinic_id} {patient}")
        await connection.execute(_REWRAP, api.clinic_id, [UUID(patient)], [row["wrapped"]], [again])
        assert await connection.fetchval("SELECT count(*) FROM data_key WHERE id = $1", UUID(patient)) == 0


async def test_who_is_named_at_once_by_many_has_one_key(api: Api, database: Database) -> None:
    """Of twenty who make it at the same time nobody seals with a key that is not kept."""
    patient = await api.add_patient()

    async def make() -> DataKey:
        async with database.connection(api.clinic_id) as connection:
            return await get_key(connection, database.keys, api.clinic_id, UUID(patient))

    keys = await asyncio.gather(*(make() for _ in range(6)))
    assert {key.derive("test") for key in keys} == {keys[0].derive("test")}


@pytest.mark.usefixtures("clinic")
async def test_wrong_or_missing_master_keys_are_told(address: PostgresAddress) -> None:
    """Before anything is served, in words that say what to do; of the right ones nothing is said."""
    async with opened(address, MASTER_KEY) as right:
        await check_keys(right)
    async with opened(address, new_master_key()) as wrong:
        with pytest.raises(UnavailableError, match="TIDEMARK_MASTER_KEYS"):
            await check_keys(wrong)
    async with opened(address, None) as without:
        with pytest.raises(InvalidError, match="tidemark keys new"):
            await check_keys(without)


@asynccontextmanager
async def opened(address: PostgresAddress, master_keys: str | None) -> AsyncIterator[Database]:
    keys = None if master_keys is None else SecretStr(master_keys)
    database = Database(address.runtime_url, Settings(pool_size=4).model_copy(update={"master_keys": keys}))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def owner(address: PostgresAddress) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(address.owner_url)
    yield connection
    await connection.close()
