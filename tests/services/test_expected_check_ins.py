"""Expected check-ins follow from the record: made, moved, withdrawn, filled, whatever order things came in."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.db import Database
from app.ids import new_id
from app.scoring.schedule import After, Anchor, PlanEntry, QuietHours, Repeat, Window, ZoneFrom
from app.scoring.schedule_matching import DueStatus
from app.services.derivation import rederive
from app.services.expected_check_ins import FilledForm, reconcile_expected
from app.services.patient_treatments import PatientTreatment, PlannedEpisode, find_treatments
from tests.api.schedules import DAY_AFTER, WEEKLY, expected_rows, fill, plan, put
from tests.api.treatment import add_episode, add_session, patch
from tests.conftest import Api

pytestmark = pytest.mark.anyio

BEFORE_SWITCH = datetime(2025, 10, 25, 10, tzinfo=UTC)  # noon in Berlin; that night has an hour more
OPENED = "2025-09-01T09:00:00+02:00"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def episode_of(api: Api, patient: str | None = None) -> tuple[str, str]:
    episode = await add_episode(api, patient, opened_at=OPENED)
    return episode["patient_id"], episode["id"]


async def dose(api: Api, episode: str, at: datetime = BEFORE_SWITCH, **changes: Any) -> str:
    started = at.isoformat()
    times = {"scheduled_at": started, "started_at": started, "ended_at": None}
    return str((await add_session(api, episode, **times | changes))["id"])


async def change(api: Api, path: str, version: int = 1, **body: Any) -> None:
    answer = await patch(api, path, body | {"reason": "a slip"}, version)
    assert answer.status_code == 200, answer.text


async def void(api: Api, form: str) -> None:
    answer = await api.http.post(
        f"/v1/assessments/{form}/void", json={"reason": "of another person"}, headers={"If-Match": '"1"'}
    )
    assert answer.status_code == 200, answer.text


async def travel(api: Api, patient: str, version: int, zone: str, at: datetime) -> None:
    body = {"time_zone": zone, "time_zone_from": at.isoformat()}
    await change(api, f"/v1/patients/{patient}", version, **body)


# --- Sessions ---------------------------------------------------------------------------------------------------------


async def test_a_session_makes_moves_and_withdraws_what_is_expected(api: Api, database: Database) -> None:
    """The row keeps its id when the session moves, goes when it is cancelled, and never asks twice."""
    patient, episode = await episode_of(api)
    await plan(api, episode, DAY_AFTER)
    assert await expected_rows(database, api, patient) == []
    session = await dose(api, episode)
    (made,) = await expected_rows(database, api, patient)
    assert made["target_at"] == BEFORE_SWITCH + timedelta(hours=24)
    assert str(made["treatment_session_id"]) == session
    later = BEFORE_SWITCH + timedelta(days=2)
    path = f"/v1/treatment-sessions/{session}"
    await change(api, path, scheduled_at=later.isoformat(), started_at=later.isoformat())
    (moved,) = await expected_rows(database, api, patient)
    assert (moved["id"], moved["target_at"]) == (made["id"], later + timedelta(hours=24))
    await change(api, path, 2, status="cancelled", started_at=None)
    assert await expected_rows(database, api, patient) == []


async def test_a_planned_session_is_counted_from_until_it_is_held(api: Api, database: Database) -> None:
    """First where it is planned, then where it began."""
    patient, episode = await episode_of(api)
    await plan(api, episode, DAY_AFTER)
    session = await dose(api, episode, status="planned", started_at=None)
    (planned,) = await expected_rows(database, api, patient)
    began = BEFORE_SWITCH + timedelta(hours=1)
    await change(api, f"/v1/treatment-sessions/{session}", status="done", started_at=began.isoformat())
    (held,) = await expected_rows(database, api, patient)
    assert planned["target_at"] == BEFORE_SWITCH + timedelta(hours=24)
    assert (held["id"], held["target_at"]) == (planned["id"], began + timedelta(hours=24))


async def test_what_was_entered_in_error_asks_for_nothing(api: Api, database: Database) -> None:
    """A session first; then the episode, with what is counted from its opening."""
    patient, episode = await episode_of(api)
    opening = WEEKLY | {"code": "opening", "anchor": "episode", "repeat": None}
    await plan(api, episode, DAY_AFTER, opening)
    session = await dose(api, episode)
    assert [row["code"] for row in await expected_rows(database, api, patient)] == ["opening", "day-after"]
    await change(api, f"/v1/treatment-sessions/{session}", entered_in_error=True)
    assert [row["code"] for row in await expected_rows(database, api, patient)] == ["opening"]
    await change(api, f"/v1/episodes/{episode}", entered_in_error=True)
    assert await expected_rows(database, api, patient) == []


async def test_only_doses_count(api: Api, database: Database) -> None:
    """Preparation and integration ask for nothing; doses are numbered apart."""
    patient, episode = await episode_of(api)
    await plan(api, episode, DAY_AFTER)
    await dose(api, episode, kind="integration", medicine=None, route=None, dose_mg=None, weight_kg=None)
    doses = [await dose(api, episode, BEFORE_SWITCH + timedelta(days=day)) for day in (7, 0)]
    rows = await expected_rows(database, api, patient)
    assert [str(row["treatment_session_id"]) for row in rows] == doses[::-1]


async def test_order_of_arrival_changes_nothing(api: Api, database: Database) -> None:
    """Form, dose and schedule in any order end in the same rows, but for their names."""
    ends = []
    for order in ("dps", "spd", "psd"):
        patient, episode = await episode_of(api)
        for step in order:
            if step == "d":
                await dose(api, episode)
            elif step == "p":
                await plan(api, episode, DAY_AFTER, WEEKLY)
            else:
                await fill(api, patient, BEFORE_SWITCH + timedelta(hours=25))
        rows = await expected_rows(database, api, patient)
        ends.append([(row["code"], row["opens_at"], row["remind_at"], row["answered_at"]) for row in rows])
    assert ends[0] == ends[1] == ends[2]
    assert [code for code, *_ in ends[0]] == ["day-after"] + ["weekly"] * 4
    assert ends[0][0][-1] == BEFORE_SWITCH + timedelta(hours=25)


async def test_an_emptied_schedule_asks_for_nothing_more(api: Api, database: Database) -> None:
    """What was expected goes; a later schedule brings the same rows back."""
    patient, episode = await episode_of(api)
    await plan(api, episode, DAY_AFTER)
    await dose(api, episode)
    before = await expected_rows(database, api, patient)
    assert (await put(api, episode, {"entries": [], "reason": "asked to stop"}, 1)).status_code == 200
    assert await expected_rows(database, api, patient) == []
    assert (await put(api, episode, {"entries": [DAY_AFTER], "reason": "goes on"}, 2)).status_code == 200
    assert await expected_rows(database, api, patient) == before


# --- Clocks -----------------------------------------------------------------------------------------------------------


async def test_hours_are_elapsed_and_days_are_of_the_calendar(api: Api, database: Database) -> None:
    """Over the weekend in which Berlin sets its clocks back: 24 hours is 11 o'clock, one day is noon."""
    patient, episode = await episode_of(api)
    window = DAY_AFTER["window"]
    by_day = DAY_AFTER | {"code": "by-day", "instrument": "pcl-5-week", "after": {"days": 1}, "window": window}
    await plan(api, episode, DAY_AFTER, by_day)
    await dose(api, episode)
    rows = {row["code"]: row for row in await expected_rows(database, api, patient)}
    assert rows["day-after"]["target_at"] == BEFORE_SWITCH + timedelta(hours=24)
    assert rows["by-day"]["target_at"] == BEFORE_SWITCH + timedelta(hours=25)
    assert rows["by-day"]["closes_at"] == BEFORE_SWITCH + timedelta(hours=49)


