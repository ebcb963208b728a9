"""Check-ins: filled forms with their scores."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from app.auth import Actor, Permission
from app.deps import (
    DatabaseDep,
    DirectRoute,
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
from app.schemas.assessments import AlertAnswer, AssessmentAnswer, AssessmentSubmit, ContextAnswer, Status
from app.schemas.fields import Id, Page, Timestamp
from app.schemas.instruments import ScoreAnswer
from app.services import assessments
from app.services.assessments import AssessmentFilter, AssessmentInView, ScoredAssessment

router = APIRouter(prefix="/v1/assessments", tags=["assessments"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_ASSESSMENTS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_ASSESSMENTS))]


async def submit_assessment(
    database: DatabaseDep, actor: Writer, form: AssessmentSubmit, key: IdempotencyKeyDep
) -> Response:
    """Score and store one filled form. Safe to repeat: the same `id` or `Idempotency-Key` is stored once."""
    found, replayed = await assessments.record_assessment(database, actor, form, key)
    body = answer_of(found).model_dump_json()
    headers = {"Location": f"{router.prefix}/{found.assessment.id}"}
    response = Response(body, 201, headers, "application/json")
    tag_version(response, found.assessment.version)
    mark_replayed(response, replayed=replayed)
    return response


router.add_api_route(
    "",
    submit_assessment,
    methods=["POST"],
    status_code=201,
    summary="Submit a check-in",
    response_model=AssessmentAnswer,
    route_class_override=DirectRoute,
)


def _filter(
    patient_id: Annotated[Id | None, Query()] = None,
    instrument: Annotated[str | None, Query(max_length=40, description="id without version")] = None,
    taken_from: Annotated[Timestamp | None, Query(alias="from", description="taken at or after")] = None,
    taken_to: Annotated[Timestamp | None, Query(alias="to", description="taken before")] = None,
    status: Annotated[Status | None, Query()] = None,
) -> AssessmentFilter:
    return AssessmentFilter(patient_id, instrument, taken_from, taken_to, status)


@router.get("", summary="Check-ins, latest first")
async def list_assessments(
    actor: Reader,
    session: SessionDep,
    page: PageDep,
    wanted: Annotated[AssessmentFilter, Depends(_filter)],
    request: Request,
    response: Response,
) -> Page[AssessmentAnswer]:
    found = await assessments.find_assessments(session, actor, wanted, page)
    rows, cursor = cut(found, page, lambda row: Position(row.assessment.taken_at, row.assessment.id))
    link_next(request, response, cursor)
    return Page(data=[answer_of(row) for row in rows], next_cursor=cursor)


@router.get("/{assessment_id}", summary="One check-in, newest version")
async def get_assessment(actor: Reader, session: SessionDep, assessment_id: Id, response: Response) -> AssessmentAnswer:
    found = await assessments.get_assessment(session, actor, assessment_id)
    tag_version(response, found.assessment.version)
    return answer_of(found)


def answer_of(found: AssessmentInView) -> AssessmentAnswer:
    assessment, context = found.assessment, found.placed.context
    return AssessmentAnswer(
        id=assessment.id,
        version=assessment.version,
        status=assessment.status,  # type: ignore[arg-type]  # the table's CHECK holds it to the choices
        patient_id=assessment.patient_id,
        instrument=assessment.instrument.key,
        taken_at=assessment.taken_at,
        taken_at_offset=assessment.taken_at_offset_minutes,
        received_at=assessment.received_at,
        mode=assessment.mode,  # type: ignore[arg-type]  # same
        language=assessment.language,
        responses=list(assessment.responses),
        score=ScoreAnswer.of(assessment.score),
        context=ContextAnswer(
            episode_id=None if found.placed.episode_id is None else UUID(found.placed.episode_id),
            dose_number=context.dose_number,
            hours_since_dose=context.hours_since_dose,
            recall_after_dose=context.recall_after_dose,
        ),
        alerts=_alerts(assessment),
    )


def _alerts(assessment: ScoredAssessment) -> list[AlertAnswer]:
    if assessment.status == "entered_in_error":
        return []  # it says nothing of the patient
    labels = {critical.code: critical.label for critical in assessment.instrument.critical_items}
    raised = (finding for finding in assessment.score.critical_items if finding.raised)
    return [AlertAnswer(code=finding.code, item=finding.item, label=labels[finding.code]) for finding in raised]
