"""A clinic of some hundreds of invented people, stored as the service stores them, and all that is true of them.

Put into the database directly: so many would take minutes through the API.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID, uuid4

from app.db import Database
from app.scoring.registry import get_instrument
from app.scoring.score import score
from app.services.data_keys import get_keys
from app.services.sealing import place, seal_text
from app.synthetic import SyntheticForm, SyntheticPatient, synthetic_patients

FIRST_DAY: Final = date(2023, 1, 2)
LOOKED_AT: Final = datetime(2025, 10, 1, tzinfo=UTC)
WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Form:
    """As it stands now; `version` 2 was corrected, and a voided one stands no more."""

    id: UUID
    instrument: str
    taken_at: datetime
    responses: tuple[int | None, ...]
    total: float | None
    validity: str
    version: int
    voided: bool


@dataclass(frozen=True, slots=True)
class Session:
    """One that was held."""

    id: UUID
    kind: str
    started_at: datetime
    dose_mg: int | None


@dataclass(frozen=True, slots=True)
class Person:
    """All that is true of somebody. A friend knows some of it."""

    id: UUID
    name: str
    external_ref: str
    born_on: date
    modality: str
    medicine: str
    route: str
    opened_at: datetime
    closed_at: datetime | None
    sessions: tuple[Session, ...]
    forms: tuple[Form, ...]
    consents: bool

    @property
    def first_dose(self) -> Session | None:
        return min((one for one in self.sessions if one.kind == "dosing"), key=lambda one: one.started_at, default=None)

    @property
    def may_be_in(self) -> bool:
        return self.consents and self.first_dose is not None

    @property
    def dosed_at(self) -> datetime:
        assert self.first_dose is not None
        return self.first_dose.started_at

    def week(self, at: datetime) -> int:
        return (at - self.dosed_at) // WEEK

    @property
    def age(self) -> int:
        """At the first dose."""
        day = self.dosed_at.date()
        return day.year - self.born_on.year - ((day.month, day.day) < (self.born_on.month, self.born_on.day))

    def standing(self, instruments: Sequence[str]) -> list[Form]:
        return [form for form in self.forms if form.instrument in instruments and not form.voided]


def people(number: int, seed: int = 1) -> list[Person]:
    """The same at every run but for their ids."""
    patients = synthetic_patients(seed, number, start=FIRST_DAY, now=LOOKED_AT)
    return [_person(place_, patient) for place_, patient in enumerate(patients)]


def _person(number: int, patient: SyntheticPatient) -> Person:
    draw = Random(f"research {number}")  # noqa: S311  # the same people at every run, no secret
    held = [one for one in patient.episode.treatment_sessions if one.started_at is not None]
    routes = [one.route for one in held if one.route is not None]
    return Person(
        id=uuid4(),
        name=f"Zebulon{number:04}Quince",
        external_ref=f"chart-{draw.randrange(10**9):09}",
        born_on=FIRST_DAY - timedelta(days=365 * 18 + int(draw.triangular(0, 365 * 75, 365 * 22))),
        modality=patient.episode.modality,
        medicine="esketamine" if draw.random() < 0.2 else "ketamine_racemic",
        route=routes[0] if routes else "oral",
        opened_at=patient.episode.opened_at,
        closed_at=patient.episode.closed_at,
        sessions=tuple(Session(uuid4(), one.kind, one.started_at, one.dose_mg) for one in held if one.started_at),
        forms=tuple(_form(draw, form) for form in patient.forms),
        consents=draw.random() < 0.93,
    )


def _form(draw: Random, form: SyntheticForm) -> Form:
    found = score(get_instrument(form.instrument), form.responses)
    changed = draw.random()
    return Form(
        uuid4(), form.instrument, form.taken_at, form.responses, found.total, found.validity.value,
        version=2 if changed < 0.03 else 1, voided=changed < 0.01,
    )  # fmt: skip


# --- Into the database ------------------------------------------------------------------------------------------------


async def settle(database: Database, clinic_id: UUID, persons: Sequence[Person]) -> None:
    async with database.connection(clinic_id) as connection:
        keys = await get_keys(connection, database.keys, clinic_id, [one.id for one in persons])
        sealed = []
        for one in persons:
            told = {"external_ref": one.external_ref, "name": one.name, "date_of_birth": one.born_on.isoformat()}
            home = place("patient", "identifiers", clinic_id, one.id)
            sealed.append((clinic_id, one.id, seal_text(keys[one.id], json.dumps(told), home)))
        await connection.executemany(_PATIENT, sealed)
        for statement, rows in (
            (_CONSENT, [(clinic_id, one.id, uuid4()) for one in persons if one.consents]),
            (_EPISODE, [row for one in persons for row in _episodes(clinic_id, one)]),
            (_SESSION, [row for one in persons for row in _sessions(clinic_id, one)]),
            (_FORM, [row for one in persons for row in _forms(clinic_id, one)]),
        ):
            await connection.executemany(statement, rows)


def _episodes(clinic_id: UUID, one: Person) -> Iterator[tuple[object, ...]]:
    yield clinic_id, one.id, _episode_id(one), one.modality, one.opened_at, one.closed_at


def _episode_id(one: Person) -> UUID:
    return UUID(int=one.id.int ^ 1)


def _sessions(clinic_id: UUID, one: Person) -> Iterator[tuple[object, ...]]:
    for session in one.sessions:
        dose = (one.medicine, one.route, session.dose_mg) if session.kind == "dosing" else (None, None, None)
        yield clinic_id, one.id, session.id, _episode_id(one), session.kind, session.started_at, *dose


def _forms(clinic_id: UUID, one: Person) -> Iterator[tuple[object, ...]]:
    """A corrected form was something else at first."""
    for form in one.forms:
        minutes = int((form.taken_at.utcoffset() or timedelta()).total_seconds() // 60)
        of = (clinic_id, one.id, form.id)
        first = (form.instrument, list(form.responses), form.validity, form.total, form.taken_at, minutes)
        if form.version == 2:
            at_first = (form.instrument, [0] * 9, "valid", 0, form.taken_at, minutes)
            yield *of, 1, *at_first, "final", None
        status = "entered_in_error" if form.voided else "final" if form.version == 1 else "amended"
        yield *of, form.version, *first, status, b"\x01" if form.version == 2 else None


_PATIENT: Final = "INSERT INTO patient (clinic_id, id, identifiers, created_at) VALUES ($1, $2, $3, now())"
_CONSENT: Final = """
INSERT INTO consent (clinic_id, id, version, recorded_at, recorded_by, patient_id, purpose, how, given_at,
    given_at_offset_minutes)
