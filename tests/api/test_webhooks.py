"""Webhooks over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, rotation, deliveries."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlmodel import select

from app.auth import Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.main import create_app
from app.schemas.webhooks import EventKind
from app.services import sealing
from app.services.notification_kinds import NotificationKind
from app.services.outbox import NewNotification, notify
from app.services.webhooks import MAX_WEBHOOKS
from app.settings import Settings
from app.tables import Clinic, Webhook
from tests.api.treatment import assert_closed_to, assert_foreign_is_absent, assert_refused, events
from tests.conftest import Api, client

pytestmark = pytest.mark.anyio

PATH = "/v1/webhooks"
HOOK: dict[str, Any] = {"url": "https://93.184.215.14/hook?a=b", "events": ["alert.opened"], "label": "pager"}
READS: list[tuple[str, str, Any]] = [("GET", f"{PATH}/ID", None), ("GET", f"{PATH}/ID/deliveries", None)]
WRITES: list[tuple[str, str, Any]] = [
    ("POST", f"{PATH}/ID/secret-rotation", None),
    ("POST", f"{PATH}/ID/disablement", None),
    ("POST", f"{PATH}/ID/enablement", None),
    ("POST", f"{PATH}/ID/deliveries/{uuid4()}/retry", None),
]


async def add(api: Api, **changes: Any) -> dict[str, Any]:
    answer = await api.http.post(PATH, json=HOOK | changes)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    return made


async def post(api: Api, path: str, key: str | None = None) -> httpx2.Response:
    return await api.http.post(path, headers={} if key is None else {"Idempotency-Key": key})


async def tell(database: Database, api: Api, patient: str, *kinds: NotificationKind) -> None:
    """One after the other, oldest first."""
    for kind in kinds:
        async with database.connection(api.clinic_id) as connection:
            one = NewNotification(str(uuid4()), kind, UUID(patient), uuid4(), datetime.now(UTC))
            await notify(connection, api.clinic_id, [one])


async def set_delivery(database: Database, api: Api, **columns: Any) -> None:
    changes = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 2))
    async with database.connection(api.clinic_id) as connection:
        await connection.execute(
            f"UPDATE delivery SET {changes} WHERE clinic_id = $1", api.clinic_id, *columns.values()
        )


async def deliveries(api: Api, webhook: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    answer = await api.http.get(f"{PATH}/{webhook['id']}/deliveries{query}")
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_nobody_but_the_administrator(
    anonymous: httpx2.AsyncClient, api: Api, service: Api, researcher: Api, admin: Api
) -> None:
    """401 without a token; 403 for every other role, for reading too: an address may hold a secret."""
    made = await add(admin)
    calls = [("POST", PATH, HOOK), ("GET", PATH, None), *READS, *WRITES]
    calls = [(method, path.replace("ID", made["id"]), body) for method, path, body in calls]
    await assert_closed_to(anonymous, 401, calls)
    for one in (api, service, researcher):
        await assert_closed_to(one, 403, calls)


async def test_another_clinics_are_absent(admin: Api, other_admin: Api) -> None:
    """Byte for byte, and in lists."""
    foreign = await add(other_admin)
    await assert_foreign_is_absent(admin, foreign["id"], [*READS, *WRITES])
    assert (await admin.http.get(PATH)).json()["data"] == []


# --- Addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://93.184.215.14/", "not_https"),
        ("https://user:word@93.184.215.14/", "has_credentials"),
        ("https://93.184.215.14/#x", "has_fragment"),
        ("hooks.example.org", "not_https"),
        ("https://93.184.215.14\\@10.0.0.1/", "not_a_url"),
        ("https://127.1/", "not_a_host"),
        ("https://2130706433/", "not_a_host"),
        ("https://0x7f.0.0.1/", "not_a_host"),
        ("https://0177.0.0.1/", "not_a_host"),
        ("https://[::1]/", "not_public"),
        ("https://[::]/", "not_public"),
        ("https://[::ffff:127.0.0.1]/", "not_public"),
        ("https://[::ffff:a00:1]/", "not_public"),
        ("https://[2002:7f00:1::]/", "not_public"),
        ("https://[64:ff9b::a9fe:a9fe]/", "not_public"),
        ("https://[fe80::1]/", "not_public"),
        ("https://[fd00:ec2::254]/", "not_public"),
        ("https://127.0.0.1/", "not_public"),
        ("https://127.0.0.1:8443/", "not_public"),
        ("https://10.0.0.1/", "not_public"),
        ("https://172.16.0.1/", "not_public"),
        ("https://192.168.0.1/", "not_public"),
        ("https://169.254.169.254/latest/meta-data/", "not_public"),
        ("https://100.64.0.1/", "not_public"),
        ("https://224.0.0.1/", "not_public"),
        ("https://0.0.0.0/", "not_public"),
        ("https://255.255.255.255/", "not_public"),
        ("https://localhost/", "not_public"),
        ("https://LOCALHOST:5432/", "not_public"),
        ("https://hooks.invalid/", "name_not_found"),
    ],
)
async def test_an_address_that_leads_inside_is_refused(admin: Api, database: Database, url: str, code: str) -> None:
    """By its number in any notation, or by a name that stands for it; nothing is stored, nothing is repeated."""
    answer = await admin.http.post(PATH, json=HOOK | {"url": url})
    assert_refused(answer, "/url", code)
    assert url not in answer.text
    assert (await admin.http.get(PATH)).json()["data"] == []
    assert await events(database, admin) == []


async def test_a_refusal_leaves_the_key_free(admin: Api) -> None:
    """Whoever corrects the address may use the key again."""
    key = {"Idempotency-Key": "once"}
    refused = await admin.http.post(PATH, json=HOOK | {"url": "https://localhost/"}, headers=key)
    assert refused.status_code == 422
    assert (await admin.http.post(PATH, json=HOOK, headers=key)).status_code == 201


@pytest.fixture
async def opened(database: Database, address: PostgresAddress, clinic: Clinic) -> AsyncIterator[Api]:
    """The same service where its operator lets webhooks reach one host inside."""
    app = create_app(Settings(webhook_internal_hosts="localhost:8443"), address.runtime_url)
    async with app.router.lifespan_context(app):
        api = await client(app, database, clinic, Role.ADMIN)
        async with api.http:
            yield api


async def test_the_operator_opens_single_hosts(opened: Api) -> None:
    """The named host and port, and no other."""
    await add(opened, url="https://localhost:8443/hook")
    for url in ("https://localhost/hook", "https://127.0.0.1:8443/hook"):
        assert_refused(await opened.http.post(PATH, json=HOOK | {"url": url}), "/url", "not_public")
    plain = await opened.http.post(PATH, json=HOOK | {"url": "http://localhost:8443/hook"})
    assert_refused(plain, "/url", "not_https")


# --- Content ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"url": None}, "/url", "string_type"),
        ({"url": "https://93.184.215.14/" + "a" * 2_000}, "/url", "string_too_long"),
        ({"events": "alert.opened"}, "/events", "list_type"),
        ({"events": ["alert.closed"]}, "/events/0", "literal_error"),
        ({"events": ["alert.opened"] * 21}, "/events", "too_long"),
        ({"label": "a" * 201}, "/label", "string_too_long"),
        ({"secret": "whsec_mine"}, "", "unknown_field"),
    ],
)
async def test_invalid_content_is_refused(admin: Api, change: dict[str, Any], pointer: str, code: str) -> None:
    """By place and rule, and nothing is stored."""
    assert_refused(await admin.http.post(PATH, json=HOOK | change), pointer, code)
    assert (await admin.http.get(PATH)).json()["data"] == []


async def test_every_kind_can_be_asked_for(admin: Api) -> None:
    """Those of the catalogue, each once; none named is all."""
    kinds = list(get_args(EventKind))
    assert set(kinds) == set(NotificationKind)
    assert (await add(admin, events=[*kinds, *kinds]))["events"] == sorted(kinds)
    made = await admin.http.post(PATH, json={"url": HOOK["url"]})
    assert (made.json()["events"], made.json()["label"]) == ([], "")


async def test_the_secret_is_shown_once(admin: Api) -> None:
    """To whoever makes it; reading gives everything else."""
    made = await add(admin)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made | HOOK == made
    assert (made["disabled_at"], made["previous_secret_until"]) == (None, None)
    read = await admin.http.get(f"{PATH}/{made['id']}")
    assert read.json() == made
    listed = await admin.http.get(PATH)
    assert listed.json() == {"data": [made], "next_cursor": None}
    assert secret not in read.text + listed.text


async def test_a_repeat_is_stored_once(admin: Api) -> None:
    """And shows no secret: a key that lies in a log would show it for as long as the webhook is there."""
    key = {"Idempotency-Key": "once"}
    twins = await asyncio.gather(*(admin.http.post(PATH, json=HOOK, headers=key) for _ in range(6)))
    made = [answer for answer in twins if answer.status_code == 201]
    assert {answer.status_code for answer in twins} <= {201, 503}
    (first,) = [answer for answer in made if "idempotency-replayed" not in answer.headers]
    late = await admin.http.post(PATH, json=HOOK, headers=key)
    assert late.headers["idempotency-replayed"] == "true"
    for answer in [*made, late]:
        assert answer.json() == first.json() | ({} if answer is first else {"secret": None})
    clash = await admin.http.post(PATH, json=HOOK | {"label": "other"}, headers=key)
    assert (clash.status_code, clash.json()["type"]) == (422, "/problems/key-reused")
    assert [row["id"] for row in (await admin.http.get(PATH)).json()["data"]] == [first.json()["id"]]


async def test_a_clinic_has_a_limited_number(admin: Api) -> None:
    """Each multiplies what is sent."""
    for _ in range(MAX_WEBHOOKS):
        await add(admin)
    assert (await admin.http.post(PATH, json=HOOK)).status_code == 409


async def test_list_is_paged(admin: Api) -> None:
    """Newest first."""
    made = [(await add(admin))["id"] for _ in range(3)]
    first = await admin.http.get(f"{PATH}?limit=2")
    second = await admin.http.get(first.links["next"]["url"])
    assert [row["id"] for page in (first, second) for row in page.json()["data"]] == made[::-1]


# --- Changes ----------------------------------------------------------------------------------------------------------


async def test_rotation_lets_the_old_secret_sign_for_a_day(admin: Api, database: Database) -> None:
    """A new one is shown; the one before stays beside it for 24 hours; a repeat rotates and shows nothing."""
    made = await add(admin)
    path = f"{PATH}/{made['id']}/secret-rotation"
    rotated = await post(admin, path, "turn")
    again = await post(admin, path, "turn")
    assert (rotated.status_code, again.status_code) == (200, 200)
    assert again.json() == rotated.json() | {"secret": None}
    assert again.headers["idempotency-replayed"] == "true"
    assert rotated.json()["secret"] != made["secret"]
    left = datetime.fromisoformat(rotated.json()["previous_secret_until"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
    async with database.session(admin.clinic_id) as session:
        (row,) = await sealing.opened(session, (await session.exec(select(Webhook))).all())
    assert (row.secret, row.previous_secret) == (rotated.json()["secret"], made["secret"])


async def test_rotations_at_once_follow_each_other(admin: Api) -> None:
    """Each has its own new secret; none gets lost between read and write."""
    made = await add(admin)
    answers = await asyncio.gather(*(post(admin, f"{PATH}/{made['id']}/secret-rotation") for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    shown = [answer.json()["secret"] for answer in answers if answer.status_code == 200]
    assert len(set(shown)) == len(shown) > 0


async def test_disabled_and_enabled_again(admin: Api, database: Database) -> None:
    """Each once; what happens in between is kept for nobody."""
    made, patient = await add(admin), await admin.add_patient()
    path = f"{PATH}/{made['id']}"
    assert (await post(admin, f"{path}/enablement")).status_code == 409
    disabled = await post(admin, f"{path}/disablement", "off")
    assert disabled.json()["disabled_at"] is not None
    assert (await post(admin, f"{path}/disablement", "off")).content == disabled.content
    assert (await post(admin, f"{path}/disablement")).status_code == 409
    await tell(database, admin, patient, NotificationKind.ALERT_OPENED)
    enabled = await post(admin, f"{path}/enablement", "on")
    assert (enabled.status_code, enabled.json()["disabled_at"]) == (200, None)
    assert (await post(admin, f"{path}/enablement", "on")).headers["idempotency-replayed"] == "true"
    await tell(database, admin, patient, NotificationKind.ALERT_OPENED)
    assert len(await deliveries(admin, made)) == 1


async def test_each_write_leaves_one_row_in_the_trail(admin: Api, database: Database) -> None:
    """A refusal leaves none."""
    made = await add(admin)
    for act in ("secret-rotation", "disablement", "disablement", "enablement"):
        await post(admin, f"{PATH}/{made['id']}/{act}")
    assert [(action, resource) for action, _, resource in await events(database, admin)] == [
        (f"webhook.{act}", made["id"]) for act in ("create", "rotate", "disable", "enable")
    ]


# --- Deliveries -------------------------------------------------------------------------------------------------------


async def test_deliveries_are_listed_latest_first(admin: Api, other_admin: Api, database: Database) -> None:
    """With everything known of each, in pages, by status; another webhook's are not among them."""
    made, patient = await add(admin, events=[]), await admin.add_patient()
    other = await add(admin)
    await add(other_admin, events=[])
    kinds = (NotificationKind.CHECK_IN_DUE, NotificationKind.CHECK_IN_MISSED, NotificationKind.ALERT_OPENED)
    await tell(database, admin, patient, *kinds)
    rows = await deliveries(admin, made)
    assert [row["kind"] for row in rows] == list(kinds)[::-1]
    assert [row["kind"] for row in await deliveries(admin, other)] == ["alert.opened"]
    first = rows[0]
    assert (first["status"], first["attempts"], first["patient_id"]) == ("pending", 0, patient)
    assert (first["last_status"], first["last_error"], first["delivered_at"]) == (None, None, None)
    assert first["next_attempt_at"] is not None

    page = await admin.http.get(f"{PATH}/{made['id']}/deliveries?limit=2")
    rest = await admin.http.get(page.links["next"]["url"])
    assert [*page.json()["data"], *rest.json()["data"]] == rows

    await set_delivery(database, admin, status="dead", attempts=10, last_status=500, last_error="http_status")
    (dead, *_) = await deliveries(admin, made, "?status=dead")
    assert (dead["attempts"], dead["last_status"], dead["last_error"]) == (10, 500, "http_status")
    assert dead["next_attempt_at"] is None
    assert await deliveries(admin, made, "?status=pending") == []
    assert (await admin.http.get(f"{PATH}/{made['id']}/deliveries?status=lost")).status_code == 422


