"""Erased is erased: nothing of the person in any table, nothing of anybody else touched, by nobody who may not."""

import asyncio
import json
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlmodel import SQLModel

from app.auth import Actor, Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.services import clinics
from app.services.audit_chain import FIRST_ID, seal
from app.services.audit_verification import verify
from app.services.everything import PARTS
from tests.security.estate import BETTER, SCHEDULE, Estate, ago

pytestmark = pytest.mark.anyio

CANARY = "canary-of-one-person"
# Every table is one of these: what is a person's goes, and what stays says nothing about anybody.
ERASED: Final = {
    "adverse_event", "alert", "alert_event", "api_token", "assessment", "care_team", "check_in_link", "consent",
    "data_key", "delivery", "emergency_access", "enrolment", "episode", "expected_check_in", "idempotency_key",
    "notification", "observation", "part_two", "patient", "patient_time_zone", "refresh_token", "schedule",
    "standing", "suitability_screen", "treatment_session", "release_person",
}  # fmt: skip
OPAQUE: Final = {"audit_event", "audit_subject", "erasure"}  # name the person by an id that leads nowhere
OF_NOBODY: Final = {
    "audit_link", "clinic", "clinic_rules", "cohort_question", "derivation", "issuer_key_set", "principal",
    "release", "release_chunk", "request_rate", "suitability_checklist", "threshold", "webhook",
}  # fmt: skip
# Secrets; of somebody who is gone; hashes of what is in other parts.
NOT_IN_EVERYTHING: Final = {"data_key", "erasure", "idempotency_key", "refresh_token"}
ERASE: Final = "SELECT erase_patient($1, $2, now(), $3, 'patient_request', NULL)"


# --- Every table ------------------------------------------------------------------------------------------------------


def test_every_table_is_decided() -> None:
    """A new table fails here until somebody has said what erasing does to it, and whether the person may read it."""
    assert set(SQLModel.metadata.tables) == ERASED | OPAQUE | OF_NOBODY
    assert set(PARTS) | {"delivery", "release_person"} == (ERASED | OPAQUE) - NOT_IN_EVERYTHING


async def test_every_table_that_names_a_patient_is_known_to(address: PostgresAddress) -> None:
    """Read from the catalogue, where a table may be that the program knows nothing of."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        rows = await connection.fetch("""
            SELECT table_name FROM information_schema.columns
            WHERE table_schema = 'public' AND column_name IN ('patient_id', 'patient_ids', 'subject_id')""")
    finally:
        await connection.close()
    assert {row["table_name"] for row in rows} <= ERASED | OPAQUE


# --- One person -------------------------------------------------------------------------------------------------------


async def write_all_over(estate: Estate) -> None:
    """The person's name in every text a person's record can hold, under keys that name them as well."""
    things = estate.things
    patient, form = things["patient"], things["last_assessment"]
    filled = {"patient_id": patient, "instrument": "phq-9", "responses": BETTER, "taken_at": ago(days=2)}
    other = filled | {"patient_id": estate.others["patient"]}
    writes: list[tuple[str, str, Any]] = [
        ("POST", f"/v1/alerts/{things['alert']}/acknowledgement", {"note": CANARY}),
        ("PATCH", f"/v1/patients/{patient}", {"time_zone": "Asia/Tokyo"}),
        ("PATCH", f"/v1/episodes/{things['episode']}", {"label": CANARY}),
        ("PATCH", f"/v1/treatment-sessions/{things['session']}", {"dose_mg": 36}),
        ("PATCH", f"/v1/observations/{things['observation']}", {"systolic": 150}),
        ("PATCH", f"/v1/adverse-events/{things['adverse_event']}", {"note": CANARY}),
        ("PUT", f"/v1/episodes/{things['episode']}/schedule", SCHEDULE),
        ("PUT", f"/v1/patients/{patient}/part-2", {"applies": True}),
        ("POST", f"/v1/assessments/{form}/amendments", {"responses": BETTER}),
        ("POST", f"/v1/patients/{patient}/consents/{things['consent']}/withdrawal", {}),
        ("POST", f"/v1/patients/{patient}/check-in-links", {}),
        ("POST", f"/v1/check-in-links/{things['link']}/revocation", None),
        ("POST", "/v1/assessments", filled | {"taken_at": ago(days=3)}),
        ("POST", "/v1/assessments/batch", {"assessments": [filled, other, filled | {"responses": [9]}]}),
        ("POST", f"/v1/webhooks/{things['webhook']}/deliveries/{things['notification']}/retry", None),
        ("PUT", f"/v1/patients/{patient}/care-team", {"restricted": True, "members": []}),
    ]
    for number, (method, address, body) in enumerate(writes):
        tag = (await estate.http[Role.ADMIN].get(address.rpartition("/")[0] if method == "POST" else address)).headers
        headers = {"If-Match": tag.get("etag", '"1"'), "Idempotency-Key": f"{CANARY}-{number}"}
        has_reason = method != "POST" or "amendments" in address
        sent = None if body is None else body | ({"reason": CANARY} if has_reason else {})
        answer = await estate.http[Role.ADMIN].request(method, address, json=sent, headers=headers)
        assert answer.is_success, (method, address, answer.text)
    await open_in_an_emergency(estate, patient)
    async with estate.database.connection(estate.clinic_id) as connection:  # as if they were in the one that is ready
        release = UUID(things["ready_release"])
        values = (estate.clinic_id, release, UUID(patient), b"sealed")
        await connection.execute("INSERT INTO release_person VALUES ($1, $2, $3, $4)", *values)


async def open_in_an_emergency(estate: Estate, patient: str) -> None:
    """By a clinician who has just learnt that the patient is hidden: within a second."""
    body, key = {"reason": f"{CANARY} found", "hours": 1}, {"Idempotency-Key": f"{CANARY}-emergency"}
    for _ in range(40):
        address = f"/v1/patients/{patient}/emergency-access"
        answer = await estate.http[Role.CLINICIAN].post(address, json=body, headers=key)
        if answer.status_code == 201:
            return
        assert answer.status_code == 409, answer.text
        await asyncio.sleep(0.1)
    raise AssertionError("the patient is not hidden")


async def erase(estate: Estate, patient: str) -> dict[str, Any]:
    """As a careful administrator does it: read, then erase; again when somebody was writing at that moment."""
    http = estate.http[Role.ADMIN]
    for _ in range(50):
        tag = (await http.get(f"/v1/patients/{patient}")).headers["etag"]
        answer = await http.delete(
            f"/v1/patients/{patient}", params={"ground": "patient_request"}, headers={"If-Match": tag}
        )
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.1)
    raise AssertionError("somebody is always writing")


def own_ids(rows: dict[str, list[str]], patient: str) -> set[str]:
    """Of everything that is the person's."""
    mine = [json.loads(row) for table in ERASED for row in rows[table] if patient in row]
    ids = {str(row[name]) for row in mine for name in ("id", "alert_id") if name in row}
    shared = {str(row["id"]) for row in map(json.loads, rows["webhook"] + rows["suitability_checklist"])}
    return ids - shared


