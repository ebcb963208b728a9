"""Research releases: who may ask, who decides, what is in the files, and when they are no more."""

import asyncio
import csv
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.schemas.releases import ReleaseCreate
from app.services import release_builds, release_contents, release_downloads
from app.services.release_records import Source
from app.services.releases import end_releases
from app.tables import Clinic
from tests.conftest import Api, client

pytestmark = pytest.mark.anyio

ASKED: dict[str, Any] = {
    "purpose": "Durability of response after the first course",
    "recipient": "University of Example",
    "tier": "safe_harbor",
    "instruments": ["phq-9"],
    "formats": ["csv", "parquet"],
}
FIRST_DOSE = datetime(2026, 3, 2, 9, tzinfo=UTC)
PEOPLE = 14


@pytest.fixture
async def colleague(app: FastAPI, database: Database, clinic: Clinic) -> AsyncIterator[Api]:
    """A second researcher of the clinic."""
    api = await client(app, database, clinic, Role.RESEARCHER)
    async with api.http:
        yield api


async def send(api: Api, method: str, address: str, body: Any = None, **headers: str) -> dict[str, Any]:
    answer = await api.http.request(method, address, json=body, headers=headers)
    assert answer.is_success, (address, answer.text)
    found: dict[str, Any] = answer.json()
    return found


async def treat(
    admin: Api, number: int, *, consent: bool = True, medicine: str = "ketamine_racemic", route: str = "intravenous"
) -> str:
    """One patient with a dose and three forms; every second one recovers."""
    born = f"{1960 + number % 2}-05-01"
    patient = (await send(admin, "POST", "/v1/patients", {"date_of_birth": born}))["id"]
    start = FIRST_DOSE + timedelta(days=number)
    opened = {"modality": "ketamine_assisted_psychotherapy", "opened_at": (start - timedelta(days=10)).isoformat()}
    episode = (await send(admin, "POST", f"/v1/patients/{patient}/episodes", opened))["id"]
    dose = {
        "kind": "dosing", "status": "done", "scheduled_at": start.isoformat(), "started_at": start.isoformat(),
        "medicine": medicine, "route": route, "dose_mg": 35,
    }  # fmt: skip
    await send(admin, "POST", f"/v1/episodes/{episode}/treatment-sessions", dose)
    late = [0] * 9 if number % 2 else [2] * 9
    forms = [
        {"patient_id": patient, "instrument": "phq-9", "responses": responses, "taken_at": at.isoformat()}
        for responses, at in (
            ([2] * 9, start - timedelta(days=3)),
            ([1] * 9, start + timedelta(days=8)),
            (late, start + timedelta(days=20 + number % 3)),
        )
    ]
    await send(admin, "POST", "/v1/assessments/batch", {"assessments": forms})
    if consent:
        given = {"purpose": "research", "how": "signed", "given_at": "2026-01-05T10:00:00Z"}
        await send(admin, "PUT", f"/v1/patients/{patient}/consents", given)
    return str(patient)


@pytest.fixture
async def patients(admin: Api) -> list[str]:
    """A cohort whose members can hide among each other."""
    return [await treat(admin, number) for number in range(PEOPLE)]


async def ask(api: Api, **other: Any) -> dict[str, Any]:
    return await send(api, "POST", "/v1/releases", ASKED | other)


async def approve(admin: Api, release: dict[str, Any]) -> dict[str, Any]:
    return await send(admin, "POST", f"/v1/releases/{release['id']}/approval", {"decision": "approved"})


async def built(api: Api, admin: Api, database: Database, **other: Any) -> dict[str, Any]:
    """Asked for, approved by the administrator, and built by the worker."""
    release = await ask(api, **other)
    await approve(admin, release)
    assert await release_builds.build_next(database, api.clinic_id) == 1
    return await send(api, "GET", f"/v1/releases/{release['id']}")


async def download(api: Api, release: dict[str, Any], name: str) -> httpx2.Response:
    return await api.http.get(f"/v1/releases/{release['id']}/files/{name}")


async def rows_of(api: Api, release: dict[str, Any], name: str = "scores.csv") -> list[dict[str, str]]:
    answer = await download(api, release, name)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_nobody_known_is_asked_for_a_token(anonymous: httpx2.AsyncClient) -> None:
    assert (await anonymous.post("/v1/releases", json=ASKED)).status_code == 401


async def test_clinicians_have_no_releases(api: Api) -> None:
    assert (await api.http.post("/v1/releases", json=ASKED)).status_code == 403
    assert (await api.http.get("/v1/releases")).status_code == 403


