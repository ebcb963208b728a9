"""Suitability checklists and screens. A screen records what a clinician decided; nothing here decides anything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlmodel import and_, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_read
from app.auth import Actor
from app.errors import Fault
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.suitability import (
    SuitabilityChecklistChange,
    SuitabilityChecklistCreate,
    SuitabilityScreenCreate,
)
from app.services import versions
from app.services.clock import future_faults
from app.services.episodes import get_episode
from app.tables import SuitabilityChecklist, SuitabilityScreen

LARGEST_NUMBER: Final = 1_000_000_000  # of a number question; beyond is a slip


# --- Checklists -------------------------------------------------------------------------------------------------------


async def record_checklist(
    session: AsyncSession, actor: Actor, content: SuitabilityChecklistCreate, key: str | None
) -> tuple[SuitabilityChecklist, bool]:
    """The checklist, and whether this was a repeat of an earlier call."""
    now, new, asked = datetime.now(UTC), new_id(), content.model_dump(mode="json")
    if known := await versions.find_replayed(session, actor, "suitability_checklist.create", asked, key, new):
        return await versions.get_version(session, SuitabilityChecklist, actor, known, 1), True
    row = SuitabilityChecklist(**versions.first(actor, new, now), **asked)
    await versions.store(session, actor, row, "suitability_checklist.create")
    return row, False


async def amend_checklist(
    session: AsyncSession, actor: Actor, id_: UUID, change: SuitabilityChecklistChange, based_on: int, key: str | None
) -> tuple[SuitabilityChecklist, bool]:
    """The next version; screens keep the one they were answered by."""
    if await versions.is_replayed(session, actor, "suitability_checklist.amend", id_, based_on, change, key):
        return await versions.get_version(session, SuitabilityChecklist, actor, id_, based_on + 1), True
    current = await versions.get_unchanged(session, SuitabilityChecklist, actor, id_, based_on)
    before = versions.stored(current, SuitabilityChecklistCreate)
    content = versions.changed(SuitabilityChecklistCreate, before, change)
    following = versions.following(current, actor, datetime.now(UTC), change.reason)
    row = SuitabilityChecklist(**following | content.model_dump(mode="json"))
    await versions.store(session, actor, row, "suitability_checklist.amend")
    return row, False


async def get_checklist(session: AsyncSession, actor: Actor, id_: UUID) -> SuitabilityChecklist:
    return await versions.get_current(session, SuitabilityChecklist, actor, id_)


async def find_checklists(session: AsyncSession, actor: Actor, page: PageRequest) -> Sequence[SuitabilityChecklist]:
    """Latest changed first; one row more than the page holds, if there is one."""
    return await versions.find_current(session, SuitabilityChecklist, actor, "recorded_at", page)


async def find_checklist_versions(session: AsyncSession, actor: Actor, id_: UUID) -> Sequence[SuitabilityChecklist]:
    return await versions.find_versions(session, SuitabilityChecklist, actor, id_)


# --- Screens ----------------------------------------------------------------------------------------------------------


async def record_screen(
    session: AsyncSession, actor: Actor, episode_id: UUID, content: SuitabilityScreenCreate, key: str | None
) -> tuple[SuitabilityScreen, bool]:
    """The screen, and whether this was a repeat of an earlier call."""
    episode = await get_episode(session, actor, episode_id)
    checklist = await get_checklist(session, actor, content.checklist_id)
    now, new = datetime.now(UTC), new_id()
    asked = {"episode_id": str(episode_id), **content.model_dump(mode="json")}
    if known := await versions.find_replayed(session, actor, "suitability_screen.create", asked, key, new):
        return await versions.get_version(session, SuitabilityScreen, actor, known, 1), True
    future = future_faults(now, answered_at=content.answered_at)
    versions.refuse([*future, *_answer_faults(checklist.questions, content.answers)])
    row = SuitabilityScreen(
        **versions.first(actor, new, now),
        patient_id=episode.patient_id,
        episode_id=episode_id,
        checklist_version=checklist.version,
        **versions.columns(SuitabilityScreen, content),
    )
    await versions.store(session, actor, row, "suitability_screen.create")
    return row, False


async def get_screen(session: AsyncSession, actor: Actor, id_: UUID) -> SuitabilityScreen:
    return await versions.get_current(session, SuitabilityScreen, actor, id_)


async def find_screens_page(
    session: AsyncSession, actor: Actor, episode_id: UUID, page: PageRequest
) -> Sequence[SuitabilityScreen]:
    """Latest answered first; one row more than the page holds, if there is one."""
    episode = await get_episode(session, actor, episode_id)
    rows = await versions.find_current(session, SuitabilityScreen, actor, "answered_at", page, episode_id=episode_id)
    shown = page.shown(rows)
    await record_read(
        session, actor, "suitability_screen.list", of=episode.patient_id, resource_id=episode_id, rows=shown
    )
    return rows


def _answer_faults(questions: Sequence[dict[str, Any]], answers: dict[str, Any]) -> Iterator[Fault]:
    if answers.keys() - {question["code"] for question in questions}:
        yield Fault("/answers", "unknown_question", "There is an answer to a question the checklist does not have.")
    for question in questions:
        code = question["code"]
        if code not in answers:
            yield Fault(f"/answers/{code}", "missing", "Answer every question; null for one that was not answered.")
        elif answers[code] is not None and not _fits(question, answers[code]):
            yield Fault(f"/answers/{code}", f"not_{question['answer']}", "The answer is not of the kind asked for.")


def _fits(question: dict[str, Any], answer: object) -> bool:
    match question["answer"]:
        case "yes_no":
            return isinstance(answer, bool)
        case "number":
            return isinstance(answer, int | float) and not isinstance(answer, bool) and abs(answer) <= LARGEST_NUMBER
        case _:
            return isinstance(answer, str) and answer in question["choices"]


# --- Where a session stands -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScreenInForce:
    """A screen and how long the checklist it was answered by lets it stand."""

    id: UUID
    outcome: str
    answered_at: datetime
    recorded_at: datetime
    valid_days: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What the last screen before a session said."""

    status: Literal["current", "none", "stale", "not_suitable", "consult"]
    screen_id: UUID | None


