"""Patients."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.auth import Actor, Permission
from app.deps import IdempotencyKeyDep, PageDep, SessionDep, StrictRoute, allowed, link_next, mark_replayed
from app.paging import Position, cut
from app.schemas.fields import Id, Page
from app.schemas.patients import PatientAnswer, PatientCreate
from app.services import patients

router = APIRouter(prefix="/v1/patients", tags=["patients"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_PATIENTS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_PATIENTS))]


@router.post("", status_code=201, summary="Add a patient")
async def create_patient(
    actor: Writer, session: SessionDep, body: PatientCreate, key: IdempotencyKeyDep, response: Response
) -> PatientAnswer:
    patient, replayed = await patients.record_patient(session, actor, body, key)
    response.headers["Location"] = f"{router.prefix}/{patient.id}"
    mark_replayed(response, replayed=replayed)
    return PatientAnswer.model_validate(patient)


@router.get("", summary="Patients of the clinic, newest first")
async def list_patients(
    actor: Reader, session: SessionDep, page: PageDep, request: Request, response: Response
) -> Page[PatientAnswer]:
    rows, cursor = cut(
        await patients.find_patients(session, actor, page), page, lambda row: Position(row.created_at, row.id)
    )
    link_next(request, response, cursor)
    return Page(data=[PatientAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/{patient_id}", summary="One patient")
async def get_patient(actor: Reader, session: SessionDep, patient_id: Id) -> PatientAnswer:
    return PatientAnswer.model_validate(await patients.get_patient(session, actor, patient_id))
