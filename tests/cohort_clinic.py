"""Invented people with a course each, put into a clinic directly: so many would take minutes through the API."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID, uuid4

from app.db import Database

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
KETAMINE = "ketamine_assisted_psychotherapy"


@dataclass
class Invented:
    """One person: days are counted from the first dose."""

    first_dose_at: datetime = START
    doses: tuple[float, ...] = (0,)
    forms: dict[str, list[tuple[float, float | None]]] = field(default_factory=dict)  # day and total, by instrument
    modality: str = KETAMINE
    route: str = "intravenous"
    dose_mg: float = 35
    closed_on: float | None = None
    next_opened_on: float | None = None
    events: tuple[tuple[int, str, bool], ...] = ()  # place of the dose, term, serious
    preparations: int = 0
    consents: bool = True  # to research

    def at(self, day: float) -> datetime:
        return self.first_dose_at + timedelta(days=day)


def invented(number: int, seed: int = 1) -> Invented:
    """Somebody of whom some things are missing, as with most people."""
    draw = Random(f"{seed} {number}")  # noqa: S311  # the same people at every run, no secret
    before, after = draw.randint(8, 24), draw.random()
    days = [day for day in (1, 7, 14, 28, 56, 91, 182) if draw.random() < 0.8]
    phq_9: list[tuple[float, float | None]] = [
        (day + draw.uniform(-0.2, 1), None if draw.random() < 0.05 else round(before * draw.uniform(after, 1)))
        for day in days
    ]
    phq_9 += [(-2, before)] if draw.random() < 0.9 else []
    gad_7: list[tuple[float, float | None]] = [(-2, draw.randint(3, 18)), (draw.randint(7, 60), draw.randint(0, 15))]
    doses = tuple(7.0 * place for place in range(draw.choice((1, 1, 2, 3, 6))))
    closed_on = draw.choice((None, 90.0, 120.0))
    return Invented(
        first_dose_at=START + timedelta(days=draw.randint(0, 120), minutes=number),
        doses=doses,
        forms={"phq-9": phq_9, "gad-7": gad_7 if draw.random() < 0.8 else []},
        route=draw.choice(("intravenous", "sublingual")),
        dose_mg=draw.choice((35, 60, 200)),
        closed_on=closed_on,
        next_opened_on=None if closed_on is None or draw.random() < 0.7 else closed_on + 20,
        events=tuple((place, "nausea", draw.random() < 0.1) for place in range(len(doses)) if draw.random() < 0.4),
        preparations=draw.choice((0, 1, 2)),
    )


async def settle(database: Database, clinic_id: UUID, people: Sequence[Invented]) -> None:
    async with database.connection(clinic_id) as connection:
        for one in people:
            patient, episode = uuid4(), uuid4()
            await connection.execute(_PATIENT, clinic_id, patient)
            await connection.executemany(_CONSENT, [(clinic_id, patient, uuid4())] * one.consents)
            closed_at = None if one.closed_on is None else one.at(one.closed_on)
            await connection.execute(_EPISODE, clinic_id, patient, episode, one.modality, one.at(-7), closed_at)
            if one.next_opened_on is not None:
                opened_at = one.at(one.next_opened_on)
                await connection.execute(_EPISODE, clinic_id, patient, uuid4(), one.modality, opened_at, None)
            doses = [uuid4() for _ in one.doses]
            await connection.executemany(
                _DOSE,
                [
                    (clinic_id, patient, episode, id_, one.at(day), one.route, one.dose_mg)
                    for id_, day in zip(doses, one.doses, strict=True)
                ],
            )
            await connection.executemany(
                _PREPARATION, [(clinic_id, patient, episode, uuid4(), one.at(-3))] * (one.preparations > 0)
            )
            await connection.executemany(
                _FORM,
                [
                    (clinic_id, patient, uuid4(), instrument, total, one.at(day))
                    for instrument, forms in one.forms.items()
                    for day, total in forms
                ],
            )
            await connection.executemany(
                _EVENT, [(clinic_id, patient, uuid4(), doses[place], term, bad) for place, term, bad in one.events]
            )


_PATIENT = "INSERT INTO patient (clinic_id, id, created_at) VALUES ($1, $2, now())"
_CONSENT = """
INSERT INTO consent (clinic_id, id, version, recorded_at, recorded_by, patient_id, purpose, how,
    given_at, given_at_offset_minutes)
VALUES ($1, $3, 1, now(), $1, $2, 'research', 'signed', '2025-12-01', 0)
"""
_EPISODE = """
INSERT INTO episode (clinic_id, id, version, recorded_at, recorded_by, patient_id, modality, opened_at,
    opened_at_offset_minutes, closed_at, closed_at_offset_minutes, entered_in_error)
VALUES ($1, $3, 1, now(), $1, $2, $4, $5, 0, $6, CASE WHEN $6::timestamptz IS NULL THEN NULL ELSE 0 END, false)
"""
_DOSE = """
INSERT INTO treatment_session (clinic_id, id, version, recorded_at, recorded_by, patient_id, episode_id, kind, status,
    scheduled_at, scheduled_at_offset_minutes, moved, started_at, started_at_offset_minutes, setting, "group",
    medicine, route, dose_mg, entered_in_error)
VALUES ($1, $4, 1, now(), $1, $2, $3, 'dosing', 'done', $5, 0, false, $5, 0, 'clinic', false, 'ketamine_racemic', $6,
    $7, false)
"""
_PREPARATION = """
INSERT INTO treatment_session (clinic_id, id, version, recorded_at, recorded_by, patient_id, episode_id, kind, status,
    scheduled_at, scheduled_at_offset_minutes, moved, started_at, started_at_offset_minutes, setting, "group",
    entered_in_error)
VALUES ($1, $4, 1, now(), $1, $2, $3, 'preparation', 'done', $5, 0, false, $5, 0, 'clinic', false, false)
"""
_FORM = """
INSERT INTO assessment (clinic_id, id, version, patient_id, instrument, instrument_version, responses, validity, total,
    taken_at, taken_at_offset_minutes, received_at, mode, language, status, recorded_by, fingerprint)
VALUES ($1, $3, 1, $2, $4, 1, '{0,0,0,0,0,0,0,0,0}', CASE WHEN $5::float8 IS NULL THEN 'incomplete' ELSE 'valid' END,
    $5, $6, 0, $6, 'self', 'en', 'final', $1, '\\x5a')
"""
_EVENT = """
INSERT INTO adverse_event (clinic_id, id, version, recorded_at, recorded_by, patient_id, treatment_session_id, term,
    severity, serious, onset_at, onset_at_offset_minutes, entered_in_error)
VALUES ($1, $3, 1, now(), $1, $2, $4, $5, 'mild', $6, now(), 0, false)
"""
