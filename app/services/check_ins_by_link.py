"""What the bearer of a check-in link is asked, and the storing of what they answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.db import Database
from app.errors import AppError, ConflictError, Fault, InvalidError, NotFoundError, UnavailableError
from app.schemas.assessments import AssessmentSubmit
from app.schemas.check_in_links import CheckInSubmit
from app.scoring import get_instrument
from app.scoring.model import Instrument
from app.services import assessments
from app.services.check_in_links import dead_link, get_check_in_link, lock_link, spend_try
from app.services.scored_assessments import AssessmentInView
from app.tables import Assessment, ExpectedCheckIn

MOST_FORMS: Final = 20  # at once; no plan asks for more


@dataclass(frozen=True, slots=True)
class DueNow:
    """One form that is wanted now."""

    expected_id: UUID
    due_until: datetime
    instrument: Instrument


@dataclass(frozen=True, slots=True)
class Received:
    """A stored form, as its sender is told of it."""

    id: UUID
    received_at: datetime
    safety_text: str | None


async def find_due_forms(session: AsyncSession, actor: Actor) -> tuple[Sequence[DueNow], datetime]:
    """What is due now, soonest closed first, and when the link expires. Raises UnauthenticatedError."""
    link, now = await get_check_in_link(session, actor, actor.token_id), datetime.now(UTC)
    if link.state != "active":
        raise dead_link()
    query = select(ExpectedCheckIn).where(
        ExpectedCheckIn.clinic_id == actor.clinic_id,
        ExpectedCheckIn.patient_id == actor.patient_id,
        col(ExpectedCheckIn.assessment_id).is_(None),
        ExpectedCheckIn.opens_at <= now,
        ExpectedCheckIn.closes_at > now,
    )
    query = query.order_by(col(ExpectedCheckIn.closes_at), col(ExpectedCheckIn.opens_at), col(ExpectedCheckIn.id))
    rows = (await session.exec(query.limit(MOST_FORMS))).all()
    return [DueNow(row.id, row.closes_at, get_instrument(row.instrument)) for row in rows], link.row.expires_at


async def record_answer(
    database: Database, actor: Actor, sent: CheckInSubmit, key: str | None
) -> tuple[Received, bool]:
    """What arrived, and whether this was a repeat. A form that is stored or refused costs a try, a repeat does not.

    The form has a transaction of its own inside this one, on the other pool: a refusal must keep the try it cost, and
    who holds a connection must never wait for a second one of the same pool. A crash between the two gives a try away.
    """
    async with database.session(actor) as session:
        await _lock_expected(session, sent.expected_id)
        link = await lock_link(session, actor)
        known = await _known_instrument(session, actor, sent.id)
        if link.state != "active" and not (known and link.state == "used_up"):
            raise dead_link()
        outcome = await _stored_or_refused(database, session, actor, sent, known, key)
        if isinstance(outcome, AppError) or not outcome[1]:
            await spend_try(session, actor)
        if not isinstance(outcome, AppError):
            found, replayed = outcome
            return Received(found.assessment.id, found.assessment.received_at, found.safety_text), replayed
    raise outcome


async def _stored_or_refused(
    database: Database, session: AsyncSession, actor: Actor, sent: CheckInSubmit, known: str | None, key: str | None
) -> tuple[AssessmentInView, bool] | AppError:
    """A refusal is given back, not raised, so that what it costs is kept. Being busy is raised, and costs nothing."""
    try:
        instrument = known or await _due_instrument(session, actor, sent)
        return await assessments.record_assessment(database, actor, _form(actor, sent, instrument), key)
    except UnavailableError:
        raise
    except AppError as refusal:
        return refusal


async def _lock_expected(session: AsyncSession, expected_id: UUID) -> None:
    """Two links of one patient, or one link on two phones, answer the same check-in one after the other."""
    lock = func.pg_advisory_xact_lock(func.hashtextextended(f"check-in/{expected_id}", 0))
    await session.exec(select(lock))


async def _known_instrument(session: AsyncSession, actor: Actor, form_id: UUID) -> str | None:
    """Of the form stored before under this id; that its check-in is no longer due must not refuse a repeat."""
    stored = select(Assessment.instrument).where(
        Assessment.clinic_id == actor.clinic_id, Assessment.id == form_id, Assessment.version == 1
    )
    return (await session.exec(stored)).first()


async def _due_instrument(session: AsyncSession, actor: Actor, sent: CheckInSubmit) -> str:
    """Raises NotFoundError, ConflictError for what is not due, InvalidError for a time outside of its window."""
    expected = await session.get(ExpectedCheckIn, (actor.clinic_id, sent.expected_id))
    if expected is None or expected.patient_id != actor.patient_id:
        raise NotFoundError("There is no such check-in.")
    if expected.assessment_id is not None:
        raise ConflictError("This check-in was answered already.")
    if not expected.opens_at <= datetime.now(UTC) < expected.closes_at:
        raise ConflictError("This check-in is not due now.")
    if not expected.opens_at <= sent.taken_at < expected.closes_at:
        fault = Fault("/taken_at", "outside_the_window", "The form was filled in at a time when it was not due.")
        raise InvalidError("The time does not belong to this check-in.", faults=(fault,))
    return expected.instrument


def _form(actor: Actor, sent: CheckInSubmit, instrument: str) -> AssessmentSubmit:
    content = {name: getattr(sent, name) for name in ("id", "responses", "taken_at", "language")}
    return AssessmentSubmit.model_validate(
        content | {"patient_id": actor.patient_id, "instrument": instrument, "mode": "self"}
    )
