"""Standings as rows: they become exactly what was derived, and what has not changed is not written again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.db import Database
from app.scoring.episode import Episode
from app.scoring.model import Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.standing import standing
from app.scoring.treatment import BaselineRule, Dose, choose_baseline
from app.services.standings import StandingRow, reconcile_standings, standing_row
from app.tables import Clinic, Standing

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROW = StandingRow(
    instrument="phq-9",
    episode_id=UUID(int=1),
    assessment_id=UUID(int=2),
    taken_at=NOON,
    validity="valid",
    total=190 / 9,
    severity="severe",
    change_since_last=2,
    baseline_id=UUID(int=3),
    baseline_rule="first",
    baseline_total=18,
    change=28 / 9,
    percent_change=17.28,
    category="unchanged",
    on_track=None,
    on_track_reason="too_early",
    forms=3,
    doses=1,
    last_dose_at=NOON - timedelta(days=3),
)
# Another value for each column but the key, null wherever it may be.
CHANGES: dict[str, Any] = {
    "episode_id": None,
    "assessment_id": UUID(int=4),
    "taken_at": NOON + timedelta(microseconds=1),
    "validity": "incomplete",
    "total": None,
    "severity": None,
    "change_since_last": None,
    "baseline_id": None,
    "baseline_rule": "pre_treatment",
    "baseline_total": None,
    "change": None,
    "percent_change": None,
    "category": None,
    "on_track": False,
    "on_track_reason": "no_improvement_in_time",
    "forms": 4,
    "doses": 2,
    "last_dose_at": None,
}

Stored = dict[tuple[UUID, str], StandingRow]


async def add_patients(database: Database, clinic: Clinic, count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute(
            "INSERT INTO patient (clinic_id, id, created_at) SELECT $1, id, now() FROM unnest($2::uuid[]) AS id",
            clinic.clinic_id,
            ids,
        )
    return ids


async def reconcile(
    database: Database, clinic: Clinic, standings: Mapping[UUID, Sequence[StandingRow]]
) -> tuple[Stored, int]:
    """What is stored afterwards, and how many rows were written, deleted or locked."""
    async with database.connection(clinic.clinic_id) as connection:
        before = await _physical(connection)
        await reconcile_standings(connection, clinic.clinic_id, standings)
        after = await _physical(connection)
        rows = await connection.fetch("SELECT * FROM standing")
    names = StandingRow.__slots__
    stored = {(row["patient_id"], row["instrument"]): StandingRow(*(row[name] for name in names)) for row in rows}
    return stored, len(before ^ after)


async def _physical(connection: asyncpg.Connection) -> set[tuple[Any, ...]]:
    """Place and marks of each row: a row that is written, or only locked, has others afterwards."""
    return {tuple(row) for row in await connection.fetch("SELECT ctid::text, xmin::text, xmax::text FROM standing")}


async def test_rows_become_exactly_these(database: Database, clinic: Clinic) -> None:
    """Added, changed, deleted for the named patients; nobody else's rows are touched."""
    first, second, third = await add_patients(database, clinic, 3)
    other = replace(ROW, instrument="pcl-5-month")
    stored, _ = await reconcile(database, clinic, {first: [ROW, other], second: [ROW], third: [ROW]})
    assert stored == {
        (first, "phq-9"): ROW,
        (first, "pcl-5-month"): other,
        (second, "phq-9"): ROW,
        (third, "phq-9"): ROW,
    }
    worse = replace(ROW, category="deteriorated", on_track=False)
    stored, written = await reconcile(database, clinic, {first: [worse], second: []})
    assert stored == {(first, "phq-9"): worse, (third, "phq-9"): ROW}
    assert written == 4, "one row replaced by its new state, two gone"