async def test_another_researchers_release_is_absent(researcher: Api, colleague: Api, other_admin: Api) -> None:
    release = await ask(researcher)
    for stranger in (colleague, other_admin):
        assert (await stranger.http.get(f"/v1/releases/{release['id']}")).status_code == 404
        assert (await download(stranger, release, "scores.csv")).status_code == 404
        assert (await stranger.http.post(f"/v1/releases/{release['id']}/revocation")).status_code == 404
    assert (await send(colleague, "GET", "/v1/releases"))["data"] == []
    assert [one["id"] for one in (await send(researcher, "GET", "/v1/releases"))["data"]] == [release["id"]]


# --- What may be asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"tier": "limited_data_set"}, "/agreement"),
        ({"tier": "expert"}, "/determination"),
        ({"instruments": ["phq-10"]}, "/instruments/0"),
        ({"columns": ["scores.responses"]}, "/columns/0"),
        ({"columns": ["scores.taken_on"]}, "/columns/0"),
        ({"columns": ["patient.identifiers"]}, "/columns/0"),
        ({"disclosure": {"k": 10}}, "/disclosure/k"),
        ({"disclosure": {"l": 1}}, "/disclosure/l"),
        ({"disclosure": {"most_left_out_rate": 0.06}}, "/disclosure/most_left_out_rate"),
        ({"expires_in_days": 91}, "/expires_in_days"),
        ({"formats": ["csv", "csv"]}, "/formats"),
        ({"cohort": {"first_dose_from": "2026-05", "first_dose_to": "2026-04"}}, "/cohort/first_dose_to"),
    ],
)
async def test_what_the_tier_does_not_give_is_refused(researcher: Api, change: dict[str, Any], pointer: str) -> None:
    answer = await researcher.http.post("/v1/releases", json=ASKED | change)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


# --- Two people -------------------------------------------------------------------------------------------------------


async def test_nobody_approves_what_they_asked_for(admin: Api, researcher: Api, database: Database) -> None:
    release = await ask(admin)
    answer = await admin.http.post(f"/v1/releases/{release['id']}/approval", json={"decision": "approved"})
    assert (answer.status_code, "Another administrator" in answer.json()["detail"]) == (409, True)
    own = await researcher.http.post(f"/v1/releases/{release['id']}/approval", json={"decision": "approved"})
    assert own.status_code == 403
    assert await release_builds.build_next(database, admin.clinic_id) == 0