async def test_nothing_of_the_person_is_left_and_nothing_of_others_is_touched(fresh: Estate) -> None:
    """In the text of every column of every table; the keys that hold hashes of their forms are gone as well."""
    await write_all_over(fresh)
    patient = fresh.things["patient"]
    before = await fresh.rows()
    ids = own_ids(before, patient)
    theirs = {table: {row for row in before[table] if any(id_ in row for id_ in ids)} for table in ERASED}
    assert {table for table in ERASED if not theirs[table]} == set(), "write one row of each, or this proves nothing"
    assert len([row for row in before["idempotency_key"] if CANARY in row]) == 17
    certificate = await erase(fresh, patient)
    after = await fresh.rows()
    for table, rows in after.items():
        assert [row for row in rows if CANARY in row] == [], table
        if table not in OPAQUE:
            assert [row for row in rows if any(id_ in row for id_ in ids)] == [], table
            assert set(rows) <= set(before[table]), table
        if table not in ERASED:
            assert set(rows) >= set(before[table]), table
        if table in ERASED - {"idempotency_key"}:
            assert set(before[table]) - set(rows) == theirs[table], table
    assert certificate["removed"] == {table: len(before[table]) - len(after[table]) for table in ERASED}
    told = {json.loads(row)["action"] for row in set(after["audit_event"]) - set(before["audit_event"])}
    assert told == {"patient.read", "patient.erase"}


async def test_the_trail_is_whole_afterwards(fresh: Estate) -> None:
    """Sealed before or after: no row of it was touched."""
    await seal(fresh.database, fresh.clinic_id, FIRST_ID)
    await erase(fresh, fresh.things["patient"])
    await seal(fresh.database, fresh.clinic_id, FIRST_ID)
    found = await verify(fresh.database, fresh.clinic_id, [], None, lambda _done, _total: None)
    assert found.fault is None
    events = (
        await fresh.http[Role.ADMIN].get("/v1/audit-events", params={"patient_id": fresh.things["patient"]})
    ).json()
    assert events["data"][0]["action"] == "patient.erase"
    assert len(events["data"]) > 10


