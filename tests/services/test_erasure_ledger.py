"""The ledger outside the database: kept by the worker, done again in a database that does not know of it."""

import asyncio
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.auth import Actor, Role
from app.db import Database
from app.erasure_file import LedgerKeeper, add_to_ledger, read_ledger
from app.errors import InvalidError, UnavailableError
from app.schemas.erasures import ErasureGround
from app.schemas.patients import PatientCreate
from app.services import erasure_ledger
from app.services.erasure_ledger import LedgerEntry, find_entries, parse_ledger, replay
from app.services.erasures import erase_patient
from app.services.locks import lock_key
from app.services.patients import record_patient
from app.tables import Clinic

pytestmark = pytest.mark.anyio


def an_entry(clinic_id: UUID | None = None, **changes: Any) -> LedgerEntry:
    fields: dict[str, Any] = {
        "clinic_id": clinic_id or uuid4(),
        "id": uuid4(),
        "patient_id": uuid4(),
        "erased_at": datetime(2026, 11, 20, 19, 31, 0, 123456, tzinfo=UTC),
        "erased_by": uuid4(),
        "ground": "patient_request",
    }
    return LedgerEntry(**fields | changes)


async def add_patient(database: Database, clinic: Clinic) -> UUID:
    actor = Actor(clinic.clinic_id, uuid4(), Role.ADMIN)
    async with database.session(clinic.clinic_id) as session:
        return (await record_patient(session, actor, PatientCreate(external_ref=str(uuid4())), None))[0].id


async def erase(database: Database, clinic: Clinic, patient: UUID) -> LedgerEntry:
    actor = Actor(clinic.clinic_id, uuid4(), Role.ADMIN)
    async with database.session(clinic.clinic_id) as session:
        made, _ = await erase_patient(session, actor, patient, ErasureGround.PATIENT_REQUEST, 1, None)
    async with database.connection(clinic.clinic_id) as connection:
        (entry,) = [one for one in await find_entries(connection, clinic.clinic_id) if one.id == made.id]
    return entry


async def stored(database: Database, clinic: Clinic) -> list[dict[str, Any]]:
    async with database.connection(clinic.clinic_id) as connection:
        rows = await connection.fetch("SELECT * FROM erasure WHERE clinic_id = $1 ORDER BY erased_at", clinic.clinic_id)
    return [dict(row) for row in rows]


async def patients(database: Database, clinic: Clinic) -> set[UUID]:
    async with database.connection(clinic.clinic_id) as connection:
        return {row["id"] for row in await connection.fetch("SELECT id FROM patient")}


# --- Lines ------------------------------------------------------------------------------------------------------------


def test_a_line_reads_back_as_it_was() -> None:
    """To the microsecond, whatever the offset it is written in."""
    entries = [an_entry(ground=ground.value) for ground in ErasureGround]
    assert parse_ledger("\n".join(entry.line() for entry in entries) + "\n\n") == entries


GOOD = json.loads(an_entry().line())


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        "null",
        "[" * 100_000,
        json.dumps(GOOD | {"more": 1}),
        json.dumps({name: value for name, value in GOOD.items() if name != "ground"}),
        json.dumps(GOOD | {"format": "tidemark-erasure/2"}),
        json.dumps(GOOD | {"ground": "because"}),
        json.dumps(GOOD | {"patient_id": "4711"}),
        json.dumps(GOOD | {"patient_id": None}),
        json.dumps(GOOD | {"erased_at": "2026-11-20T19:31:00"}),
        json.dumps(GOOD | {"erased_at": 1}),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_taken(line: str) -> None:
    """By its number; what stands in it is not repeated."""
    with pytest.raises(InvalidError, match=r"^Line 2 of the erasure ledger is none of ours\. Nothing was done\.$"):
        parse_ledger(f"{an_entry().line()}\n{line}\n{an_entry().line()}\n")


# --- The file ---------------------------------------------------------------------------------------------------------


def test_the_file_holds_each_once_for_its_owner_alone(tmp_path: Path) -> None:
    path, one, two = tmp_path / "erasures.ndjson", an_entry(), an_entry()
    assert read_ledger(path) == []
    assert [add_to_ledger(path, [one]) for _ in range(2)] == [{one.id}] * 2
    assert add_to_ledger(path, [one, two, two]) == {one.id, two.id}
    assert read_ledger(path) == [one, two]
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_crash_cut_short_is_passed_over_and_written_anew(tmp_path: Path) -> None:
    """At any byte of the last line."""
    one, two = an_entry(), an_entry()
    whole = f"{one.line()}\n{two.line()}\n"
    for cut in (*range(len(one.line()) + 1, len(one.line()) + 20), *range(len(one.line()) + 20, len(whole), 17)):
        path = tmp_path / f"{cut}.ndjson"
        path.write_text(whole[:cut])
        assert read_ledger(path) == [one]
        add_to_ledger(path, [two])
        assert path.read_text() == whole


