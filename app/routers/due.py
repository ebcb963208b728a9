"""What is expected of patients now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.auth import Actor, Permission
from app.deps import DatabaseDep, PageDep, StrictRoute, allowed, link_next
from app.paging import Position, cut
from app.schemas.due import DueAnswer, DueCounts, DueOfPatientAnswer, OpenStatus, Status
from app.schemas.fields import Id, InstrumentId, Page
from app.services import due

router = APIRouter(tags=["schedules"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_DUE))]
ReaderOfClinic = Annotated[Actor, Depends(allowed(Permission.READ_DUE_OF_CLINIC))]

_STATUS = "Repeat it for several; default: due and overdue."


@router.get("/v1/patients/{patient_id}/due", summary="Check-ins expected of a patient, in order of opening")
async def list_due_of_patient(
    actor: Reader,
    database: DatabaseDep,
    patient_id: Id,
    status: Annotated[Sequence[Status], Query(description=_STATUS)] = ("due", "overdue"),
) -> DueOfPatientAnswer:
    """Patients read their own."""
    found = await due.find_due_of_patient(database, actor, patient_id, status, datetime.now(UTC))
    data = [DueAnswer.model_validate(dict(row)) for row in found.rows]
    return DueOfPatientAnswer(as_of=found.as_of, counts=DueCounts(**found.counts), data=data)


@router.get("/v1/due", summary="Unanswered check-ins of all patients, first to close first")
async def list_due(
    actor: ReaderOfClinic,
    database: DatabaseDep,
    page: PageDep,
    request: Request,
    response: Response,
    status: Annotated[Sequence[OpenStatus], Query(description=_STATUS)] = ("due", "overdue"),
    instrument: Annotated[InstrumentId | None, Query(description="id without version")] = None,
    patient_id: Annotated[Id | None, Query()] = None,
) -> Page[DueAnswer]:
    wanted = due.DueFilter(frozenset(status), instrument, patient_id)
    found = await due.find_due(database, actor, wanted, page, datetime.now(UTC))
    rows, cursor = cut(found, page, lambda row: Position(row["closes_at"], row["id"]))
    link_next(request, response, cursor)
    return Page(data=[DueAnswer.model_validate(dict(row)) for row in rows], next_cursor=cursor)
