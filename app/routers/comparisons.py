"""A patient among comparable ones over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.auth import Actor, Permission
from app.deps import DatabaseDep, StrictRoute, allowed
from app.schemas.comparisons import ComparisonAnswer, comparison_answer
from app.schemas.fields import Id, InstrumentReference
from app.services import comparisons

router = APIRouter(prefix="/v1/patients", tags=["trajectories"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_COMPARISONS))]


@router.get("/{patient_id}/comparison", summary="Percentiles of comparable patients of the clinic, week by week")
async def get_comparison(
    actor: Reader,
    database: DatabaseDep,
    patient_id: Id,
    instrument: Annotated[InstrumentReference, Query()],
    episode_id: Annotated[Id | None, Query(description="Default: the one the patient is in or was in last.")] = None,
) -> ComparisonAnswer:
    """Describes other patients of this clinic, where 30 or more came in a week. It is no norm and no prediction."""
    found = await comparisons.get_comparison(database, actor, patient_id, instrument, episode_id)
    return comparison_answer(
        patient_id, found.instrument, found.episode_id, found.baseline, found.modality, found.comparison
    )
