"""Enrolment over HTTP: a code let in once, tokens that renew themselves, and an end to a device that was copied."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from app import deps
from app.auth import Actor, TokenKind, TokenParts, new_code, new_token, parse_token
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.errors import UnauthenticatedError
from app.services import devices
from app.services.data_keys import get_token_key
from app.services.devices import get_code_bearer, redeem_code
from app.services.token_uses import TokenUses
from app.settings import Settings
from app.tables import Clinic
from tests.api.test_rate_limits import processes as limited_processes
from tests.api.test_tokens import by, processes
from tests.api.treatment import assert_closed_to, assert_foreign_is_absent, assert_refused, events
from tests.conftest import Api, until_somebody_waits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_waiting_for_the_cache")]

REDEEM = "/v1/enrolment"
REFRESH = "/v1/token/refresh"
LOGOUT = "/v1/token/logout"


def enrolments_of(patient_id: str) -> str:
    return f"/v1/patients/{patient_id}/enrolments"


async def enrol(api: Api, patient_id: str, **body: Any) -> dict[str, Any]:
    answer = await api.http.post(enrolments_of(patient_id), json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def state_of(api: Api, enrolment: dict[str, Any]) -> str:
    return str((await api.http.get(f"/v1/enrolments/{enrolment['id']}")).json()["state"])


@dataclass
class Device:
    """A patient's telephone, which knows what it was told last."""

    http: httpx2.AsyncClient
    patient_id: str
    enrolment: dict[str, Any]
    tokens: dict[str, str]

    async def call(self, path: str = "", access_token: str = "") -> httpx2.Response:
        header = by(access_token or self.tokens["access_token"])
        return await self.http.get(path or f"/v1/patients/{self.patient_id}/due", headers=header)

    async def refresh(self, refresh_token: str = "") -> httpx2.Response:
        return await self.http.post(REFRESH, headers=by(refresh_token or self.tokens["refresh_token"]))

    async def renew(self) -> dict[str, str]:
        """Returns the tokens of before."""
        before, answer = self.tokens, await self.refresh()
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        return before


@pytest.fixture
async def device(api: Api, patient_id: str, anonymous: httpx2.AsyncClient) -> Device:
    enrolment = await enrol(api, patient_id)
    answer = await anonymous.post(REDEEM, headers=by(enrolment["token"]))
    assert answer.status_code == 200, answer.text
    return Device(anonymous, patient_id, enrolment, answer.json())


async def set_back(database: Database, clinic_id: UUID, column: str, span: timedelta) -> None:
    """As if so much time had passed; nobody waits for it."""
    async with database.connection(clinic_id) as connection:
        await connection.execute(f"UPDATE enrolment SET {column} = {column} - $1::interval", span)


# --- The clinic's side ------------------------------------------------------------------------------------------------


async def test_only_persons_of_the_staff_enrol(
    anonymous: httpx2.AsyncClient, researcher: Api, service: Api, device: Device
) -> None:
    """401 without a token; 403 for programs, researchers and patients; a program may look."""
    id_, path = uuid4(), enrolments_of(str(uuid4()))
    writes: list[tuple[str, str, Any]] = [("POST", path, {}), ("POST", f"/v1/enrolments/{id_}/revocation", None)]
    reads: list[tuple[str, str, Any]] = [("GET", path, None), ("GET", f"/v1/enrolments/{id_}", None)]
    others: list[tuple[str, str, Any]] = [("POST", REDEEM, None), ("POST", REFRESH, None), ("POST", LOGOUT, None)]
    await assert_closed_to(anonymous, 401, [*writes, *reads, *others])
    await assert_closed_to(researcher, 403, [*writes, *reads, *others])
    await assert_closed_to(service, 403, [*writes, *others])
    await assert_closed_to(service, 404, reads)
    for method, url, body in [*writes, *reads, *others]:
        answer = await anonymous.request(method, url, json=body, headers=by(device.tokens["access_token"]))
        assert answer.status_code == 403, url