async def test_a_decision_is_made_once(admin: Api, researcher: Api, database: Database) -> None:
    release = await ask(researcher)
    body, address = {"decision": "rejected", "note": "no agreement seen"}, f"/v1/releases/{release['id']}/approval"
    first = await admin.http.post(address, json=body, headers={"Idempotency-Key": "no"})
    again = await admin.http.post(address, json=body, headers={"Idempotency-Key": "no"})
    assert (first.json()["status"], again.json()) == ("rejected", first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert (await admin.http.post(address, json=body)).status_code == 409
    assert await release_builds.build_next(database, admin.clinic_id) == 0


async def test_a_repeated_request_is_one_release(researcher: Api) -> None:
    answers = [
        await researcher.http.post("/v1/releases", json=ASKED, headers={"Idempotency-Key": "once"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert len((await send(researcher, "GET", "/v1/releases"))["data"]) == 1


# --- What is in it ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patients")
async def test_a_release_from_request_to_file(researcher: Api, admin: Api, database: Database) -> None:
    release = await built(researcher, admin, database)
    assert release["status"] == "ready", release
    manifest = release["manifest"]
    assert (manifest["persons_in"], manifest["persons_out"], manifest["k"]) == (PEOPLE, PEOPLE, PEOPLE)
    assert manifest["words"] == "de-identified, not anonymous"
    assert manifest["l"] >= 2
    assert manifest["rows_out"] == PEOPLE * (1 + 3 + 1)
    assert manifest["part_2_notice"] is None
    for file in manifest["files"]:
        answer = await download(researcher, release, file["name"])
        assert answer.headers["etag"] == f'"{file["sha256"]}"'
        assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
        assert len(answer.content) == file["bytes"]
    rows = await rows_of(researcher, release)
    assert list(rows[0]) == ["patient", "week", "instrument", "total", "validity"]
    assert sorted({row["week"] for row in rows}) == ["-1", "1", "2", "3"]
    assert len({row["patient"] for row in rows}) == PEOPLE
    assert [row["patient"] for row in rows] == sorted(row["patient"] for row in rows)
    people = await rows_of(researcher, release, "persons.csv")
    assert {row["index_year"] for row in people} == {"2026"}
    assert {row["category"] for row in people} == {"recovered", "unchanged"}


async def test_nothing_of_the_record_names_a_row(
    researcher: Api, admin: Api, database: Database, patients: list[str]
) -> None:
    """No id, no date, no time, in any file; and no name that a second release has too."""
    first, second = [await built(researcher, admin, database) for _ in range(2)]
    texts = [(await download(researcher, one, name)).text for one in (first, second) for name in CSVS]
    assert [patient for patient in patients for text in texts if patient in text] == []
    assert [text for text in texts if "2026-" in text or "019" in text.partition("\n")[0]] == []
    names = [{row["patient"] for row in await rows_of(researcher, one)} for one in (first, second)]
    assert names[0] & names[1] == set()
    orders = [[(row["week"], row["total"]) for row in await rows_of(researcher, one)] for one in (first, second)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


CSVS = ("scores.csv", "persons.csv", "sessions.csv")


@pytest.mark.usefixtures("patients")
async def test_columns_and_days_of_a_limited_data_set(researcher: Api, admin: Api, database: Database) -> None:
    columns = ["scores.taken_on", "scores.responses", "scores.total"]
    release = await built(
        researcher, admin, database, tier="limited_data_set", agreement="DUA 7", columns=columns, formats=["csv"]
    )
    rows = await rows_of(researcher, release)
    assert list(rows[0]) == ["patient", "total", "taken_on", "responses"]
    assert {row["responses"] for row in rows} == {f"[{','.join(answer * 9)}]" for answer in "012"}
    assert [file["name"] for file in release["manifest"]["files"] if file["rows"] is not None] == ["scores.csv"]
    assert (release["manifest"]["k"], release["manifest"]["l"]) == (PEOPLE, None)


async def test_who_has_not_consented_is_in_no_release(
    researcher: Api, admin: Api, database: Database, patients: list[str]
) -> None:
    """Never asked, for somebody else, withdrawn, or expired."""
    await treat(admin, 3, consent=False)
    other = await treat(admin, 4, consent=False)
    given = {"purpose": "research", "how": "signed", "given_at": "2026-01-05T10:00:00Z"}
    elsewhere = given | {"recipient": "University of Elsewhere"}
    await send(admin, "PUT", f"/v1/patients/{other}/consents", elsewhere)
    past = await treat(admin, 5, consent=False)
    await send(admin, "PUT", f"/v1/patients/{past}/consents", given | {"expires_at": "2026-02-01T00:00:00Z"})
    named = await treat(admin, 6, consent=False)
    await send(admin, "PUT", f"/v1/patients/{named}/consents", given | {"recipient": "university of example"})
    await withdraw(admin, patients[0])
    release = await built(researcher, admin, database)
    assert release["manifest"]["persons_in"] == PEOPLE - 1 + 1


async def withdraw(admin: Api, patient: str) -> None:
    (consent,) = (await send(admin, "GET", f"/v1/patients/{patient}/consents"))["data"]
    await send(admin, "POST", f"/v1/patients/{patient}/consents/{consent['id']}/withdrawal", {})


async def test_the_notice_of_part_two_goes_with_it(
    researcher: Api, admin: Api, database: Database, patients: list[str]
) -> None:
    flag = {"applies": True, "reason": "programme of substance use treatment"}
    await send(admin, "PUT", f"/v1/patients/{patients[0]}/part-2", flag, **{"If-Match": '"1"'})
    release = await built(researcher, admin, database)
    assert "42 CFR part 2" in release["manifest"]["part_2_notice"]


@pytest.mark.usefixtures("patients")
@pytest.mark.parametrize("cohort", [{"route": "oral"}, {"first_dose_from": "2026-04"}, {"modality": "emdr"}])
async def test_too_small_a_cohort_is_not_built(
    researcher: Api, admin: Api, database: Database, cohort: dict[str, str]
) -> None:
    """Nobody and ten are refused in the same words, and progress tells none of the two."""
    await treat(admin, 2, route="oral")
    release = await built(researcher, admin, database, cohort=cohort)
    assert (release["status"], release["failure"], release["manifest"]) == ("failed", "too_few_people", None)
    assert release["progress"]["persons_read"] == 0


@pytest.mark.usefixtures("patients")
async def test_who_stands_out_is_left_out_or_nobody_is_told(researcher: Api, admin: Api, database: Database) -> None:
    """One person with another medicine: told as anything, for one of fifteen is more than five of a hundred."""
    await treat(admin, 1, medicine="esketamine")
    release = await built(researcher, admin, database)
    assert {row["medicine"] for row in await rows_of(researcher, release, "persons.csv")} == {"*"}
    assert release["manifest"]["rungs"]["medicine"] == 1


async def test_the_same_snapshot_time_and_names_give_the_same_bytes(
    admin: Api, database: Database, patients: list[str]
) -> None:
    """Whatever was entered, corrected or voided since."""
    known_at = datetime.now(UTC)
    names = {UUID(patient): uuid4().hex for patient in patients}
    before = await files_of(database, admin.clinic_id, known_at, names)
    forms = (await send(admin, "GET", f"/v1/assessments?patient_id={patients[0]}"))["data"]
    change = {"reason": "a slip", "responses": [3] * 9}
    await send(admin, "POST", f"/v1/assessments/{forms[0]['id']}/amendments", change, **{"If-Match": '"1"'})
    await send(admin, "POST", f"/v1/assessments/{forms[1]['id']}/void", {"reason": "a slip"}, **{"If-Match": '"1"'})
    assert await files_of(database, admin.clinic_id, known_at, names) == before
    assert await files_of(database, admin.clinic_id, datetime.now(UTC), names) != before


async def files_of(database: Database, clinic_id: UUID, known_at: datetime, names: dict[UUID, str]) -> dict[str, bytes]:
    return (await made_of(database, clinic_id, ASKED, known_at, names))[1]


async def made_of(
    database: Database, clinic_id: UUID, asked: dict[str, Any], known_at: datetime, names: dict[UUID, str]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Manifest and files of a release under these names, as it is built."""

    async def nothing(_persons: int, _rows: int) -> None:
        pass

    async with AsyncExitStack() as stack, database.snapshot(clinic_id, 60) as connection:
        source = Source(connection, database.keys, clinic_id, clinic_id, ReleaseCreate.model_validate(asked), known_at)
        built = await release_contents.build(source, lambda _: names, release_contents.Step(nothing), stack)
        found = {}
        for name, file in built.files.items():
            file.seek(0)
            found[name] = file.read()
        return built.manifest, found


# --- The end ----------------------------------------------------------------------------------------------------------


async def held(database: Database, release: dict[str, Any], clinic_id: UUID) -> list[int]:
    """Pieces, names and keys that are still there."""
    counts = (
        "SELECT count(*) FROM release_chunk WHERE release_id = $1",
        "SELECT count(pseudonym) FROM release_person WHERE release_id = $1",
        "SELECT count(*) FROM data_key WHERE id = $1",
    )
    async with database.connection(clinic_id) as connection:
        return [await connection.fetchval(count, UUID(release["id"])) for count in counts]


@pytest.mark.parametrize("way", ["withdrawn", "erased", "revoked", "expired"])
async def test_what_has_ended_is_gone_and_destroyed(
    researcher: Api, admin: Api, database: Database, address: PostgresAddress, patients: list[str], way: str
) -> None:
    """At once for whoever asks, and from the database when the worker comes by: files, map and key."""
    release = await built(researcher, admin, database)
    assert all(await held(database, release, admin.clinic_id))
    match way:
        case "withdrawn":
            await withdraw(admin, patients[3])
        case "erased":
            answer = await admin.http.delete(
                f"/v1/patients/{patients[3]}?ground=patient_request", headers={"If-Match": '"1"'}
            )
            assert answer.status_code == 200
            assert answer.json()["removed"]["release_person"] == 1
        case "revoked":
            await send(researcher, "POST", f"/v1/releases/{release['id']}/revocation")
        case "expired":
            await end_of_time(address, admin.clinic_id, release)
    answer = await download(researcher, release, "scores.csv")
    assert (answer.status_code, answer.json()["type"]) == (410, "/problems/gone")
    assert "Ask for a new one" in answer.json()["detail"]
    assert await end_releases(database, admin.clinic_id) > 0
    assert await end_releases(database, admin.clinic_id) == 0
    assert await held(database, release, admin.clinic_id) == [0, 0, 0]
    now = await send(researcher, "GET", f"/v1/releases/{release['id']}")
    assert now["status"] == ("expired" if way == "expired" else "revoked")
    assert now["manifest"] == release["manifest"]
    assert (await download(researcher, release, "scores.csv")).status_code == 410
    assert (await researcher.http.post(f"/v1/releases/{release['id']}/revocation")).status_code == 409


async def end_of_time(address: PostgresAddress, clinic_id: UUID, release: dict[str, Any]) -> None:
    """As 90 days later. What is ready is not changed, not even by the owner: its guard has to be taken away."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL app.clinic_id = '{clinic_id}'")
            await connection.execute("ALTER TABLE release DISABLE TRIGGER keep_release")
            await connection.execute("UPDATE release SET expires_at = now() WHERE id = $1", UUID(release["id"]))
            await connection.execute("ALTER TABLE release ENABLE TRIGGER keep_release")
    finally:
        await connection.close()


@pytest.mark.usefixtures("patients")
async def test_what_is_ready_is_not_changed(researcher: Api, admin: Api, database: Database) -> None:
    release = await built(researcher, admin, database)
    for change in ("manifest = '{}'", "expires_at = now()", "status = 'approved'", "request = '{}'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.connection(admin.clinic_id) as connection:
                await connection.execute(f"UPDATE release SET {change} WHERE id = $1", UUID(release["id"]))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.connection(admin.clinic_id) as connection:
            await connection.execute("SELECT forget_release($1)", UUID(release["id"]))


@pytest.mark.usefixtures("patients")
async def test_every_step_is_told_in_the_trail(researcher: Api, admin: Api, database: Database) -> None:
    release = await built(researcher, admin, database)
    await download(researcher, release, "persons.csv")
    await send(admin, "POST", f"/v1/releases/{release['id']}/revocation")
    async with database.connection(admin.clinic_id) as connection:
        rows = await connection.fetch(
            "SELECT action, actor_role, rows FROM audit_event WHERE resource_id = $1 ORDER BY at, id",
            UUID(release["id"]),
        )
    assert [tuple(row) for row in rows] == [
        ("release.request", "researcher", None),
        ("release.decide", "admin", None),
        ("release.build", "service", PEOPLE * 5),
        ("release_file.read", "researcher", PEOPLE),
        ("release.revoke", "admin", None),
    ]


@pytest.mark.usefixtures("patients")
async def test_two_workers_build_one_release_once(researcher: Api, admin: Api, database: Database) -> None:
    release = await ask(researcher)
    await approve(admin, release)
    done = await asyncio.gather(*(release_builds.build_next(database, admin.clinic_id) for _ in range(4)))
    assert sum(done) == 1
    assert (await send(researcher, "GET", f"/v1/releases/{release['id']}"))["progress"]["attempts"] == 1


async def test_what_fails_every_time_comes_to_an_end(researcher: Api, admin: Api, database: Database) -> None:
    """As after the last worker that died of it."""
    release = await ask(researcher)
    await approve(admin, release)
    async with database.connection(admin.clinic_id) as connection:
        await connection.execute(
            "UPDATE release SET status = 'building', attempts = $2, leased_until = now() WHERE id = $1",
            UUID(release["id"]),
            release_builds.MAX_ATTEMPTS,
        )
    assert await release_builds.build_next(database, admin.clinic_id) == 0
    now = await send(researcher, "GET", f"/v1/releases/{release['id']}")
    assert (now["status"], now["failure"]) == ("failed", "defect")


async def test_who_is_slower_than_the_lease_changes_nothing(
    researcher: Api, admin: Api, database: Database, patients: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoked while it was read: nothing is stored, and it stays revoked."""
    release = await ask(researcher)
    await approve(admin, release)
    genuine = release_contents.build

    async def revoked_meanwhile(*arguments: Any) -> release_contents.Built:
        made = await genuine(*arguments)
        await send(researcher, "POST", f"/v1/releases/{release['id']}/revocation")
        return made

    monkeypatch.setattr(release_builds, "build", revoked_meanwhile)
    await release_builds.build_next(database, admin.clinic_id)
    assert (await send(researcher, "GET", f"/v1/releases/{release['id']}"))["status"] == "revoked"
    assert await held(database, release, admin.clinic_id) == [0, 0, 0]
    assert patients


async def test_who_leaves_a_download_holds_no_connection(
    researcher: Api, admin: Api, database: Database, patients: list[str]
) -> None:
    """Between two pieces, too."""
    release = await built(researcher, admin, database)
    (file,) = [one for one in release["manifest"]["files"] if one["name"] == "scores.csv"]
    pieces = await release_downloads.open_file(database, admin.clinic_id, UUID(release["id"]), file)
    assert await anext(pieces)
    assert database._pool is not None
    assert database._pool.get_idle_size() == database._pool.get_size()
    assert patients
