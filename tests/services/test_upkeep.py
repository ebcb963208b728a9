"""Everything derived can be made anew from the record, and is, when the program or the clinic's rules changed."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.auth import Actor, Role
from app.db import Database
from app.schemas.clinic_rules import ClinicRulesChange
from app.schemas.episodes import EpisodeCreate
from app.schemas.patients import PatientCreate
from app.schemas.schedules import SchedulePut
from app.schemas.treatment_sessions import TreatmentSessionCreate
from app.services.assessments import record_batch
from app.services.clinic_rules import amend_clinic_rules
from app.services.episodes import open_episode
from app.services.patients import record_patient
from app.services.schedules import put_schedule
from app.services.treatment_sessions import record_treatment_session
from app.services.upkeep import keep_up, rederive_all
from app.tables import Clinic

pytestmark = pytest.mark.anyio

DERIVED = ("standing", "expected_check_in", "alert", "alert_event")
OPENED = datetime.now(UTC).replace(microsecond=0) - timedelta(days=60)


async def a_patient(database: Database, actor: Actor, *, scheduled: bool) -> UUID:
    """With an episode, two doses and, perhaps, a schedule."""
    async with database.session(actor.clinic_id) as session:
        patient, _ = await record_patient(session, actor, PatientCreate(), None)
        content = EpisodeCreate(modality="ketamine_assisted_psychotherapy", opened_at=OPENED)
        episode, _ = await open_episode(session, actor, patient.id, content, None)
        for day in (7, 21):
            at = OPENED + timedelta(days=day)
            dose: dict[str, Any] = {
                "kind": "dosing",
                "status": "done",
                "scheduled_at": at,
                "started_at": at,
                "dose_mg": 35.0,
            }
            dose |= {"medicine": "ketamine_racemic", "route": "intravenous", "weight_kg": 70.0}
            await record_treatment_session(session, actor, episode.id, TreatmentSessionCreate(**dose), None)
        if scheduled:
            await put_schedule(session, actor, episode.id, SchedulePut(protocol="kap-standard"), None, None)
    return patient.id


def forms_of(patient_id: UUID, draw: random.Random) -> list[dict[str, Any]]:
    """Weekly or so, over two months, some incomplete."""
    rows = []
    for day in range(0, 58, 5):
        at = OPENED + timedelta(days=day, hours=draw.randint(0, 47))
        responses = [draw.choice((0, 1, 2, 3)) for _ in range(9)]
        if draw.random() < 0.2:
            responses[:4] = [None] * 4  # type: ignore[list-item]  # not answered
        rows.append(
            {"id": str(uuid4()), "patient_id": str(patient_id), "instrument": "phq-9", "responses": responses}
            | {"taken_at": at.isoformat()}
        )
    return rows


async def derived(database: Database, clinic_id: UUID) -> dict[str, list[tuple[Any, ...]]]:
    async with database.connection(clinic_id) as connection:
        return {
            table: [tuple(row) for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY {table}::text")]
            for table in DERIVED
        }


@pytest.mark.parametrize("seed", range(3))
async def test_what_each_write_derives_is_what_the_record_says(database: Database, clinic: Clinic, seed: int) -> None:
    """Forms one by one, in any order, leave just what making everything anew leaves."""
    draw, actor = random.Random(seed), Actor(clinic.clinic_id, uuid4(), Role.CLINICIAN, hidden=frozenset())  # noqa: S311  # no secret
    patients = [await a_patient(database, actor, scheduled=scheduled) for scheduled in (False, False, True)]
    rows = [row for patient in patients for row in forms_of(patient, draw)]
    if seed:
        draw.shuffle(rows)
    while rows:
        size = draw.choice((1, 1, 2, 5))
        await record_batch(database, actor, rows[:size], None)
        del rows[:size]
    before = await derived(database, clinic.clinic_id)
    assert before["standing"]
    assert before["alert_event"]
    assert before["expected_check_in"]
    assert await rederive_all(database, clinic.clinic_id) == 3
    assert await derived(database, clinic.clinic_id) == before


async def test_what_was_lost_is_made_again(database: Database, clinic: Clinic) -> None:
    """The derived tables hold nothing of their own."""
    actor = Actor(clinic.clinic_id, uuid4(), Role.CLINICIAN, hidden=frozenset())
    patient = await a_patient(database, actor, scheduled=True)
    await record_batch(database, actor, forms_of(patient, random.Random(1)), None)  # noqa: S311  # no secret
    before = await derived(database, clinic.clinic_id)
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute("DELETE FROM standing")
        await connection.execute("DELETE FROM expected_check_in")
    assert await rederive_all(database, clinic.clinic_id) == 1
    assert await derived(database, clinic.clinic_id) == before


async def test_a_clinic_is_made_anew_once_for_each_change_of_its_rules(database: Database, clinic: Clinic) -> None:
    """And reminders move with its quiet hours."""
    actor = Actor(clinic.clinic_id, uuid4(), Role.ADMIN)
    await a_patient(database, actor, scheduled=True)
    assert [await keep_up(database, clinic.clinic_id) for _ in range(2)] == [1, 0]
    before = await derived(database, clinic.clinic_id)
    async with database.session(clinic.clinic_id) as session:
        change = ClinicRulesChange(quiet_from="00:00", quiet_until="23:00", reason="calls in the evening alone")
        await amend_clinic_rules(session, actor, change, 1, None)
    assert [await keep_up(database, clinic.clinic_id) for _ in range(2)] == [1, 0]
    assert (await derived(database, clinic.clinic_id))["expected_check_in"] != before["expected_check_in"]