VALUES ($1, $3, 1, now(), $1, $2, 'research', 'signed', '2023-01-01', 0)
"""
_EPISODE: Final = """
INSERT INTO episode (clinic_id, id, version, recorded_at, recorded_by, patient_id, modality, opened_at,
    opened_at_offset_minutes, closed_at, closed_at_offset_minutes, entered_in_error)
VALUES ($1, $3, 1, now(), $1, $2, $4, $5, 0, $6, CASE WHEN $6::timestamptz IS NULL THEN NULL ELSE 0 END, false)
"""
_SESSION: Final = """
INSERT INTO treatment_session (clinic_id, id, version, recorded_at, recorded_by, patient_id, episode_id, kind, status,
    scheduled_at, scheduled_at_offset_minutes, moved, started_at, started_at_offset_minutes, setting, "group",
    medicine, route, dose_mg, entered_in_error)
VALUES ($1, $3, 1, now(), $1, $2, $4, $5, 'done', $6, 0, false, $6, 0, 'clinic', false, $7, $8, $9, false)
"""
_FORM: Final = """
INSERT INTO assessment (clinic_id, patient_id, id, version, instrument, instrument_version, responses, validity, total,
    taken_at, taken_at_offset_minutes, received_at, mode, language, status, reason, recorded_by, fingerprint)
VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $9, $10, $9, 'self', 'en', $11, $12, $1, '\\x5a')
"""
