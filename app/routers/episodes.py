"""Episodes of care."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import (
    BasedOnDep,
    IdempotencyKeyDep,
    PageDep,
    SessionDep,
    StrictRoute,
    allowed,
    link_next,
    mark_replayed,
    tag_version,
)
from app.paging import Position, cut
from app.schemas.episodes import EpisodeAnswer, EpisodeChange, EpisodeCreate
from app.schemas.fields import Id, Page
from app.services import episodes

router = APIRouter(tags=["episodes"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_TREATMENT))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_TREATMENT))]


@router.post("/v1/patients/{patient_id}/episodes", status_code=201, summary="Open an episode of care")
async def open_episode(
    actor: Writer, session: SessionDep, patient_id: Id, body: EpisodeCreate, key: IdempotencyKeyDep, response: Response
) -> EpisodeAnswer:
    episode, replayed = await episodes.open_episode(session, actor, patient_id, body, key)
    response.headers["Location"] = f"/v1/episodes/{episode.id}"
    tag_version(response, episode.version)
    mark_replayed(response, replayed=replayed)
    return EpisodeAnswer.model_validate(episode)


@router.get("/v1/patients/{patient_id}/episodes", summary="Episodes of a patient, latest opened first")
async def list_episodes(
    actor: Reader, session: SessionDep, patient_id: Id, page: PageDep, request: Request, response: Response
) -> Page[EpisodeAnswer]:
    found = await episodes.find_episodes(session, actor, patient_id, page)
    rows, cursor = cut(found, page, lambda row: Position(row.opened_at, row.id))
    await record_read(session, actor, "episode.list", of=patient_id, resource_id=patient_id, rows=len(rows))
    link_next(request, response, cursor)
    return Page(data=[EpisodeAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/v1/episodes/{episode_id}", summary="One episode, newest version")
async def get_episode(actor: Reader, session: SessionDep, episode_id: Id, response: Response) -> EpisodeAnswer:
    episode = await episodes.get_episode(session, actor, episode_id)
    await record_read(session, actor, "episode.read", of=episode.patient_id, resource_id=episode_id)
    tag_version(response, episode.version)
    return EpisodeAnswer.model_validate(episode)


@router.patch("/v1/episodes/{episode_id}", summary="Correct or close an episode")
async def amend_episode(
    actor: Writer,
    session: SessionDep,
    episode_id: Id,
    body: EpisodeChange,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> EpisodeAnswer:
    episode, replayed = await episodes.amend_episode(session, actor, episode_id, body, based_on, key)
    tag_version(response, episode.version)
    mark_replayed(response, replayed=replayed)
    return EpisodeAnswer.model_validate(episode)


@router.get("/v1/episodes/{episode_id}/history", summary="All versions of an episode, newest first")
async def list_episode_versions(actor: Reader, session: SessionDep, episode_id: Id) -> Page[EpisodeAnswer]:
    rows = await episodes.find_episode_versions(session, actor, episode_id)
    await record_read(session, actor, "episode.history", of=rows[0].patient_id, resource_id=episode_id, rows=len(rows))
    return Page(data=[EpisodeAnswer.model_validate(row) for row in rows], next_cursor=None)
