"""Check-ins: scored and stored, one or many at once; and reading single forms back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid5

from pydantic import ValidationError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.db import Database, driver_connection
from app.errors import AppError, DefectError, NotFoundError, UnavailableError
from app.metrics import count_check_in
from app.paging import PageRequest
from app.schemas.assessments import AssessmentSubmit
from app.schemas.faults import FieldError, invalid
from app.schemas.fields import parse_id
from app.services.alert_states import find_alerts_of_forms
from app.services.clock import ClockReading, impossible_form, read_clock
from app.services.histories import find_histories
from app.services.idempotency import fingerprint
from app.services.intake import BatchClaim, Entry, Outcome, intake_of, store_batch
from app.services.pages import newest_first
from app.services.scored_assessments import AssessmentInView, from_row, in_view, submitted
from app.services.stored_assessments import safety_text_for
from app.services.versions import superseded
from app.tables import Assessment

_ROW_NAMESPACE: Final = UUID("0b6f1d62-6a0b-4a57-9f4e-2f1c3c1a7d5e")  # of ids for rows whose sender made none


async def record_assessment(
    database: Database,
    actor: Actor,
    form: AssessmentSubmit,
    idempotency_key: str | None,
    device_time: datetime | None = None,
) -> tuple[AssessmentInView, bool]:
    """Scores and stores a check-in. Returns it, and whether it was a repeat of one stored before."""
    received_at = datetime.now(UTC)
    entry = _entry(actor, form, idempotency_key, received_at, read_clock(device_time, received_at))
    outcome = await intake_of(database).store(entry)
    _count(outcome)
    if isinstance(outcome, AppError):
        raise outcome
    return outcome


async def record_batch(
    database: Database, actor: Actor, rows: Sequence[Any], key: str | None, device_time: datetime | None = None
) -> tuple[list[Outcome], bool]:
    """An outcome for each row, all in one transaction, and whether the batch was a repeat of an earlier one.

    A row that cannot be read, scored or stored harms no other. Raises KeyReusedError when the key was used for another
    batch.
    """
    received_at = datetime.now(UTC)
    clock = read_clock(device_time, received_at)
    read = [_read(row, number, actor, key, received_at, clock) for number, row in enumerate(rows)]
    entries = [entry for entry in read if isinstance(entry, Entry)]
    claim = None if key is None else _batch_claim(key, rows)
    outcomes, replayed = await store_batch(database, actor, entries, claim)
    stored = iter(outcomes)
    told = [next(stored) if isinstance(one, Entry) else one for one in read]
    for outcome in told:
        _count(outcome)
    return told, replayed


def _count(outcome: Outcome) -> None:
    match outcome:
        case UnavailableError() | DefectError():
            count_check_in("failed")
        case AppError():
            count_check_in("refused")
        case _, is_repeat:
            count_check_in("replayed" if is_repeat else "stored")


def _batch_claim(key: str, rows: Sequence[Any]) -> BatchClaim:
    """Refused rows are in the hash as well, so whoever they name counts too."""
    named = (row.get("patient_id") for row in rows if isinstance(row, dict))
    patient_ids = frozenset(found for found in map(_id_or_none, named) if found is not None)
    return BatchClaim(key, fingerprint("assessment.batch", {"rows": list(rows)}), patient_ids)


def _id_or_none(value: Any) -> UUID | None:
    try:
        return parse_id(value)
    except FieldError:
        return None


def _read(
    row: Any, number: int, actor: Actor, key: str | None, received_at: datetime, clock: ClockReading
) -> Entry | AppError:
    """With a key the batch can be repeated though its rows have no ids: theirs are made of key and place."""
    try:
        form = AssessmentSubmit.model_validate(row)
        if form.id is None and key is not None:
            form = form.model_copy(update={"id": uuid5(_ROW_NAMESPACE, f"{actor.token_id}:{key}:{number}")})
        return _entry(actor, form, None, received_at, clock)
    except ValidationError as error:
        return invalid(error.errors())
    except AppError as error:
        return error


def _entry(actor: Actor, form: AssessmentSubmit, key: str | None, received_at: datetime, clock: ClockReading) -> Entry:
    content = fingerprint("assessment.create", form.model_dump(mode="json"))
    found = submitted(form, received_at, clock)
    return Entry(actor, found, content, key, impossible_form(received_at, found.taken_at))


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
    rows = await newest_first(session, query, Assessment.taken_at, Assessment.id, page)
    return await all_in_view(session, actor, rows)


async def all_in_view(
    session: AsyncSession, actor: Actor, rows: Sequence[Assessment], known_at: datetime | None = None
) -> list[AssessmentInView]:
    """Each with the treatment as it was known at a time, else now, and the alerts it keeps up."""
    connection, forms = await driver_connection(session), [from_row(dict(row)) for row in rows]
    patients = {form.patient_id for form in forms}
    histories = await find_histories(connection, actor.clinic_id, patients, known_at or datetime.now(UTC))
    raised = await find_alerts_of_forms(connection, actor.clinic_id, [form.id for form in forms])
    text = await safety_text_for(connection, actor.clinic_id, forms)
    return [in_view(form, histories.get(form.patient_id, ()), raised.get(form.id, ()), text) for form in forms]


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
