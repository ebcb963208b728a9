"""The trail over HTTP. It is read here and nowhere written."""

from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import PageDep, SessionDep, StrictRoute, allowed, link_next
from app.errors import Fault, InvalidError
from app.paging import Position, cut
from app.schemas.audit import COVERS, AccessAnswer, AccessPage, Action, AuditEventAnswer, AuditEventPage
from app.schemas.fields import Id, Timestamp
from app.services import audit_events
from app.services.audit_events import AuditFilter

router = APIRouter(tags=["audit"], route_class=StrictRoute)

Auditor = Annotated[Actor, Depends(allowed(Permission.READ_AUDIT))]
Reader = Annotated[Actor, Depends(allowed(Permission.READ_ACCESSES))]


def _filter(
    actor_id: Annotated[Id | None, Query(description="What this token or check-in link did.")] = None,
    action: Annotated[Action | None, Query(description="This action alone, `assessment.create`.")] = None,
    patient_id: Annotated[Id | None, Query(description="What is about this patient.")] = None,
    begins: Annotated[Timestamp | None, Query(alias="from", description="At or after it.")] = None,
    ends: Annotated[Timestamp | None, Query(alias="to", description="Before it.")] = None,
) -> AuditFilter:
    if begins is not None and ends is not None and begins >= ends:
        fault = Fault("query/from", "not_a_period", "`from` lies before `to`.")
        raise InvalidError("This is no period we can look at.", faults=(fault,))
    times = [None if at is None else at.astimezone(UTC) for at in (begins, ends)]
    return AuditFilter(actor_id, action, patient_id, *times)


@router.get("/v1/audit-events", summary="Who did what, newest first")
async def list_audit_events(
    actor: Auditor,
    session: SessionDep,
    page: PageDep,
    wanted: Annotated[AuditFilter, Depends(_filter)],
    request: Request,
    response: Response,
) -> AuditEventPage:
    """Of the whole clinic. That nobody changed the trail is proven by `tidemark audit verify`, not by this list."""
    found = await audit_events.find_audit_events(session, actor, wanted, page)
    rows, cursor = cut(found, page, lambda row: Position(row[0].at, row[0].id))
    patients = [event.subject_id for event, _ in rows if event.subject_id is not None]
    await record_read(session, actor, "audit_event.list", of=patients, rows=len(rows), asked=wanted)
    link_next(request, response, cursor)
    data = [
        AuditEventAnswer.model_validate({**event.model_dump(), "patient_id": event.subject_id, "number": number})
        for event, number in rows
    ]
    return AuditEventPage(data=data, next_cursor=cursor, covers=COVERS)


@router.get("/v1/patients/{patient_id}/accesses", summary="What was done about a patient, newest first")
async def list_accesses(
    actor: Reader, session: SessionDep, patient_id: Id, page: PageDep, request: Request, response: Response
) -> AccessPage:
    """Patients read their own."""
    found = await audit_events.find_accesses(session, actor, patient_id, page)
    rows, cursor = cut(found, page, lambda row: Position(row.at, row.id))
    await record_read(session, actor, "access.list", of=patient_id, resource_id=patient_id, rows=len(rows))
    link_next(request, response, cursor)
    return AccessPage(data=[AccessAnswer.model_validate(row) for row in rows], next_cursor=cursor, covers=COVERS)
