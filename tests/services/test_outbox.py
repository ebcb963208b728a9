"""The outbox: what is told once, to whom, and to nobody else."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.auth import Actor, Role
from app.db import Database
from app.ids import new_id
from app.services import outbox
from app.services.data_keys import get_clinic_key
from app.services.notification_kinds import DESCRIPTIONS, NotificationKind
from app.services.outbox import NewNotification, forget_old, notify
from app.services.reminders import MISSED_LOOK_BACK_DAYS
from app.services.sealing import place, seal_text
from app.tables import Clinic
from tests.api.check_ins import expect
from tests.conftest import Api

pytestmark = pytest.mark.anyio

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
ADD_WEBHOOK = """
INSERT INTO webhook (clinic_id, id, url, events, label, secret, created_at, created_by, disabled_at)
VALUES ($1, $2, 'https://hooks.example/', $3, '', $6, $4, $2, $5)
"""


async def sealed_secret(
    connection: asyncpg.Connection, database: Database, clinic_id: UUID, column: str, webhook_id: UUID, secret: str
) -> bytes:
    key = await get_clinic_key(connection, database.keys, clinic_id)
    return seal_text(key, secret, place("webhook", column, clinic_id, webhook_id))


async def add_webhook(database: Database, clinic_id: UUID, *events: str, disabled_at: datetime | None = None) -> UUID:
    async with database.connection(clinic_id) as connection:
        id_ = new_id()
        secret = await sealed_secret(connection, database, clinic_id, "secret", id_, "whsec_")
        await connection.execute(ADD_WEBHOOK, clinic_id, id_, list(events), AT, disabled_at, secret)
    return id_


def opened(patient_id: str, key: str, kind: NotificationKind = NotificationKind.ALERT_OPENED) -> NewNotification:
    return NewNotification(key, kind, UUID(patient_id), uuid4(), AT)


async def deliveries(database: Database, clinic_id: UUID) -> list[tuple[str, UUID]]:
    """Which key goes to which webhook."""
    async with database.connection(clinic_id) as connection:
        rows = await connection.fetch(
            "SELECT key, webhook_id, status, attempts FROM notification JOIN delivery "
            "ON delivery.clinic_id = notification.clinic_id AND notification_id = notification.id ORDER BY key"
        )
    assert {(row["status"], row["attempts"]) for row in rows} <= {("pending", 0)}
    return [(row["key"], row["webhook_id"]) for row in rows]


async def keys(database: Database, clinic_id: UUID) -> list[str]:
    async with database.connection(clinic_id) as connection:
        return [row["key"] for row in await connection.fetch("SELECT key FROM notification ORDER BY key")]


async def test_each_webhook_gets_the_kinds_it_asked_for(api: Api, database: Database, other_clinic: Clinic) -> None:
    """No kinds named: all. Disabled, or another clinic's: none."""
    patient = await api.add_patient()
    everything = await add_webhook(database, api.clinic_id)
    alerts = await add_webhook(database, api.clinic_id, "alert.opened", "alert.reopened")
    await add_webhook(database, api.clinic_id, disabled_at=AT)
    await add_webhook(database, other_clinic.clinic_id)
    async with database.connection(api.clinic_id) as connection:
        due = opened(patient, "due", NotificationKind.CHECK_IN_DUE)
        await notify(connection, api.clinic_id, [opened(patient, "alert"), due])
    assert set(await deliveries(database, api.clinic_id)) == {
        ("alert", everything),
        ("alert", alerts),
        ("due", everything),
    }
    assert await deliveries(database, other_clinic.clinic_id) == []


async def test_the_same_key_is_told_once(api: Api, database: Database) -> None:
    """Within one call, in the next one, and to a webhook added in between: it hears of what comes after it."""
    patient = await api.add_patient()
    first = await add_webhook(database, api.clinic_id)
    async with database.connection(api.clinic_id) as connection:
        await notify(connection, api.clinic_id, [opened(patient, "one"), opened(patient, "one")])
    second = await add_webhook(database, api.clinic_id)
    async with database.connection(api.clinic_id) as connection:
        await notify(connection, api.clinic_id, [opened(patient, "one"), opened(patient, "two")])
    assert set(await deliveries(database, api.clinic_id)) == {("one", first), ("two", first), ("two", second)}


async def test_without_a_webhook_it_is_still_kept(api: Api, database: Database) -> None:
    """There is a row that says so, on its way to nobody; nothing asked is nothing done."""
    patient = await api.add_patient()
    async with database.connection(api.clinic_id) as connection:
        await notify(connection, api.clinic_id, [])
        await notify(connection, api.clinic_id, [opened(patient, "one")])
    assert await keys(database, api.clinic_id) == ["one"]
    assert await deliveries(database, api.clinic_id) == []


async def test_nothing_is_told_of_what_was_rolled_back(api: Api, database: Database) -> None:
    """The transaction of the thing decides."""
    patient = await api.add_patient()
    await add_webhook(database, api.clinic_id)

    async def fail_after_telling() -> None:
        async with database.connection(api.clinic_id) as connection:
            await notify(connection, api.clinic_id, [opened(patient, "one")])
            raise LookupError

    with pytest.raises(LookupError):
        await fail_after_telling()
    assert await keys(database, api.clinic_id) == []
    assert await deliveries(database, api.clinic_id) == []


async def test_a_patients_own_transaction_can_tell(api: Api, database: Database) -> None:
    """A form sent by the patient raises the clinic's alert."""
    patient = await api.add_patient()
    webhook = await add_webhook(database, api.clinic_id)
    async with database.connection(Actor(api.clinic_id, uuid4(), Role.PATIENT, UUID(patient))) as connection:
        await notify(connection, api.clinic_id, [opened(patient, "one")])
    assert await deliveries(database, api.clinic_id) == [("one", webhook)]


