"""A patient's course over HTTP."""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from app.auth import Actor, Permission
from app.charts import trajectory_svg
from app.deps import DatabaseDep, StrictRoute, allowed
from app.schemas.fields import Id, InstrumentReference, Timestamp
from app.schemas.trajectories import BaselineChoice, TrajectoryAnswer
from app.schemas.trajectory_answers import example, trajectory_answer
from app.scoring.model import Instrument
from app.scoring.trajectory import Trajectory
from app.services import trajectories
from app.services.trajectories import TrajectoryRequest

router = APIRouter(prefix="/v1/patients", tags=["trajectories"], route_class=StrictRoute)

SVG_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'"  # an SVG opened by itself is a document that could act
)


class SvgResponse(Response):
    media_type = "image/svg+xml"


Reader = Annotated[Actor, Depends(allowed(Permission.READ_ASSESSMENTS))]


def _request(
    instrument: Annotated[InstrumentReference, Query()],
    episode_id: Annotated[Id | None, Query(description="Default: the one the patient is in or was in last.")] = None,
    baseline: Annotated[
        BaselineChoice | None,
        Query(description="Default: `pre_treatment` where a dose is recorded, `first` where none is."),
    ] = None,
    taken_from: Annotated[Timestamp | None, Query(alias="from", description="show forms taken at or after")] = None,
    taken_to: Annotated[
        Timestamp | None, Query(alias="to", description="look as if at this time: nothing later has happened")
    ] = None,
    known_at: Annotated[Timestamp | None, Query(description="as the record stood then; default: now")] = None,
) -> TrajectoryRequest:
    return TrajectoryRequest(
        instrument, episode_id, baseline, taken_from, taken_to, (known_at or datetime.now(UTC)).astimezone(UTC)
    )


@router.get(
    "/{patient_id}/trajectory",
    summary="Scores in order, change since baseline, verdicts, effects, durability",
    responses={
        200: {"content": {"application/json": {"example": example().model_dump(mode="json")}}},
        304: {"description": "Nothing has changed since the `ETag` you sent."},
    },
    response_model=TrajectoryAnswer,
)
async def get_trajectory(
    actor: Reader,
    database: DatabaseDep,
    patient_id: Id,
    request: Annotated[TrajectoryRequest, Depends(_request)],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Every verdict names its rule, threshold and source; what cannot be told says why and gives no number."""
    course = await trajectories.get_trajectory(database, actor, patient_id, request)
    episode_id = None if course.episode is None else course.episode.id
    text, headers = _told(patient_id, course.instrument, episode_id, course.trajectory, request.taken_from)
    if _is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    known_at = request.known_at.isoformat().replace("+00:00", "Z")
    return Response(f'{{"known_at":"{known_at}",{text[1:]}', headers=headers, media_type="application/json")


@lru_cache(maxsize=64)
def _told(
    patient_id: UUID, instrument: Instrument, episode_id: str | None, found: Trajectory, shown_from: datetime | None
) -> tuple[str, dict[str, str]]:
    """The answer without its time of looking, which is another at every look, and the `ETag` of that."""
    answer = trajectory_answer(patient_id, instrument, episode_id, found, datetime.now(UTC), shown_from)
    text = answer.model_dump_json(exclude={"known_at"})
    return text, _validators(text)


@router.get(
    "/{patient_id}/trajectory.svg",
    summary="The same course as a picture",
    responses={
        200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}},
        304: {"description": "Nothing has changed since the `ETag` you sent."},
    },
    response_class=SvgResponse,
)
async def get_trajectory_picture(
    actor: Reader,
    database: DatabaseDep,
    patient_id: Id,
    request: Annotated[TrajectoryRequest, Depends(_request)],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Scalable, readable in grey, described in words for screen readers; it names no patient."""
    course = await trajectories.get_trajectory(database, actor, patient_id, request, "trajectory_picture.read")
    amounts_mg = await trajectories.find_amounts_mg(database, actor, course.doses, request.known_at)
    picture = trajectory_svg(course.instrument, course.trajectory, course.doses, amounts_mg, request.taken_from)
    headers = _validators(picture) | {"Content-Security-Policy": SVG_POLICY}
    if _is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    return SvgResponse(picture, headers=headers)


def _validators(content: str) -> dict[str, str]:
    """For programs that keep a picture themselves. Browsers shall keep nothing of a patient."""
    etag = f'"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'
    return {"ETag": etag, "Cache-Control": "no-store"}


def _is_known(etag: str, if_none_match: str | None) -> bool:
    return if_none_match is not None and etag in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
