"""What the passing of time makes due: reminders and missed check-ins, each told once."""

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.db import Database
from app.services.derivation import rederive
from app.services.locks import lock_key
from app.services.reminders import find_patients_with_misses, remind, settle_misses
from tests.api.schedules import plan
from tests.api.treatment import add_episode
from tests.conftest import Api

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
ADD = """
INSERT INTO expected_check_in (clinic_id, id, patient_id, episode_id, key, code, instrument, target_at, opens_at,
    overdue_at, closes_at, remind_at, assessment_id, answered_at)
VALUES ($1, $2, $3, $2, 'weekly/episode/1', 'weekly', 'phq-9', $4, $4, $5, $5, $6, $7, $8)
"""


async def expect(
    database: Database,
    api: Api,
    patient: str,
    *,
    closes_at: datetime,
    remind_at: datetime | None = None,
    answered: bool = False,
) -> UUID:
    id_, form = uuid4(), uuid4() if answered else None
    values = (closes_at - 24 * HOUR, closes_at, remind_at, form, NOW if answered else None)
    async with database.connection(api.clinic_id) as connection:
        await connection.execute(ADD, api.clinic_id, id_, UUID(patient), *values)
    return id_


async def told(database: Database, api: Api) -> list[tuple[str, UUID]]:
    async with database.connection(api.clinic_id) as connection:
        rows = await connection.fetch(
            "SELECT kind, resource_id FROM notification WHERE clinic_id = $1 ORDER BY id", api.clinic_id
        )
    return [tuple(row) for row in rows]


async def keep(*_: object) -> None:
    """Nothing follows from the record."""


async def test_a_reminder_is_told_at_its_time_and_once(api: Api, database: Database) -> None:
    """From its time on, while the check-in is open and nobody has answered."""
    patient = await api.add_patient()
    due = await expect(database, api, patient, closes_at=NOW + HOUR, remind_at=NOW)
    await expect(database, api, patient, closes_at=NOW + HOUR, remind_at=NOW + timedelta(seconds=1))
    await expect(database, api, patient, closes_at=NOW, remind_at=NOW - HOUR)
    await expect(database, api, patient, closes_at=NOW + HOUR, remind_at=None)
    await expect(database, api, patient, closes_at=NOW + HOUR, remind_at=NOW, answered=True)
    assert await remind(database, api.clinic_id, NOW - timedelta(seconds=1)) == 1
    assert len(await told(database, api)) == 1
    assert await remind(database, api.clinic_id, NOW) == 1
    assert await remind(database, api.clinic_id, NOW) == 0
    assert ("check_in.due", due) in await told(database, api)


async def test_a_reminder_that_moves_is_told_again(api: Api, database: Database) -> None:
    """A session was moved: the time told before is not the time any more."""
    patient = await api.add_patient()
    due = await expect(database, api, patient, closes_at=NOW + 9 * HOUR, remind_at=NOW)
    await remind(database, api.clinic_id, NOW)
    async with database.connection(api.clinic_id) as connection:
        await connection.execute("UPDATE expected_check_in SET remind_at = $1", NOW + HOUR)
    assert await remind(database, api.clinic_id, NOW) == 0
    assert await remind(database, api.clinic_id, NOW + HOUR) == 1
    assert await told(database, api) == [("check_in.due", due)] * 2


async def test_a_missed_check_in_is_told_once(api: Api, database: Database) -> None:
    """From its end on, for 14 days; another clinic's are not seen."""
    patient, other = await api.add_patient(), await api.add_patient()
    missed = await expect(database, api, patient, closes_at=NOW)
    late = await expect(database, api, patient, closes_at=NOW - timedelta(days=14) + timedelta(seconds=1))
    await expect(database, api, other, closes_at=NOW - timedelta(days=14))
    await expect(database, api, other, closes_at=NOW + timedelta(seconds=1))
    await expect(database, api, other, closes_at=NOW - HOUR, answered=True)
    assert await find_patients_with_misses(database, api.clinic_id, NOW) == [UUID(patient)]
    await settle_misses(database, api.clinic_id, UUID(patient), NOW, keep)
    assert set(await told(database, api)) == {("check_in.missed", missed), ("check_in.missed", late)}
    assert await find_patients_with_misses(database, api.clinic_id, NOW) == []


async def test_what_is_derived_comes_first_and_under_the_lock(api: Api, database: Database) -> None:
    """A miss that the record no longer has is not told; the patient is locked meanwhile."""
    patient = UUID(await api.add_patient())
    await expect(database, api, str(patient), closes_at=NOW - HOUR)
    seen: list[tuple[UUID, list[UUID], bool]] = []

    async def forget(
        connection: asyncpg.Connection, clinic_id: UUID, patients: Collection[UUID], now: datetime
    ) -> None:
        async with database.connection(clinic_id) as another:
            is_free = await another.fetchval("SELECT pg_try_advisory_xact_lock($1)", lock_key(patient))
        seen.append((clinic_id, list(patients), is_free))
        assert now == NOW
        await connection.execute("DELETE FROM expected_check_in WHERE clinic_id = $1", clinic_id)

    await settle_misses(database, api.clinic_id, patient, NOW, forget)
    assert seen == [(api.clinic_id, [patient], False)]
    assert await told(database, api) == []


async def test_both_or_neither(api: Api, database: Database) -> None:
    """A sweep that fails has told nothing, and the next one finds the patient again."""
    patient = UUID(await api.add_patient())
    await expect(database, api, str(patient), closes_at=NOW - HOUR)

    async def fail(*_: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await settle_misses(database, api.clinic_id, patient, NOW, fail)
    assert await told(database, api) == []
    assert await find_patients_with_misses(database, api.clinic_id, NOW) == [patient]


DAILY: dict[str, Any] = {
    "code": "daily",
    "instrument": "phq-2",
    "anchor": "episode",
    "after": {"days": 1},
    "window": {"opens_hours": -2, "overdue_hours": 2, "closes_hours": 4},
    "repeat": {"every_days": 1, "times": 4},
    "at": "09:00",
}


async def test_missed_in_a_row_raises_an_alert_without_any_form(api: Api, database: Database) -> None:
    """Time alone does it: each miss is told, and the alert of the third is opened and told, all once."""
    patient = await api.add_patient()
    now = datetime.now(UTC)
    episode = await add_episode(api, patient, opened_at=now.isoformat())
    await plan(api, episode["id"], DAILY)
    assert await find_patients_with_misses(database, api.clinic_id, now) == []
    for later in (now + timedelta(days=6), now + timedelta(days=6, hours=1)):
        for found in await find_patients_with_misses(database, api.clinic_id, later):
            await settle_misses(database, api.clinic_id, found, later, rederive)
    kinds = Counter(kind for kind, _ in await told(database, api))
    assert kinds == {"check_in.missed": 4, "alert.opened": 1}
    (alert,) = (await api.http.get("/v1/alerts")).json()["data"]
    assert (alert["kind"], alert["patient_id"]) == ("missed_check_ins", patient)
    assert ("alert.opened", UUID(alert["id"])) in await told(database, api)
