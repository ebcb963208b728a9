"""Check-in links over HTTP: made, listed and revoked by the clinic, and dead when they should be."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI

from app import deps
from app.auth import Role, TokenKind, new_token, parse_token
from app.db import Database
from app.ids import new_id
from app.services.clinic_rules import DEFAULTS
from app.services.clinics import record_token
from app.services.data_keys import get_token_key
from app.settings import Settings
from tests.api.check_ins import (
    AT_RISK,
    DUE,
    FORMS,
    Bearer,
    expect,
    filled,
    links_of,
    make_link,
    read_link,
    stored_forms,
)
from tests.api.treatment import assert_closed_to, assert_foreign_is_absent, assert_refused, events
from tests.conftest import Api

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_waiting_for_the_cache")]


async def make_expired_link(database: Database, api: Api, patient_id: str) -> dict[str, Any]:
    """One of last week: the runtime role may add it, and may move no expiry."""
    link_id = new_id()
    token, parts = new_token(api.clinic_id, link_id, TokenKind.LINK)
    async with database.connection(api.clinic_id) as connection:
        token_key = await get_token_key(connection, database.keys, api.clinic_id)
        await connection.execute(
            """INSERT INTO check_in_link (clinic_id, id, patient_id, secret_hash, created_at, created_by, expires_at,
                   tries_left)
               VALUES ($1, $2, $3, $4, now() - interval '7 days', $2, now() - interval '1 second', 20)""",
            api.clinic_id,
            link_id,
            UUID(patient_id),
            parts.hashed(token_key),
        )
    return {"id": str(link_id), "token": token}


# --- Who may make, see and revoke them --------------------------------------------------------------------------------


def staff_calls(patient_id: str, link_id: str) -> list[tuple[str, str, Any]]:
    return [
        ("POST", links_of(patient_id), {}),
        ("GET", links_of(patient_id), None),
        ("GET", f"/v1/check-in-links/{link_id}", None),
        ("POST", f"/v1/check-in-links/{link_id}/revocation", None),
    ]


async def test_strangers_and_researchers_are_refused(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that treats nobody."""
    calls = staff_calls(str(uuid4()), str(uuid4()))
    await assert_closed_to(anonymous, 401, [*calls, ("GET", DUE, None), ("POST", FORMS, filled(str(uuid4())))])
    await assert_closed_to(researcher, 403, calls)


async def test_no_login_answers_by_link(api: Api, admin: Api, service: Api) -> None:
    """What a link opens is for links alone: staff have their own ways, which say who they are."""
    for caller in (api, admin, service):
        await assert_closed_to(caller, 403, [("GET", DUE, None), ("POST", FORMS, filled(str(uuid4())))])


async def test_foreign_patients_and_links_are_absent(api: Api, other_api: Api) -> None:
    """Another clinic's id answers byte for byte as one that never was."""
    patient = await other_api.add_patient()
    link = await make_link(other_api, patient)
    calls = staff_calls("ID", "ID")
    await assert_foreign_is_absent(api, patient, calls[:2])
    await assert_foreign_is_absent(api, link["id"], calls[2:])
    assert (await read_link(other_api, link))["state"] == "active"


async def test_a_link_is_told_once(api: Api, database: Database, patient_id: str) -> None:
    """Its secret is in the first answer alone, behind the #; what is stored and listed has none."""
    answer = await api.http.post(links_of(patient_id), json={"expires_in_hours": 2, "tries": 3})
    made = answer.json()
    assert made["url"] == f"/check-in#{made['token']}"
    assert answer.headers["location"] == f"/v1/check-in-links/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"]) == timedelta(hours=2)
    read = await read_link(api, made)
    assert read == {name: value for name, value in made.items() if name not in {"token", "url"}}
    assert (read["state"], read["tries_left"], read["revoked_at"]) == ("active", 3, None)
    assert (await api.http.get(links_of(patient_id))).json() == {"data": [read], "next_cursor": None}
    async with database.connection(api.clinic_id) as connection:
        row = await connection.fetchrow("SELECT * FROM check_in_link")
    secret = parse_token(made["token"]).secret
    assert secret not in row["secret_hash"]
    assert len(secret) == 32
    assert (await events(database, api)) == [("check_in_link.create", patient_id, made["id"])]


async def test_defaults_and_bounds(api: Api, patient_id: str) -> None:
    """Three days and twenty tries unless said; never longer than thirty days, never more than fifty tries."""
    made = await make_link(api, patient_id)
    lives = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert (lives, made["tries_left"]) == (timedelta(hours=72), 20)
    for body, pointer, code in [
        ({"expires_in_hours": 0}, "/expires_in_hours", "greater_than_equal"),
        ({"expires_in_hours": 721}, "/expires_in_hours", "less_than_equal"),
        ({"expires_in_hours": "72"}, "/expires_in_hours", "int_type"),
        ({"tries": 0}, "/tries", "greater_than_equal"),
        ({"tries": 51}, "/tries", "less_than_equal"),
        ({"patient": 1}, "", "unknown_field"),
    ]:
        assert_refused(await api.http.post(links_of(patient_id), json=body), pointer, code)


