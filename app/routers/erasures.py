"""Erasing a person, and the certificates of it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

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
)
from app.paging import Position, cut
from app.schemas.erasures import ErasureAnswer, ErasureGround, certificate
from app.schemas.fields import Id, Page
from app.services import erasures

router = APIRouter(tags=["erasure"], route_class=StrictRoute)

Eraser = Annotated[Actor, Depends(allowed(Permission.ERASE_PATIENTS))]
Reader = Annotated[Actor, Depends(allowed(Permission.READ_ERASURES))]


@router.delete("/v1/patients/{patient_id}", summary="Erase a patient: final, and answered with a certificate")
async def erase_patient(
    actor: Eraser,
    session: SessionDep,
    patient_id: Id,
    ground: Annotated[ErasureGround, Query(description="Why. Without it nothing is erased.")],
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> ErasureAnswer:
    """Everything about the person in every table. Nobody can take it back.

    Wants the `ETag` of the patient as `If-Match`, so that who erases has read whom.
    """
    made, replayed = await erasures.erase_patient(session, actor, patient_id, ground, based_on, key)
    mark_replayed(response, replayed=replayed)
    return certificate(made)


@router.get("/v1/erasures", summary="Who was erased, newest first")
async def list_erasures(
    actor: Reader,
    session: SessionDep,
    page: PageDep,
    request: Request,
    response: Response,
    patient_id: Annotated[Id | None, Query(description="Of this patient, by the id they had.")] = None,
) -> Page[ErasureAnswer]:
    found = await erasures.find_erasures(session, actor, patient_id, page)
    rows, cursor = cut(found, page, lambda row: Position(row.erased_at, row.id))
    of = {row.patient_id for row in rows}
    await record_read(session, actor, "erasure.list", of=of, rows=len(rows))
    link_next(request, response, cursor)
    return Page(data=[certificate(row) for row in rows], next_cursor=cursor)


@router.get("/v1/erasures/{erasure_id}", summary="One certificate")
async def get_erasure(actor: Reader, session: SessionDep, erasure_id: Id) -> ErasureAnswer:
    found = await erasures.get_erasure(session, actor, erasure_id)
    await record_read(session, actor, "erasure.read", of=found.patient_id, resource_id=erasure_id)
    return certificate(found)
