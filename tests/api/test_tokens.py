"""Tokens over HTTP: made, listed and revoked by the administrator, and never more than their maker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI

from app import deps
from app.auth import Permission, Role, powers
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.main import create_app
from app.services import clinics, token_uses
from app.settings import Settings
from app.tables import Clinic
from tests.api.treatment import assert_closed_to, assert_foreign_is_absent, assert_refused, events
from tests.conftest import Api

pytestmark = pytest.mark.anyio

TOKENS = "/v1/tokens"
IMPORT: dict[str, Any] = {"label": "nightly import", "role": "service", "scopes": ["patients:read"]}


async def make(api: Api, **changes: Any) -> dict[str, Any]:
    answer = await api.http.post(TOKENS, json=IMPORT | changes)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def by(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_only_an_administrator_may(
    anonymous: httpx2.AsyncClient, api: Api, service: Api, researcher: Api
) -> None:
    """401 without a token, 403 for everybody else."""
    id_ = uuid4()
    calls: list[tuple[str, str, Any]] = [
        ("POST", TOKENS, IMPORT),
        ("GET", TOKENS, None),
        ("GET", f"{TOKENS}/{id_}", None),
        ("POST", f"{TOKENS}/{id_}/revocation", None),
    ]
    await assert_closed_to(anonymous, 401, calls)
    for caller in (api, service, researcher):
        await assert_closed_to(caller, 403, calls)


async def test_foreign_tokens_and_patients_are_absent(admin: Api, other_admin: Api, other_api: Api) -> None:
    """Another clinic's id answers byte for byte as one that never was, and its token lives on."""
    foreign = await make(other_admin)
    await assert_foreign_is_absent(
        admin, foreign["id"], [("GET", f"{TOKENS}/ID", None), ("POST", f"{TOKENS}/ID/revocation", None)]
    )
    body = {"label": "hers", "role": "patient", "patient_id": "ID"}
    await assert_foreign_is_absent(admin, await other_api.add_patient(), [("POST", TOKENS, body)])
    assert (await other_admin.http.get(f"{TOKENS}/{foreign['id']}")).json()["state"] == "active"


async def test_unsound_tokens_are_refused(admin: Api, patient_id: str) -> None:
    """What no token can be is said at its place, and nothing is made."""
    before = [one["id"] for one in (await admin.http.get(TOKENS)).json()["data"]]
    for changes, pointer, code in (
        ({"role": "link"}, "/role", "literal_error"),
        ({"role": "king"}, "/role", "literal_error"),
        ({"label": "  "}, "/label", "string_too_short"),
        ({"expires_in_days": 0}, "/expires_in_days", "greater_than_equal"),
        ({"expires_in_days": 367}, "/expires_in_days", "less_than_equal"),
        ({"scopes": []}, "/scopes", "too_short"),
        ({"scopes": ["everything"]}, "/scopes/0", "not_a_scope"),
        ({"scopes": [["patients:read"]]}, "/scopes/0", "not_a_scope"),
        ({"scopes": ["patients:read", "webhooks:write"]}, "/scopes/1", "not_of_role"),
        ({"role": "patient", "scopes": None}, "/patient_id", "patient_mismatch"),
        ({"patient_id": patient_id}, "/patient_id", "patient_mismatch"),
        ({"secret_hash": "00"}, "", "unknown_field"),
    ):
        assert_refused(await admin.http.post(TOKENS, json=IMPORT | changes), pointer, code)
    assert [one["id"] for one in (await admin.http.get(TOKENS)).json()["data"]] == before


# --- What is made -----------------------------------------------------------------------------------------------------