async def test_a_dead_delivery_begins_anew(admin: Api, database: Database) -> None:
    """With all its attempts, due now; a repeat changes nothing more; one that is not dead is a conflict."""
    made, patient = await add(admin), await admin.add_patient()
    await tell(database, admin, patient, NotificationKind.ALERT_OPENED)
    (row,) = await deliveries(admin, made)
    path = f"{PATH}/{made['id']}/deliveries/{row['notification_id']}/retry"
    assert (await post(admin, path)).status_code == 409
    later = datetime.now(UTC) + timedelta(days=1)
    await set_delivery(database, admin, status="dead", attempts=10, next_attempt_at=later)
    again = await post(admin, path, "again")
    assert (again.status_code, again.json()["status"], again.json()["attempts"]) == (200, "pending", 0)
    assert datetime.fromisoformat(again.json()["next_attempt_at"]) <= datetime.now(UTC)
    repeat = await post(admin, path, "again")
    assert (repeat.content, repeat.headers["idempotency-replayed"]) == (again.content, "true")
    assert await deliveries(admin, made) == [again.json()]
    await set_delivery(database, admin, status="delivered")
    assert (await post(admin, path)).status_code == 409
    assert (await post(admin, path.replace(row["notification_id"], str(uuid4())))).status_code == 404
