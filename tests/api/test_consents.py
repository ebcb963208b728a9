"""Consents and the flag of 42 CFR Part 2 over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.db import Database
from app.privacy.part_two import NOTICE
from app.schemas.consents import Purpose
from app.services import consents
from app.services.consents import ConsentInForce, consents_in_force, told_of
from app.tables import Clinic
from tests.api.conftest import PatientApi
from tests.api.treatment import assert_closed_to, assert_foreign_is_absent, assert_refused, events
from tests.conftest import Api

pytestmark = pytest.mark.anyio

RESEARCH: dict[str, Any] = {"purpose": "research", "how": "signed", "given_at": "2026-01-05T09:00:00-07:00"}
DISCLOSE: dict[str, Any] = RESEARCH | {"purpose": "disclosure_to_recipient", "recipient": "Dr. Elsewhere"}
FLAG: dict[str, Any] = {"applies": True, "reason": "referred"}
READS = ("consents", "consents/history", "part-2", "part-2/history")


def of(patient: str, path: str = "consents") -> str:
    return f"/v1/patients/{patient}/{path}"


async def put(
    api: Api, patient: str, body: dict[str, Any], version: int = 0, key: str | None = None
) -> httpx2.Response:
    headers = ({"If-Match": f'"{version}"'} if version else {}) | ({} if key is None else {"Idempotency-Key": key})
    return await api.http.put(of(patient), json=body, headers=headers)


async def withdraw(api: Api, consent: dict[str, Any], key: str | None = None, **body: Any) -> httpx2.Response:
    path = of(consent["patient_id"], f"consents/{consent['id']}/withdrawal")
    return await api.http.post(path, json=body, headers={} if key is None else {"Idempotency-Key": key})


async def in_force(database: Database, clinic: Clinic, at: datetime, purpose: Purpose = Purpose.RESEARCH) -> list[Any]:
    async with database.connection(clinic.clinic_id) as connection:
        found = await consents_in_force(connection, database.keys, clinic.clinic_id, purpose, at)
    return [(one.patient_id, one.version, one.recipient) for one in found]


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_strangers_programs_and_researchers_see_none(
    anonymous: httpx2.AsyncClient, researcher: Api, service: Api, patient_id: str
) -> None:
    calls: list[tuple[str, str, Any]] = [("GET", of(patient_id, path), None) for path in READS]
    calls += [("PUT", of(patient_id), RESEARCH), ("PUT", of(patient_id, "part-2"), FLAG)]
    calls += [("POST", of(patient_id, f"consents/{uuid4()}/withdrawal"), {})]
    await assert_closed_to(anonymous, 401, calls)
    for one in (researcher, service):
        await assert_closed_to(one, 403, calls)


async def test_a_patient_reads_and_withdraws_their_own_and_gives_none(api: Api, patient_api: PatientApi) -> None:
    """Of another patient they do not even learn that there is one."""
    mine = patient_api.patient_id
    calls: list[tuple[str, str, Any]] = [("PUT", of(mine), RESEARCH), ("PUT", of(mine, "part-2"), FLAG)]
    await assert_closed_to(patient_api, 403, calls)
    made = (await put(api, mine, RESEARCH)).json()
    assert [row["id"] for row in (await patient_api.http.get(of(mine))).json()["data"]] == [made["id"]]
    withdrawn = await withdraw(patient_api, made)
    assert (withdrawn.status_code, withdrawn.json()["state"]) == (200, "withdrawn")
    other = await api.add_patient()
    theirs = (await put(api, other, RESEARCH)).json()
    assert (await patient_api.http.get(of(other))).status_code == 404
    for consent in (theirs, theirs | {"patient_id": mine}):
        assert (await withdraw(patient_api, consent)).status_code == 404
    assert (await api.http.get(of(other))).json()["data"][0]["state"] == "in_force"


async def test_another_clinics_are_absent(api: Api, other_api: Api) -> None:
    theirs = await other_api.add_patient()
    consent = (await put(other_api, theirs, RESEARCH)).json()
    calls: list[tuple[str, str, Any]] = [("GET", of("ID", path), None) for path in READS]
    calls += [("PUT", of("ID"), RESEARCH), ("PUT", of("ID", "part-2"), FLAG)]
    await assert_foreign_is_absent(api, theirs, calls)
    own = await api.add_patient()
    await assert_foreign_is_absent(api, consent["id"], [("POST", of(own, "consents/ID/withdrawal"), {})])


# --- Consents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"purpose": "marketing"}, "/purpose", "enum"),
        ({"how": "implied"}, "/how", "literal_error"),
        ({"purpose": "disclosure_to_recipient"}, "/recipient", "missing"),
        ({"given_at": "2026-01-05"}, "/given_at", "not_a_time"),
        ({"given_at": "2099-01-05T00:00:00Z"}, "/given_at", "in_the_future"),
        ({"expires_at": "2026-01-05T16:00:00Z"}, "/expires_at", "before_giving"),
        ({"recipient": " "}, "/recipient", "string_too_short"),
        ({"withdrawn_at": "2026-01-06T00:00:00Z"}, "", "unknown_field"),
    ],
)
async def test_invalid_consents_are_refused(
    api: Api, patient_id: str, change: dict[str, Any], pointer: str, code: str
) -> None:
    assert_refused(await put(api, patient_id, RESEARCH | change), pointer, code)
    assert (await api.http.get(of(patient_id))).json()["data"] == []


async def test_the_list_is_one_thing_with_one_version(api: Api, patient_id: str, database: Database) -> None:
    """201 for a first, 200 for what follows it; 428 and 412 guard the list; every version is kept."""
    empty = await api.http.get(of(patient_id))
    assert (empty.json()["data"], "etag" in empty.headers) == ([], False)
    first = await put(api, patient_id, RESEARCH)
    assert (first.status_code, first.headers["etag"], first.json()["version"]) == (201, '"1"', 1)
    assert (await put(api, patient_id, DISCLOSE)).status_code == 428
    assert (await put(api, patient_id, DISCLOSE, 2)).status_code == 412
    other = await put(api, patient_id, DISCLOSE, 1)
    assert (other.status_code, other.headers["etag"]) == (201, '"2"')
    assert_refused(await put(api, patient_id, RESEARCH, 2), "/reason", "missing")
    renewed = await put(api, patient_id, RESEARCH | {"how": "electronic", "reason": "signed anew"}, 2)
    assert (renewed.status_code, renewed.headers["etag"]) == (200, '"3"')
    assert (renewed.json()["id"], renewed.json()["version"]) == (first.json()["id"], 2)
    listed = await api.http.get(of(patient_id))
    assert listed.headers["etag"] == '"3"'
    assert {row["id"]: row["version"] for row in listed.json()["data"]} == {
        first.json()["id"]: 2,
        other.json()["id"]: 1,
    }
    history = (await api.http.get(of(patient_id, "consents/history"))).json()["data"]
    assert [(row["version"], row["how"], row["state"]) for row in history] == [
        (2, "electronic", "in_force"),
        (1, "signed", "in_force"),
        (1, "signed", "superseded"),
    ]
    assert [action for action, *_ in await events(database, api)] == ["consent.put"] * 3


async def test_of_two_who_write_at_once_one_wins(api: Api, patient_id: str) -> None:
    answers = await asyncio.gather(*(put(api, patient_id, RESEARCH | {"document": str(n)}) for n in range(5)))
    assert sorted({answer.status_code for answer in answers} - {503}) == [201, 428]
    assert len((await api.http.get(of(patient_id, "consents/history"))).json()["data"]) == 1


async def test_versions_are_not_without_end(api: Api, patient_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in a loop is stopped; whoever withdraws is not."""
    monkeypatch.setattr(consents, "MAX_VERSIONS", 2)
    made = [(await put(api, patient_id, body, version)).json() for version, body in enumerate((RESEARCH, DISCLOSE))]
    third = await put(api, patient_id, RESEARCH | {"reason": "again"}, 2)
    assert (third.status_code, "2 versions of consents" in third.json()["detail"]) == (409, True)
    assert (await withdraw(api, made[0])).json()["state"] == "withdrawn"