async def test_the_same_key_makes_one_link(api: Api, patient_id: str) -> None:
    """Of parallel twins one is told the secret; the others are told the same link without it."""
    headers = {"Idempotency-Key": "one-link"}
    twins = await asyncio.gather(*(api.http.post(links_of(patient_id), json={}, headers=headers) for _ in range(8)))
    made = [answer.json() for answer in twins if answer.status_code == 201]
    assert {answer.status_code for answer in twins} <= {201, 503}, "a crowded pool may ask to come back"
    assert len({answer["id"] for answer in made}) == 1
    late = await api.http.post(links_of(patient_id), json={}, headers=headers)
    assert (late.status_code, late.headers["idempotency-replayed"]) == (201, "true")
    assert (late.json()["token"], late.json()["url"]) == (None, None)
    assert len([answer for answer in made if answer["token"]]) == 1
    clash = await api.http.post(links_of(patient_id), json={"tries": 2}, headers=headers)
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    assert len((await api.http.get(links_of(patient_id))).json()["data"]) == 1


async def test_links_are_paged_newest_first(api: Api, patient_id: str) -> None:
    """Nothing is skipped and nothing comes twice."""
    made = [(await make_link(api, patient_id))["id"] for _ in range(5)]
    seen: list[str] = []
    url = f"{links_of(patient_id)}?limit=2"
    while url:
        answer = await api.http.get(url)
        seen += [row["id"] for row in answer.json()["data"]]
        url = answer.links["next"]["url"] if answer.json()["next_cursor"] else ""
    assert seen == made[::-1]


# --- Dead links -------------------------------------------------------------------------------------------------------