async def test_nothing_is_written_when_nothing_differs(database: Database, clinic: Clinic) -> None:
    """Not even locked: this runs in every check-in."""
    (patient,) = await add_patients(database, clinic, 1)
    bare = replace(ROW, instrument="gad-7", **CHANGES)
    await reconcile(database, clinic, {patient: [ROW, bare]})
    stored, written = await reconcile(database, clinic, {patient: [bare, ROW]})
    assert (len(stored), written) == (2, 0)
    assert await reconcile(database, clinic, {}) == (stored, 0)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_difference_in_any_column_is_stored(database: Database, clinic: Clinic, name: str) -> None:
    """There and back, null included."""
    (patient,) = await add_patients(database, clinic, 1)
    changed = replace(ROW, **{name: CHANGES[name]})
    for row in (ROW, changed, ROW):
        stored, written = await reconcile(database, clinic, {patient: [row]})
        assert stored == {(patient, "phq-9"): row}
        assert written > 0


async def test_another_clinic_cannot_be_written_to(database: Database, clinic: Clinic, other_clinic: Clinic) -> None:
    """A transaction of one clinic neither writes nor deletes another's rows, whatever it names."""
    (patient,) = await add_patients(database, other_clinic, 1)
    await reconcile(database, other_clinic, {patient: [ROW]})
    async with database.connection(clinic.clinic_id) as connection:
        await reconcile_standings(connection, other_clinic.clinic_id, {patient: []})
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.connection(clinic.clinic_id) as connection:
            await reconcile_standings(connection, other_clinic.clinic_id, {patient: [ROW]})
    stored, _ = await reconcile(database, other_clinic, {})
    assert stored == {(patient, "phq-9"): ROW}


def test_the_row_has_the_columns_of_the_table() -> None:
    """All but whose it is; a new column cannot be forgotten here."""
    assert {"clinic_id", "patient_id", *StandingRow.__slots__} == set(Standing.model_fields)
    assert set(CHANGES) | {"instrument"} == set(get_type_hints(StandingRow))


async def test_a_course_becomes_a_row_that_is_stored_as_it_is(database: Database, clinic: Clinic) -> None:
    """What the pure core found, with ids for forms and null for what there is none of."""
    instrument, opened = get_instrument("phq-9"), NOON - timedelta(days=60)
    forms = [
        Point(str(UUID(int=number)), opened + timedelta(days=7 * number), total, Validity.VALID)
        for number, total in enumerate((18, 17, 9), start=1)
    ]
    dose = Dose(str(UUID(int=9)), opened + timedelta(days=10))
    episode = Episode(str(UUID(int=8)), opened, None, (dose,))
    baseline = choose_baseline(forms, BaselineRule.PRE_TREATMENT, first_dose_at=dose.started_at)
    found = standing(instrument, forms, [dose], baseline)
    assert found is not None
    row = standing_row(instrument, episode, found)
    assert asdict(row) == {
        "instrument": "phq-9",
        "episode_id": UUID(int=8),
        "assessment_id": UUID(int=3),
        "taken_at": forms[2].at,
        "validity": "valid",
        "total": 9,
        "severity": "mild",
        "change_since_last": -8,
        "baseline_id": UUID(int=1),
        "baseline_rule": "pre_treatment",
        "baseline_total": 18,
        "change": -9,
        "percent_change": -50.0,
        "category": "recovered",
        "on_track": True,
        "on_track_reason": "improved_in_time",
        "forms": 3,
        "doses": 1,
        "last_dose_at": dose.started_at,
    }
    without = standing(instrument, forms[:1], [], choose_baseline((), BaselineRule.PRE_TREATMENT))
    assert without is not None
    bare = standing_row(instrument, None, without)
    assert (bare.episode_id, bare.baseline_id, bare.baseline_total, bare.category) == (None, None, None, None)
    assert (bare.baseline_rule, bare.on_track_reason, bare.last_dose_at) == ("pre_treatment", "no_baseline", None)
    (patient,) = await add_patients(database, clinic, 1)
    stored, _ = await reconcile(database, clinic, {patient: [row]})
    assert stored == {(patient, "phq-9"): row}
