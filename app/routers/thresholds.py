"""A clinic's own rules for judging change."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

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
from app.schemas.fields import Id, InstrumentId, Page
from app.schemas.thresholds import ThresholdAnswer, ThresholdCreate, ThresholdRetirement
from app.services import thresholds

router = APIRouter(prefix="/v1/thresholds", tags=["thresholds"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_CLINIC_RULES))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_CLINIC_RULES))]


@router.post("", status_code=201, summary="Add a rule of the clinic for judging change")
async def create_threshold(
    actor: Writer, session: SessionDep, body: ThresholdCreate, key: IdempotencyKeyDep, response: Response
) -> ThresholdAnswer:
    made, replayed = await thresholds.record_threshold(session, actor, body, key)
    response.headers["Location"] = f"{router.prefix}/{made.id}"
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return ThresholdAnswer.model_validate(made)


@router.get("", summary="Rules of the clinic, latest changed first, retired ones too")
async def list_thresholds(
    actor: Reader,
    session: SessionDep,
    page: PageDep,
    request: Request,
    response: Response,
    instrument: Annotated[InstrumentId | None, Query(description="id without version")] = None,
) -> Page[ThresholdAnswer]:
    found = await thresholds.find_threshold_page(session, actor, instrument, page)
    rows, cursor = cut(found, page, lambda row: Position(row.recorded_at, row.id))
    link_next(request, response, cursor)
    return Page(data=[ThresholdAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/{threshold_id}", summary="One rule, newest version")
async def get_threshold(actor: Reader, session: SessionDep, threshold_id: Id, response: Response) -> ThresholdAnswer:
    found = await thresholds.get_threshold(session, actor, threshold_id)
    tag_version(response, found.version)
    return ThresholdAnswer.model_validate(found)


@router.post("/{threshold_id}/retirement", summary="Stop judging by a rule")
async def retire_threshold(
    actor: Writer,
    session: SessionDep,
    threshold_id: Id,
    body: ThresholdRetirement,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> ThresholdAnswer:
    made, replayed = await thresholds.retire_threshold(session, actor, threshold_id, body, based_on, key)
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return ThresholdAnswer.model_validate(made)


@router.get("/{threshold_id}/history", summary="Both versions of a retired rule, newest first")
async def list_threshold_versions(actor: Reader, session: SessionDep, threshold_id: Id) -> Page[ThresholdAnswer]:
    rows = await thresholds.find_threshold_versions(session, actor, threshold_id)
    return Page(data=[ThresholdAnswer.model_validate(row) for row in rows], next_cursor=None)
