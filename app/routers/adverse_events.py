"""Adverse events of a treatment session."""

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
from app.schemas.adverse_events import AdverseEventAnswer, AdverseEventChange, AdverseEventCreate
from app.schemas.fields import Id, Page
from app.services import adverse_events

router = APIRouter(tags=["adverse events"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_TREATMENT))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_TREATMENT))]


@router.post(
    "/v1/treatment-sessions/{treatment_session_id}/adverse-events", status_code=201, summary="Record an adverse event"
)
async def create_adverse_event(
    actor: Writer,
    session: SessionDep,
    treatment_session_id: Id,
    body: AdverseEventCreate,
    key: IdempotencyKeyDep,
    response: Response,
) -> AdverseEventAnswer:
    made, replayed = await adverse_events.record_adverse_event(session, actor, treatment_session_id, body, key)
    response.headers["Location"] = f"/v1/adverse-events/{made.id}"
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return AdverseEventAnswer.model_validate(made)


@router.get(
    "/v1/treatment-sessions/{treatment_session_id}/adverse-events", summary="Adverse events of a session, latest first"
)
async def list_adverse_events(
    actor: Reader, session: SessionDep, treatment_session_id: Id, page: PageDep, request: Request, response: Response
) -> Page[AdverseEventAnswer]:
    found = await adverse_events.find_adverse_events(session, actor, treatment_session_id, page)
    rows, cursor = cut(found, page, lambda row: Position(row.onset_at, row.id))
    link_next(request, response, cursor)
    return Page(data=[AdverseEventAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/v1/adverse-events/{adverse_event_id}", summary="One adverse event, newest version")
async def get_adverse_event(
    actor: Reader, session: SessionDep, adverse_event_id: Id, response: Response
) -> AdverseEventAnswer:
    found = await adverse_events.get_adverse_event(session, actor, adverse_event_id)
    await record_read(session, actor, "adverse_event.read", of=found.patient_id, resource_id=adverse_event_id)
    tag_version(response, found.version)
    return AdverseEventAnswer.model_validate(found)


@router.patch("/v1/adverse-events/{adverse_event_id}", summary="Follow up or correct an adverse event")
async def amend_adverse_event(
    actor: Writer,
    session: SessionDep,
    adverse_event_id: Id,
    body: AdverseEventChange,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> AdverseEventAnswer:
    made, replayed = await adverse_events.amend_adverse_event(session, actor, adverse_event_id, body, based_on, key)
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return AdverseEventAnswer.model_validate(made)


@router.get("/v1/adverse-events/{adverse_event_id}/history", summary="All versions of an adverse event, newest first")
async def list_adverse_event_versions(
    actor: Reader, session: SessionDep, adverse_event_id: Id
) -> Page[AdverseEventAnswer]:
    rows = await adverse_events.find_adverse_event_versions(session, actor, adverse_event_id)
    await record_read(
        session, actor, "adverse_event.history", of=rows[0].patient_id, resource_id=adverse_event_id, rows=len(rows)
    )
    return Page(data=[AdverseEventAnswer.model_validate(row) for row in rows], next_cursor=None)
