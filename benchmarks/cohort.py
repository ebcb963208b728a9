"""A clinic that research is made of: people who consent, courses of treatment, and any number of scored forms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Final
from uuid import UUID

from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.ids import new_id
from app.schemas.releases import ReleaseCreate
from app.scoring import get_instrument, score
from app.synthetic.stream import forms_stream
from benchmarks.stage import add_patients, new_clinic

FORMS_OF_A_PERSON: Final = 100
START: Final = datetime(2025, 1, 6, tzinfo=UTC)  # of the year over which the forms are spread
INSTRUMENTS: Final = ("phq-9", "pcl-5-week", "gad-7")
_AT_ONCE: Final = 20_000  # forms of a statement

# Every number divides by another prime, so that all combinations occur and every run has the same clinic.
_FILL: Final = (
    """
INSERT INTO consent (clinic_id, id, version, recorded_at, recorded_by, patient_id, purpose, how, given_at,
    given_at_offset_minutes)
SELECT $1::uuid, patient, 1, now(), $1, patient, 'research', 'signed', $3::timestamptz, 0
FROM unnest($2::uuid[]) AS patient
""",
    """
INSERT INTO episode (clinic_id, id, version, recorded_at, recorded_by, patient_id, modality, opened_at,
    opened_at_offset_minutes, entered_in_error)
SELECT $1::uuid, patient, 1, now(), $1, patient,
    (ARRAY['ketamine_assisted_psychotherapy', 'ketamine_assisted_psychotherapy', 'medication'])[1 + n % 3],
    $3::timestamptz + n % 5 * interval '4 days', 0, false
FROM unnest($2::uuid[]) WITH ORDINALITY AS each (patient, n)
""",
    """
INSERT INTO treatment_session (clinic_id, id, version, recorded_at, recorded_by, patient_id, episode_id, kind, status,
    scheduled_at, scheduled_at_offset_minutes, moved, started_at, started_at_offset_minutes, setting, "group",
    medicine, route, dose_mg, entered_in_error)
SELECT $1::uuid, md5(patient::text || dose)::uuid, 1, now(), $1, patient, patient, 'dosing', 'done',
    at, 0, false, at, 0, 'clinic', false, 'ketamine_racemic',
    (ARRAY['intramuscular', 'intravenous', 'sublingual'])[1 + n % 7 % 3], 35 + n % 11 * 5, false
FROM unnest($2::uuid[]) WITH ORDINALITY AS each (patient, n), generate_series(0, 2) AS dose,
    LATERAL (SELECT $3::timestamptz + interval '30 days' + n % 53 * interval '31 hours' + dose * interval '7 days')
        AS given (at)
""",
)
_ADD_FORMS: Final = """
INSERT INTO assessment (clinic_id, id, version, patient_id, instrument, instrument_version, responses, validity, total,
    taken_at, taken_at_offset_minutes, received_at, mode, language, status, recorded_by, fingerprint)
SELECT $1::uuid, id, 1, patient, instrument, 1, responses::smallint[], validity, total, at, 0, at, 'self', 'en',
    'final', $1, '\\x5a'
FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::timestamptz[])
    AS form (id, patient, instrument, responses, validity, total, at)
"""
_ADD_RELEASE: Final = """
INSERT INTO release (clinic_id, id, status, request, requested_at, requested_by, decided_at, decided_by, expires_at,
    attempts, persons_read, rows_written)
VALUES ($1, $2, 'approved', $3, now(), $1, now(), $2, now() + interval '1 day', 0, 0, 0)
"""


@dataclass(frozen=True, slots=True)
class Cohort:
    clinic_id: UUID
    patients: tuple[UUID, ...]
    forms: int


async def fill(address: PostgresAddress, forms: int, people: int | None = None) -> Cohort:
    """A clinic with so many forms, in the order they came; the same whenever it is made, but for ids."""
    people = people or max(1, forms // FORMS_OF_A_PERSON)
    async with new_clinic(address, "Research") as clinic:
        births = ({"date_of_birth": f"{1950 + n * 7 % 53}-0{1 + n % 9}-11"} for n in range(people))
        patients = await add_patients(clinic, births)
        for statement in _FILL:
            await clinic.connection.execute(statement, clinic.id, patients, START)
        coming = _forms(patients, forms)
        while some := list(islice(coming, _AT_ONCE)):
            await clinic.connection.execute(_ADD_FORMS, clinic.id, *map(list, zip(*some, strict=True)))
    return Cohort(clinic.id, patients, forms)


async def add_release(database: Database, cohort: Cohort, asked: ReleaseCreate) -> UUID:
    """Asked for, approved, and waiting for whoever builds it."""
    release_id = new_id()
    async with database.connection(cohort.clinic_id) as connection:
        await connection.execute(_ADD_RELEASE, cohort.clinic_id, release_id, asked.model_dump_json())
    return release_id


def _forms(patients: Sequence[UUID], count: int) -> Iterator[tuple[Any, ...]]:
    for form in forms_stream(1, count, start=START, patients=len(patients)):
        told = _scored(form.instrument, form.responses)
        at = form.taken_at + timedelta(seconds=form.patient_index % 60)
        yield new_id(), patients[form.patient_index], form.instrument, *told, at


@lru_cache(maxsize=200_000)
def _scored(instrument: str, responses: tuple[int | None, ...]) -> tuple[str, str, float | None]:
    found = score(get_instrument(instrument), responses)
    stored = ",".join("NULL" if answer is None else str(answer) for answer in responses)
    return f"{{{stored}}}", found.validity.value, None if found.total is None else float(found.total)