async def test_foreign_enrolments_are_absent(api: Api, other_api: Api) -> None:
    """Another clinic's id answers byte for byte as one that never was."""
    patient = await other_api.add_patient()
    enrolment = await enrol(other_api, patient)
    await assert_foreign_is_absent(
        api, patient, [("POST", enrolments_of("ID"), {}), ("GET", enrolments_of("ID"), None)]
    )
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/v1/enrolments/ID", None),
        ("POST", "/v1/enrolments/ID/revocation", None),
    ]
    await assert_foreign_is_absent(api, enrolment["id"], calls)
    assert await state_of(other_api, enrolment) == "waiting"


async def test_unsound_enrolments_are_refused(api: Api, patient_id: str) -> None:
    """A code that lives long or stands much is a password, and a short one."""
    for body, pointer, code in (
        ({"expires_in_hours": 0}, "/expires_in_hours", "greater_than_equal"),
        ({"expires_in_hours": 337}, "/expires_in_hours", "less_than_equal"),
        ({"tries": 0}, "/tries", "greater_than_equal"),
        ({"tries": 21}, "/tries", "less_than_equal"),
        ({"code": "0000-0000-0000-0000"}, "", "unknown_field"),
    ):
        assert_refused(await api.http.post(enrolments_of(patient_id), json=body), pointer, code)
    assert (await api.http.get(enrolments_of(patient_id))).json()["data"] == []


async def test_a_code_is_told_once(api: Api, database: Database, patient_id: str) -> None:
    """It is in the first answer alone; what is stored, listed and replayed has none."""
    key = {"Idempotency-Key": "one-code"}
    first = await api.http.post(enrolments_of(patient_id), json={}, headers=key)
    made = first.json()
    assert made["token"] == f"tme_{api.clinic_id}_{made['code']}"
    assert [len(group) for group in made["code"].split("-")] == [4, 4, 4, 4]
    assert first.headers["location"] == f"/v1/enrolments/{made['id']}"
    again = await api.http.post(enrolments_of(patient_id), json={}, headers=key)
    assert (again.json(), again.headers["idempotency-replayed"]) == (made | {"code": None, "token": None}, "true")
    read = await api.http.get(first.headers["location"])
    assert read.json() == {name: value for name, value in made.items() if name not in {"code", "token"}}
    assert (await api.http.get(enrolments_of(patient_id))).json()["data"] == [read.json()]
    async with database.connection(api.clinic_id) as connection:
        rows = await connection.fetch("SELECT to_jsonb(t)::text AS row FROM enrolment t")
    secret = parse_token(made["token"]).secret
    assert not any(text in row["row"] for row in rows for text in (made["code"][10:], secret.hex()))
    assert await events(database, api) == [("enrolment.create", patient_id, made["id"])]


async def test_enrolments_are_listed_in_pages(api: Api, patient_id: str) -> None:
    """Newest first, each once."""
    made = [(await enrol(api, patient_id))["id"] for _ in range(3)]
    first = (await api.http.get(enrolments_of(patient_id), params={"limit": 2})).json()
    page = {"limit": 2, "cursor": first["next_cursor"]}
    rest = (await api.http.get(enrolments_of(patient_id), params=page)).json()
    assert [one["id"] for one in first["data"] + rest["data"]] == made[::-1]


# --- Codes ------------------------------------------------------------------------------------------------------------


async def test_a_code_lets_a_device_in(device: Device, api: Api, database: Database) -> None:
    """As its patient, who sees their own and nothing else; the trail calls the device by its enrolment."""
    answer = await device.call()
    assert answer.status_code == 200, answer.text
    assert device.tokens["patient_id"] == device.patient_id
    other = await api.add_patient()
    assert (await device.call(f"/v1/patients/{other}/due")).status_code == 404
    assert (await device.call("/v1/caseload")).status_code == 403
    left = datetime.fromisoformat(device.tokens["expires_at"]) - datetime.fromisoformat(device.enrolment["created_at"])
    assert timedelta(minutes=15) <= left < timedelta(minutes=16)
    assert await state_of(api, device.enrolment) == "active"
    assert ("enrolment.redeem", device.patient_id, device.enrolment["id"]) in await events(database, api)


