"""People who sign in with an identity provider: let in as who they are, kept out in the same words."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.issuer_client import IssuerClient
from app.main import create_app
from app.services import clinics, issuer_keys, persons
from app.services.issuers import Issuer, issuer_of
from app.services.request_rates import NOBODY
from app.settings import Settings
from app.tables import Clinic
from tests.api.test_tokens import by
from tests.api.treatment import assert_foreign_is_absent
from tests.conftest import Api
from tests.issuer import SigningKey, claims_of, settings_of, written
from tests.receiver import Answer, Received, Receiver, running_receiver

pytestmark = pytest.mark.anyio

FIRST = SigningKey("key-1")
SECOND = SigningKey("key-2")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """The issuer's own server, over real TLS."""
    with running_receiver(tmp_path) as receiver:
        yield receiver


@dataclass
class Provider:
    """What the issuer publishes, who fetches it, and a process that takes its tokens."""

    receiver: Receiver
    keys: list[SigningKey]
    issuer: Issuer
    database: Database
    client: IssuerClient
    app: FastAPI
    http: httpx2.AsyncClient

    def publish(self, _: Received) -> Answer:
        body = json.dumps({"keys": [key.public for key in self.keys]}).encode()
        return Answer(200, {"Content-Type": "application/json"}, body)

    async def fetch(self, *, later: timedelta = timedelta(0)) -> None:
        """A turn of the worker, as if so much time had passed since the last; and all processes read anew."""
        async with self.database.connection(NOBODY) as connection:
            await connection.execute(
                """UPDATE issuer_key_set SET tried_at = tried_at - $2::interval,
                       fetched_at = fetched_at - $2::interval, wanted_at = wanted_at - $2::interval
                   WHERE clinic_id = $1""",
                NOBODY,
                later,
            )
        await self.client.take_turn(self.database)
        self.forget()

    def forget(self) -> None:
        """Each process asks the table again."""
        self.app.state.tokens._persons._read_at = self.app.state.tokens._persons._wanted_at = -1e9
        self.app.state.tokens._known.clear()

    async def get(self, token: str, path: str = "/v1/instruments") -> httpx2.Response:
        return await self.http.get(path, headers=by(token))


Start = Callable[..., Awaitable[Provider]]


@pytest.fixture
async def start(
    address: PostgresAddress, settings: Settings, database: Database, receiver: Receiver
) -> AsyncIterator[Start]:
    """A provider of the test's own, under a name of its own, because the table of keys is everybody's."""
    async with AsyncExitStack() as stack:

        async def started(**changes: Any) -> Provider:
            name = f"https://login.clinic.example/{uuid4()}"
            named = {"oidc_issuer": name, "oidc_keys_url": receiver.url("/keys"), "oidc_ca_file": receiver.ca_file}
            own = settings_of(settings, **named | changes)
            issuer = issuer_of(own)
            assert issuer is not None
            app = create_app(own, address.runtime_url)
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx2.ASGITransport(app)
            http = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://test"))
            client = await stack.enter_async_context(IssuerClient(issuer, own.oidc_ca_file))
            provider = Provider(receiver, [FIRST], issuer, database, client, app, http)
            receiver.answer = provider.publish
            return provider

        yield started


@pytest.fixture
async def provider(start: Start) -> Provider:
    """One whose keys were fetched."""
    provider = await start()
    await provider.fetch()
    return provider


def token_of(provider: Provider, clinic: Clinic, key: SigningKey = FIRST, /, **changes: Any) -> str:
    return key.sign(claims_of(clinic.clinic_id, **{"iss": provider.issuer.name} | changes))


# --- Who comes in -----------------------------------------------------------------------------------------------------


async def test_a_person_comes_in_as_who_they_are(
    provider: Provider, clinic: Clinic, database: Database, admin: Api, other_admin: Api
) -> None:
    """With the role of their claims, under one id whatever token they show, which an auditor can look up."""
    for role, path, status in (("clinician", "/v1/webhooks", 403), ("admin", "/v1/webhooks", 200)):
        assert (await provider.get(token_of(provider, clinic, roles=[f"tidemark-{role}"]), path)).status_code == status
    ids = []
    for lifetime in (100, 200):
        token = token_of(provider, clinic, exp=int(time.time()) + lifetime)
        made = await provider.http.post("/v1/patients", json={}, headers=by(token))
        assert made.status_code == 201, made.text
        async with database.connection(clinic.clinic_id) as connection:
            query = "SELECT actor_id::text FROM audit_event WHERE resource_id = $1::uuid"
            ids.append(await connection.fetchval(query, made.json()["id"]))
    assert set(ids) == {str(provider.issuer.principal_id("f:2b9d:jdoe"))}
    found = (await admin.http.get(f"/v1/principals/{ids[0]}")).json()
    assert (found["issuer"], found["subject"]) == (provider.issuer.name, "f:2b9d:jdoe")
    await assert_foreign_is_absent(other_admin, ids[0], [("GET", "/v1/principals/ID", None)])