async def test_others_are_shown_as_before(fresh: Estate) -> None:
    """Trajectory, caseload, alerts, comparison of the patient beside."""
    other, http = fresh.others, fresh.http[Role.CLINICIAN]
    asked = [
        f"/v1/patients/{other['patient']}",
        f"/v1/assessments?patient_id={other['patient']}",
        f"/v1/caseload?patient_id={other['patient']}&instrument=phq-9",
        f"/v1/alerts?patient_id={other['patient']}",
        f"/v1/patients/{other['patient']}/due",
        f"/v1/episodes/{other['episode']}/treatment-sessions",
    ]
    before = [rows_of((await http.get(address)).json()) for address in asked]
    await erase(fresh, fresh.things["patient"])
    assert [rows_of((await http.get(address)).json()) for address in asked] == before
    for address in ("/v1/caseload?instrument=phq-9", "/v1/due", "/v1/alerts", "/v1/patients", "/v1/alerts/latency"):
        answer = await http.get(address)
        assert answer.status_code == 200, address
        assert fresh.things["patient"] not in answer.text, address


def rows_of(body: dict[str, Any]) -> Any:
    return body.get("data", body)


async def test_what_arrives_afterwards_finds_no_such_patient(fresh: Estate) -> None:
    """A form, its replay and a batch as for one who never was; the person's own token and link as unknown ones."""
    patient, key = fresh.things["patient"], {"Idempotency-Key": "phone-1"}
    form = {"id": str(uuid4()), "patient_id": patient, "instrument": "phq-9", "responses": BETTER}
    form |= {"taken_at": ago(days=1)}
    service = fresh.http[Role.SERVICE]
    assert (await service.post("/v1/assessments", json=form, headers=key)).status_code == 201
    await erase(fresh, patient)
    answers = [await service.post("/v1/assessments", json=form, headers=key) for _ in range(2)]
    answers.append(await service.post("/v1/assessments", json=form | {"id": str(uuid4())}))
    nobodys = await service.post("/v1/assessments", json=form | {"patient_id": str(uuid4())})
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, nobodys.content)}
    batch = await service.post("/v1/assessments/batch", json={"assessments": [form]})
    assert [row["status"] for row in batch.json()["outcomes"]] == [404]
    for method, address in (
        ("GET", ""),
        ("GET", "/everything"),
        ("GET", "/consents"),
        ("DELETE", "?ground=retention_ended"),
    ):
        answer = await fresh.http[Role.ADMIN].request(
            method, f"/v1/patients/{patient}{address}", headers={"If-Match": '"1"'}
        )
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such patient.")


# --- At the same time -------------------------------------------------------------------------------------------------


async def test_who_writes_while_somebody_is_erased_leaves_no_orphan(fresh: Estate) -> None:
    """Forms, sessions, links and corrections that are under way are stored before and erased, or not stored at all."""
    things, service = fresh.things, fresh.http[Role.ADMIN]
    patient = things["patient"]
    form = {"patient_id": patient, "instrument": "phq-9", "responses": BETTER}
    session = {"kind": "integration", "scheduled_at": ago(hours=1)}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/assessments", form | {"taken_at": ago(hours=1)}),
        ("POST", "/v1/assessments", form | {"taken_at": ago(hours=2)}),
        ("POST", f"/v1/episodes/{things['episode']}/treatment-sessions", session),
        ("POST", f"/v1/patients/{patient}/check-in-links", {}),
        ("PUT", f"/v1/patients/{patient}/part-2", {"applies": True, "reason": "x"}),
        ("POST", "/v1/assessments/batch", {"assessments": [form | {"taken_at": ago(days=3)}]}),
    ]

    async def keep_on(method: str, address: str, body: dict[str, Any]) -> set[int]:
        """Until the patient is gone."""
        statuses: set[int] = set()
        for number in range(400):
            headers = {"If-Match": f'"{number + 1}"', "Idempotency-Key": str(uuid4())}
            answer = await service.request(method, address, json=body, headers=headers)
            statuses.add(404 if '"status":404' in answer.text.replace(" ", "") else answer.status_code)
            if 404 in statuses:
                break
            await asyncio.sleep(0.02)
        return statuses

    writers = asyncio.gather(*(keep_on(*call) for call in calls))
    statuses, _ = await asyncio.gather(writers, erase(fresh, patient))
    for met, call in zip(statuses, calls, strict=True):
        assert 404 in met, call
        assert met <= {200, 201, 404, 412, 503}, call
    rows = await fresh.rows()
    assert {table for table in rows if any(patient in row for row in rows[table])} == OPAQUE
    assert {row for row in rows["idempotency_key"] if json.loads(row)["patient_ids"] == [patient]} == set()


