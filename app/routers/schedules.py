"""What an episode's patient is asked and when, and the ready-made protocols to begin with."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import (
    BasedOnIfAnyDep,
    IdempotencyKeyDep,
    SessionDep,
    StrictRoute,
    allowed,
    mark_replayed,
    tag_version,
)
from app.schemas.fields import Id, Page
from app.schemas.schedules import (
    ProtocolAnswer,
    ProtocolReference,
    ScheduleAnswer,
    SchedulePut,
    protocol_answer,
    schedule_answer,
)
from app.scoring.protocols import all_protocols
from app.services import schedules

router = APIRouter(tags=["schedules"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_SCHEDULES))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_SCHEDULES))]


@router.get("/v1/protocols", summary="Ready-made schedules")
async def list_protocols(_: Reader) -> Page[ProtocolAnswer]:
    return Page(data=[protocol_answer(protocol) for protocol in all_protocols()], next_cursor=None)


@router.get("/v1/protocols/{reference}", summary="One ready-made schedule")
async def get_protocol(_: Reader, reference: Annotated[ProtocolReference, Path()]) -> ProtocolAnswer:
    return protocol_answer(schedules.get_ready_made(reference))


@router.put(
    "/v1/episodes/{episode_id}/schedule",
    summary="Say what an episode's patient is asked and when",
    responses={201: {"model": ScheduleAnswer, "description": "The first schedule of the episode."}},
)
async def put_schedule(
    actor: Writer,
    session: SessionDep,
    episode_id: Id,
    body: SchedulePut,
    based_on: BasedOnIfAnyDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> ScheduleAnswer:
    """The first needs no `If-Match`. What is expected is worked out anew at once, from the whole record."""
    made, replayed = await schedules.put_schedule(session, actor, episode_id, body, based_on, key)
    if made.version == 1:
        response.status_code = 201
        response.headers["Location"] = f"/v1/episodes/{episode_id}/schedule"
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return schedule_answer(made)


@router.get("/v1/episodes/{episode_id}/schedule", summary="Schedule of an episode, newest version")
async def get_schedule(actor: Reader, session: SessionDep, episode_id: Id, response: Response) -> ScheduleAnswer:
    found = await schedules.get_schedule(session, actor, episode_id)
    await record_read(session, actor, "schedule.read", of=found.patient_id, resource_id=episode_id)
    tag_version(response, found.version)
    return schedule_answer(found)


@router.get("/v1/episodes/{episode_id}/schedule/history", summary="All versions of a schedule, newest first")
async def list_schedule_versions(actor: Reader, session: SessionDep, episode_id: Id) -> Page[ScheduleAnswer]:
    rows = await schedules.find_schedule_versions(session, actor, episode_id)
    await record_read(session, actor, "schedule.history", of=rows[0].patient_id, resource_id=episode_id, rows=len(rows))
    return Page(data=[schedule_answer(row) for row in rows], next_cursor=None)