async def test_nine_in_the_morning_is_where_the_patient_is(api: Api, database: Database) -> None:
    """From the day of a journey on; the weeks before it stay where they were. A correction of it holds."""
    patient, episode = await episode_of(api)
    await plan(api, episode, WEEKLY)
    await dose(api, episode)
    home = [row["target_at"] for row in await expected_rows(database, api, patient)]
    assert [at.hour for at in home] == [8, 8, 8, 8]  # winter in Berlin
    journey = BEFORE_SWITCH + timedelta(days=18)
    await travel(api, patient, 1, "America/Denver", journey)
    away = [row["target_at"] for row in await expected_rows(database, api, patient)]
    assert [at.hour for at in away] == [8, 8, 16, 16]
    await travel(api, patient, 2, "Europe/London", journey)
    assert [row["target_at"].hour for row in await expected_rows(database, api, patient)] == [8, 8, 9, 9]


async def test_quiet_hours_are_the_schedules_else_the_clinics_else_ours(
    api: Api, admin: Api, database: Database
) -> None:
    """A form due at 22 o'clock in Berlin is reminded of at the end of the quiet hours in force."""
    patient, episode = await episode_of(api)
    late = WEEKLY | {"at": "22:00", "repeat": None}

    async def reminded() -> datetime:
        (row,) = await expected_rows(database, api, patient)
        at: datetime = row["remind_at"]
        return at

    await plan(api, episode, late)
    await dose(api, episode)
    night = datetime(2025, 11, 1, tzinfo=UTC)
    assert await reminded() == night + timedelta(hours=24 + 7)  # 8:00 of the next day
    await change(admin, "/v1/clinic", quiet_from="20:00", quiet_until="09:30")
    async with database.connection(api.clinic_id) as connection:
        await rederive(connection, api.clinic_id, [UUID(patient)], datetime.now(UTC))
    assert await reminded() == night + timedelta(hours=24 + 8.5)
    own = {"entries": [late], "quiet_hours": {"from": "23:00", "until": "23:00"}, "reason": "works at night"}
    assert (await put(api, episode, own, 1)).status_code == 200
    assert await reminded() == night + timedelta(hours=21)