async def test_a_code_is_typed_by_people(api: Api, patient_id: str, anonymous: httpx2.AsyncClient) -> None:
    """Small letters, without hyphens, O for 0 and I or L for 1."""
    enrolment = await enrol(api, patient_id)
    code = enrolment["code"].lower().replace("-", "").replace("0", "o").replace("1", "l")
    answer = await anonymous.post(REDEEM, headers=by(f"tme_{str(api.clinic_id).upper()}_{code}"))
    assert answer.status_code == 200, answer.text


async def test_a_code_whose_answer_was_lost_works_again(device: Device) -> None:
    """Until one of its tokens is used; then it is used up, and the tokens of the lost answer never work."""
    lost = device.tokens
    again = await device.http.post(REDEEM, headers=by(device.enrolment["token"]))
    assert again.status_code == 200
    assert (await device.call(access_token=lost["access_token"])).status_code == 401
    assert (await device.call(access_token=again.json()["access_token"])).status_code == 200
    assert (await device.http.post(REDEEM, headers=by(device.enrolment["token"]))).status_code == 401


async def test_a_code_is_used_up_for_good(device: Device, api: Api) -> None:
    """Not free again while a renewed pair is still unseen: whoever finds the slip of paper later gets nothing."""
    lost = await device.renew()  # before its access token was ever shown
    for is_shown in (False, True):
        if is_shown:
            assert (await device.call()).status_code == 200
            await device.renew()
        assert (await device.http.post(REDEEM, headers=by(device.enrolment["token"]))).status_code == 401
    assert (await device.call(access_token=lost["access_token"])).status_code == 401
    assert (await device.call()).status_code == 200
    assert await state_of(api, device.enrolment) == "active"


async def test_a_code_used_while_it_is_being_redeemed_stays_used(device: Device, database: Database) -> None:
    """Proven a moment before its pair was shown and renewed: what is asked under the lock is the same."""
    parts = parse_token(device.enrolment["token"])
    actor = await get_code_bearer(database, parts)
    assert (await device.call()).status_code == 200
    await device.renew()
    with pytest.raises(UnauthenticatedError):
        await redeem_code(database, actor)
    assert (await device.call()).status_code == 200


