"""Alerts follow the record: whatever the order, however often, and whoever writes beside."""

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.auth import Actor, Role
from app.db import Database
from app.errors import StaleError
from app.schemas.alerts import Acknowledgement, Resolution
from app.scoring import get_instrument
from app.scoring.alerting import AlertCause, AlertKind, form_causes
from app.scoring.model import Point, Validity
from app.scoring.treatment import Baseline, BaselineRule, Dose
from app.scoring.worse_after_dose import FormPoint
from app.services import alerts
from app.services.alert_states import (
    AlertSubject,
    RaisedAlert,
    find_alert_histories,
    find_alerts_of_forms,
    reconcile_alerts,
)
from app.services.locks import lock_key
from app.tables import Clinic

pytestmark = pytest.mark.anyio

PHQ_9 = get_instrument("phq-9")
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def form(day: float, total: int, item_9: int | None) -> FormPoint:
    return FormPoint(Point(str(uuid4()), START + timedelta(days=day), total, Validity.VALID), {9: item_9})


def critical(form_id: UUID, value: int = 1) -> AlertCause:
    return AlertCause(AlertKind.CRITICAL_ITEM, "phq-9", 9, f"{form_id}:9:{value}", str(form_id), START)


def missed(key: str) -> AlertCause:
    return AlertCause(AlertKind.MISSED_CHECK_INS, None, None, key, None, START)


async def add_patient(database: Database, clinic: Clinic) -> UUID:
    patient_id = uuid4()
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute(
            "INSERT INTO patient (clinic_id, id, created_at) VALUES ($1, $2, $3)", clinic.clinic_id, patient_id, START
        )
    return patient_id


async def reconcile(
    database: Database, clinic: Clinic, patient_id: UUID, causes: Collection[AlertCause], now: datetime = NOW
) -> None:
    async with database.locked(clinic.clinic_id, [lock_key(patient_id)]) as connection:
        await reconcile_alerts(connection, clinic.clinic_id, {patient_id: causes}, now)


async def fetch(database: Database, clinic: Clinic, query: str) -> list[tuple[Any, ...]]:
    async with database.connection(clinic.clinic_id) as connection:
        return [tuple(row) for row in await connection.fetch(query)]


async def stored(database: Database, clinic: Clinic) -> list[tuple[Any, ...]]:
    return await fetch(database, clinic, "SELECT kind, item, status, reopened, version FROM alert ORDER BY kind, item")


async def happened(database: Database, clinic: Clinic) -> list[tuple[Any, ...]]:
    return await fetch(database, clinic, "SELECT number, kind, cause FROM alert_event ORDER BY alert_id, number")


async def told(database: Database, clinic: Clinic) -> list[str]:
    return [kind for (kind,) in await fetch(database, clinic, "SELECT kind FROM notification ORDER BY created_at, id")]


async def settle(database: Database, clinic: Clinic, alert_id: UUID, version: int, *, seen_only: bool = False) -> None:
    actor = Actor(clinic.clinic_id, uuid4(), Role.CLINICIAN)
    async with database.session(clinic.clinic_id) as session:
        if seen_only:
            await alerts.acknowledge_alert(session, actor, alert_id, Acknowledgement(), version, None)
        else:
            done = Resolution(action="contacted_patient")
            await alerts.resolve_alert(session, actor, alert_id, done, version, None)


async def test_a_first_cause_opens_an_alert_and_tells_of_it(database: Database, clinic: Clinic) -> None:
    """One row, one event that names its form, one notification that names nothing but ids."""
    patient, form_id = await add_patient(database, clinic), uuid4()
    await reconcile(database, clinic, patient, [critical(form_id)])
    (alert,) = await fetch(
        database, clinic, "SELECT id, patient_id, kind, instrument, item, status, raised_at FROM alert"
    )
    id_ = AlertSubject(patient, AlertKind.CRITICAL_ITEM, "phq-9", 9).id
    assert alert == (id_, patient, "critical_item", "phq-9", 9, "open", NOW)
    events = await fetch(database, clinic, "SELECT number, kind, at, cause, assessment_id, actor_id FROM alert_event")
    assert events == [(1, "raised", NOW, f"{form_id}:9:1", form_id, None)]
    (notification,) = await fetch(database, clinic, "SELECT key, kind, patient_id, resource_id FROM notification")
    assert notification == (f"alert:{id_}:1", "alert.opened", patient, id_)