# --- Forms ------------------------------------------------------------------------------------------------------------


async def test_a_form_fills_and_its_void_empties(api: Api, database: Database) -> None:
    """By its own time, not by when it came; another instrument fills nothing."""
    patient, episode = await episode_of(api)
    await plan(api, episode, DAY_AFTER)
    await dose(api, episode)
    at = BEFORE_SWITCH + timedelta(hours=30)
    await fill(api, patient, at, "pcl-5-week")
    (empty,) = await expected_rows(database, api, patient)
    assert (empty["assessment_id"], empty["answered_at"]) == (None, None)
    form = await fill(api, patient, at)
    (filled,) = await expected_rows(database, api, patient)
    assert (str(filled["assessment_id"]), filled["answered_at"]) == (form, at)
    await void(api, form)
    assert await expected_rows(database, api, patient) == [empty]


async def test_a_form_fills_one_of_two_episodes(api: Api, database: Database) -> None:
    """It counts once; a second form fills the other."""
    patient, first = await episode_of(api)
    _, second = await episode_of(api, patient)
    for number, episode in enumerate((first, second)):
        await plan(api, episode, DAY_AFTER)
        await dose(api, episode, BEFORE_SWITCH + timedelta(hours=number))
    nearest = await fill(api, patient, BEFORE_SWITCH + timedelta(hours=24))
    rows = await expected_rows(database, api, patient)
    assert [str(row["episode_id"]) for row in rows] == [first, second]
    assert [row["assessment_id"] for row in rows] == [UUID(nearest), None]
    await fill(api, patient, BEFORE_SWITCH + timedelta(hours=26))
    assert all(row["assessment_id"] for row in await expected_rows(database, api, patient))


# --- Many at once -----------------------------------------------------------------------------------------------------