async def find_screens(
    session: AsyncSession, actor: Actor, episode_id: UUID, known_at: datetime
) -> Sequence[ScreenInForce]:
    """All screens of an episode recorded by a time, oldest first."""
    screen, checklist = SuitabilityScreen, SuitabilityChecklist
    same = and_(
        checklist.clinic_id == screen.clinic_id,
        checklist.id == screen.checklist_id,
        checklist.version == screen.checklist_version,
    )
    query = (
        select(screen, col(checklist.valid_days))
        .join(checklist, same)
        .where(screen.clinic_id == actor.clinic_id, screen.episode_id == episode_id, screen.recorded_at <= known_at)
        .order_by(col(screen.answered_at), col(screen.recorded_at), col(screen.id))
    )
    return [
        ScreenInForce(row.id, row.outcome, row.answered_at, row.recorded_at, valid_days)
        for row, valid_days in await session.exec(query)
    ]


def standing_at(screens: Sequence[ScreenInForce], at: datetime) -> Standing:
    """Of screens in the order answered. Only "suitable" wears off: a no, or a doubt, stands until the next."""
    before = [screen for screen in screens if screen.answered_at <= at]
    if not before:
        return Standing("none", None)
    last = before[-1]
    if last.outcome == "not_suitable":
        return Standing("not_suitable", last.id)
    if last.outcome == "consult":
        return Standing("consult", last.id)
    is_stale = at - last.answered_at > timedelta(days=last.valid_days)
    return Standing("stale" if is_stale else "current", last.id)