# --- How long it is kept ----------------------------------------------------------------------------------------------

LONG_AGO = datetime.now(UTC) - timedelta(days=91)


async def tell(database: Database, api: Api, key: str, at: datetime, resource_id: UUID | None = None) -> None:
    one = NewNotification(key, NotificationKind.CHECK_IN_DUE, UUID(await api.add_patient()), resource_id or uuid4(), at)
    async with database.connection(api.clinic_id) as connection:
        await notify(connection, api.clinic_id, [one])


async def arrive(database: Database, api: Api, key: str, status: str = "delivered") -> None:
    async with database.connection(api.clinic_id) as connection:
        await connection.execute(
            "UPDATE delivery SET status = $3 FROM notification told "
            "WHERE delivery.clinic_id = $1 AND told.clinic_id = $1 AND told.id = notification_id AND told.key = $2",
            api.clinic_id,
            key,
            status,
        )


async def test_what_was_told_long_ago_is_forgotten(api: Api, database: Database, other_api: Api) -> None:
    """Delivered, given up, or told to nobody; not what is younger, not what still waits, not another clinic's."""
    await tell(database, api, "nobody", LONG_AGO)
    webhook = await add_webhook(database, api.clinic_id)
    for key in ("delivered", "dead", "waits"):
        await tell(database, api, key, LONG_AGO)
    await tell(database, api, "young", LONG_AGO + timedelta(days=2))
    await tell(database, other_api, "theirs", LONG_AGO)
    for key in ("delivered", "young"):
        await arrive(database, api, key)
    await arrive(database, api, "dead", "dead")
    trail = "SELECT count(*) FROM audit_event"
    async with database.connection(api.clinic_id) as connection:
        told = await connection.fetchval(trail)
    assert await forget_old(database, api.clinic_id, 90) == 3
    assert await forget_old(database, api.clinic_id, 90) == 0
    assert await keys(database, api.clinic_id) == ["waits", "young"]
    assert await keys(database, other_api.clinic_id) == ["theirs"]
    async with database.connection(api.clinic_id) as connection:
        left = await connection.fetch("SELECT webhook_id, status FROM delivery ORDER BY status")
        assert [tuple(row) for row in left] == [(webhook, "delivered"), (webhook, "pending")]
        assert await connection.fetchval(trail) == told


async def test_a_check_in_that_is_open_is_not_told_again(api: Api, database: Database) -> None:
    """Its key is kept as long as a reminder or a miss could be found for it."""
    patient = await api.add_patient()
    expected = UUID(await expect(database, api.clinic_id, patient, opens_in=-24 * 100, closes_in=24))
    await tell(database, api, "open", LONG_AGO, expected)
    assert await forget_old(database, api.clinic_id, 90) == 0
    async with database.connection(api.clinic_id) as connection:
        await connection.execute(
            "UPDATE expected_check_in SET closes_at = now() - interval '31 days' WHERE id = $1", expected
        )
    assert MISSED_LOOK_BACK_DAYS < 30
    assert await forget_old(database, api.clinic_id, 90) == 1


async def test_a_worker_forgets_a_few_hundred_at_a_time(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oldest first, and the round goes on until none is left."""
    monkeypatch.setattr(outbox, "FORGET_AT_ONCE", 2)
    for number in range(5):
        await tell(database, api, str(number), LONG_AGO - timedelta(days=number))
    assert await forget_old(database, api.clinic_id, 90) == 2
    assert await keys(database, api.clinic_id) == ["0", "1", "2"]
    assert [await forget_old(database, api.clinic_id, 90) for _ in range(3)] == [2, 1, 0]


async def test_what_somebody_holds_is_left_for_the_next_round(api: Api, database: Database) -> None:
    """As an erasure or a repeat by hand under way: nobody is waited for."""
    await add_webhook(database, api.clinic_id)
    for key in ("held", "free"):
        await tell(database, api, key, LONG_AGO)
        await arrive(database, api, key, "dead")
    async with database.connection(api.clinic_id) as connection:
        await connection.execute(
            "SELECT FROM delivery JOIN notification told ON told.id = notification_id "
            "WHERE key = 'held' FOR UPDATE OF delivery"
        )
        assert await forget_old(database, api.clinic_id, 90) == 1
    assert await keys(database, api.clinic_id) == ["held"]


async def test_the_service_itself_deletes_nothing_young(api: Api, database: Database) -> None:
    """Neither by the function nor by hand, and a patient's transaction nothing at all."""
    await tell(database, api, "one", LONG_AGO)
    patient = Actor(api.clinic_id, uuid4(), Role.PATIENT, UUID(await api.add_patient()))
    forget = "SELECT forget_notifications(now() - make_interval(days => $1), 10)"
    asked: tuple[tuple[Actor | UUID, str, int], ...] = (
        (api.clinic_id, forget, 29),
        (patient, forget, 90),
        (api.clinic_id, "DELETE FROM notification WHERE created_at < now() - make_interval(days => $1)", 90),
        (api.clinic_id, "DELETE FROM delivery WHERE delivered_at < now() - make_interval(days => $1)", 90),
    )
    for whom, statement, days in asked:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.connection(whom) as connection:
                await connection.execute(statement, days)
    assert await keys(database, api.clinic_id) == ["one"]


def test_every_kind_is_described() -> None:
    """In words that name no symptom and no instrument."""
    assert set(DESCRIPTIONS) == set(NotificationKind)
