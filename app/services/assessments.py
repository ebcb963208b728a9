"""Check-ins: the hot write, and reading single forms back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.db import Database, driver_connection
from app.errors import Fault, InvalidError, KeyReusedError, NotFoundError
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.assessments import AssessmentSubmit
from app.schemas.fields import offset_minutes
from app.scoring import ResponseError, UnknownInstrumentError, get_instrument, score
from app.scoring.episode import PlacedContext, place
from app.scoring.model import Instrument, Score
from app.services.clock import refuse_future_form
from app.services.histories import History, find_histories, history_from_json, history_sql
from app.services.idempotency import fingerprint
from app.services.versions import superseded
from app.tables import Assessment

# One statement is one round trip and one transaction. The clinic is bound by the first part, which the others read
# from, so that it is set before any policy is asked. A taken key or id writes nothing: who lost reads what is stored.
INSERT_ASSESSMENT: Final = f"""
WITH tenant AS MATERIALIZED (SELECT set_config('app.clinic_id', $1::text, true)::uuid AS clinic_id),
keyed AS (
    INSERT INTO idempotency_key (clinic_id, principal_id, key, fingerprint, resource_id, created_at)
    SELECT clinic_id, $14::uuid, $15::text, $13::bytea, $2::uuid, $10::timestamptz FROM tenant
    WHERE $15::text IS NOT NULL
    ON CONFLICT DO NOTHING RETURNING resource_id
), stored AS (
    INSERT INTO assessment (clinic_id, id, version, patient_id, instrument, instrument_version, responses, validity,
        total, taken_at, taken_at_offset_minutes, received_at, mode, language, status, reason, recorded_by, fingerprint)
    SELECT clinic_id, $2::uuid, 1, $3::uuid, $4::text, $5::smallint, $6::smallint[], $7::text,
        $8::float8, $9::timestamptz, $16::smallint, $10::timestamptz, $11::text, $12::text, 'final', NULL, $14::uuid,
        $13::bytea
    FROM tenant WHERE $15::text IS NULL OR EXISTS (SELECT FROM keyed)
    ON CONFLICT DO NOTHING RETURNING id
), audited AS (
    INSERT INTO audit_event (clinic_id, id, at, actor_id, actor_role, action, subject_id, resource_id)
    SELECT clinic_id, $17::uuid, $10::timestamptz, $14::uuid, $18::text, 'assessment.create', $3::uuid, stored.id
    FROM tenant, stored
)
SELECT (SELECT id FROM stored) AS stored_id, (
    SELECT json_agg(history) FROM tenant
    CROSS JOIN LATERAL ({history_sql("tenant.clinic_id", "ARRAY[$3::uuid]", "$10::timestamptz")} OFFSET 0) history
) AS history
"""

_FIND_KEY: Final = """
SELECT fingerprint, resource_id FROM idempotency_key WHERE clinic_id = $1 AND principal_id = $2 AND key = $3
"""
_FIND_FIRST_VERSION: Final = "SELECT * FROM assessment WHERE clinic_id = $1 AND id = $2 AND version = 1"


@dataclass(frozen=True, slots=True)
class ScoredAssessment:
    """One stored version of a form, with what it says by the rules of its instrument version."""

    id: UUID
    version: int
    status: str
    patient_id: UUID
    instrument: Instrument
    responses: tuple[int | None, ...]
    taken_at: datetime
    taken_at_offset_minutes: int
    received_at: datetime
    mode: str
    language: str
    score: Score


@dataclass(frozen=True, slots=True)
class AssessmentInView:
    """A stored form and where it stands in the treatment: derived when it is looked at, because sessions come late."""

    assessment: ScoredAssessment
    placed: PlacedContext


async def record_assessment(
    database: Database, actor: Actor, form: AssessmentSubmit, idempotency_key: str | None
) -> tuple[AssessmentInView, bool]:
    """Scores and stores a check-in. Returns it, and whether it was a repeat of one stored before."""
    received_at = datetime.now(UTC)
    assessment = _scored(form, received_at)
    content = fingerprint("assessment.create", form.model_dump(mode="json"))
    try:
        (row,) = await database.fetch_alone(INSERT_ASSESSMENT, *_values(actor, assessment, content, idempotency_key))
    except asyncpg.ForeignKeyViolationError:
        raise NotFoundError("There is no such patient.") from None
    if row["stored_id"] is not None:
        return _in_view(assessment, history_from_json(row["history"])), False
    return await _read_first(database, actor, assessment.id, content, idempotency_key), True


async def get_assessment(session: AsyncSession, actor: Actor, assessment_id: UUID) -> AssessmentInView:
    """The newest version."""
    query = (
        select(Assessment)
        .where(Assessment.clinic_id == actor.clinic_id, Assessment.id == assessment_id)
        .order_by(col(Assessment.version).desc())
        .limit(1)
    )
    row = (await session.exec(query)).first()
    if row is None:
        raise NotFoundError("There is no such assessment.")
    return (await all_in_view(session, actor, [row]))[0]


@dataclass(frozen=True, slots=True)
class AssessmentFilter:
    patient_id: UUID | None = None
    instrument: str | None = None
    taken_from: datetime | None = None
    taken_to: datetime | None = None
    status: str | None = None


async def find_assessments(
    session: AsyncSession, actor: Actor, wanted: AssessmentFilter, page: PageRequest
) -> Sequence[AssessmentInView]:
    """Newest versions, latest taken first; one row more than the page holds, if there is one."""
    query = select(Assessment).where(Assessment.clinic_id == actor.clinic_id, ~superseded(Assessment))
    for condition in _conditions(wanted):
        query = query.where(condition)
    if page.after is not None:
        query = query.where(tuple_(col(Assessment.taken_at), col(Assessment.id)) < (page.after.at, page.after.id))
    query = query.order_by(col(Assessment.taken_at).desc(), col(Assessment.id).desc()).limit(page.limit + 1)
    return await all_in_view(session, actor, (await session.exec(query)).all())


def known_instrument(reference: str, pointer: str = "/instrument") -> Instrument:
    """Raises InvalidError when there is no such instrument or version."""
    try:
        return get_instrument(reference)
    except UnknownInstrumentError:
        fault = Fault(pointer, "unknown_instrument", "There is no such instrument or version.")
        raise InvalidError("The instrument is unknown.", faults=(fault,)) from None


def score_or_refuse(instrument: Instrument, responses: Sequence[int | None]) -> Score:
    """Raises InvalidError that names each faulty answer by its place, never by its value."""
    try:
        return score(instrument, responses)
    except ResponseError as error:
        faults = tuple(
            Fault("/responses" if fault.index is None else f"/responses/{fault.index}", fault.code, fault.message)
            for fault in error.faults
        )
        raise InvalidError("The responses do not fit the instrument.", faults=faults) from None


def from_row(row: Mapping[str, Any]) -> ScoredAssessment:
    """A stored version, scored again by the rules it was stored under."""
    instrument = get_instrument(f"{row['instrument']}@{row['instrument_version']}")
    responses = tuple(row["responses"])
    return ScoredAssessment(
        id=row["id"],
        version=row["version"],
        status=row["status"],
        patient_id=row["patient_id"],
        instrument=instrument,
        responses=responses,
        taken_at=row["taken_at"],
        taken_at_offset_minutes=row["taken_at_offset_minutes"],
        received_at=row["received_at"],
        mode=row["mode"],
        language=row["language"],
        score=score(instrument, responses),
    )


def _scored(form: AssessmentSubmit, received_at: datetime) -> ScoredAssessment:
    refuse_future_form(received_at, form.taken_at)
    instrument = known_instrument(form.instrument)
    return ScoredAssessment(
        id=form.id or new_id(),
        version=1,
        status="final",
        patient_id=form.patient_id,
        instrument=instrument,
        responses=tuple(form.responses),
        taken_at=form.taken_at.astimezone(UTC),
        taken_at_offset_minutes=offset_minutes(form.taken_at),
        received_at=received_at,
        mode=form.mode,
        language=form.language,
        score=score_or_refuse(instrument, form.responses),
    )


def _values(actor: Actor, form: ScoredAssessment, content: bytes, key: str | None) -> tuple[Any, ...]:
    total = form.score.total
    return (
        str(actor.clinic_id),
        form.id,
        form.patient_id,
        form.instrument.id,
        form.instrument.version,
        form.responses,
        form.score.validity.value,
        None if total is None else float(total),
        form.taken_at,
        form.received_at,
        form.mode,
        form.language,
        content,
        actor.token_id,
        key,
        form.taken_at_offset_minutes,
        new_id(),
        actor.role.value,
    )


async def _read_first(
    database: Database, actor: Actor, assessment_id: UUID, content: bytes, key: str | None
) -> AssessmentInView:
    """What an earlier call stored under this key or id. Raises KeyReusedError when that was other content."""
    async with database.connection(actor.clinic_id) as connection:
        if key is not None:
            known = await connection.fetchrow(_FIND_KEY, actor.clinic_id, actor.token_id, key)
            if known["fingerprint"] != content:
                raise KeyReusedError("This Idempotency-Key was used for other content.")
            assessment_id = known["resource_id"]
        row = await connection.fetchrow(_FIND_FIRST_VERSION, actor.clinic_id, assessment_id)
        histories = await find_histories(connection, actor.clinic_id, [row["patient_id"]], datetime.now(UTC))
    if row["fingerprint"] != content:
        raise KeyReusedError("This id belongs to a form with other content.")
    return _in_view(from_row(row), histories.get(row["patient_id"], ()))


def _in_view(assessment: ScoredAssessment, history: History) -> AssessmentInView:
    return AssessmentInView(assessment, place(assessment.taken_at, history, assessment.instrument.recall_days))


async def all_in_view(session: AsyncSession, actor: Actor, rows: Sequence[Assessment]) -> list[AssessmentInView]:
    """Stored versions of forms, each with where it stands in the treatment as it is known now."""
    patients = {row.patient_id for row in rows}
    histories = await find_histories(await driver_connection(session), actor.clinic_id, patients, datetime.now(UTC))
    return [_in_view(from_row(row.model_dump()), histories.get(row.patient_id, ())) for row in rows]


def _conditions(wanted: AssessmentFilter) -> Iterator[Any]:
    if wanted.patient_id is not None:
        yield col(Assessment.patient_id) == wanted.patient_id
    if wanted.instrument is not None:
        yield col(Assessment.instrument) == wanted.instrument
    if wanted.taken_from is not None:
        yield col(Assessment.taken_at) >= wanted.taken_from
    if wanted.taken_to is not None:
        yield col(Assessment.taken_at) < wanted.taken_to
    if wanted.status is not None:
        yield col(Assessment.status) == wanted.status
