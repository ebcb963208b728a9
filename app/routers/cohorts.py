"""What became of a cohort, over HTTP."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response

from app.auth import Actor, Permission
from app.deps import DatabaseDep, StrictRoute, allowed
from app.routers.trajectories import SVG_POLICY, SvgResponse
from app.schemas.cohort_answers import example
from app.schemas.cohort_pictures import Picture, cohort_svg
from app.schemas.cohorts import CohortAnswer, DoseBand, DoseCount, Month, SeverityGroup
from app.schemas.episodes import Modality
from app.schemas.fields import InstrumentReference
from app.schemas.treatment_sessions import Route
from app.scoring.cohort_course import CohortFilter
from app.services import cohorts
from app.services.cohorts import CohortRequest, ToldCohort

router = APIRouter(prefix="/v1/cohorts", tags=["cohorts"], route_class=StrictRoute)

_HEADER: Final = "Cohort-Questions-Left"
_LEFT: Final = {_HEADER: {"$ref": f"#/components/headers/{_HEADER}"}}
Reader = Annotated[Actor, Depends(allowed(Permission.READ_COHORTS))]


def _filter(
    first_dose_from: Annotated[Month | None, Query()] = None,
    first_dose_to: Annotated[Month | None, Query()] = None,
    modality: Annotated[Modality | None, Query()] = None,
    route: Annotated[Route | None, Query(description="Of the first dose.")] = None,
    dose_band: Annotated[DoseBand | None, Query(description="Of the first dose.")] = None,
    doses: Annotated[DoseCount | None, Query(description="How many there were so far.")] = None,
    severity: Annotated[SeverityGroup | None, Query()] = None,
) -> CohortFilter:
    return CohortFilter(first_dose_from, first_dose_to, modality, route, dose_band, doses, severity)


def _request(
    only: Annotated[CohortFilter, Depends(_filter)], instrument: Annotated[InstrumentReference, Query()]
) -> CohortRequest:
    return CohortRequest(instrument, only)


@router.get(
    "/outcomes",
    summary="Rates, effects and durability of a cohort, with intervals and denominators",
    responses={200: {"content": {"application/json": {"example": example()}}, "headers": _LEFT}},
)
async def get_cohort_outcomes(
    actor: Reader, database: DatabaseDep, request: Annotated[CohortRequest, Depends(_request)], response: Response
) -> CohortAnswer:
    """Figures behind which fewer than 11 persons stand are not told. It says nothing of causes."""
    told = await cohorts.get_outcomes(database, actor, request)
    response.headers.update(_left(told))
    return told.answer


@router.get(
    "/outcomes.svg",
    summary="The same figures as a picture",
    responses={200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}, "headers": _LEFT}},
    response_class=SvgResponse,
)
async def get_cohort_picture(
    actor: Reader,
    database: DatabaseDep,
    request: Annotated[CohortRequest, Depends(_request)],
    picture: Annotated[
        Picture, Query(description="Mean trajectory, survival of response with numbers at risk, or who was lost.")
    ] = "mean",
) -> Response:
    """Scalable, readable in grey, described in words for screen readers; from the figures as they were told."""
    told = await cohorts.get_outcomes(database, actor, request)
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": SVG_POLICY} | _left(told)
    return SvgResponse(cohort_svg(told.answer, picture), headers=headers)


def _left(told: ToldCohort) -> dict[str, str]:
    return {} if told.questions_left is None else {_HEADER: str(told.questions_left)}
