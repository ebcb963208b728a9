"""Instruments: what is asked, how it is scored, by which rules it is judged."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from app.auth import Actor, Permission
from app.deps import StrictRoute, allowed
from app.errors import NotFoundError
from app.schemas.instruments import InstrumentAnswer, InstrumentSummary, ScoreAnswer, ScoreRequest, ScoreResult
from app.scoring import UnknownInstrumentError, all_instruments, get_instrument
from app.scoring.model import Instrument
from app.services.scored_assessments import score_or_refuse

router = APIRouter(prefix="/v1/instruments", tags=["instruments"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_INSTRUMENTS))]
Reference = Annotated[
    str, Path(description="`phq-9`, or `phq-9@1` for a certain version", max_length=50, examples=["phq-9"])
]


@router.get("", summary="All instruments")
async def list_instruments(_: Reader) -> list[InstrumentSummary]:
    return [InstrumentSummary.model_validate(instrument) for instrument in all_instruments()]


@router.get("/{reference}", summary="One instrument whole")
async def get_instrument_by_reference(_: Reader, reference: Reference) -> InstrumentAnswer:
    return InstrumentAnswer.of(_instrument(reference))


@router.post("/{reference}/score", summary="Score answers without storing them")
async def score_without_storing(_: Reader, reference: Reference, body: ScoreRequest) -> ScoreResult:
    instrument = _instrument(reference)
    return ScoreResult(instrument=instrument.key, score=ScoreAnswer.of(score_or_refuse(instrument, body.responses)))


def _instrument(reference: str) -> Instrument:
    try:
        return get_instrument(reference)
    except UnknownInstrumentError:
        raise NotFoundError(
            "There is no such instrument or version. GET /v1/instruments lists what there is."
        ) from None