def test_an_id_is_for_ever() -> None:
    """Links to an alert in other programs outlive every release; each part of the subject tells two alerts apart."""
    patient = UUID("019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a")
    subject = AlertSubject(patient, AlertKind.CRITICAL_ITEM, "phq-9", 9)
    assert subject.id == UUID("010536e6-6d8f-55e0-acd2-89319a46de58")
    others = [
        subject._replace(patient_id=uuid4()),
        subject._replace(kind=AlertKind.CRITICAL_ITEM_RISE),
        subject._replace(instrument="phq-8"),
        subject._replace(item=None),
        subject._replace(item=1),
    ]
    assert len({subject.id, *(other.id for other in others)}) == 6


async def test_nothing_new_costs_one_query_for_all(database: Database, clinic: Clinic) -> None:
    """Patients without causes, and those whose alerts stand as they are; nothing is written or told."""
    patients = [await add_patient(database, clinic) for _ in range(3)]
    standing = {patients[0]: [critical(uuid4()), missed("weekly/1")], patients[1]: [], patients[2]: []}
    await reconcile(database, clinic, patients[0], standing[patients[0]])
    before = await fetch(database, clinic, "SELECT a.*, a.xmin::text FROM alert a ORDER BY id")
    queries: list[str] = []
    async with database.locked(clinic.clinic_id, map(lock_key, patients)) as connection:
        with connection.query_logger(lambda record: queries.append(record.query)):
            await reconcile_alerts(connection, clinic.clinic_id, standing, NOW + timedelta(hours=1))
    assert len(queries) == 1
    assert await fetch(database, clinic, "SELECT a.*, a.xmin::text FROM alert a ORDER BY id") == before
    assert len(await told(database, clinic)) == 2


async def test_the_order_of_arrival_changes_nothing(database: Database, clinic: Clinic) -> None:
    """Forms of the same patient, derived anew after each: the same alerts stand on the same causes at the end."""
    forms = [form(0, 10, 0), form(7, 12, 1), form(14, 18, 3), form(21, 9, 2)]
    doses = [Dose("dose", START + timedelta(days=10), None)]
    baseline = Baseline(forms[0].point, BaselineRule.FIRST)
    expected = {(cause.kind.value, cause.key) for cause in form_causes(PHQ_9, forms, doses, baseline)}
    assert {kind for kind, _ in expected} == set(AlertKind) - {AlertKind.MISSED_CHECK_INS}
    for order in permutations(forms):
        patient = await add_patient(database, clinic)
        for number in range(1, len(order) + 1):
            known = form_causes(PHQ_9, order[:number], doses, baseline)
            await reconcile(database, clinic, patient, known, NOW + timedelta(hours=number))
        found = await standing_causes(database, clinic, patient)
        assert found == {("open", kind, key) for kind, key in expected}


async def standing_causes(database: Database, clinic: Clinic, patient: UUID) -> set[tuple[str, str, str]]:
    async with database.connection(clinic.clinic_id) as connection:
        rows = await connection.fetch("SELECT id, status, kind, version FROM alert WHERE patient_id = $1", patient)
        histories = await find_alert_histories(connection, clinic.clinic_id, [row["id"] for row in rows])
    states = {history.subject.id: history for history in histories}
    assert all(row["status"] == states[row["id"]].state.status.value for row in rows)
    assert all(row["version"] == states[row["id"]].version for row in rows)
    return {(row["status"], row["kind"], cause) for row in rows for cause in states[row["id"]].state.active}


async def test_several_patients_at_once(database: Database, clinic: Clinic) -> None:
    """Each gets their own; who is not named keeps what they have."""
    first, second, third = [await add_patient(database, clinic) for _ in range(3)]
    await reconcile(database, clinic, third, [missed("c")])
    async with database.locked(clinic.clinic_id, map(lock_key, (first, second))) as connection:
        causes = {first: [critical(uuid4()), missed("a")], second: [missed("b")]}
        await reconcile_alerts(connection, clinic.clinic_id, causes, NOW)
    rows = await fetch(database, clinic, "SELECT patient_id, kind, instrument, item, status FROM alert")
    assert sorted(rows) == sorted(
        [
            (first, "critical_item", "phq-9", 9, "open"),
            (first, "missed_check_ins", None, None, "open"),
            (second, "missed_check_ins", None, None, "open"),
            (third, "missed_check_ins", None, None, "open"),
        ]
    )
    assert await told(database, clinic) == ["alert.opened"] * 4


