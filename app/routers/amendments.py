"""Corrections of filled forms."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import BasedOnDep, IdempotencyKeyDep, SessionDep, StrictRoute, allowed, mark_replayed, tag_version
from app.routers.assessment_answers import answer_of
from app.schemas.amendments import AssessmentAmendment, AssessmentVersionAnswer, AssessmentVoid
from app.schemas.assessments import AssessmentAnswer
from app.schemas.fields import Id, Page
from app.services import amendments
from app.services.amendments import AssessmentVersion

router = APIRouter(prefix="/v1/assessments", tags=["assessments"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_ASSESSMENTS))]
Amender = Annotated[Actor, Depends(allowed(Permission.AMEND_ASSESSMENTS))]
Voider = Annotated[Actor, Depends(allowed(Permission.VOID_ASSESSMENTS))]


@router.post("/{assessment_id}/amendments", status_code=201, summary="Correct a check-in")
async def amend_assessment(
    actor: Amender,
    session: SessionDep,
    assessment_id: Id,
    body: AssessmentAmendment,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> AssessmentAnswer:
    """The next version, scored by the rules of the version it replaces. Patients correct their own, for a time."""
    made, replayed = await amendments.amend_assessment(session, actor, assessment_id, body, based_on, key)
    response.headers["Location"] = f"{router.prefix}/{assessment_id}"
    tag_version(response, made.assessment.version)
    mark_replayed(response, replayed=replayed)
    return answer_of(made)


@router.post("/{assessment_id}/void", summary="Mark a check-in as entered in error")
async def void_assessment(
    actor: Voider,
    session: SessionDep,
    assessment_id: Id,
    body: AssessmentVoid,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> AssessmentAnswer:
    made, replayed = await amendments.void_assessment(session, actor, assessment_id, body, based_on, key)
    tag_version(response, made.assessment.version)
    mark_replayed(response, replayed=replayed)
    return answer_of(made)


@router.get("/{assessment_id}/history", summary="All versions of a check-in, newest first")
async def list_assessment_versions(
    actor: Reader, session: SessionDep, assessment_id: Id
) -> Page[AssessmentVersionAnswer]:
    rows = await amendments.find_assessment_versions(session, actor, assessment_id)
    await record_read(
        session,
        actor,
        "assessment.history",
        of=rows[0].in_view.assessment.patient_id,
        resource_id=assessment_id,
        rows=len(rows),
    )
    return Page(data=[_version(row) for row in rows], next_cursor=None)


def _version(row: AssessmentVersion) -> AssessmentVersionAnswer:
    answer = answer_of(row.in_view)
    return AssessmentVersionAnswer(**dict(answer), recorded_by=row.recorded_by, reason=row.reason)