async def test_a_repeat_is_answered_as_the_first_time(api: Api, patient_id: str) -> None:
    """Also after the consent was changed; with other content the key is refused."""
    made = await put(api, patient_id, RESEARCH, key="once")
    assert (await withdraw(api, made.json(), key="out")).status_code == 200
    again = await put(api, patient_id, RESEARCH, key="once")
    assert (again.status_code, again.headers["idempotency-replayed"], again.headers["etag"]) == (201, "true", '"1"')
    assert again.json()["id"] == made.json()["id"]
    assert (await put(api, patient_id, DISCLOSE, key="once")).json()["type"] == "/problems/key-reused"
    out = await withdraw(api, made.json(), key="out")
    assert (out.json()["state"], out.headers["idempotency-replayed"]) == ("withdrawn", "true")
    assert len((await api.http.get(of(patient_id, "consents/history"))).json()["data"]) == 2


async def test_withdrawing_twice_is_no_error_and_only_a_later_consent_counts(api: Api, patient_id: str) -> None:
    made = (await put(api, patient_id, RESEARCH)).json()
    assert_refused(await withdraw(api, made, withdrawn_at="2025-01-01T00:00:00Z"), "/withdrawn_at", "before_giving")
    assert_refused(await withdraw(api, made, withdrawn_at="2099-01-01T00:00:00Z"), "/withdrawn_at", "in_the_future")
    first = await withdraw(api, made, withdrawn_at="2026-03-01T10:00:00+01:00")
    body = first.json()
    assert (body["withdrawn_at"], body["withdrawn_at_offset"]) == ("2026-03-01T09:00:00Z", "+01:00")
    assert (body["version"], body["reason"]) == (2, "withdrawn")
    assert (await withdraw(api, made)).content == first.content
    early = RESEARCH | {"given_at": "2026-02-01T00:00:00Z", "reason": "x"}
    assert_refused(await put(api, patient_id, early, 2), "/given_at", "before_withdrawal")
    late = await put(api, patient_id, early | {"given_at": "2026-04-01T00:00:00Z"}, 2)
    assert (late.status_code, late.json()["state"], late.json()["withdrawn_at"]) == (200, "in_force", None)