async def test_guesses_at_once_wait_for_each_other(
    api: Api, database: Database, patient_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """While one guess spends the last try, the next is not compared with the code as it was before."""
    enrolment = await enrol(api, patient_id, tries=1)
    async with database.connection(api.clinic_id) as other_guess:
        await other_guess.execute("UPDATE enrolment SET tries_left = 0 WHERE id = $1", UUID(enrolment["id"]))
        guess = asyncio.create_task(anonymous.post(REDEEM, headers=by(enrolment["token"])))
        await asyncio.sleep(0.3)
        assert not guess.done()
    assert (await guess).status_code == 401


async def test_dead_codes_answer_alike(
    api: Api, database: Database, device: Device, anonymous: httpx2.AsyncClient, clinic: Clinic, other_clinic: Clinic
) -> None:
    """Unknown, wrong, another clinic's, expired, revoked, used up, used: the same bytes."""
    assert (await device.call()).status_code == 200  # from now on its code is used
    waiting, expired, revoked, worn = [await enrol(api, device.patient_id, tries=1) for _ in range(4)]
    async with database.connection(api.clinic_id) as connection:
        await connection.execute("UPDATE enrolment SET expires_at = now() WHERE id = $1", UUID(expired["id"]))
    assert (await api.http.post(f"/v1/enrolments/{revoked['id']}/revocation")).json()["state"] == "revoked"
    wrong = worn["token"][:-1] + ("0" if worn["token"][-1] != "0" else "2")
    tokens = [
        new_code(clinic.clinic_id)[1],
        new_code(uuid4())[1],
        waiting["token"].replace(str(clinic.clinic_id), str(other_clinic.clinic_id)),
        wrong,
        worn["token"],
        expired["token"],
        revoked["token"],
        device.enrolment["token"],
    ]
    answers = [await anonymous.post(REDEEM, headers=by(token)) for token in tokens]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    states = [await state_of(api, one) for one in (waiting, expired, revoked, worn, device.enrolment)]
    assert states == ["waiting", "expired", "revoked", "used_up", "active"]
    assert (await anonymous.post(REDEEM, headers=by(waiting["token"]))).status_code == 200


async def test_wrong_codes_cost_tries_and_right_ones_none(
    api: Api, patient_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """Whoever knows the first half alone has as many tries as the clinic gave, and not one more."""
    enrolment = await enrol(api, patient_id, tries=3)
    stem, secret = enrolment["token"][:-9], enrolment["token"][-9:]
    for _ in range(2):
        assert (await anonymous.post(REDEEM, headers=by(stem + secret[::-1]))).status_code == 401
    for _ in range(3):
        assert (await anonymous.post(REDEEM, headers=by(enrolment["token"]))).status_code == 200
    assert (await api.http.get(f"/v1/enrolments/{enrolment['id']}")).json()["tries_left"] == 1


@pytest.mark.parametrize("known", [True, False])
async def test_unknown_and_wrong_codes_do_the_same_work(
    api: Api, patient_id: str, anonymous: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """The same statements and one comparison: told by what is done, not by a clock."""
    statements: list[str] = []
    compared: list[bytes] = []
    enrolment, genuine, matches = await enrol(api, patient_id), asyncpg.Connection._get_statement, TokenParts.matches

    async def noted(self: Any, query: str, *arguments: Any, **options: Any) -> Any:
        statements.append(query)
        return await genuine(self, query, *arguments, **options)

    def counted(self: TokenParts, secret_hash: bytes, key: bytes) -> bool:
        compared.append(secret_hash)
        return matches(self, secret_hash, key)

    monkeypatch.setattr(asyncpg.Connection, "_get_statement", noted)
    monkeypatch.setattr(TokenParts, "matches", counted)
    token = enrolment["token"][:-9] + "0000-0000" if known else new_code(api.clinic_id)[1]
    assert (await anonymous.post(REDEEM, headers=by(token))).status_code == 401
    assert len(compared) == 1
    assert [statement.split()[0] for statement in statements] == ["SELECT", "UPDATE"]


async def test_a_code_that_is_revoked_while_it_is_redeemed_lets_nobody_in(
    api: Api, database: Database, patient_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """It was proven before the revocation was committed, and waits for it: the same bytes as for any dead code."""
    enrolment = await enrol(api, patient_id)
    unknown = await anonymous.post(REDEEM, headers=by(new_code(api.clinic_id)[1]))
    async with database.connection(api.clinic_id) as connection:
        await connection.execute(
            "UPDATE enrolment SET ended_at = now(), ended_because = 'revoked' WHERE id = $1", UUID(enrolment["id"])
        )
        redeemed = asyncio.create_task(anonymous.post(REDEEM, headers=by(enrolment["token"])))
        await until_somebody_waits(database)
    answer = await redeemed
    assert (answer.status_code, answer.content) == (401, unknown.content)
    assert await state_of(api, enrolment) == "revoked"


# --- Renewal ----------------------------------------------------------------------------------------------------------


async def test_tokens_renew_themselves(device: Device, api: Api) -> None:
    """The new ones work, the old ones are dead, and the device stays who it is."""
    for _ in range(3):
        before = await device.renew()
        assert (await device.call()).status_code == 200
        assert (await device.call(access_token=before["access_token"])).status_code == 401
        kinds = [parse_token(device.tokens[name]).kind for name in ("access_token", "refresh_token")]
        assert kinds == [TokenKind.ACCESS, TokenKind.REFRESH]
        assert str(parse_token(device.tokens["access_token"]).token_id) == device.enrolment["id"]
    assert await state_of(api, device.enrolment) == "active"


async def test_an_access_token_lives_for_minutes(device: Device, database: Database, api: Api) -> None:
    """And its refresh token for as long as the device comes back within 90 days."""
    await set_back(database, api.clinic_id, "access_expires_at", timedelta(minutes=15))
    assert (await device.call()).status_code == 401
    await device.renew()
    assert (await device.call()).status_code == 200
    await set_back(database, api.clinic_id, "refreshed_at", timedelta(days=90))
    assert (await device.refresh()).status_code == 401
    assert await state_of(api, device.enrolment) == "idle"


async def test_a_lost_answer_is_asked_for_again(device: Device, api: Api) -> None:
    """However late, as long as nothing of the lost pair was used; what was lost is dead from then on."""
    first = device.tokens
    for _ in range(3):
        assert (await device.refresh(first["refresh_token"])).status_code == 200
    lost = (await device.refresh(first["refresh_token"])).json()
    device.tokens = (await device.refresh(first["refresh_token"])).json()
    assert (await device.call(access_token=lost["access_token"])).status_code == 401
    assert (await device.call()).status_code == 200
    assert await state_of(api, device.enrolment) == "active"


@pytest.mark.parametrize("used", ["access", "refresh"])
async def test_a_spent_refresh_token_ends_the_device(device: Device, api: Api, database: Database, used: str) -> None:
    """Once its successor was used in either way: everything it ever had is dead, and the trail says why."""
    spent = await device.renew()
    if used == "access":
        assert (await device.call()).status_code == 200
    else:
        await device.renew()
    copied = await device.refresh(spent["refresh_token"])
    assert (copied.status_code, copied.json()["detail"]) == (401, "The token is unknown, expired or revoked.")
    for token in (device.tokens["refresh_token"], spent["refresh_token"]):
        assert (await device.refresh(token)).status_code == 401
    assert (await device.call()).status_code == 401
    assert (await device.http.post(REDEEM, headers=by(device.enrolment["token"]))).status_code == 401
    assert await state_of(api, device.enrolment) == "reused"
    assert (await events(database, api))[-1] == ("enrolment.reused", device.patient_id, device.enrolment["id"])


@pytest.mark.parametrize("first", ["thief", "patient"])
async def test_of_two_holders_of_one_token_neither_keeps_it(device: Device, api: Api, first: str) -> None:
    """Whoever renews first: when the other one shows what they have, both are out. No grace hides a copy."""
    stolen = await device.renew()  # the thief has read the device's backup while the answer was under way
    theirs = device.tokens
    if first == "thief":
        theirs = (await device.refresh(stolen["refresh_token"])).json()
        assert (await device.call(access_token=theirs["access_token"])).status_code == 200
        assert (await device.refresh()).status_code == 401
    else:
        assert (await device.call()).status_code == 200
        assert (await device.refresh(stolen["refresh_token"])).status_code == 401
    assert await state_of(api, device.enrolment) == "reused"
    assert (await device.call(access_token=theirs["access_token"])).status_code == 401


async def test_twins_leave_one_pair(device: Device) -> None:
    """Ten renewals at once with one token: of all pairs that were answered one lives."""
    answers = await asyncio.gather(*(device.refresh() for _ in range(10)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    pairs = [answer.json() for answer in answers if answer.status_code == 200]
    works = [(await device.call(access_token=pair["access_token"])).status_code for pair in pairs]
    assert sorted(works) == [200] + [401] * (len(pairs) - 1)


@pytest.mark.parametrize("use", [devices.refresh_tokens, devices.log_out])
async def test_a_device_that_ends_after_its_token_was_proven_gets_nothing(
    device: Device, api: Api, database: Database, use: Callable[[Database, Actor], Awaitable[Any]]
) -> None:
    """Proof and use are two transactions; what the clinic decides between them holds, and is told once."""
    actor = await devices.get_refresher(database, parse_token(device.tokens["refresh_token"]))
    assert (await api.http.post(f"/v1/enrolments/{device.enrolment['id']}/revocation")).status_code == 200
    told = await events(database, api)
    with pytest.raises(UnauthenticatedError):
        await use(database, actor)
    assert await state_of(api, device.enrolment) == "revoked"
    assert await events(database, api) == told


async def test_wrong_refresh_tokens_end_nothing(device: Device, api: Api) -> None:
    """Whoever knows its id alone can neither renew nor end a device."""
    token = device.tokens["refresh_token"]
    forged = token[:48] + device.tokens["access_token"][48:]
    swapped = "tma_" + token[4:]
    for one in (forged, swapped, "tmk_" + token[4:], "tmr_" + device.tokens["access_token"][4:]):
        assert (await device.refresh(one)).status_code == 401
    assert (await device.call()).status_code == 200
    assert await state_of(api, device.enrolment) == "active"


async def test_old_spent_tokens_are_forgotten(device: Device, database: Database, api: Api) -> None:
    """After the time a device may stay away: one that comes back later is unknown."""
    old, spent = [new_token(api.clinic_id, uuid4(), TokenKind.REFRESH) for _ in range(2)]
    async with database.connection(api.clinic_id) as connection:
        key = await get_token_key(connection, database.keys, api.clinic_id)
        for (_, parts), days in ((old, 91), (spent, 89)):
            await connection.execute(
                """INSERT INTO refresh_token (clinic_id, id, patient_id, enrolment_id, secret_hash, created_at)
                   VALUES ($1, $2, $3, $4, $5, now() - $6 * interval '1 day')""",
                api.clinic_id,
                parts.token_id,
                UUID(device.patient_id),
                UUID(device.enrolment["id"]),
                parts.hashed(key),
                days,
            )
    await device.renew()
    states = []
    for text, _ in (old, spent):
        assert (await device.refresh(text)).status_code == 401
        states.append(await state_of(api, device.enrolment))
    assert states == ["active", "reused"]


# --- The end ----------------------------------------------------------------------------------------------------------


async def test_a_device_logs_out(device: Device, api: Api, database: Database) -> None:
    """Its tokens are dead, its code as well."""
    answer = await device.http.post(LOGOUT, headers=by(device.tokens["refresh_token"]))
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await device.call()).status_code == 401
    assert (await device.refresh()).status_code == 401
    assert (await device.http.post(REDEEM, headers=by(device.enrolment["token"]))).status_code == 401
    assert await state_of(api, device.enrolment) == "logged_out"
    assert (await events(database, api))[-1][0] == "enrolment.logged_out"


async def test_a_lost_telephone_is_locked_out_everywhere(
    address: PostgresAddress, settings: Settings, device: Device, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a second, in a worker that has just let it in; revoking twice is no error, nor is its replay."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 1.0)
    path, key = f"/v1/enrolments/{device.enrolment['id']}/revocation", {"Idempotency-Key": "lost"}
    async with processes(address, settings, device.tokens["access_token"]) as workers:
        due = f"/v1/patients/{device.patient_id}/due"
        assert [(await http.get(due)).status_code for http in workers] == [200, 200]
        revoked = await api.http.post(path, headers=key)
        assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
        await asyncio.sleep(1.0)
        assert [(await http.get(due)).status_code for http in workers] == [401, 401]
    assert (await device.refresh()).status_code == 401
    again = await api.http.post(path, headers=key)
    assert (again.json(), again.headers["idempotency-replayed"]) == (revoked.json(), "true")
    assert (await api.http.post(path)).json() == revoked.json()


async def test_what_a_device_sends_again_after_a_renewal_is_stored_once(device: Device) -> None:
    """A key belongs to the device, not to the quarter of an hour it was sent in."""
    form = {
        "patient_id": device.patient_id,
        "instrument": "phq-9",
        "responses": [1] * 9,
        "taken_at": "2026-03-02T09:00:00Z",
    }
    answers = []
    for _ in range(2):
        headers = by(device.tokens["access_token"]) | {"Idempotency-Key": "form-1"}
        answers.append(await device.http.post("/v1/assessments", json=form, headers=headers))
        await device.renew()
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["idempotency-replayed"] == "true"


async def test_wrong_codes_and_refresh_tokens_count_as_failed_logins(
    address: PostgresAddress, device: Device, clinic: Clinic
) -> None:
    """From one address, over all processes, with wrong tokens of every other kind."""
    async with limited_processes(address, 2, failed_logins_per_address=4) as workers:
        wrong = [new_code(clinic.clinic_id)[1], "tmr_" + device.tokens["access_token"][4:]]
        statuses = []
        for number in range(6):
            path = (REDEEM, REFRESH)[number % 2]
            statuses.append((await workers[number // 3](wrong[number % 2], "198.51.100.77").post(path)).status_code)
    assert statuses == [401] * 4 + [429] * 2


async def test_use_of_a_device_is_not_noted_as_a_tokens(device: Device, app: FastAPI) -> None:
    """It notes its own, once for each pair."""
    uses: TokenUses = app.state.tokens._uses
    before = set(uses._noted_at)
    assert (await device.call()).status_code == 200
    assert UUID(device.enrolment["id"]) not in set(uses._noted_at) - before
