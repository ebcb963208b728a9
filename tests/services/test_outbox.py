"""The outbox: what is told once, to whom, and to nobody else."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.auth import Actor, Role
from app.db import Database
from app.ids import new_id
from app.services.data_keys import get_clinic_key
from app.services.notification_kinds import DESCRIPTIONS, NotificationKind
from app.services.outbox import NewNotification, notify
from app.services.sealing import place, seal_text
from app.tables import Clinic
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


def test_every_kind_is_described() -> None:
    """In words that name no symptom and no instrument."""
    assert set(DESCRIPTIONS) == set(NotificationKind)