ENTRY = PlanEntry(
    code="daily",
    instrument="phq-9",
    anchor=Anchor.EPISODE,
    after=After(days=1),
    window=Window(-1, 1, 2),
    repeat=Repeat(every_days=1, times=10),
)
STORED_ENTRIES = json.dumps(
    [
        {
            "code": "daily",
            "instrument": "phq-9",
            "anchor": "episode",
            "after": {"days": 1},
            "window": {"opens_hours": -1, "overdue_hours": 1, "closes_hours": 2},
            "repeat": {"every_days": 1, "times": 10},
        }
    ]
)
ADD_EPISODES = """
INSERT INTO episode (clinic_id, id, version, recorded_at, recorded_by, patient_id, modality, opened_at,
                     opened_at_offset_minutes, entered_in_error)
SELECT $1, id, 1, now(), $1, id, 'other', $3, 0, false FROM unnest($2::uuid[]) id
"""
ADD_SCHEDULES = """
INSERT INTO schedule (clinic_id, id, version, recorded_at, recorded_by, patient_id, entries)
SELECT $1, id, 1, now(), $1, id, $3::jsonb FROM unnest($2::uuid[]) id
"""
NEVER_QUIET = QuietHours(time(0), time(0))


@contextmanager
def counted(connection: asyncpg.Connection) -> Iterator[list[str]]:
    """The statements sent; the driver tells of each at the next turn of the loop."""
    statements: list[str] = []
    with connection.query_logger(lambda record: statements.append(record.query)):
        yield statements


async def add_patients(connection: asyncpg.Connection, clinic_id: UUID, count: int) -> list[UUID]:
    patients = [new_id() for _ in range(count)]
    await connection.execute(
        "INSERT INTO patient (clinic_id, id, created_at) SELECT $1, unnest($2::uuid[]), now()", clinic_id, patients
    )
    return patients


async def test_two_thousand_rows_take_a_handful_of_statements(api: Api, database: Database) -> None:
    """200 patients at once, when all is new, when nothing has changed, and when everything moves and goes."""
    opened = datetime(2025, 9, 1, 9, tzinfo=UTC)
    async with database.connection(api.clinic_id) as connection:
        patients = await add_patients(connection, api.clinic_id, 200)
        await connection.execute(ADD_EPISODES, api.clinic_id, patients, opened)
        await connection.execute(ADD_SCHEDULES, api.clinic_id, patients, STORED_ENTRIES)
        forms = {patient: [FilledForm(new_id(), "phq-9", opened + timedelta(days=3))] for patient in patients}

        async def reconciled(**changes: Any) -> int:
            with counted(connection) as statements:
                treatments = await find_treatments(connection, api.clinic_id, patients)
                if changes:
                    treatments = {patient: moved(treatment, **changes) for patient, treatment in treatments.items()}
                states = await reconcile_expected(connection, api.clinic_id, patients, treatments, forms, NOW)
                await asyncio.sleep(0)
            assert states.keys() == set(patients)
            return len(statements)

        count = "SELECT count(*), count(assessment_id) FROM expected_check_in WHERE clinic_id = $1"
        assert await reconciled() == 5
        assert tuple(await connection.fetchrow(count, api.clinic_id)) == (2000, 200)
        assert await reconciled() == 4  # nothing to write
        assert await reconciled(opened_at=opened + timedelta(hours=1)) == 5
        assert tuple(await connection.fetchrow(count, api.clinic_id)) == (2000, 200)
        assert await reconciled(entries=()) == 5
        assert tuple(await connection.fetchrow(count, api.clinic_id)) == (0, 0)


def moved(treatment: PatientTreatment, **changes: Any) -> PatientTreatment:
    (episode,) = treatment.episodes
    names = ("id", "opened_at", "closed_at", "schedule_version", "entries", "quiet", "sessions")
    return PatientTreatment(
        (PlannedEpisode(**{name: changes.get(name, getattr(episode, name)) for name in names}),), treatment.zones
    )


