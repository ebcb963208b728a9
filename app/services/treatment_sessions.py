"""Treatment sessions: planned, moved, held, corrected."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_read
from app.auth import Actor
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.treatment_sessions import TreatmentSessionChange, TreatmentSessionContent, TreatmentSessionCreate
from app.services import session_rules, versions
from app.services.derivation import rederive_patient
from app.services.episodes import get_episode
from app.services.locks import lock_episode
from app.services.suitability import ScreenInForce, Standing, find_screens, standing_at
from app.tables import EpisodeOfCare, TreatmentSession


@dataclass(frozen=True, slots=True)
class SessionInView:
    """One version of a session with what the screens say of it."""

    row: TreatmentSession
    suitability: Standing | None


async def record_treatment_session(
    session: AsyncSession, actor: Actor, episode_id: UUID, sent: TreatmentSessionCreate, key: str | None
) -> tuple[SessionInView, bool]:
    """The session, and whether this was a repeat of an earlier call."""
    await lock_episode(session, episode_id, shared=True)
    episode = await get_episode(session, actor, episode_id)
    now, new = datetime.now(UTC), new_id()
    asked = {"episode_id": str(episode_id), **sent.model_dump(mode="json")}
    if known := await versions.find_replayed(session, actor, "treatment_session.create", asked, key, new):
        return await _as_recorded(session, actor, known, 1), True
    content = session_rules.settled(TreatmentSessionContent.model_validate(sent.model_dump()))
    _refuse_faults(content, episode, now)
    row = TreatmentSession(
        **versions.first(actor, new, now),
        patient_id=episode.patient_id,
        episode_id=episode_id,
        **versions.columns(TreatmentSession, content),
        moved=False,
    )
    await versions.store(session, actor, row, "treatment_session.create")
    await rederive_patient(session, actor, row.patient_id, now)
    return await _in_view(session, actor, row), False


async def amend_treatment_session(
    session: AsyncSession, actor: Actor, id_: UUID, change: TreatmentSessionChange, based_on: int, key: str | None
) -> tuple[SessionInView, bool]:
    """The next version, and whether this was a repeat of an earlier call."""
    if await versions.is_replayed(session, actor, "treatment_session.amend", id_, based_on, change, key):
        return await _as_recorded(session, actor, id_, based_on + 1), True
    current = await versions.get_unchanged(session, TreatmentSession, actor, id_, based_on)
    await lock_episode(session, current.episode_id, shared=True)
    episode = await get_episode(session, actor, current.episode_id)
    before = versions.stored(current, TreatmentSessionContent)
    content = session_rules.settled(versions.changed(TreatmentSessionContent, before, change))
    now = datetime.now(UTC)
    _refuse_faults(content, episode, now)
    following = versions.following(current, actor, now, change.reason)
    row = TreatmentSession(**following | versions.columns(TreatmentSession, content))
    row.moved = current.moved or row.scheduled_at != current.scheduled_at
    await versions.store(session, actor, row, "treatment_session.amend")
    await rederive_patient(session, actor, row.patient_id, now)
    return await _in_view(session, actor, row), False


async def get_treatment_session(session: AsyncSession, actor: Actor, id_: UUID) -> SessionInView:
    return await _in_view(session, actor, await versions.get_current(session, TreatmentSession, actor, id_))


async def find_treatment_sessions(
    session: AsyncSession, actor: Actor, episode_id: UUID, page: PageRequest
) -> Sequence[SessionInView]:
    """Latest scheduled first; one more than the page holds, if there is one."""
    episode = await get_episode(session, actor, episode_id)
    rows = await versions.find_current(session, TreatmentSession, actor, "scheduled_at", page, episode_id=episode_id)
    shown = page.shown(rows)
    await record_read(
        session, actor, "treatment_session.list", of=episode.patient_id, resource_id=episode_id, rows=shown
    )
    screens = await find_screens(session, actor, episode_id, datetime.now(UTC)) if rows else ()
    return [SessionInView(row, _standing(row, screens)) for row in rows]


async def find_treatment_session_versions(session: AsyncSession, actor: Actor, id_: UUID) -> Sequence[SessionInView]:
    """Newest first, each with what the screens said when it was written."""
    rows = await versions.find_versions(session, TreatmentSession, actor, id_)
    screens = await find_screens(session, actor, rows[0].episode_id, datetime.now(UTC))
    known = [[screen for screen in screens if screen.recorded_at <= row.recorded_at] for row in rows]
    return [SessionInView(row, _standing(row, seen)) for row, seen in zip(rows, known, strict=True)]


def _refuse_faults(content: TreatmentSessionContent, episode: EpisodeOfCare, now: datetime) -> None:
    versions.refuse([*session_rules.faults(content, now), *session_rules.faults_against_episode(content, episode)])


async def _as_recorded(session: AsyncSession, actor: Actor, id_: UUID, version: int) -> SessionInView:
    """What the first call answered: screens that came later are not in it."""
    row = await versions.get_version(session, TreatmentSession, actor, id_, version)
    screens = await find_screens(session, actor, row.episode_id, row.recorded_at)
    return SessionInView(row, _standing(row, screens))


async def _in_view(session: AsyncSession, actor: Actor, row: TreatmentSession) -> SessionInView:
    return SessionInView(row, _standing(row, await find_screens(session, actor, row.episode_id, datetime.now(UTC))))


def _standing(row: TreatmentSession, screens: Sequence[ScreenInForce]) -> Standing | None:
    return standing_at(screens, row.started_at or row.scheduled_at) if row.kind == "dosing" else None