def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path) -> None:
    """By reader and writer: nobody is erased by a mistake in a setting, and no stranger's file is written to."""
    for content in (
        b"something else\n",
        b"\xff\xfe\n",
        b"without an end",
        f"{an_entry().line()}\nand more".encode(),
        b"{}",
    ):
        path = tmp_path / "other"
        path.write_bytes(content)
        with pytest.raises(InvalidError):
            read_ledger(path)
        with pytest.raises(InvalidError):
            add_to_ledger(path, [an_entry()])
        assert path.read_bytes() == content
    with pytest.raises(InvalidError, match="cannot be read"):
        read_ledger(tmp_path)


def test_many_writers_at_once_lose_none(tmp_path: Path) -> None:
    """As the workers of several hosts on one shared file."""
    path, entries = tmp_path / "erasures.ndjson", [an_entry() for _ in range(60)]
    threads = [threading.Thread(target=add_to_ledger, args=(path, entries[n::6] + entries[:3])) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry.line() for entry in read_ledger(path)) == sorted(entry.line() for entry in entries)


async def test_the_worker_adds_what_the_file_lacks(database: Database, clinic: Clinic, tmp_path: Path) -> None:
    """New ones, and all of them again when the file was lost or put back to an earlier state."""
    path = tmp_path / "erasures.ndjson"
    keeper = LedgerKeeper(database, path)
    assert await keeper.take_turn(clinic.clinic_id) == 0
    assert not path.exists()
    one = await erase(database, clinic, await add_patient(database, clinic))
    assert [await keeper.take_turn(clinic.clinic_id) for _ in range(2)] == [1, 0]
    earlier = path.read_bytes()
    two = await erase(database, clinic, await add_patient(database, clinic))
    assert [await keeper.take_turn(clinic.clinic_id) for _ in range(2)] == [1, 0]
    assert read_ledger(path) == [one, two]
    path.write_bytes(earlier)
    assert await keeper.take_turn(clinic.clinic_id) == 1
    path.unlink()
    assert await keeper.take_turn(clinic.clinic_id) == 2
    assert read_ledger(path) == [one, two]


# --- Done again -------------------------------------------------------------------------------------------------------


async def test_a_replay_erases_whom_the_database_does_not_know_as_erased(database: Database, clinic: Clinic) -> None:
    """Once; with its first time, person and ground; in the trail as what it is."""
    back, beside = [await add_patient(database, clinic) for _ in range(2)]
    entry, unknown = an_entry(clinic.clinic_id, patient_id=back), an_entry(clinic.clinic_id)
    nowhere, told = an_entry(), [0]
    done = await replay(database, [entry, unknown, nowhere, entry], told.append)
    assert ({one.id for one in done.erased}, done.known, done.of_no_clinic) == ({entry.id, unknown.id}, 0, 1)
    assert sum(told) == 3
    assert await patients(database, clinic) == {beside}
    rows = {row["patient_id"]: row for row in await stored(database, clinic)}
    assert rows.keys() == {back, unknown.patient_id}
    assert rows[back]["erased_at"] == entry.erased_at
    assert rows[back]["replayed_at"] > entry.erased_at
    assert json.loads(rows[back]["removed"])["patient"] == 1
    assert json.loads(rows[unknown.patient_id]["removed"])["patient"] == 0
    async with database.connection(clinic.clinic_id) as connection:
        events = await connection.fetch("SELECT subject_id FROM audit_event WHERE action = 'patient.erase_again'")
    assert {row["subject_id"] for row in events} == rows.keys()
    again = await replay(database, [entry, unknown, nowhere])
    assert (again.erased, again.known, again.of_no_clinic) == ([], 2, 1)
    assert len(await stored(database, clinic)) == 2


async def test_a_replay_waits_for_who_is_writing(database: Database, clinic: Clinic) -> None:
    """Somebody writes about the person without their lock, as a link or a session is made: tried again until done."""
    patient = await add_patient(database, clinic)
    entry = an_entry(clinic.clinic_id, patient_id=patient)
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute(
            "INSERT INTO part_two VALUES ($1, $2, 2, now(), $2, 'x', $2, true)", clinic.clinic_id, patient
        )
        replayed = asyncio.create_task(replay(database, [entry]))
        await asyncio.sleep(0.5)
        assert not replayed.done()
    assert (await replayed).erased == [entry]
    assert await patients(database, clinic) == set()


async def test_a_replay_gives_up_on_who_does_not_stop_writing(
    database: Database, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so: nothing of that person is erased, nothing is entered, and the next replay does it."""
    monkeypatch.setattr(erasure_ledger, "_PAUSES_SECONDS", (0.01,))
    patient = await add_patient(database, clinic)
    entry = an_entry(clinic.clinic_id, patient_id=patient)
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key(patient))
        with pytest.raises(UnavailableError):
            await replay(database, [entry])
    assert await patients(database, clinic) == {patient}
    assert await stored(database, clinic) == []
    assert (await replay(database, [entry])).erased == [entry]
