"""Patients."""

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
from app.schemas.patients import PatientAnswer, PatientChange, PatientCreate, PatientTimeZoneAnswer
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
    tag_version(response, patient.version)
    mark_replayed(response, replayed=replayed)
    return PatientAnswer.model_validate(patient)


@router.get("", summary="Patients of the clinic, newest first")
async def list_patients(
    actor: Reader, session: SessionDep, page: PageDep, request: Request, response: Response
) -> Page[PatientAnswer]:
    rows, cursor = cut(
        await patients.find_patients(session, actor, page), page, lambda row: Position(row.created_at, row.id)
    )
    await record_read(session, actor, "patient.list", of=[row.id for row in rows], rows=len(rows))
    link_next(request, response, cursor)
    return Page(data=[PatientAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/{patient_id}", summary="One patient")
async def get_patient(actor: Reader, session: SessionDep, patient_id: Id, response: Response) -> PatientAnswer:
    found = await patients.get_patient_in_view(session, actor, patient_id)
    await record_read(session, actor, "patient.read", of=patient_id, resource_id=patient_id)
    tag_version(response, found.version)
    return PatientAnswer.model_validate(found)


@router.patch("/{patient_id}", summary="Set a patient's time zone, now or for a journey")
async def amend_patient(
    actor: Writer,
    session: SessionDep,
    patient_id: Id,
    body: PatientChange,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> PatientAnswer:
    made, replayed = await patients.amend_patient(session, actor, patient_id, body, based_on, key)
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return PatientAnswer.model_validate(made)


@router.get("/{patient_id}/history", summary="Where a patient's clock stood: all versions, newest first")
async def list_patient_versions(actor: Reader, session: SessionDep, patient_id: Id) -> Page[PatientTimeZoneAnswer]:
    rows = await patients.find_patient_time_zones(session, actor, patient_id)
    await record_read(session, actor, "patient.history", of=patient_id, resource_id=patient_id, rows=len(rows))
    return Page(data=[PatientTimeZoneAnswer.model_validate(row) for row in rows], next_cursor=None)