async def test_a_correction_goes_on_with_the_alert(database: Database, clinic: Clinic) -> None:
    """A higher answer takes the old cause back and gives another: it was open all the time, and is told of once."""
    patient, form_id = await add_patient(database, clinic), uuid4()
    await reconcile(database, clinic, patient, [critical(form_id, 1)])
    await reconcile(database, clinic, patient, [critical(form_id, 2)], NOW + timedelta(hours=1))
    assert await happened(database, clinic) == [
        (1, "raised", f"{form_id}:9:1"),
        (2, "withdrawn", f"{form_id}:9:1"),
        (3, "raised", f"{form_id}:9:2"),
    ]
    assert await stored(database, clinic) == [("critical_item", 9, "open", 0, 3)]
    assert await told(database, clinic) == ["alert.opened"]
    forms = await fetch(database, clinic, "SELECT DISTINCT assessment_id FROM alert_event")
    assert forms == [(form_id,)], "a withdrawal names the form whose cause it takes back"


async def test_what_is_no_longer_derived_is_withdrawn(database: Database, clinic: Clinic) -> None:
    """A voided form leaves nothing that waits; what is entered again after that opens it again and is told again."""
    patient, form_id = await add_patient(database, clinic), uuid4()
    for hours, causes in enumerate([[critical(form_id)], [], [critical(form_id)]]):
        await reconcile(database, clinic, patient, causes, NOW + timedelta(hours=hours))
        status = "open" if causes else "withdrawn"
        assert await stored(database, clinic) == [("critical_item", 9, status, 0, hours + 1)]
    assert await told(database, clinic) == ["alert.opened", "alert.reopened"]


async def test_a_new_cause_opens_a_resolved_alert_again(database: Database, clinic: Clinic) -> None:
    """The resolution speaks of what was there then; taking the new cause back leaves it standing."""
    patient, old, new = await add_patient(database, clinic), uuid4(), uuid4()
    alert_id = AlertSubject(patient, AlertKind.CRITICAL_ITEM, "phq-9", 9).id
    await reconcile(database, clinic, patient, [critical(old)])
    await settle(database, clinic, alert_id, 1)
    await reconcile(database, clinic, patient, [critical(old)])
    assert await stored(database, clinic) == [("critical_item", 9, "resolved", 0, 2)]
    await reconcile(database, clinic, patient, [critical(old), critical(new)])
    assert await stored(database, clinic) == [("critical_item", 9, "open", 1, 3)]
    assert await told(database, clinic) == ["alert.opened", "alert.reopened"]
    await reconcile(database, clinic, patient, [critical(old)])
    assert (await stored(database, clinic))[0][2] == "resolved"
    assert len(await told(database, clinic)) == 2


async def test_a_new_cause_opens_an_acknowledged_alert_again(database: Database, clinic: Clinic) -> None:
    """Nobody has seen that one; while it is open a further one is not told of again."""
    patient, causes = await add_patient(database, clinic), [critical(uuid4()) for _ in range(3)]
    alert_id = AlertSubject(patient, AlertKind.CRITICAL_ITEM, "phq-9", 9).id
    await reconcile(database, clinic, patient, causes[:1])
    await settle(database, clinic, alert_id, 1, seen_only=True)
    assert (await stored(database, clinic))[0][2] == "acknowledged"
    for number in (2, 3):
        await reconcile(database, clinic, patient, causes[:number])
        assert await stored(database, clinic) == [("critical_item", 9, "open", 0, number + 1)]
    assert await told(database, clinic) == ["alert.opened", "alert.reopened"]


async def test_times_follow_the_order_of_events(database: Database, clinic: Clinic) -> None:
    """Who read the clock and then waited for the lock does not write before what was written meanwhile."""
    patient = await add_patient(database, clinic)
    await reconcile(database, clinic, patient, [missed("a")], NOW)
    await reconcile(database, clinic, patient, [], NOW - timedelta(seconds=1))
    assert await fetch(database, clinic, "SELECT number, at FROM alert_event ORDER BY number") == [(1, NOW), (2, NOW)]


