"""Check-ins: filled forms with their scores."""

import json
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app import problems
from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import (
    BatchRoute,
    DatabaseDep,
    DeviceTimeDep,
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
from app.errors import AppError
from app.paging import Position, cut
from app.routers.assessment_answers import answer_of
from app.schemas.assessments import AssessmentAnswer, AssessmentSubmit, BatchAnswer, BatchSubmit, Status
from app.schemas.fields import Id, InstrumentId, Page, Timestamp
from app.services import assessments
from app.services.assessments import AssessmentFilter
from app.services.intake import Outcome

router = APIRouter(prefix="/v1/assessments", tags=["assessments"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_ASSESSMENTS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_ASSESSMENTS))]


async def submit_assessment(
    database: DatabaseDep, actor: Writer, form: AssessmentSubmit, key: IdempotencyKeyDep, device_time: DeviceTimeDep
) -> Response:
    """Score and store one filled form. Safe to repeat: the same `id` or `Idempotency-Key` is stored once."""
    found, replayed = await assessments.record_assessment(database, actor, form, key, device_time)
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


async def submit_batch(
    database: DatabaseDep, actor: Writer, body: BatchSubmit, key: IdempotencyKeyDep, device_time: DeviceTimeDep
) -> Response:
    """Score and store up to 500 forms, each with its own outcome: one that is refused harms no other."""
    outcomes, replayed = await assessments.record_batch(database, actor, body.assessments, key, device_time)
    rows = ",".join(_outcome(index, outcome) for index, outcome in enumerate(outcomes))
    response = Response(f'{{"outcomes":[{rows}]}}', media_type="application/json")
    mark_replayed(response, replayed=replayed)
    return response


router.add_api_route(
    "/batch",
    submit_batch,
    methods=["POST"],
    summary="Submit many check-ins",
    response_model=BatchAnswer,
    route_class_override=BatchRoute,
)


def _outcome(index: int, outcome: Outcome) -> str:
    """Put together as text: building the answer of five hundred forms twice would cost as much as storing them."""
    if isinstance(outcome, AppError):
        problem = problems.body_of(outcome)
        return f'{{"index":{index},"status":{problem["status"]},"replayed":false,"problem":{json.dumps(problem)}}}'
    found, replayed = outcome
    stored = answer_of(found).model_dump_json()
    return f'{{"index":{index},"status":201,"replayed":{json.dumps(replayed)},"assessment":{stored}}}'


def _filter(
    patient_id: Annotated[Id | None, Query()] = None,
    instrument: Annotated[InstrumentId | None, Query(description="id without version")] = None,
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
    patients = [row.assessment.patient_id for row in rows]
    await record_read(session, actor, "assessment.list", of=patients, rows=len(rows), asked=wanted)
    link_next(request, response, cursor)
    return Page(data=[answer_of(row) for row in rows], next_cursor=cursor)


@router.get("/{assessment_id}", summary="One check-in, newest version")
async def get_assessment(actor: Reader, session: SessionDep, assessment_id: Id, response: Response) -> AssessmentAnswer:
    found = await assessments.get_assessment(session, actor, assessment_id)
    await record_read(session, actor, "assessment.read", of=found.assessment.patient_id, resource_id=assessment_id)
    tag_version(response, found.assessment.version)
    return answer_of(found)
