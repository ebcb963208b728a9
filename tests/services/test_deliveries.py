"""The queue of deliveries: claimed by one at a time, tried again, given up, never undone by whoever is late."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db import Database
from app.services.deliveries import (
    LEASE_SECONDS,
    MAX_ATTEMPTS,
    RETRY_SECONDS,
    Claim,
    Outcome,
    claim_next,
    record_outcome,
    seconds_to_wait,
)
from app.services.notification_kinds import NotificationKind
from app.services.outbox import NewNotification, notify
from app.webhook_client import ATTEMPT_SECONDS
from tests.conftest import Api
from tests.services.test_outbox import add_webhook, sealed_secret

pytestmark = pytest.mark.anyio

FAILED = Outcome(500, "http_status")


async def tell(database: Database, api: Api, number: int) -> None:
    """Each in its own transaction, so that one is due before the other."""
    patient = UUID(await api.add_patient())
    for _ in range(number):
        one = NewNotification(str(uuid4()), NotificationKind.ALERT_OPENED, patient, uuid4(), datetime.now(UTC))
        async with database.connection(api.clinic_id) as connection:
            await notify(connection, api.clinic_id, [one])


async def claim(database: Database, api: Api, *busy: UUID) -> Claim | None:
    async with database.connection(api.clinic_id) as connection:
        return await claim_next(connection, database.keys, api.clinic_id, busy)


async def claimed(database: Database, api: Api) -> Claim:
    found = await claim(database, api)
    assert found is not None
    return found


async def record(database: Database, api: Api, one: Claim, outcome: Outcome) -> None:
    async with database.connection(api.clinic_id) as connection:
        await record_outcome(connection, api.clinic_id, one, outcome)


async def rows(database: Database, api: Api) -> list[dict[str, Any]]:
    async with database.connection(api.clinic_id) as connection:
        found = await connection.fetch(
            "SELECT *, extract(epoch FROM next_attempt_at - now())::float8 AS wait FROM delivery "
            "WHERE clinic_id = $1 ORDER BY notification_id",
            api.clinic_id,
        )
    return [dict(row) for row in found]


async def let_time_pass(database: Database, api: Api) -> None:
    async with database.connection(api.clinic_id) as connection:
        await connection.execute("UPDATE delivery SET next_attempt_at = now() WHERE clinic_id = $1", api.clinic_id)


async def test_a_claim_holds_for_the_lease(api: Api, database: Database) -> None:
    """Nobody else gets it before; then it is anybody's, as the next attempt of the same message."""
    webhook = await add_webhook(database, api.clinic_id)
    await tell(database, api, 1)
    first = await claimed(database, api)
    assert (first.webhook_id, first.attempt, first.secrets) == (webhook, 1, ("whsec_",))
    assert await claim(database, api) is None
    (row,) = await rows(database, api)
    assert LEASE_SECONDS - 5 < row["wait"] <= LEASE_SECONDS
    assert LEASE_SECONDS > 2 * ATTEMPT_SECONDS, "an attempt must be over before its lease"
    await let_time_pass(database, api)
    again = await claimed(database, api)
    assert again == replace(first, attempt=2)


async def test_claims_at_once_never_meet(api: Api, database: Database) -> None:
    """Twenty workers, twenty deliveries, twenty different ones."""
    await add_webhook(database, api.clinic_id)
    await tell(database, api, 20)

    async def all_i_can() -> list[UUID]:
        mine = []
        while (one := await claim(database, api)) is not None:
            mine.append(one.notification_id)
        return mine

    shares = await asyncio.gather(*(all_i_can() for _ in range(6)))
    ids = [id_ for share in shares for id_ in share]
    assert len(ids) == len(set(ids)) == 20


async def test_longest_due_first_but_for_those_that_are_busy(api: Api, database: Database) -> None:
    """A webhook that hangs does not hold up the others; a disabled one is left alone."""
    busy = await add_webhook(database, api.clinic_id)
    await tell(database, api, 2)
    other = await add_webhook(database, api.clinic_id)
    await tell(database, api, 1)
    first = await claimed(database, api)
    assert first.webhook_id == busy
    beside = await claim(database, api, busy)
    assert beside is not None
    assert beside.webhook_id == other
    async with database.connection(api.clinic_id) as connection:
        await connection.execute("UPDATE webhook SET disabled_at = now() WHERE id = $1", busy)
    assert await claim(database, api) is None
    assert {row["status"] for row in await rows(database, api)} == {"pending"}


