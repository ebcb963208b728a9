"""Break-glass over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import (
    DatabaseDep,
    IdempotencyKeyDep,
    PageDep,
    SessionDep,
    StrictRoute,
    allowed,
    link_next,
    mark_replayed,
)
from app.paging import Position, cut
from app.schemas.emergency_accesses import EmergencyAccessAnswer, EmergencyAccessOpen
from app.schemas.fields import Id, Page
from app.services import emergency_accesses

router = APIRouter(prefix="/v1", tags=["care teams"], route_class=StrictRoute)

Opener = Annotated[Actor, Depends(allowed(Permission.OPEN_EMERGENCY_ACCESS))]
Reader = Annotated[Actor, Depends(allowed(Permission.READ_EMERGENCY_ACCESSES))]
Ender = Annotated[Actor, Depends(allowed(Permission.END_EMERGENCY_ACCESS))]


@router.post(
    "/patients/{patient_id}/emergency-access", status_code=201, summary="See a restricted patient in an emergency"
)
async def open_emergency_access(
    actor: Opener,
    database: DatabaseDep,
    patient_id: Id,
    body: EmergencyAccessOpen,
    key: IdempotencyKeyDep,
    response: Response,
) -> EmergencyAccessAnswer:
    """The patient is there within a second. The clinic is told at once, the patient reads it in the list of accesses.

    409 for a patient you see anyway.
    """
    made, replayed = await emergency_accesses.open_emergency_access(database, actor, patient_id, body, key)
    response.headers["Location"] = f"{router.prefix}/emergency-accesses/{made.id}"
    mark_replayed(response, replayed=replayed)
    return EmergencyAccessAnswer.model_validate(made)


@router.get("/emergency-accesses", summary="Emergency accesses, newest first")
async def list_emergency_accesses(
    actor: Reader, session: SessionDep, page: PageDep, request: Request, response: Response
) -> Page[EmergencyAccessAnswer]:
    """Administrators see everybody's, clinicians their own while they last."""
    found = await emergency_accesses.find_emergency_accesses(session, actor, page)
    rows, cursor = cut(found, page, lambda row: Position(row.begun_at, row.id))
    await record_read(session, actor, "emergency_access.list", of=[row.patient_id for row in rows], rows=len(rows))
    link_next(request, response, cursor)
    return Page(data=[EmergencyAccessAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/emergency-accesses/{access_id}", summary="One emergency access")
async def get_emergency_access(actor: Reader, session: SessionDep, access_id: Id) -> EmergencyAccessAnswer:
    found = await emergency_accesses.get_emergency_access(session, actor, access_id)
    await record_read(session, actor, "emergency_access.read", of=found.patient_id, resource_id=access_id)
    return EmergencyAccessAnswer.model_validate(found)


@router.post("/emergency-accesses/{access_id}/end", summary="End an emergency access before it expires")
async def end_emergency_access(
    actor: Ender, database: DatabaseDep, access_id: Id, key: IdempotencyKeyDep, response: Response
) -> EmergencyAccessAnswer:
    """Clinicians their own, administrators anybody's. Ending one that is over is no error."""
    ended, replayed = await emergency_accesses.end_emergency_access(database, actor, access_id, key)
    mark_replayed(response, replayed=replayed)
    return EmergencyAccessAnswer.model_validate(ended)
