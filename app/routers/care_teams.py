"""Restricted patients and who may see them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import BasedOnDep, IdempotencyKeyDep, SessionDep, StrictRoute, allowed, mark_replayed, tag_version
from app.schemas.care_teams import CareTeamAnswer, CareTeamPut
from app.schemas.fields import Id, Page
from app.services import care_teams

router = APIRouter(prefix="/v1/patients/{patient_id}/care-team", tags=["care teams"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_CARE_TEAMS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_CARE_TEAMS))]


@router.put("", summary="Restrict a patient to a care team, or lift that")
async def put_care_team(
    actor: Writer,
    session: SessionDep,
    patient_id: Id,
    body: CareTeamPut,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> CareTeamAnswer:
    """In force on every worker within a second. At most 500 patients of a clinic are restricted at a time."""
    made, replayed = await care_teams.put_care_team(session, actor, patient_id, body, based_on, key)
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return CareTeamAnswer.model_validate(made)


@router.get("", summary="Who may see a patient")
async def get_care_team(actor: Reader, session: SessionDep, patient_id: Id, response: Response) -> CareTeamAnswer:
    found = await care_teams.get_care_team(session, actor, patient_id)
    await record_read(session, actor, "care_team.read", of=patient_id, resource_id=patient_id)
    tag_version(response, found.version)
    return CareTeamAnswer.model_validate(found)


@router.get("/history", summary="All versions of a care team, newest first")
async def list_care_team_versions(actor: Reader, session: SessionDep, patient_id: Id) -> Page[CareTeamAnswer]:
    rows = await care_teams.find_care_team_versions(session, actor, patient_id)
    await record_read(session, actor, "care_team.history", of=patient_id, resource_id=patient_id, rows=len(rows))
    return Page(data=[CareTeamAnswer.model_validate(row) for row in rows], next_cursor=None)
