"""Episodes of care: opened, corrected, closed."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.errors import Fault
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.episodes import EpisodeChange, EpisodeContent, EpisodeCreate
from app.services import versions
from app.services.clock import future_faults
from app.services.derivation import rederive_patient
from app.services.locks import lock_episode
from app.services.patients import get_patient
from app.tables import EpisodeOfCare, TreatmentSession


async def open_episode(
    session: AsyncSession, actor: Actor, patient_id: UUID, content: EpisodeCreate, key: str | None
) -> tuple[EpisodeOfCare, bool]:
    """The episode, and whether this was a repeat of an earlier call."""
    await get_patient(session, actor, patient_id)
    now, new = datetime.now(UTC), new_id()
    asked = {"patient_id": str(patient_id), **content.model_dump(mode="json")}
    if known := await versions.find_replayed(session, actor, "episode.create", asked, key, new):
        return await versions.get_version(session, EpisodeOfCare, actor, known, 1), True
    versions.refuse([*_faults(content, now)])
    row = EpisodeOfCare(
        **versions.first(actor, new, now),
        patient_id=patient_id,
        **versions.columns(EpisodeOfCare, content),
        entered_in_error=False,
    )
    await versions.store(session, actor, row, "episode.create")
    await rederive_patient(session, actor, patient_id, now)
    return row, False


async def amend_episode(
    session: AsyncSession, actor: Actor, episode_id: UUID, change: EpisodeChange, based_on: int, key: str | None
) -> tuple[EpisodeOfCare, bool]:
    """The next version, and whether this was a repeat of an earlier call."""
    if await versions.is_replayed(session, actor, "episode.amend", episode_id, based_on, change, key):
        return await versions.get_version(session, EpisodeOfCare, actor, episode_id, based_on + 1), True
    await lock_episode(session, episode_id)
    current = await versions.get_unchanged(session, EpisodeOfCare, actor, episode_id, based_on)
    content = versions.changed(EpisodeContent, versions.stored(current, EpisodeContent), change)
    now = datetime.now(UTC)
    versions.refuse([*_faults(content, now), *await _faults_against_sessions(session, actor, episode_id, content)])
    following = versions.following(current, actor, now, change.reason)
    row = EpisodeOfCare(**following | versions.columns(EpisodeOfCare, content))
    await versions.store(session, actor, row, "episode.amend")
    await rederive_patient(session, actor, row.patient_id, now)
    return row, False


async def get_episode(session: AsyncSession, actor: Actor, episode_id: UUID) -> EpisodeOfCare:
    return await versions.get_current(session, EpisodeOfCare, actor, episode_id)


async def find_episodes(
    session: AsyncSession, actor: Actor, patient_id: UUID, page: PageRequest
) -> Sequence[EpisodeOfCare]:
    """Latest opened first; one row more than the page holds, if there is one."""
    await get_patient(session, actor, patient_id)
    return await versions.find_current(session, EpisodeOfCare, actor, "opened_at", page, patient_id=patient_id)


async def find_episode_versions(session: AsyncSession, actor: Actor, episode_id: UUID) -> Sequence[EpisodeOfCare]:
    return await versions.find_versions(session, EpisodeOfCare, actor, episode_id)


def _faults(content: EpisodeCreate, now: datetime) -> Iterator[Fault]:
    yield from future_faults(now, opened_at=content.opened_at, closed_at=content.closed_at)
    if content.closed_at is not None and content.closed_at < content.opened_at:
        yield Fault("/closed_at", "before_opening", "An episode closes after it was opened.")
    if content.end_reason is not None and content.closed_at is None:
        yield Fault("/end_reason", "not_closed", "Only a closed episode has a reason for its end; send `closed_at`.")


async def _faults_against_sessions(
    session: AsyncSession, actor: Actor, episode_id: UUID, content: EpisodeContent
) -> Iterator[Fault]:
    """What of its planned and done sessions the episode would no longer cover."""
    count, earliest, latest = await _span_of_sessions(session, actor, episode_id)
    return _faults_against_span(content, count, earliest, latest)


def _faults_against_span(
    content: EpisodeContent, count: int, earliest: datetime | None, latest: datetime | None
) -> Iterator[Fault]:
    if content.entered_in_error and count:
        yield Fault("/entered_in_error", "has_sessions", "It has sessions; mark those first, or cancel them.")
    if earliest is not None and content.opened_at > earliest:
        yield Fault("/opened_at", "sessions_outside", "A session of this episode lies before that.")
    if content.closed_at is not None and latest is not None and content.closed_at < latest:
        yield Fault("/closed_at", "sessions_outside", "A session of this episode lies after that; move or cancel it.")


async def _span_of_sessions(session: AsyncSession, actor: Actor, episode_id: UUID) -> Any:
    this, later = TreatmentSession, aliased(TreatmentSession)
    superseded = select(later.id).where(
        later.clinic_id == this.clinic_id, later.id == this.id, later.version > this.version
    )
    begin = func.coalesce(this.started_at, this.scheduled_at)
    query = select(func.count(), func.min(begin), func.max(func.coalesce(this.ended_at, begin))).where(
        this.clinic_id == actor.clinic_id,
        this.episode_id == episode_id,
        or_(col(this.status) == "planned", col(this.status) == "done"),
        ~col(this.entered_in_error),
        ~superseded.exists(),
    )
    return (await session.exec(query)).one()