async def test_patients_without_a_schedule_cost_one_statement(api: Api, database: Database) -> None:
    """The way of a check-in in a clinic that uses no schedules; one that does is not confused with them."""
    patient, episode = await episode_of(api)
    await dose(api, episode)
    planned, other = await episode_of(api)
    await plan(api, other, DAY_AFTER)
    async with database.connection(api.clinic_id) as connection:
        ids = [UUID(patient)]
        with counted(connection) as statements:
            treatments = await find_treatments(connection, api.clinic_id, ids)
            states = await reconcile_expected(connection, api.clinic_id, ids, treatments, {}, NOW)
            await asyncio.sleep(0)
        assert (treatments, states, len(statements)) == ({}, {}, 1)
        assert set(await find_treatments(connection, api.clinic_id, [*ids, UUID(planned)])) == {UUID(planned)}


async def test_the_record_can_be_asked_as_it_stood(api: Api, database: Database) -> None:
    """Schedule, sessions, episode and time zone as they were known at a time; all of them as they are without one."""
    patient, episode = await episode_of(api)
    known: list[datetime] = []

    async def stood(known_at: datetime | None) -> tuple[Any, ...] | None:
        async with database.connection(api.clinic_id) as connection:
            found = await find_treatments(connection, api.clinic_id, [UUID(patient)], known_at)
        if not found:
            return None
        ((planned,), zones) = (found[UUID(patient)].episodes, found[UUID(patient)].zones)
        times = [session.at for session in planned.sessions]
        return (
            planned.schedule_version,
            len(planned.entries),
            times,
            planned.opened_at.day,
            [zone.zone for zone in zones],
        )

    later, home = BEFORE_SWITCH + timedelta(days=1), ["Europe/Berlin"]
    known.append(datetime.now(UTC))
    await plan(api, episode, DAY_AFTER)
    known.append(datetime.now(UTC))
    session = await dose(api, episode)
    known.append(datetime.now(UTC))
    path = f"/v1/treatment-sessions/{session}"
    await change(api, path, scheduled_at=later.isoformat(), started_at=later.isoformat())
    await travel(api, patient, 1, "America/Denver", BEFORE_SWITCH)
    known.append(datetime.now(UTC))
    await put(api, episode, {"entries": [DAY_AFTER, WEEKLY], "reason": "more"}, 1)
    await change(api, f"/v1/episodes/{episode}", opened_at="2025-09-02T09:00:00+02:00")
    assert [await stood(at) for at in (*known, None)] == [
        None,
        (1, 1, [], 1, home),
        (1, 1, [BEFORE_SWITCH], 1, home),
        (1, 1, [later], 1, [*home, "America/Denver"]),
        (2, 2, [later], 2, [*home, "America/Denver"]),
    ]


async def test_states_say_how_each_check_in_stands(api: Api, database: Database) -> None:
    """In order of opening, with the id of its row; keys of two episodes differ."""
    opened = datetime(2025, 9, 1, 9, tzinfo=UTC)
    episodes = tuple(
        PlannedEpisode(new_id(), opened + timedelta(minutes=part), None, 1, (ENTRY,), NEVER_QUIET, ())
        for part in (0, 30)
    )
    treatment = PatientTreatment(episodes, (ZoneFrom(None, "UTC"),))
    form = FilledForm(new_id(), "phq-9", opened + timedelta(days=1, hours=1, minutes=10))
    now = opened + timedelta(days=2)
    async with database.connection(api.clinic_id) as connection:
        (patient,) = await add_patients(connection, api.clinic_id, 1)
        found = await reconcile_expected(
            connection, api.clinic_id, [patient], {patient: treatment}, {patient: [form]}, now
        )
        rows = await connection.fetch(
            "SELECT id, key FROM expected_check_in WHERE clinic_id = $1 ORDER BY opens_at, key", api.clinic_id
        )
    states = found[patient]
    assert [state.id for state in states] == [row["id"] for row in rows]
    assert {row["key"] for row in rows} == {f"daily/episode/{n}" for n in range(1, 11)}
    assert len({state.expected.key for state in states}) == 20
    assert [state.status for state in states[:5]] == [
        DueStatus.MISSED,
        DueStatus.RECEIVED,
        DueStatus.DUE,
        DueStatus.DUE,
        DueStatus.UPCOMING,
    ]
