"""Observations around a treatment session: recorded, corrected."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_read
from app.auth import Actor
from app.errors import Fault
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.observations import ObservationChange, ObservationContent, ObservationCreate
from app.services import versions
from app.services.clock import future_faults
from app.tables import Observation, TreatmentSession

OBSERVABLE: Final = ("systolic", "diastolic", "heart_rate", "oxygen_saturation", "dissociation")


async def record_observation(
    session: AsyncSession, actor: Actor, session_id: UUID, sent: ObservationCreate, key: str | None
) -> tuple[Observation, bool]:
    """The observation, and whether this was a repeat of an earlier call."""
    parent = await versions.get_current(session, TreatmentSession, actor, session_id)
    now, new = datetime.now(UTC), new_id()
    asked = {"treatment_session_id": str(session_id), **sent.model_dump(mode="json")}
    if known := await versions.find_replayed(session, actor, "observation.create", asked, key, new):
        return await versions.get_version(session, Observation, actor, known, 1), True
    content = ObservationContent.model_validate(sent.model_dump())
    versions.refuse([*_faults(content, now)])
    row = Observation(
        **versions.first(actor, new, now),
        patient_id=parent.patient_id,
        treatment_session_id=session_id,
        **_columns(content),
    )
    await versions.store(session, actor, row, "observation.create")
    return row, False


async def amend_observation(
    session: AsyncSession, actor: Actor, id_: UUID, change: ObservationChange, based_on: int, key: str | None
) -> tuple[Observation, bool]:
    """The next version, and whether this was a repeat of an earlier call."""
    if await versions.is_replayed(session, actor, "observation.amend", id_, based_on, change, key):
        return await versions.get_version(session, Observation, actor, id_, based_on + 1), True
    current = await versions.get_unchanged(session, Observation, actor, id_, based_on)
    content = versions.changed(ObservationContent, versions.stored(current, ObservationContent), change)
    now = datetime.now(UTC)
    versions.refuse([*_faults(content, now)])
    row = Observation(**versions.following(current, actor, now, change.reason) | _columns(content))
    await versions.store(session, actor, row, "observation.amend")
    return row, False


async def get_observation(session: AsyncSession, actor: Actor, id_: UUID) -> Observation:
    return await versions.get_current(session, Observation, actor, id_)


async def find_observations(
    session: AsyncSession, actor: Actor, session_id: UUID, page: PageRequest
) -> Sequence[Observation]:
    """Latest observed first; one row more than the page holds, if there is one."""
    parent = await versions.get_current(session, TreatmentSession, actor, session_id)
    rows = await versions.find_current(
        session, Observation, actor, "observed_at", page, treatment_session_id=session_id
    )
    await record_read(
        session, actor, "observation.list", of=parent.patient_id, resource_id=session_id, rows=page.shown(rows)
    )
    return rows


async def find_observation_versions(session: AsyncSession, actor: Actor, id_: UUID) -> Sequence[Observation]:
    return await versions.find_versions(session, Observation, actor, id_)


def _columns(content: ObservationContent) -> dict[str, Any]:
    found = content.dissociation
    return versions.columns(Observation, content) | {
        "dissociation_scale": None if found is None else found.scale,
        "dissociation_score": None if found is None else found.score,
    }


def _faults(content: ObservationContent, now: datetime) -> Iterator[Fault]:
    yield from future_faults(now, observed_at=content.observed_at)
    if all(getattr(content, name) is None for name in OBSERVABLE):
        yield Fault("", "nothing_observed", "Send at least one value.")
    if content.systolic is not None and content.diastolic is not None and content.diastolic >= content.systolic:
        yield Fault("/diastolic", "not_below_systolic", "The diastolic pressure lies below the systolic one.")
