"""Corrections of filled forms: the next version with its reason, and what was entered in error."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor, Role
from app.db import driver_connection
from app.errors import ConflictError, ForbiddenError
from app.schemas.amendments import AssessmentAmendment, AssessmentContent, AssessmentVoid
from app.schemas.versions import Change
from app.scoring import get_instrument
from app.services import versions
from app.services.assessments import all_in_view
from app.services.clinic_rules import rules_of
from app.services.clock import refuse_future_form
from app.services.derivation import rederive_patient
from app.services.idempotency import fingerprint
from app.services.locks import lock_patient
from app.services.scored_assessments import AssessmentInView, score_or_refuse
from app.tables import Assessment


@dataclass(frozen=True, slots=True)
class AssessmentVersion:
    """One version of a form with who recorded it, and why."""

    in_view: AssessmentInView
    recorded_by: UUID
    reason: str | None


async def amend_assessment(
    session: AsyncSession, actor: Actor, id_: UUID, change: AssessmentAmendment, based_on: int, key: str | None
) -> tuple[AssessmentInView, bool]:
    """The next version, scored by the rules of the one it replaces, and whether this was a repeat."""
    action = "assessment.amend"
    if await versions.is_replayed(session, actor, action, id_, based_on, change, key):
        return await _as_recorded(session, actor, id_, based_on + 1), True
    current = await _get_correctable(session, actor, id_, based_on)
    content = versions.changed(AssessmentContent, versions.stored(current, AssessmentContent), change)
    if actor.role is Role.PATIENT:
        await _refuse_patient(session, actor, current, content)
    changes = _columns(current, content) | {"status": "amended"}
    row = await _store_next(session, actor, current, change, action, changes)
    return (await all_in_view(session, actor, [row]))[0], False


async def void_assessment(
    session: AsyncSession, actor: Actor, id_: UUID, change: AssessmentVoid, based_on: int, key: str | None
) -> tuple[AssessmentInView, bool]:
    """The last version, which keeps its content and counts for nothing, and whether this was a repeat."""
    action = "assessment.void"
    if await versions.is_replayed(session, actor, action, id_, based_on, change, key):
        return await _as_recorded(session, actor, id_, based_on + 1), True
    current = await _get_correctable(session, actor, id_, based_on)
    row = await _store_next(session, actor, current, change, action, {"status": "entered_in_error"})
    return (await all_in_view(session, actor, [row]))[0], False


async def find_assessment_versions(session: AsyncSession, actor: Actor, id_: UUID) -> Sequence[AssessmentVersion]:
    """Newest first, each with where its time stands in the treatment as it is known now.

    What a form keeps up it keeps up by its newest version.
    """
    rows = await versions.find_versions(session, Assessment, actor, id_)
    newest, *before = await all_in_view(session, actor, rows)
    seen = [newest, *(replace(view, alerts=()) for view in before)]
    return [AssessmentVersion(view, row.recorded_by, row.reason) for view, row in zip(seen, rows, strict=True)]


async def _get_correctable(session: AsyncSession, actor: Actor, id_: UUID, based_on: int) -> Assessment:
    """The current version. Raises NotFoundError, StaleError, and ConflictError for what was entered in error."""
    current = await versions.get_unchanged(session, Assessment, actor, id_, based_on)
    if current.status == "entered_in_error":
        raise ConflictError("The form is entered in error. That is its last version; submit the right form anew.")
    return current


async def _refuse_patient(session: AsyncSession, actor: Actor, current: Assessment, content: AssessmentContent) -> None:
    """Who recorded the form is not asked: answers typed in for a patient at the clinic's tablet are the patient's.

    The window opens with the first version, so that a correction does not hold it open for the next one.
    """
    if {current.mode, content.mode} != {"self"}:
        raise ForbiddenError("You may correct the forms you filled in yourself. Ask your clinic to correct this one.")
    first = await versions.get_version(session, Assessment, actor, current.id, 1)
    rules = await rules_of(await driver_connection(session), actor.clinic_id)
    if datetime.now(UTC) >= first.received_at + timedelta(hours=rules.amend_window_hours):
        raise ForbiddenError("The time for correcting this form yourself is over. Ask your clinic to correct it.")


def _columns(current: Assessment, content: AssessmentContent) -> dict[str, Any]:
    """The corrected content as the table keeps it, scored. Raises InvalidError.

    A corrected time owes nothing to the clock of the device that sent the first version.
    """
    refuse_future_form(datetime.now(UTC), content.taken_at)
    instrument = get_instrument(f"{current.instrument}@{current.instrument_version}")
    found = score_or_refuse(instrument, content.responses)
    total = None if found.total is None else float(found.total)
    columns = versions.columns(Assessment, content) | {"validity": found.validity.value, "total": total}
    if columns["taken_at"] != current.taken_at:
        columns |= {"device_skew_seconds": None, "clock_correction_minutes": 0}
    return columns


async def _store_next(
    session: AsyncSession, actor: Actor, current: Assessment, change: Change, action: str, changes: dict[str, Any]
) -> Assessment:
    """Of two writers of one version the second waits for the lock, finds the version taken and gets StaleError."""
    await lock_patient(session, current.patient_id)
    now = datetime.now(UTC)
    asked = versions.asked_for(current.id, current.version, change)
    content = fingerprint(action, {name: value for name, value in asked.items() if name != "reason"})
    row = Assessment(**versions.following(current, actor, now, change.reason) | changes | {"fingerprint": content})
    await versions.store(session, actor, row, action)
    await rederive_patient(session, actor, row.patient_id, now)
    return row


async def _as_recorded(session: AsyncSession, actor: Actor, id_: UUID, version: int) -> AssessmentInView:
    """What the first call answered: doses that were entered later are not in it."""
    row = await versions.get_version(session, Assessment, actor, id_, version)
    return (await all_in_view(session, actor, [row], row.received_at))[0]