async def test_only_an_administrator_reads_who_it_was(
    anonymous: httpx2.AsyncClient, api: Api, researcher: Api, service: Api
) -> None:
    """401 without a token, 403 for everybody else."""
    path = f"/v1/principals/{uuid4()}"
    assert (await anonymous.get(path)).status_code == 401
    assert {(await one.http.get(path)).status_code for one in (api, researcher, service)} == {403}


async def test_people_are_forgotten_before_they_fill_the_memory(
    provider: Provider, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once; who comes back is who they were."""
    monkeypatch.setattr(persons, "MAX_SEEN", 2)
    for subject in ("a", "b", "c", "a"):
        assert (await provider.get(token_of(provider, clinic, sub=subject))).status_code == 200
    assert len(provider.app.state.tokens._persons._seen) <= 2
    async with provider.database.connection(clinic.clinic_id) as connection:
        rows = await connection.fetch("SELECT subject FROM principal WHERE clinic_id = $1", clinic.clinic_id)
    assert sorted(row["subject"] for row in rows) == ["a", "b", "c"]


async def test_a_key_of_a_person_belongs_to_the_person(provider: Provider, clinic: Clinic) -> None:
    """A write that is sent again with the next token is made once."""
    answers = []
    for lifetime in (100, 200):
        headers = by(token_of(provider, clinic, exp=int(time.time()) + lifetime)) | {"Idempotency-Key": "person-1"}
        answers.append(await provider.http.post("/v1/patients", json={}, headers=headers))
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotency-replayed"] == "true"


async def test_everybody_of_one_clinic(start: Start, clinic: Clinic, other_clinic: Clinic) -> None:
    """Where the operator says so, no claim says otherwise."""
    provider = await start(oidc_clinic_id=clinic.clinic_id, oidc_clinic_claim=None)
    await provider.fetch()
    token = token_of(provider, other_clinic, roles="tidemark-admin")
    assert (await provider.get(token, "/v1/clinic")).json()["name"] == clinic.name


# --- Who does not -----------------------------------------------------------------------------------------------------


async def test_strangers_are_told_so_in_the_same_words(provider: Provider, clinic: Clinic) -> None:
    """403 for a login without a role or a clinic, and for a clinic that is none: nobody learns which there are."""
    answers = [
        await provider.get(token_of(provider, clinic, **changes))
        for changes in ({"roles": ["nurse"]}, {"clinic": None}, {"clinic": "ours"}, {"clinic": str(uuid4())})
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.content for answer in answers}) == 1


async def test_another_clinics_people_see_nothing_of_this_one(
    provider: Provider, clinic: Clinic, other_clinic: Clinic, api: Api
) -> None:
    """The claim is the issuer's word, and row-level security holds it to that clinic."""
    patient = await api.add_patient()
    assert (await provider.get(token_of(provider, clinic), f"/v1/patients/{patient}")).status_code == 200
    assert (await provider.get(token_of(provider, other_clinic), f"/v1/patients/{patient}")).status_code == 404


async def test_forgeries_answer_as_any_wrong_token(provider: Provider, clinic: Clinic, database: Database) -> None:
    """401 byte for byte as for an opaque token that was revoked."""
    revoked, text = await clinics.record_token(database, clinic.clinic_id, Role.ADMIN)
    await clinics.revoke_token(database, clinic.clinic_id, revoked.id)
    evil = SigningKey("evil")
    head = {"alg": "none", "typ": "at+jwt", "kid": FIRST.kid}
    claims = claims_of(clinic.clinic_id, iss=provider.issuer.name)
    tokens = [
        text,
        f"{written(head)}.{written(claims)}.",
        evil.sign(claims),
        SigningKey(FIRST.kid, private=evil.private).sign(claims, jku="https://enemy.example", jwk=evil.public),
        FIRST.sign(claims, crit=["x"], x=1),
        token_of(provider, clinic, exp=int(time.time()) - 60),
        token_of(provider, clinic, aud="https://other.example"),
        token_of(provider, clinic, iss="https://enemy.example"),
        token_of(provider, clinic)[:-2],
        token_of(provider, clinic, padding="x" * 9_000),
    ]
    answers = [await provider.get(token) for token in tokens]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert (await provider.get(token_of(provider, clinic))).status_code == 200


async def test_without_an_issuer_its_tokens_are_nothing(anonymous: httpx2.AsyncClient, clinic: Clinic) -> None:
    """401, as before."""
    answer = await anonymous.get("/v1/instruments", headers=by(FIRST.sign(claims_of(clinic.clinic_id))))
    assert answer.status_code == 401


# --- Keys -------------------------------------------------------------------------------------------------------------


async def test_keys_are_rotated_without_a_restart(provider: Provider, clinic: Clinic) -> None:
    """A new key works soon after it was first shown; one that is no longer published stops to."""
    old, new = token_of(provider, clinic), token_of(provider, clinic, SECOND)
    provider.keys = [FIRST, SECOND]
    assert (await provider.get(new)).status_code == 401
    await provider.fetch()
    assert (await provider.get(new)).status_code == 401, "no two fetches within half a minute"
    await provider.fetch(later=timedelta(seconds=31))
    assert [(await provider.get(token)).status_code for token in (old, new)] == [200, 200]
    provider.keys = [SECOND]
    await provider.fetch(later=timedelta(seconds=31))
    assert (await provider.get(old)).status_code == 200, "nobody asked"
    await provider.fetch(later=timedelta(seconds=601))
    assert [(await provider.get(token)).status_code for token in (old, new)] == [401, 200]


async def test_made_up_key_ids_make_us_no_nuisance(provider: Provider, clinic: Clinic) -> None:
    """However many are shown, the issuer is asked once in half a minute."""
    before = len(provider.receiver.received)
    for number in range(20):
        made_up = SigningKey(f"x{number}", private=FIRST.private)
        assert (await provider.get(token_of(provider, clinic, made_up))).status_code == 401
        await provider.client.take_turn(provider.database)
    assert len(provider.receiver.received) == before
    assert {one.path for one in provider.receiver.received} == {"/keys"}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500),
        Answer(302, {"Location": "/elsewhere"}),
        Answer(200, {}, b"<html>"),
        Answer(200, {}, b'{"keys": []}'),
        Answer(200, {}, b" " * 300_000),
    ],
    ids=["500", "redirect", "no JSON", "no keys", "too large"],
)
async def test_a_fetch_that_fails_keeps_the_keys(
    provider: Provider, clinic: Clinic, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """Everybody stays in, the operator reads of it, and it is tried again soon."""
    provider.receiver.answer = lambda _: answer
    await provider.fetch(later=timedelta(seconds=601))
    assert (await provider.get(token_of(provider, clinic))).status_code == 200
    assert "issuer_keys_not_fetched" in caplog.text
    provider.keys, provider.receiver.answer = [SECOND], provider.publish
    await provider.fetch(later=timedelta(seconds=31))
    assert (await provider.get(token_of(provider, clinic, SECOND))).status_code == 200
    assert {one.path for one in provider.receiver.received} == {"/keys"}


async def test_an_issuer_that_is_not_the_one_is_not_believed(start: Start, clinic: Clinic) -> None:
    """A certificate of nobody we trust: no key comes from there."""
    provider = await start(oidc_ca_file=None)
    await provider.fetch()
    assert (await provider.get(token_of(provider, clinic))).status_code == 401
    assert provider.receiver.received == []


async def test_of_many_workers_one_fetches(start: Start) -> None:
    """Whoever comes first."""
    provider = await start()
    claims = [await issuer_keys.claim_fetch(provider.database, provider.issuer.name) for _ in range(3)]
    assert [claim is not None for claim in claims] == [True, False, False]
    assert claims[0] is not None
    assert abs(claims[0] - datetime.now(UTC)) < timedelta(minutes=1)


async def test_whoever_writes_the_table_of_keys_vouches_for_nobody(
    provider: Provider, start: Start, clinic: Clinic, database: Database
) -> None:
    """A key put in with the service's own login, plain, or sealed for another issuer, proves no token."""
    other = await start()
    other.keys = [SECOND]
    await other.fetch()
    forged = token_of(provider, clinic, SECOND)
    put = "UPDATE issuer_key_set SET keys = $2 WHERE issuer = $1"
    async with database.connection(NOBODY) as connection:
        sealed = "SELECT keys FROM issuer_key_set WHERE issuer = $1"
        genuine, others = [await connection.fetchval(sealed, one.issuer.name) for one in (provider, other)]
    for keys in (json.dumps([SECOND.public]), others):
        async with database.connection(NOBODY) as connection:
            await connection.execute(put, provider.issuer.name, keys)
        provider.forget()
        assert (await provider.get(forged)).status_code == 401
        assert (await provider.get(token_of(provider, clinic))).status_code == 401
    async with database.connection(NOBODY) as connection:
        await connection.execute(put, provider.issuer.name, genuine)
    provider.forget()
    assert (await provider.get(token_of(provider, clinic))).status_code == 200


async def test_the_table_of_keys_is_of_no_clinic(provider: Provider, clinic: Clinic, database: Database) -> None:
    """A clinic's transaction neither sees nor makes one."""
    async with database.connection(clinic.clinic_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM issuer_key_set") == 0
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.InsufficientPrivilegeError)):
        async with database.connection(clinic.clinic_id) as connection:
            await connection.execute(
                "INSERT INTO issuer_key_set (clinic_id, issuer, keys, tried_at) VALUES ($1, $2, '[]', now())",
                clinic.clinic_id,
                provider.issuer.name,
            )
