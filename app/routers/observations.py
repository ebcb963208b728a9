"""Vital signs and dissociation around a treatment session."""

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
from app.schemas.fields import Id, Page
from app.schemas.observations import ObservationAnswer, ObservationChange, ObservationCreate
from app.services import observations

router = APIRouter(tags=["observations"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_TREATMENT))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_TREATMENT))]


@router.post(
    "/v1/treatment-sessions/{treatment_session_id}/observations", status_code=201, summary="Record an observation"
)
async def create_observation(
    actor: Writer,
    session: SessionDep,
    treatment_session_id: Id,
    body: ObservationCreate,
    key: IdempotencyKeyDep,
    response: Response,
) -> ObservationAnswer:
    made, replayed = await observations.record_observation(session, actor, treatment_session_id, body, key)
    response.headers["Location"] = f"/v1/observations/{made.id}"
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return ObservationAnswer.model_validate(made)


@router.get(
    "/v1/treatment-sessions/{treatment_session_id}/observations", summary="Observations of a session, latest first"
)
async def list_observations(
    actor: Reader, session: SessionDep, treatment_session_id: Id, page: PageDep, request: Request, response: Response
) -> Page[ObservationAnswer]:
    found = await observations.find_observations(session, actor, treatment_session_id, page)
    rows, cursor = cut(found, page, lambda row: Position(row.observed_at, row.id))
    link_next(request, response, cursor)
    return Page(data=[ObservationAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/v1/observations/{observation_id}", summary="One observation, newest version")
async def get_observation(
    actor: Reader, session: SessionDep, observation_id: Id, response: Response
) -> ObservationAnswer:
    found = await observations.get_observation(session, actor, observation_id)
    await record_read(session, actor, "observation.read", of=found.patient_id, resource_id=observation_id)
    tag_version(response, found.version)
    return ObservationAnswer.model_validate(found)


@router.patch("/v1/observations/{observation_id}", summary="Correct an observation")
async def amend_observation(
    actor: Writer,
    session: SessionDep,
    observation_id: Id,
    body: ObservationChange,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> ObservationAnswer:
    made, replayed = await observations.amend_observation(session, actor, observation_id, body, based_on, key)
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return ObservationAnswer.model_validate(made)


@router.get("/v1/observations/{observation_id}/history", summary="All versions of an observation, newest first")
async def list_observation_versions(actor: Reader, session: SessionDep, observation_id: Id) -> Page[ObservationAnswer]:
    rows = await observations.find_observation_versions(session, actor, observation_id)
    await record_read(
        session, actor, "observation.history", of=rows[0].patient_id, resource_id=observation_id, rows=len(rows)
    )
    return Page(data=[ObservationAnswer.model_validate(row) for row in rows], next_cursor=None)
