"""Check-in links: made and revoked by the clinic; opened by who has no login."""

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
from app.schemas.check_in_links import (
    SAFETY_NOTE,
    CheckInDue,
    CheckInLinkAnswer,
    CheckInLinkCreate,
    CheckInReceived,
    CheckInSubmit,
    DueForm,
    NewCheckInLinkAnswer,
)
from app.schemas.fields import Id, Page
from app.services import check_in_links, check_ins_by_link
from app.services.check_in_links import LinkInView

router = APIRouter(prefix="/v1", tags=["check-in links"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_LINKS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_LINKS))]
Bearer = Annotated[Actor, Depends(allowed(Permission.ANSWER_BY_LINK))]


@router.post("/patients/{patient_id}/check-in-links", status_code=201, summary="Make a check-in link")
async def create_check_in_link(
    actor: Writer,
    session: SessionDep,
    patient_id: Id,
    body: CheckInLinkCreate,
    key: IdempotencyKeyDep,
    request: Request,
    response: Response,
) -> NewCheckInLinkAnswer:
    """The address is told this once. A replay answers the same link without it: make another and revoke this one."""
    made, replayed = await check_in_links.record_check_in_link(session, actor, patient_id, body, key)
    response.headers["Location"] = f"{router.prefix}/check-in-links/{made.row.id}"
    mark_replayed(response, replayed=replayed)
    public_url: str = request.app.state.settings.public_url or ""
    url = None if made.token is None else f"{public_url}/check-in#{made.token}"
    return NewCheckInLinkAnswer(**_answer(made).model_dump(), token=made.token, url=url)


@router.get("/patients/{patient_id}/check-in-links", summary="Check-in links of a patient, newest first")
async def list_check_in_links(
    actor: Reader, session: SessionDep, patient_id: Id, page: PageDep, request: Request, response: Response
) -> Page[CheckInLinkAnswer]:
    found = await check_in_links.find_check_in_links(session, actor, patient_id, page)
    rows, cursor = cut(found, page, lambda link: Position(link.row.created_at, link.row.id))
    await record_read(session, actor, "check_in_link.list", of=patient_id, resource_id=patient_id, rows=len(rows))
    link_next(request, response, cursor)
    return Page(data=[_answer(link) for link in rows], next_cursor=cursor)


@router.get("/check-in-links/{link_id}", summary="One check-in link")
async def get_check_in_link(actor: Reader, session: SessionDep, link_id: Id) -> CheckInLinkAnswer:
    found = await check_in_links.get_check_in_link(session, actor, link_id)
    await record_read(session, actor, "check_in_link.read", of=found.row.patient_id, resource_id=link_id)
    return _answer(found)


@router.post("/check-in-links/{link_id}/revocation", summary="Revoke a check-in link")
async def revoke_check_in_link(
    actor: Writer, session: SessionDep, link_id: Id, key: IdempotencyKeyDep, response: Response
) -> CheckInLinkAnswer:
    """From now on it opens nothing. Revoking twice is no error."""
    revoked, replayed = await check_in_links.revoke_check_in_link(session, actor, link_id, key)
    mark_replayed(response, replayed=replayed)
    return _answer(revoked)


@router.get("/check-in", summary="What is due to the bearer of a link")
async def get_check_in(actor: Bearer, session: SessionDep) -> CheckInDue:
    forms, expires_at = await check_ins_by_link.find_due_forms(session, actor)
    await record_read(session, actor, "check_in.read", of=actor.patient_id, resource_id=actor.token_id, rows=len(forms))
    due = [DueForm.model_validate(form) for form in forms]
    return CheckInDue(forms=due, expires_at=expires_at, safety_note=SAFETY_NOTE)


@router.post("/check-in/forms", status_code=201, summary="Answer a form that is due")
async def answer_check_in(
    actor: Bearer, database: DatabaseDep, body: CheckInSubmit, key: IdempotencyKeyDep, response: Response
) -> CheckInReceived:
    """Score and store it; the score is for the clinic. Safe to repeat: the same `id` is stored once."""
    received, replayed = await check_ins_by_link.record_answer(database, actor, body, key)
    response.headers["Location"] = f"{router.prefix}/assessments/{received.id}"
    mark_replayed(response, replayed=replayed)
    return CheckInReceived.model_validate(received)


def _answer(link: LinkInView) -> CheckInLinkAnswer:
    columns = {name: getattr(link.row, name) for name in CheckInLinkAnswer.model_fields if name != "state"}
    return CheckInLinkAnswer(**columns, state=link.state)
