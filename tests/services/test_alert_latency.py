"""Hours that alerts waited, against figures worked out by hand."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from app.auth import Actor, Role
from app.db import Database
from app.scoring.alerting import AlertFact, AlertFactKind, AlertKind, Latency
from app.services.alert_latency import KindLatency, Period, find_latencies
from app.services.alert_states import AlertHistory, AlertStep, AlertSubject, store_steps
from app.tables import Clinic

pytestmark = pytest.mark.anyio

BEGINS = datetime(2026, 3, 1, tzinfo=UTC)
ENDS = BEGINS + timedelta(days=10)
NOW = BEGINS + timedelta(days=20)
NONE = Latency(0, None, None, None)
Story = list[tuple[AlertFactKind, float, str | None]]  # kind, hours since the period began, cause


async def tell(database: Database, clinic: Clinic, story: Story, kind: AlertKind = AlertKind.CRITICAL_ITEM) -> None:
    """One patient with one alert to whom this happened."""
    patient_id = uuid4()
    steps = [
        AlertStep(
            number,
            AlertFact(what, BEGINS + timedelta(hours=hours), cause),
            action="other" if what == "resolved" else None,
        )
        for number, (what, hours, cause) in enumerate(story, start=1)
    ]
    about = (None, None) if kind is AlertKind.MISSED_CHECK_INS else ("phq-9", 9)
    history = AlertHistory(AlertSubject(patient_id, kind, *about), tuple(steps))
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute(
            "INSERT INTO patient (clinic_id, id, created_at) VALUES ($1, $2, $3)", clinic.clinic_id, patient_id, BEGINS
        )
        await store_steps(connection, clinic.clinic_id, [(history, len(steps))])


async def latencies(database: Database, clinic_id: UUID) -> dict[AlertKind, KindLatency]:
    async with database.session(clinic_id) as session:
        actor = Actor(clinic_id, uuid4(), Role.CLINICIAN, hidden=frozenset())
        found = await find_latencies(session, actor, Period(BEGINS, ENDS), NOW)
    return {one.kind: one for one in found}


async def test_no_alerts(database: Database, clinic: Clinic) -> None:
    """Every kind is there, with nothing to say."""
    found = await latencies(database, clinic.clinic_id)
    assert list(found) == list(AlertKind)
    assert all(one == KindLatency(kind, 0, NONE, 0, 0, NONE, 0, None) for kind, one in found.items())


async def test_figures_by_hand(database: Database, clinic: Clinic, other_clinic: Clinic) -> None:
    """Acknowledged after 1, 2, 5 and 30 hours, resolved after 4, 10 and 48; one taken back, one open; by kind."""
    await tell(database, clinic, [("raised", 0, "a"), ("acknowledged", 1, None), ("resolved", 4, None)])
    await tell(database, clinic, [("raised", 10, "a"), ("acknowledged", 12, None), ("resolved", 20, None)])
    await tell(database, clinic, [("raised", 20, "a"), ("acknowledged", 50, None), ("resolved", 68, None)])
    await tell(database, clinic, [("raised", 30, "a"), ("acknowledged", 35, None)])
    await tell(database, clinic, [("raised", 40, "a"), ("withdrawn", 41, "a")])
    await tell(database, clinic, [("raised", 100, "a")])
    await tell(database, clinic, [("raised", 50, "m")], AlertKind.MISSED_CHECK_INS)
    await tell(database, other_clinic, [("raised", 0, "a"), ("acknowledged", 99, None)])
    found = await latencies(database, clinic.clinic_id)
    assert found[AlertKind.CRITICAL_ITEM] == KindLatency(
        kind=AlertKind.CRITICAL_ITEM,
        opened=6,
        acknowledgement=Latency(n=4, p50=2, p90=30, maximum=30),
        withdrawn_unseen=1,
        open=1,
        resolution=Latency(n=3, p50=10, p90=48, maximum=48),
        unresolved=2,
        longest_open_hours=380,
    )
    missed = found[AlertKind.MISSED_CHECK_INS]
    assert (missed.opened, missed.open, missed.longest_open_hours) == (1, 1, 430)
    assert found[AlertKind.RELIABLE_WORSENING].opened == 0


async def test_each_opening_counts_by_itself(database: Database, clinic: Clinic) -> None:
    """A new form a week later does not make the first acknowledgement slow; the course is resolved as one."""
    week = 7 * 24
    await tell(
        database,
        clinic,
        [
            ("raised", 0, "a"),
            ("acknowledged", 2, None),
            ("raised", week, "b"),
            ("acknowledged", week + 3, None),
            ("resolved", week + 5, None),
            ("raised", week + 10, "c"),
            ("resolved", week + 11, None),
        ],
    )
    found = (await latencies(database, clinic.clinic_id))[AlertKind.CRITICAL_ITEM]
    assert (found.opened, found.open, found.unresolved) == (3, 0, 0)
    assert found.acknowledgement == Latency(n=3, p50=2, p90=3, maximum=3)
    assert found.resolution == Latency(n=2, p50=1, p90=week + 5, maximum=week + 5)


async def test_only_what_began_in_the_period_counts(database: Database, clinic: Clinic) -> None:
    """Its first instant included, its last not; however late it ended. Open ones count as longest whenever raised."""
    length = 10 * 24
    await tell(database, clinic, [("raised", -1, "a"), ("acknowledged", 5, None)])
    await tell(database, clinic, [("raised", 0, "a"), ("acknowledged", length + 100, None)])
    await tell(database, clinic, [("raised", length, "a"), ("acknowledged", length + 1, None)])
    await tell(database, clinic, [("raised", -100, "a")])
    found = (await latencies(database, clinic.clinic_id))[AlertKind.CRITICAL_ITEM]
    assert (found.opened, found.open) == (1, 0)
    assert found.acknowledgement == Latency(n=1, p50=length + 100, p90=length + 100, maximum=length + 100)
    assert found.longest_open_hours == 20 * 24 + 100
