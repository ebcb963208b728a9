"""A patient's course over HTTP."""

import hashlib
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from app.auth import Actor, Permission
from app.deps import DatabaseDep, StrictRoute, allowed
from app.schemas.fields import Id, InstrumentReference, Timestamp
from app.schemas.instruments import SeverityAnswer
from app.schemas.trajectories import (
    BaselineAnswer,
    BaselineChoice,
    CategoryRule,
    LatestAnswer,
    PointAnswer,
    TrajectoryAnswer,
    VerdictAnswer,
)
from app.scoring.trajectory import Latest, TrajectoryPoint
from app.scoring.treatment import Baseline
from app.services import trajectories
from app.services.trajectories import PatientTrajectory, TrajectoryRequest

router = APIRouter(prefix="/v1/patients", tags=["trajectories"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_ASSESSMENTS))]


def _request(
    instrument: Annotated[InstrumentReference, Query()],
    baseline: Annotated[
        BaselineChoice | None,
        Query(description="Default: `pre_treatment` where a dose is recorded, `first` where none is."),
    ] = None,
    taken_from: Annotated[Timestamp | None, Query(alias="from", description="show forms taken at or after")] = None,
    taken_to: Annotated[Timestamp | None, Query(alias="to", description="show and judge forms taken before")] = None,
    known_at: Annotated[Timestamp | None, Query(description="as the record stood then; default: now")] = None,
) -> TrajectoryRequest:
    return TrajectoryRequest(instrument, baseline, taken_from, taken_to, known_at or datetime.now(UTC))


@router.get(
    "/{patient_id}/trajectory",
    summary="Scores in order, change since baseline, verdicts",
    responses={304: {"description": "Nothing has changed since the `ETag` you sent."}},
    response_model=TrajectoryAnswer,
)
async def get_trajectory(
    actor: Reader,
    database: DatabaseDep,
    patient_id: Id,
    request: Annotated[TrajectoryRequest, Depends(_request)],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    course = await trajectories.get_trajectory(database, actor, patient_id, request)
    answer = _answer(patient_id, request, course)
    etag = f'"{hashlib.sha256(answer.model_dump_json(exclude={"known_at"}).encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if if_none_match is not None and etag in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(answer.model_dump_json(), headers=headers, media_type="application/json")


def _answer(patient_id: UUID, request: TrajectoryRequest, course: PatientTrajectory) -> TrajectoryAnswer:
    chosen, found = course.baseline, course.trajectory
    return TrajectoryAnswer(
        patient_id=patient_id,
        instrument=course.instrument.key,
        known_at=request.known_at.astimezone(UTC),
        baseline=_baseline(chosen) if isinstance(chosen, Baseline) else None,
        no_baseline=None if isinstance(chosen, Baseline) else chosen.reason,
        points=[_point(point, found.sem) for point in found.points],
        latest=None if found.latest is None else _latest(found.latest),
    )


def _baseline(baseline: Baseline) -> BaselineAnswer:
    point = baseline.point
    assert point.total is not None  # noqa: S101  # a baseline is a scored form; narrows the type
    return BaselineAnswer(assessment_id=UUID(point.id), rule=baseline.rule.value, taken_at=point.at, total=point.total)


def _point(entry: TrajectoryPoint, sem: float | None) -> PointAnswer:
    return PointAnswer(
        assessment_id=UUID(entry.point.id),
        taken_at=entry.point.at,
        total=entry.point.total,
        validity=entry.point.validity,
        severity=None if entry.severity is None else SeverityAnswer.model_validate(entry.severity),
        sem=sem,
        change=entry.change,
        percent_change=entry.percent_change,
    )


def _latest(latest: Latest) -> LatestAnswer:
    point, category = latest.point, latest.category
    assert point.total is not None  # noqa: S101  # only scored forms are judged; narrows the type
    return LatestAnswer(
        assessment_id=UUID(point.id),
        taken_at=point.at,
        total=point.total,
        change=latest.change,
        percent_change=latest.percent_change,
        verdicts=[VerdictAnswer.model_validate(verdict) for verdict in latest.verdicts],
        category=category.category,
        category_rule=CategoryRule.model_validate(category),
    )
