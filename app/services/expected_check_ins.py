"""The check-ins that are expected: made, moved, withdrawn and filled as the record says, whatever order it came in."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import asyncpg

from app.scoring.schedule import Expected, expected_check_ins
from app.scoring.schedule_matching import DueStatus, Form, due_status, match
from app.services.patient_treatments import PatientTreatment, PlannedEpisode

NAMESPACE: Final = UUID("d5f34d0f-6f0e-4a64-9d53-3a8f7a1c9b02")  # of the ids made of episode and key; never changed

_COLUMNS: Final[Mapping[str, str]] = {
    "id": "uuid",
    "patient_id": "uuid",
    "episode_id": "uuid",
    "key": "text",
    "code": "text",
    "instrument": "text",
    "treatment_session_id": "uuid",
    "target_at": "timestamptz",
    "opens_at": "timestamptz",
    "overdue_at": "timestamptz",
    "closes_at": "timestamptz",
    "remind_at": "timestamptz",
    "assessment_id": "uuid",
    "answered_at": "timestamptz",
}
_NAMES: Final = ", ".join(_COLUMNS)
_STORED: Final = f"SELECT {_NAMES} FROM expected_check_in WHERE clinic_id = $1 AND patient_id = ANY($2::uuid[])"
_PUT: Final = f"""
INSERT INTO expected_check_in (clinic_id, {_NAMES})
SELECT $1, * FROM unnest({", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_COLUMNS.values(), start=2))})
ON CONFLICT (clinic_id, id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in list(_COLUMNS)[1:])}
"""
_WITHDRAW: Final = "DELETE FROM expected_check_in WHERE clinic_id = $1 AND id = ANY($2::uuid[])"

Row = tuple[Any, ...]  # in the order of the columns


@dataclass(frozen=True, slots=True)
class FilledForm:
    """The current version of a form that was not entered in error."""

    id: UUID
    instrument: str  # id without version
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class ExpectedState:
    """One expected check-in and how it stands. Its key is told apart from those of other episodes of the patient."""

    id: UUID
    episode_id: UUID
    expected: Expected
    status: DueStatus


@dataclass(frozen=True, slots=True)
class _Wanted:
    id: UUID
    episode_id: UUID
    key: str  # within the episode
    expected: Expected


async def reconcile_expected(
    connection: asyncpg.Connection,
    clinic_id: UUID,
    patients: Collection[UUID],
    treatments: Mapping[UUID, PatientTreatment],
    forms: Mapping[UUID, Sequence[FilledForm]],
    now: datetime,
) -> dict[UUID, tuple[ExpectedState, ...]]:
    """Brings the stored rows in line with the record, and says how each stands now; at most three statements.

    A patient without any schedule never had a row, because schedules are not taken away but emptied: nothing is read
    for them. The caller holds the patients' locks.
    """
    planned = [patient for patient in patients if patient in treatments]
    if not planned:
        return {}
    rows: list[Row] = []
    states: dict[UUID, tuple[ExpectedState, ...]] = {}
    for patient in planned:
        wanted = _wanted(treatments[patient])
        filled = _filled(wanted, forms.get(patient, ()))
        rows += [_row(patient, one, filled.get(one.expected.key)) for one in wanted]
        states[patient] = tuple(_state(one, filled.get(one.expected.key), now) for one in wanted)
    await _store_differences(connection, clinic_id, planned, rows)
    return states


def _wanted(treatment: PatientTreatment) -> list[_Wanted]:
    """Of all episodes, in order of opening."""
    found = [one for episode in treatment.episodes for one in _wanted_in(episode, treatment)]
    return sorted(found, key=lambda one: (one.expected.opens_at, one.expected.key))


def _wanted_in(episode: PlannedEpisode, treatment: PatientTreatment) -> Iterator[_Wanted]:
    for expected in expected_check_ins(
        episode.entries, episode.opened_at, episode.sessions, treatment.zones, episode.quiet
    ):
        unique = f"{episode.id}:{expected.key}"
        yield _Wanted(uuid5(NAMESPACE, unique), episode.id, expected.key, replace(expected, key=unique))


def _filled(wanted: Sequence[_Wanted], forms: Sequence[FilledForm]) -> dict[str, FilledForm]:
    """By key; matched over all episodes at once, so that no form counts in two of them."""
    by_id = {str(form.id): form for form in forms}
    matched = match(
        [one.expected for one in wanted], [Form(id_, form.instrument, form.taken_at) for id_, form in by_id.items()]
    )
    return {key: by_id[form.id] for key, form in matched.items()}


def _row(patient: UUID, wanted: _Wanted, form: FilledForm | None) -> Row:
    expected = wanted.expected
    return (
        wanted.id,
        patient,
        wanted.episode_id,
        wanted.key,
        expected.code,
        expected.instrument,
        None if expected.session_id is None else UUID(expected.session_id),
        expected.target_at,
        expected.opens_at,
        expected.overdue_at,
        expected.closes_at,
        expected.remind_at,
        None if form is None else form.id,
        None if form is None else form.taken_at,
    )


def _state(wanted: _Wanted, form: FilledForm | None, now: datetime) -> ExpectedState:
    answered_at = None if form is None else form.taken_at
    return ExpectedState(wanted.id, wanted.episode_id, wanted.expected, due_status(wanted.expected, answered_at, now))


async def _store_differences(
    connection: asyncpg.Connection, clinic_id: UUID, patients: Sequence[UUID], rows: Sequence[Row]
) -> None:
    stored = {row["id"]: tuple(row) for row in await connection.fetch(_STORED, clinic_id, patients)}
    if changed := [row for row in rows if stored.get(row[0]) != row]:
        await connection.execute(_PUT, clinic_id, *(list(column) for column in zip(*changed, strict=True)))
    if gone := stored.keys() - {row[0] for row in rows}:
        await connection.execute(_WITHDRAW, clinic_id, list(gone))
