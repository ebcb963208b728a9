"""Suitability checklists and screens."""

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
from app.schemas.suitability import (
    SuitabilityChecklistAnswer,
    SuitabilityChecklistChange,
    SuitabilityChecklistCreate,
    SuitabilityScreenAnswer,
    SuitabilityScreenCreate,
)
from app.services import suitability

router = APIRouter(tags=["suitability"], route_class=StrictRoute)

RulesReader = Annotated[Actor, Depends(allowed(Permission.READ_CLINIC_RULES))]
RulesWriter = Annotated[Actor, Depends(allowed(Permission.WRITE_CLINIC_RULES))]
Reader = Annotated[Actor, Depends(allowed(Permission.READ_TREATMENT))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_TREATMENT))]


@router.post("/v1/suitability-checklists", status_code=201, summary="Write down what the clinic asks before a dose")
async def create_suitability_checklist(
    actor: RulesWriter,
    session: SessionDep,
    body: SuitabilityChecklistCreate,
    key: IdempotencyKeyDep,
    response: Response,
) -> SuitabilityChecklistAnswer:
    made, replayed = await suitability.record_checklist(session, actor, body, key)
    response.headers["Location"] = f"/v1/suitability-checklists/{made.id}"
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return SuitabilityChecklistAnswer.model_validate(made)


@router.get("/v1/suitability-checklists", summary="Checklists of the clinic, latest changed first")
async def list_suitability_checklists(
    actor: RulesReader, session: SessionDep, page: PageDep, request: Request, response: Response
) -> Page[SuitabilityChecklistAnswer]:
    found = await suitability.find_checklists(session, actor, page)
    rows, cursor = cut(found, page, lambda row: Position(row.recorded_at, row.id))
    link_next(request, response, cursor)
    return Page(data=[SuitabilityChecklistAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/v1/suitability-checklists/{checklist_id}", summary="One checklist, newest version")
async def get_suitability_checklist(
    actor: RulesReader, session: SessionDep, checklist_id: Id, response: Response
) -> SuitabilityChecklistAnswer:
    found = await suitability.get_checklist(session, actor, checklist_id)
    tag_version(response, found.version)
    return SuitabilityChecklistAnswer.model_validate(found)


@router.patch("/v1/suitability-checklists/{checklist_id}", summary="Change a checklist; screens keep their version")
async def amend_suitability_checklist(
    actor: RulesWriter,
    session: SessionDep,
    checklist_id: Id,
    body: SuitabilityChecklistChange,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> SuitabilityChecklistAnswer:
    made, replayed = await suitability.amend_checklist(session, actor, checklist_id, body, based_on, key)
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return SuitabilityChecklistAnswer.model_validate(made)


@router.get("/v1/suitability-checklists/{checklist_id}/history", summary="All versions of a checklist, newest first")
async def list_suitability_checklist_versions(
    actor: RulesReader, session: SessionDep, checklist_id: Id
) -> Page[SuitabilityChecklistAnswer]:
    rows = await suitability.find_checklist_versions(session, actor, checklist_id)
    return Page(data=[SuitabilityChecklistAnswer.model_validate(row) for row in rows], next_cursor=None)


@router.post("/v1/episodes/{episode_id}/suitability-screens", status_code=201, summary="Record a clinician's decision")
async def create_suitability_screen(
    actor: Writer,
    session: SessionDep,
    episode_id: Id,
    body: SuitabilityScreenCreate,
    key: IdempotencyKeyDep,
    response: Response,
) -> SuitabilityScreenAnswer:
    made, replayed = await suitability.record_screen(session, actor, episode_id, body, key)
    response.headers["Location"] = f"/v1/suitability-screens/{made.id}"
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return SuitabilityScreenAnswer.model_validate(made)


@router.get("/v1/episodes/{episode_id}/suitability-screens", summary="Screens of an episode, latest answered first")
async def list_suitability_screens(
    actor: Reader, session: SessionDep, episode_id: Id, page: PageDep, request: Request, response: Response
) -> Page[SuitabilityScreenAnswer]:
    found = await suitability.find_screens_page(session, actor, episode_id, page)
    rows, cursor = cut(found, page, lambda row: Position(row.answered_at, row.id))
    link_next(request, response, cursor)
    return Page(data=[SuitabilityScreenAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/v1/suitability-screens/{screen_id}", summary="One screen")
async def get_suitability_screen(
    actor: Reader, session: SessionDep, screen_id: Id, response: Response
) -> SuitabilityScreenAnswer:
    found = await suitability.get_screen(session, actor, screen_id)
    await record_read(session, actor, "suitability_screen.read", of=found.patient_id, resource_id=screen_id)
    tag_version(response, found.version)
    return SuitabilityScreenAnswer.model_validate(found)