async def test_dead_links_answer_alike_and_store_nothing(
    api: Api, database: Database, patient_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """Expired, revoked, used up, unknown, of a wrong secret: 401 with the same words, for reading and for sending."""
    expected = await expect(database, api.clinic_id, patient_id)
    expired = await make_expired_link(database, api, patient_id)
    revoked, used_up, wrong = [await make_link(api, patient_id, tries=1) for _ in range(3)]
    await api.http.post(f"/v1/check-in-links/{revoked['id']}/revocation")
    assert (await Bearer(anonymous, used_up).answer(str(uuid4()))).status_code == 404
    wrong = wrong | {"token": f"{wrong['token'][:48]}{expired['token'][48:]}"}
    unknown = {"token": new_token(api.clinic_id, uuid4(), TokenKind.LINK)[0]}
    answers = []
    for dead in (expired, revoked, used_up, wrong, unknown):
        answers += [await Bearer(anonymous, dead).due(), await Bearer(anonymous, dead).answer(expected)]
    assert [answer.status_code for answer in answers] == [401] * 10
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    for dead in (expired, revoked):
        elsewhere = await anonymous.get("/v1/patients", headers=Bearer(anonymous, dead).headers)
        assert elsewhere.status_code == 401
    assert await stored_forms(api, patient_id) == []
    states = {row["id"]: row["state"] for row in (await api.http.get(links_of(patient_id))).json()["data"]}
    named = {"expired": expired, "revoked": revoked, "used_up": used_up}
    assert {name: states[dead["id"]] for name, dead in named.items()} == {name: name for name in named}


async def test_a_wrong_secret_costs_a_try(
    api: Api, patient_id: str, anonymous: httpx2.AsyncClient, link: dict[str, Any]
) -> None:
    """So does each of many at once, and never more than there are."""
    made = await make_link(api, patient_id, tries=4)
    forged = Bearer(anonymous, {"token": f"{made['token'][:48]}{link['token'][48:]}"})
    assert (await forged.due()).status_code == 401
    assert (await read_link(api, made))["tries_left"] == 3
    assert {answer.status_code for answer in await asyncio.gather(*(forged.due() for _ in range(6)))} <= {401, 503}
    while (await read_link(api, made))["state"] == "active":
        await forged.due()
    assert (await read_link(api, made))["tries_left"] == 0
    assert (await Bearer(anonymous, made).due()).status_code == 401


async def test_tries_are_counted_exactly(
    api: Api, database: Database, patient_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """Of eight different forms sent at once through a link of three tries, three are stored."""
    made = await make_link(api, patient_id, tries=3)
    bearer = Bearer(anonymous, made)
    expected = [await expect(database, api.clinic_id, patient_id) for _ in range(8)]
    left = set(expected)
    while left:
        answers = dict(zip(left, await asyncio.gather(*(bearer.answer(each) for each in left)), strict=True))
        assert {answer.status_code for answer in answers.values()} <= {201, 401, 503}
        left = {each for each, answer in answers.items() if answer.status_code == 503}
    assert len(await stored_forms(api, patient_id)) == 3
    found = await read_link(api, made)
    assert (found["state"], found["tries_left"]) == ("used_up", 0)


async def test_the_last_answer_can_be_repeated(
    api: Api, database: Database, patient_id: str, anonymous: httpx2.AsyncClient
) -> None:
    """Who lost the answer to the last try, and perhaps the safety text in it, gets it again; nothing else goes."""
    bearer = Bearer(anonymous, await make_link(api, patient_id, tries=1))
    sent = filled(await expect(database, api.clinic_id, patient_id)) | {"responses": AT_RISK}
    first, again = await bearer.answer(**sent), await bearer.answer(**sent)
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again.json()["safety_text"] == DEFAULTS["safety_text"]
    assert (await bearer.due()).status_code == 401
    assert (await bearer.answer(await expect(database, api.clinic_id, patient_id))).status_code == 401


async def test_revocation(api: Api, database: Database, patient_id: str, link: dict[str, Any], bearer: Bearer) -> None:
    """It opens nothing from then on; revoking twice changes nothing; a key marks the repeat; the trail has it once."""
    assert (await bearer.due()).status_code == 200
    path = f"/v1/check-in-links/{link['id']}/revocation"
    first = await api.http.post(path, headers={"Idempotency-Key": "stop"})
    assert (first.status_code, first.json()["state"]) == (200, "revoked")
    assert first.json()["revoked_at"] is not None
    assert "idempotency-replayed" not in first.headers
    again = await api.http.post(path, headers={"Idempotency-Key": "stop"})
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert (await api.http.post(path)).content == first.content
    assert (await bearer.due()).status_code == 401
    made = [event for event in await events(database, api) if event[0] == "check_in_link.revoke"]
    assert made == [("check_in_link.revoke", patient_id, link["id"])]


async def test_a_revoked_link_stores_nothing_even_out_of_the_cache(
    api: Api, database: Database, patient_id: str, link: dict[str, Any], bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache of verified tokens may lag by a second; what a link shows and stores asks the link itself."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 3600.0)
    expected = await expect(database, api.clinic_id, patient_id)
    assert (await bearer.due()).status_code == 200
    await api.http.post(f"/v1/check-in-links/{link['id']}/revocation")
    assert (await bearer.due()).status_code == 401
    assert (await bearer.answer(expected)).status_code == 401
    assert await stored_forms(api, patient_id) == []


async def test_a_link_is_no_token_and_a_token_no_link(
    api: Api, database: Database, anonymous: httpx2.AsyncClient, link: dict[str, Any]
) -> None:
    """The prefix says where to look: the same ids and secret under the other one are nobody's."""
    _, token = await record_token(database, api.clinic_id, Role.CLINICIAN)
    for forged in (f"tmk_{link['token'][4:]}", f"tml_{token[4:]}"):
        answer = await anonymous.get("/v1/patients", headers={"Authorization": f"Bearer {forged}"})
        assert answer.status_code == 401
    assert (await read_link(api, link))["tries_left"] == 20


# --- The public address -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, None),
        ("https://checkin.clinic.example", "https://checkin.clinic.example"),
        ("https://clinic.example:8443/tidemark/", "https://clinic.example:8443/tidemark"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_public_url_begins_links(url: str | None, expected: str | None) -> None:
    """With or without a path, never with a slash at its end."""
    assert Settings(public_url=url).public_url == expected


@pytest.mark.parametrize(
    "url",
    [
        *("http://clinic.example", "http://localhost.example", "clinic.example", "ftp://localhost", "", "https://"),
        *("https://a:b@clinic.example", "https://clinic.example?x=1", "https://clinic.example/#x"),
    ],
)
def test_public_url_is_never_plain_http(url: str) -> None:
    """What would send answers over the open net, or is no address to begin with, stops the service at its start."""
    with pytest.raises(ValueError, match="https://host"):
        Settings(public_url=url)


@pytest.fixture
def public(app: FastAPI) -> Iterator[str]:
    settings, url = app.state.settings, "https://checkin.clinic.example"
    app.state.settings = settings.model_copy(update={"public_url": url})
    yield url
    app.state.settings = settings


async def test_links_are_absolute_where_the_address_is_known(api: Api, patient_id: str, public: str) -> None:
    """The clinic can pass it on as it stands."""
    made = await make_link(api, patient_id)
    assert made["url"] == f"{public}/check-in#{made['token']}"
