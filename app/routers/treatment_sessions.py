"""Treatment sessions of an episode."""

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
from app.schemas.treatment_sessions import (
    TreatmentSessionAnswer,
    TreatmentSessionChange,
    TreatmentSessionCreate,
)
from app.services import treatment_sessions
from app.services.session_rules import mg_per_kg
from app.services.treatment_sessions import SessionInView

router = APIRouter(tags=["treatment sessions"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_TREATMENT))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_TREATMENT))]


@router.post("/v1/episodes/{episode_id}/treatment-sessions", status_code=201, summary="Plan or record a session")
async def create_treatment_session(
    actor: Writer,
    session: SessionDep,
    episode_id: Id,
    body: TreatmentSessionCreate,
    key: IdempotencyKeyDep,
    response: Response,
) -> TreatmentSessionAnswer:
    made, replayed = await treatment_sessions.record_treatment_session(session, actor, episode_id, body, key)
    response.headers["Location"] = f"/v1/treatment-sessions/{made.row.id}"
    tag_version(response, made.row.version)
    mark_replayed(response, replayed=replayed)
    return _answer(made)


@router.get("/v1/episodes/{episode_id}/treatment-sessions", summary="Sessions of an episode, latest scheduled first")
async def list_treatment_sessions(
    actor: Reader, session: SessionDep, episode_id: Id, page: PageDep, request: Request, response: Response
) -> Page[TreatmentSessionAnswer]:
    found = await treatment_sessions.find_treatment_sessions(session, actor, episode_id, page)
    rows, cursor = cut(found, page, lambda view: Position(view.row.scheduled_at, view.row.id))
    link_next(request, response, cursor)
    return Page(data=[_answer(row) for row in rows], next_cursor=cursor)


@router.get("/v1/treatment-sessions/{treatment_session_id}", summary="One session, newest version")
async def get_treatment_session(
    actor: Reader, session: SessionDep, treatment_session_id: Id, response: Response
) -> TreatmentSessionAnswer:
    found = await treatment_sessions.get_treatment_session(session, actor, treatment_session_id)
    await record_read(
        session, actor, "treatment_session.read", of=found.row.patient_id, resource_id=treatment_session_id
    )
    tag_version(response, found.row.version)
    return _answer(found)


@router.patch("/v1/treatment-sessions/{treatment_session_id}", summary="Move, complete, cancel or correct a session")
async def amend_treatment_session(
    actor: Writer,
    session: SessionDep,
    treatment_session_id: Id,
    body: TreatmentSessionChange,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> TreatmentSessionAnswer:
    made, replayed = await treatment_sessions.amend_treatment_session(
        session, actor, treatment_session_id, body, based_on, key
    )
    tag_version(response, made.row.version)
    mark_replayed(response, replayed=replayed)
    return _answer(made)


@router.get("/v1/treatment-sessions/{treatment_session_id}/history", summary="All versions of a session, newest first")
async def list_treatment_session_versions(
    actor: Reader, session: SessionDep, treatment_session_id: Id
) -> Page[TreatmentSessionAnswer]:
    rows = await treatment_sessions.find_treatment_session_versions(session, actor, treatment_session_id)
    await record_read(
        session,
        actor,
        "treatment_session.history",
        of=rows[0].row.patient_id,
        resource_id=treatment_session_id,
        rows=len(rows),
    )
    return Page(data=[_answer(row) for row in rows], next_cursor=None)


def _answer(view: SessionInView) -> TreatmentSessionAnswer:
    per_kg = mg_per_kg(view.row.dose_mg, view.row.weight_kg)
    derived = {"mg_per_kg": None if per_kg is None else round(per_kg, 3), "suitability": view.suitability}
    return TreatmentSessionAnswer.model_validate({**view.row.model_dump(), **derived})