async def test_a_token_is_told_once(admin: Api, database: Database) -> None:
    """Its secret is in the first answer alone; what is stored, listed and replayed has none."""
    key = {"Idempotency-Key": "one-token"}
    first = await admin.http.post(TOKENS, json=IMPORT, headers=key)
    made = first.json()
    assert first.headers["location"] == f"{TOKENS}/{made['id']}"
    assert first.headers["cache-control"] == "no-store"
    lives = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert abs(lives - timedelta(days=90)) < timedelta(seconds=5)
    again = await admin.http.post(TOKENS, json=IMPORT, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.json() == made | {"token": None}
    clash = await admin.http.post(TOKENS, json=IMPORT | {"label": "other"}, headers=key)
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    listed = (await admin.http.get(TOKENS)).json()["data"]
    assert listed[0] == {name: value for name, value in made.items() if name != "token"}
    async with database.connection(admin.clinic_id) as connection:
        rows = await connection.fetch("SELECT to_jsonb(t)::text AS row FROM api_token t")
    assert made["token"][48:] not in "".join(row["row"] for row in rows)
    assert await events(database, admin) == [("token.create", None, made["id"])]


async def test_tokens_are_listed_in_pages(admin: Api) -> None:
    """Newest first, each once."""
    made = [(await make(admin))["id"] for _ in range(3)]
    first = (await admin.http.get(TOKENS, params={"limit": 2})).json()
    rest = (await admin.http.get(TOKENS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [one["id"] for one in first["data"] + rest["data"]][:3] == made[::-1]


async def test_a_patients_token_names_the_patient(
    admin: Api, anonymous: httpx2.AsyncClient, patient_id: str, database: Database
) -> None:
    """It sees that one's own, and the trail has it as done about the patient."""
    other = await admin.add_patient()
    made = await make(admin, role="patient", patient_id=patient_id, scopes=None)
    read = [
        await anonymous.get(f"/v1/patients/{id_}/accesses", headers=by(made["token"])) for id_ in (patient_id, other)
    ]
    assert [answer.status_code for answer in read] == [200, 404]
    assert ("token.create", patient_id, made["id"]) in await events(database, admin)


# --- Scopes -----------------------------------------------------------------------------------------------------------


async def test_a_scope_takes_away_and_gives_nothing(admin: Api, anonymous: httpx2.AsyncClient) -> None:
    """What the role may and the scopes leave out is 403, and says which is missing."""
    header = by((await make(admin))["token"])
    assert (await anonymous.get("/v1/patients", headers=header)).status_code == 200
    for method, path, missing in (("POST", "/v1/patients", "patients:write"), ("GET", "/v1/caseload", "caseload:read")):
        refused = await anonymous.request(method, path, headers=header, json={} if method == "POST" else None)
        assert refused.status_code == 403
        assert refused.json()["detail"] == f"This token lacks the scope {missing}."
    refused = await anonymous.get(TOKENS, headers=header)
    assert refused.json()["detail"] == "The role service may not do this."


async def test_no_token_gives_more_than_its_maker_has(admin: Api, anonymous: httpx2.AsyncClient) -> None:
    """An administrator's token that may only make tokens makes none that reads patients, of whatever role."""
    maker = by((await make(admin, role="admin", scopes=["tokens:write", "webhooks:read"]))["token"])
    for role, scopes in (("admin", None), ("admin", ["patients:read"]), ("clinician", None), ("service", ["due:read"])):
        body = IMPORT | {"role": role, "scopes": scopes}
        refused = await anonymous.post(TOKENS, json=body, headers=maker)
        assert refused.status_code == 403, (role, scopes)
    for scopes in (["webhooks:read"], ["tokens:write", "webhooks:read"]):
        made = await anonymous.post(TOKENS, json=IMPORT | {"role": "admin", "scopes": scopes}, headers=maker)
        assert made.status_code == 201, made.text


async def test_an_administrator_makes_tokens_of_every_role(admin: Api, patient_id: str) -> None:
    """Whose own is not narrowed: somebody has to, also for what they may not do themselves."""
    for role in ("admin", "clinician", "service", "researcher", "patient"):
        await make(admin, role=role, scopes=None, patient_id=patient_id if role == "patient" else None)


def test_scopes_never_widen_a_role() -> None:
    """What the role may not, no scope gives."""
    assert powers(Role.ADMIN, {Permission.READ_PATIENTS, Permission.ANSWER_BY_LINK}) == {Permission.READ_PATIENTS}


# --- Revoked, and used ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def processes(
    address: PostgresAddress, settings: Settings, token: str
) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Two applications on one database, as two workers are, with a client of each."""
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(2):
            app = create_app(settings, address.runtime_url)
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx2.ASGITransport(app)
            http = httpx2.AsyncClient(transport=transport, base_url="http://test", headers=by(token))
            clients.append(await stack.enter_async_context(http))
        yield clients


async def test_a_revoked_token_is_dead_within_a_second_everywhere(
    address: PostgresAddress, settings: Settings, admin: Api, database: Database
) -> None:
    """In the worker that revoked it and in one that has just let it in; revoking twice is no error."""
    made = await make(admin)
    async with processes(address, settings, made["token"]) as workers:
        assert [(await http.get("/v1/patients")).status_code for http in workers] == [200, 200]
        path, key = f"{TOKENS}/{made['id']}/revocation", {"Idempotency-Key": "end"}
        revoked = await admin.http.post(path, headers=key)
        assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
        await asyncio.sleep(deps.TOKEN_CACHE_SECONDS)
        answers = [await http.get("/v1/patients") for http in workers]
    assert [answer.status_code for answer in answers] == [401, 401]
    again = await admin.http.post(path, headers=key)
    assert (again.json(), again.headers["idempotency-replayed"]) == (revoked.json(), "true")
    assert (await admin.http.post(path)).json() == revoked.json()
    assert [action for action, _, _ in await events(database, admin)] == ["token.create", "token.revoke"]


async def test_use_is_noted_beside_the_request(app: FastAPI, admin: Api, anonymous: httpx2.AsyncClient) -> None:
    """Once a minute of each process, and read back by the administrator."""
    made = await make(admin)
    assert made["last_used_at"] is None
    notes = app.state.tokens._uses._noted_at
    for _ in range(3):
        assert (await anonymous.get("/v1/patients", headers=by(made["token"]))).status_code == 200
    await app.state.tokens.close()
    used = (await admin.http.get(f"{TOKENS}/{made['id']}")).json()["last_used_at"]
    assert datetime.fromisoformat(used) >= datetime.fromisoformat(made["created_at"])
    assert sum(str(id_) == made["id"] for id_ in notes) == 1


async def test_noted_uses_are_forgotten_before_they_fill_the_memory(
    app: FastAPI, admin: Api, anonymous: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once: each is noted once more, and none is lost."""
    made = [await make(admin) for _ in range(4)]
    monkeypatch.setattr(token_uses, "MAX_NOTED", 3)
    for one in made:
        assert (await anonymous.get("/v1/patients", headers=by(one["token"]))).status_code == 200
    assert len(app.state.tokens._uses._noted_at) <= 3
    await app.state.tokens.close()
    states = [(await admin.http.get(f"{TOKENS}/{one['id']}")).json() for one in made]
    assert None not in [state["last_used_at"] for state in states]


async def test_a_failing_note_harms_nobody(
    app: FastAPI, admin: Api, anonymous: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request goes on, and the next minute tries again."""
    monkeypatch.setattr(token_uses, "_NOTE", "SELECT 1 / 0")
    made = await make(admin)
    assert (await anonymous.get("/v1/patients", headers=by(made["token"]))).status_code == 200
    await app.state.tokens.close()
    assert (await admin.http.get(f"{TOKENS}/{made['id']}")).json()["last_used_at"] is None


async def test_a_wrong_secret_of_a_known_token_is_no_use(
    app: FastAPI, admin: Api, anonymous: httpx2.AsyncClient, database: Database, clinic: Clinic
) -> None:
    """Nobody makes a token look used who cannot use it."""
    made = await make(admin)
    _, other = await clinics.record_token(database, clinic.clinic_id, Role.ADMIN)
    forged = f"{made['token'][:48]}{other[48:]}"
    assert (await anonymous.get("/v1/patients", headers=by(forged))).status_code == 401
    await app.state.tokens.close()
    assert (await admin.http.get(f"{TOKENS}/{made['id']}")).json()["last_used_at"] is None