async def test_in_force_is_what_was_given_and_neither_expired_nor_withdrawn(
    api: Api, patient_id: str, clinic: Clinic, database: Database
) -> None:
    """Unknown is no consent; each border of each stretch; another purpose and another clinic's are not in it."""
    given = datetime(2026, 1, 5, 16, tzinfo=UTC)
    expires, withdrawn = given + timedelta(days=60), given + timedelta(days=30)
    await api.add_patient()
    await put(api, patient_id, DISCLOSE)
    limited = RESEARCH | {"recipient": "study-1", "expires_at": expires.isoformat()}
    made = (await put(api, patient_id, limited, 1)).json()
    one, moment = (UUID(patient_id), 1, "study-1"), timedelta(microseconds=1)
    for at, held in ((given - moment, []), (given, [one]), (expires - moment, [one]), (expires, [])):
        assert await in_force(database, clinic, at) == held
    await withdraw(api, made, withdrawn_at=withdrawn.isoformat())
    for at, held in ((withdrawn - moment, [(one[0], 2, "study-1")]), (withdrawn, [])):
        assert await in_force(database, clinic, at) == held
    assert await in_force(database, clinic, given, Purpose.CONTACT) == []
    other = await api.add_patient()
    await put(api, other, RESEARCH)
    assert await in_force(database, clinic, withdrawn) == [(UUID(other), 1, None)]
    assert len(await in_force(database, clinic, given, Purpose.DISCLOSURE_TO_RECIPIENT)) == 1


@pytest.mark.parametrize(
    ("recipient", "who"), [("Study-1", ["anybody", "study"]), ("study-2", ["anybody"]), (None, ["anybody"])]
)
def test_a_consent_that_names_a_recipient_is_for_that_one_alone(recipient: str | None, who: list[str]) -> None:
    """However it is spelled; one that names nobody is for everybody."""
    patients = {"anybody": uuid4(), "study": uuid4()}
    given = [
        ConsentInForce(patients[name], uuid4(), 1, named, datetime(2026, 1, 5, tzinfo=UTC), None)
        for name, named in (("anybody", None), ("study", "study-1"))
    ]
    assert told_of(given, recipient) == {patients[name] for name in who}


# --- 42 CFR Part 2 ----------------------------------------------------------------------------------------------------


async def test_the_flag_is_kept_in_versions(api: Api, patient_id: str, database: Database) -> None:
    """Nobody has said so; somebody says so, with a reason; 428, 412 and replay as everywhere."""
    path = of(patient_id, "part-2")
    first = await api.http.get(path)
    assert (first.headers["etag"], first.json()["applies"], first.json()["notice"]) == ('"1"', False, None)
    assert (await api.http.put(path, json=FLAG)).status_code == 428
    assert_refused(await api.http.put(path, json={"applies": True}, headers={"If-Match": '"1"'}), "/reason", "missing")
    assert_refused(
        await api.http.put(path, json=FLAG | {"applies": "yes"}, headers={"If-Match": '"1"'}), "/applies", "bool_type"
    )
    headers = {"If-Match": '"1"', "Idempotency-Key": "flag"}
    made = await api.http.put(path, json=FLAG, headers=headers)
    assert (made.status_code, made.headers["etag"], made.json()["notice"]) == (200, '"2"', NOTICE)
    stale = await api.http.put(path, json=FLAG | {"applies": False}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert (await api.http.put(path, json=FLAG | {"applies": False}, headers={"If-Match": '"2"'})).status_code == 200
    again = await api.http.put(path, json=FLAG, headers=headers)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    history = (await api.http.get(f"{path}/history")).json()["data"]
    assert [(row["version"], row["applies"], row["reason"]) for row in history] == [
        (3, False, "referred"),
        (2, True, "referred"),
        (1, False, None),
    ]
    assert [action for action, *_ in await events(database, api)] == ["part_two.put"] * 2
