"""Codes that let patients' devices in, and the tokens those live on."""

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
from app.schemas.enrolments import DeviceTokens, EnrolmentAnswer, EnrolmentCreate, NewEnrolmentAnswer
from app.schemas.fields import Id, Page
from app.services import devices, enrolments
from app.services.enrolments import described

router = APIRouter(prefix="/v1", tags=["enrolments"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_ENROLMENTS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_ENROLMENTS))]
CodeBearer = Annotated[Actor, Depends(allowed(Permission.REDEEM_CODE))]
Refresher = Annotated[Actor, Depends(allowed(Permission.RENEW_TOKENS))]


@router.post("/patients/{patient_id}/enrolments", status_code=201, summary="Make a code for a patient's device")
async def create_enrolment(
    actor: Writer,
    session: SessionDep,
    patient_id: Id,
    body: EnrolmentCreate,
    key: IdempotencyKeyDep,
    response: Response,
) -> NewEnrolmentAnswer:
    """The code is told this once. A replay answers the same enrolment without it: make another and revoke this one."""
    made, replayed = await enrolments.record_enrolment(session, actor, patient_id, body, key)
    response.headers["Location"] = f"{router.prefix}/enrolments/{made.row.id}"
    mark_replayed(response, replayed=replayed)
    return NewEnrolmentAnswer(**described(made.row), code=made.code, token=made.token)


@router.get("/patients/{patient_id}/enrolments", summary="Codes and devices of a patient, newest first")
async def list_enrolments(
    actor: Reader, session: SessionDep, patient_id: Id, page: PageDep, request: Request, response: Response
) -> Page[EnrolmentAnswer]:
    found = await enrolments.find_enrolments(session, actor, patient_id, page)
    rows, cursor = cut(found, page, lambda row: Position(row.created_at, row.id))
    await record_read(session, actor, "enrolment.list", of=patient_id, resource_id=patient_id, rows=len(rows))
    link_next(request, response, cursor)
    return Page(data=[EnrolmentAnswer(**described(row)) for row in rows], next_cursor=cursor)


@router.get("/enrolments/{enrolment_id}", summary="One code and its device")
async def get_enrolment(actor: Reader, session: SessionDep, enrolment_id: Id) -> EnrolmentAnswer:
    found = await enrolments.get_enrolment(session, actor, enrolment_id)
    await record_read(session, actor, "enrolment.read", of=found.patient_id, resource_id=enrolment_id)
    return EnrolmentAnswer(**described(found))


@router.post("/enrolments/{enrolment_id}/revocation", summary="Revoke a code, or lock its device out")
async def revoke_enrolment(
    actor: Writer, session: SessionDep, enrolment_id: Id, key: IdempotencyKeyDep, response: Response
) -> EnrolmentAnswer:
    """For a lost telephone: every worker refuses it within a second. Revoking twice is no error."""
    revoked, replayed = await enrolments.revoke_enrolment(session, actor, enrolment_id, key)
    mark_replayed(response, replayed=replayed)
    return EnrolmentAnswer(**described(revoked))


@router.post("/enrolment", summary="Redeem a code for a device's first tokens")
async def redeem_enrolment(actor: CodeBearer, database: DatabaseDep) -> DeviceTokens:
    """The bearer token is the code's. Safe to repeat until one of the tokens is used: an answer may get lost."""
    return await devices.redeem_code(database, actor)


@router.post("/token/refresh", summary="Renew a device's tokens")
async def refresh_token(actor: Refresher, database: DatabaseDep) -> DeviceTokens:
    """The bearer token is the refresh token, which is spent. Safe to repeat until one of the new tokens is used.

    After that it ends the device: somebody has a copy. Renew one at a time.
    """
    return await devices.refresh_tokens(database, actor)


@router.post("/token/logout", status_code=204, response_class=Response, summary="Log a device out")
async def log_out(actor: Refresher, database: DatabaseDep) -> None:
    """The bearer token is the refresh token. Every worker refuses the access token within a second."""
    await devices.log_out(database, actor)