async def test_parallel_writers_take_turns(database: Database, clinic: Clinic) -> None:
    """Eight forms at once, each derived from all that are stored when its turn comes: no event is lost or doubled."""
    patient, forms = await add_patient(database, clinic), [uuid4() for _ in range(8)]
    record: list[UUID] = []

    async def arrive(form_id: UUID) -> None:
        async with database.locked(clinic.clinic_id, [lock_key(patient)]) as connection:
            record.append(form_id)
            causes = {patient: [critical(known) for known in record]}
            await reconcile_alerts(connection, clinic.clinic_id, causes, datetime.now(UTC))

    await asyncio.gather(*map(arrive, forms))
    assert [(number, kind) for number, kind, _ in await happened(database, clinic)] == [
        (number, "raised") for number in range(1, 9)
    ]
    assert {cause for _, _, cause in await happened(database, clinic)} == {critical(form_id).key for form_id in forms}
    assert await stored(database, clinic) == [("critical_item", 9, "open", 0, 8)]
    assert await told(database, clinic) == ["alert.opened"]


async def test_derivation_and_people_take_turns(database: Database, clinic: Clinic) -> None:
    """A cause that arrives while somebody acknowledges is never acknowledged with the rest, whoever comes first."""
    patient, causes = await add_patient(database, clinic), [critical(uuid4())]
    alert_id = AlertSubject(patient, AlertKind.CRITICAL_ITEM, "phq-9", 9).id
    await reconcile(database, clinic, patient, causes)
    for _ in range(6):
        ((_, _, _, _, version),) = await stored(database, clinic)
        causes.append(critical(uuid4()))
        seen, derived = await asyncio.gather(
            settle(database, clinic, alert_id, version, seen_only=True),
            reconcile(database, clinic, patient, causes),
            return_exceptions=True,
        )
        assert derived is None
        assert seen is None or isinstance(seen, StaleError)
        added = 2 if seen is None else 1
        assert await stored(database, clinic) == [("critical_item", 9, "open", 0, version + added)]
        assert [number for number, _, _ in await happened(database, clinic)] == list(range(1, version + added + 1))


async def test_a_patient_may_raise_their_own(database: Database, clinic: Clinic) -> None:
    """In a transaction that sees nobody else."""
    patient = await add_patient(database, clinic)
    async with database.connection(Actor(clinic.clinic_id, uuid4(), Role.PATIENT, patient)) as connection:
        await reconcile_alerts(connection, clinic.clinic_id, {patient: [critical(uuid4())]}, NOW)
    assert await stored(database, clinic) == [("critical_item", 9, "open", 0, 1)]
    assert await told(database, clinic) == ["alert.opened"]


async def test_a_form_knows_what_rests_on_it(database: Database, clinic: Clinic, other_clinic: Clinic) -> None:
    """Each alert once, for the form that raised it, while it does; nothing for another clinic."""
    patient, first, second = await add_patient(database, clinic), uuid4(), uuid4()
    rise = AlertCause(AlertKind.CRITICAL_ITEM_RISE, "phq-9", 9, f"{second}:9:0>1", str(second), START)
    twice = [
        AlertCause(AlertKind.WORSE_AFTER_DOSE, "phq-9", None, f"{second}:{dose}", str(second), START)
        for dose in ("a", "b")
    ]
    await reconcile(database, clinic, patient, [critical(first), critical(second), rise, *twice])

    async def found(of: Clinic, form_ids: Iterable[UUID]) -> dict[UUID, list[RaisedAlert]]:
        async with database.connection(of.clinic_id) as connection:
            return await find_alerts_of_forms(connection, of.clinic_id, form_ids)

    def raised(kind: AlertKind, item: int | None) -> RaisedAlert:
        return RaisedAlert(AlertSubject(patient, kind, "phq-9", item).id, kind, "phq-9", item)

    item, risen = raised(AlertKind.CRITICAL_ITEM, 9), raised(AlertKind.CRITICAL_ITEM_RISE, 9)
    worse = raised(AlertKind.WORSE_AFTER_DOSE, None)
    assert await found(clinic, [first, second, uuid4()]) == {first: [item], second: [item, risen, worse]}
    assert await found(clinic, []) == {}
    assert await found(other_clinic, [first, second]) == {}
    await reconcile(database, clinic, patient, [critical(second)])
    assert await found(clinic, [first, second]) == {second: [item]}
    await reconcile(database, clinic, patient, [critical(first), critical(second)])
    assert await found(clinic, [first]) == {first: [item]}, "raised again after it was withdrawn"
