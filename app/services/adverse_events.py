"""Adverse events of a treatment session: recorded, followed up, corrected."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_read
from app.auth import Actor
from app.errors import Fault
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.adverse_events import AdverseEventChange, AdverseEventContent, AdverseEventCreate
from app.services import versions
from app.services.clock import future_faults
from app.tables import AdverseEvent, TreatmentSession


async def record_adverse_event(
    session: AsyncSession, actor: Actor, session_id: UUID, sent: AdverseEventCreate, key: str | None
) -> tuple[AdverseEvent, bool]:
    """The event, and whether this was a repeat of an earlier call."""
    parent = await versions.get_current(session, TreatmentSession, actor, session_id)
    now, new = datetime.now(UTC), new_id()
    asked = {"treatment_session_id": str(session_id), **sent.model_dump(mode="json")}
    if known := await versions.find_replayed(session, actor, "adverse_event.create", asked, key, new):
        return await versions.get_version(session, AdverseEvent, actor, known, 1), True
    content = AdverseEventContent.model_validate(sent.model_dump())
    versions.refuse([*_faults(content, now)])
    row = AdverseEvent(
        **versions.first(actor, new, now),
        patient_id=parent.patient_id,
        treatment_session_id=session_id,
        **versions.columns(AdverseEvent, content),
    )
    await versions.store(session, actor, row, "adverse_event.create")
    return row, False


async def amend_adverse_event(
    session: AsyncSession, actor: Actor, id_: UUID, change: AdverseEventChange, based_on: int, key: str | None
) -> tuple[AdverseEvent, bool]:
    """The next version, and whether this was a repeat of an earlier call."""
    if await versions.is_replayed(session, actor, "adverse_event.amend", id_, based_on, change, key):
        return await versions.get_version(session, AdverseEvent, actor, id_, based_on + 1), True
    current = await versions.get_unchanged(session, AdverseEvent, actor, id_, based_on)
    content = versions.changed(AdverseEventContent, versions.stored(current, AdverseEventContent), change)
    now = datetime.now(UTC)
    versions.refuse([*_faults(content, now)])
    following = versions.following(current, actor, now, change.reason)
    row = AdverseEvent(**following | versions.columns(AdverseEvent, content))
    await versions.store(session, actor, row, "adverse_event.amend")
    return row, False


async def get_adverse_event(session: AsyncSession, actor: Actor, id_: UUID) -> AdverseEvent:
    return await versions.get_current(session, AdverseEvent, actor, id_)


async def find_adverse_events(
    session: AsyncSession, actor: Actor, session_id: UUID, page: PageRequest
) -> Sequence[AdverseEvent]:
    """Latest onset first; one row more than the page holds, if there is one."""
    parent = await versions.get_current(session, TreatmentSession, actor, session_id)
    rows = await versions.find_current(session, AdverseEvent, actor, "onset_at", page, treatment_session_id=session_id)
    await record_read(
        session, actor, "adverse_event.list", of=parent.patient_id, resource_id=session_id, rows=page.shown(rows)
    )
    return rows


async def find_adverse_event_versions(session: AsyncSession, actor: Actor, id_: UUID) -> Sequence[AdverseEvent]:
    return await versions.find_versions(session, AdverseEvent, actor, id_)


def _faults(content: AdverseEventContent, now: datetime) -> Iterator[Fault]:
    yield from future_faults(now, onset_at=content.onset_at, resolved_at=content.resolved_at)
    if content.resolved_at is not None and content.resolved_at < content.onset_at:
        yield Fault("/resolved_at", "before_onset", "It ended after it began.")
    if content.term == "other" and content.note is None:
        yield Fault("/note", "missing_for_other", "Say in the note what it was.")