async def test_delivered_is_final(api: Api, database: Database) -> None:
    """Also where it was the slower of two that brought it."""
    await add_webhook(database, api.clinic_id)
    await tell(database, api, 1)
    slow = await claimed(database, api)
    await let_time_pass(database, api)
    fast = await claimed(database, api)
    await record(database, api, fast, FAILED)
    await record(database, api, slow, Outcome(202))
    await record(database, api, fast, FAILED)
    (row,) = await rows(database, api)
    assert (row["status"], row["last_status"], row["last_error"]) == ("delivered", 202, None)
    assert row["delivered_at"] is not None
    await let_time_pass(database, api)
    assert await claim(database, api) is None


async def test_a_late_failure_undoes_nothing(api: Api, database: Database) -> None:
    """Whoever outlived its lease does not shorten or kill what came after it."""
    await add_webhook(database, api.clinic_id)
    await tell(database, api, 1)
    slow = await claimed(database, api)
    await let_time_pass(database, api)
    await claimed(database, api)
    before = await rows(database, api)
    await record(database, api, slow, Outcome(error="timeout"))
    (row,) = await rows(database, api)
    assert row | {"wait": 0} == before[0] | {"wait": 0}


async def test_each_failure_waits_longer_until_it_is_dead(api: Api, database: Database) -> None:
    """The convention's waits, each up to a fifth longer; after the last it stays where it is."""
    await add_webhook(database, api.clinic_id)
    await tell(database, api, 1)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        one = await claimed(database, api)
        assert one.attempt == attempt
        await record(database, api, one, FAILED)
        (row,) = await rows(database, api)
        assert (row["attempts"], row["last_status"], row["last_error"]) == (attempt, 500, "http_status")
        if attempt < MAX_ATTEMPTS:
            wait = RETRY_SECONDS[attempt - 1]
            assert row["status"] == "pending"
            assert wait - 3 < row["wait"] < wait * 1.2 + 1
            assert await claim(database, api) is None
        await let_time_pass(database, api)
    (row,) = await rows(database, api)
    assert row["status"] == "dead"
    assert await claim(database, api) is None


async def test_gone_is_the_end_of_the_webhook(api: Api, database: Database) -> None:
    """This delivery is dead, the webhook disabled; other webhooks go on."""
    gone = await add_webhook(database, api.clinic_id)
    await tell(database, api, 2)
    await add_webhook(database, api.clinic_id)
    await record(database, api, await claimed(database, api), Outcome(410, "gone"))
    left = {(row["status"], row["last_error"]) for row in await rows(database, api)}
    assert left == {("dead", "gone"), ("pending", None)}
    async with database.connection(api.clinic_id) as connection:
        disabled = await connection.fetch("SELECT id FROM webhook WHERE disabled_at IS NOT NULL")
    assert [row["id"] for row in disabled] == [gone]
    assert await claim(database, api) is None


async def test_the_secret_before_signs_until_its_time(api: Api, database: Database) -> None:
    """Newest first; not a moment longer."""
    webhook = await add_webhook(database, api.clinic_id)
    await tell(database, api, 2)
    for left, secrets in ((timedelta(hours=1), ("whsec_", "old")), (timedelta(seconds=-1), ("whsec_",))):
        async with database.connection(api.clinic_id) as connection:
            old = await sealed_secret(connection, database, api.clinic_id, "previous_secret", webhook, "old")
            until = datetime.now(UTC) + left
            await connection.execute("UPDATE webhook SET previous_secret = $1, previous_secret_until = $2", old, until)
        assert (await claimed(database, api)).secrets == secrets


def test_waits_differ() -> None:
    """What failed together does not come back together."""
    waits = {seconds_to_wait(2) for _ in range(20)}
    assert len(waits) > 1
    assert all(wait is not None and 300 <= wait <= 360 for wait in waits)