async def test_two_who_erase_at_once_get_one_erasure(fresh: Estate) -> None:
    """The second finds nobody, or with the same key the same certificate."""
    patient, http = fresh.things["patient"], fresh.http[Role.ADMIN]
    tag = (await http.get(f"/v1/patients/{patient}")).headers["etag"]

    async def one(key: str) -> tuple[int, str]:
        headers = {"If-Match": tag, "Idempotency-Key": key}
        answer = await http.delete(f"/v1/patients/{patient}?ground=patient_request", headers=headers)
        return answer.status_code, answer.json().get("id", "")

    answers = await asyncio.gather(*(one(key) for key in ("a", "a", "b", "b")))
    made = {id_ for status, id_ in answers if status == 200}
    assert {status for status, _ in answers} <= {200, 404, 503}
    assert len(made) == 1
    listed = (await http.get("/v1/erasures", params={"patient_id": patient})).json()["data"]
    assert [row["id"] for row in listed] == [*made]


# --- Who may, beneath the API -----------------------------------------------------------------------------------------


async def test_the_function_erases_in_its_own_clinic_alone(fresh: Estate, database: Database) -> None:
    """Bound to another clinic it finds nobody; bound to a patient, or to nobody, it refuses."""
    patient, before = UUID(fresh.things["patient"]), await fresh.rows()
    other = await clinics.record_clinic(database, "delta", "UTC")
    async with database.connection(other.clinic_id) as connection:
        await connection.execute(ERASE, patient, uuid4(), uuid4())
        assert await connection.fetchval("SELECT removed ->> 'assessment' FROM erasure") == "0"
    for clinic_id, bound in ((fresh.clinic_id, patient), (fresh.clinic_id, uuid4())):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.connection(Actor(clinic_id, uuid4(), Role.PATIENT, bound)) as connection:
                await connection.execute(ERASE, patient, uuid4(), uuid4())
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.fetch_alone(ERASE, patient, uuid4(), uuid4())
    assert await fresh.rows() == before


async def test_nothing_else_deletes(address: PostgresAddress) -> None:
    """The service's role deletes only what can be made anew; the function is the owner's, its path is fixed."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        deletable = await connection.fetch("""
            SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            AND (has_table_privilege('tidemark_runtime', oid, 'DELETE')
                 OR has_table_privilege('tidemark_runtime', oid, 'TRUNCATE'))""")
        (made,) = await connection.fetch("""
            SELECT prosecdef, proconfig, pg_get_userbyid(proowner) AS owner,
                   has_function_privilege('tidemark_runtime', p.oid, 'EXECUTE') AS ours,
                   EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0) AS everybodys
            FROM pg_proc p WHERE proname = 'erase_patient'""")
        definers = await connection.fetch("""
            SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace""")
        writes = await connection.fetchval("SELECT has_table_privilege('tidemark_runtime', 'erasure', 'INSERT')")
    finally:
        await connection.close()
    assert {row["relname"] for row in deletable} == {"expected_check_in", "standing", "request_rate", "refresh_token"}
    assert (made["prosecdef"], made["proconfig"]) == (True, ["search_path=pg_catalog, pg_temp"])
    assert (made["owner"], made["ours"], made["everybodys"]) == (address.owner, True, False)
    assert {row["proname"] for row in definers} == {
        "erase_patient",
        "forget_release",  # what has ended; tests/api/test_releases.py
        "forget_notifications",  # what is old; tests/services/test_outbox.py
        "releases_of",  # only reads; tests/security/test_own_releases.py
    }
    assert writes is False


async def test_the_ledger_cannot_be_changed_by_its_owner(fresh: Estate, address: PostgresAddress) -> None:
    """As the trail: rows are only ever added."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        for statement in ("DELETE FROM erasure", "UPDATE erasure SET ground = ground", "TRUNCATE erasure"):
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(statement)
    finally:
        await connection.close()
    assert len((await fresh.rows())["erasure"]) == 1


async def test_an_erasure_is_whole_or_not_at_all(fresh: Estate, database: Database) -> None:
    """Whoever dies in the middle has erased nobody."""
    before = await fresh.rows()
    with pytest.raises(ZeroDivisionError):
        await erase_and_fail(database, fresh)
    assert await fresh.rows() == before


async def erase_and_fail(database: Database, estate: Estate) -> None:
    async with database.connection(estate.clinic_id) as connection:
        await connection.execute(ERASE, UUID(estate.things["patient"]), uuid4(), uuid4())
        assert await connection.fetchval("SELECT count(*) FROM assessment") < len((await estate.rows())["assessment"])
        raise ZeroDivisionError
