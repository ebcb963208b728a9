"""A filled form and what it says by the rules of its instrument version: from a client, or from a stored row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.errors import Fault, InvalidError
from app.ids import new_id
from app.schemas.assessments import AssessmentSubmit
from app.schemas.fields import offset_minutes
from app.scoring import ResponseError, UnknownInstrumentError, get_instrument, score
from app.scoring.episode import PlacedContext, place
from app.scoring.model import Instrument, Score
from app.services.alert_states import RaisedAlert
from app.services.clock import ClockReading
from app.services.histories import History


@dataclass(frozen=True, slots=True)
class ScoredAssessment:
    """One version of a form. `clock` is what the request told of the sender's clock."""

    id: UUID
    version: int
    status: str
    patient_id: UUID
    instrument: Instrument
    responses: tuple[int | None, ...]
    taken_at: datetime
    taken_at_offset_minutes: int
    received_at: datetime
    mode: str
    language: str
    clock: ClockReading
    score: Score

    @property
    def is_critical(self) -> bool:
        """Whether an item that needs a person's eyes was answered so that it does."""
        return any(finding.raised for finding in self.score.critical_items)


@dataclass(frozen=True, slots=True)
class AssessmentInView:
    """A stored form, where it stands in the treatment, and the alerts it raised.

    The first is derived when it is looked at, because sessions come late.
    """

    assessment: ScoredAssessment
    placed: PlacedContext
    alerts: Sequence[RaisedAlert] = ()
    safety_text: str | None = None  # the clinic's words to whoever answered a critical item


def known_instrument(reference: str, pointer: str = "/instrument") -> Instrument:
    """Raises InvalidError when there is no such instrument or version."""
    try:
        return get_instrument(reference)
    except UnknownInstrumentError:
        fault = Fault(
            pointer,
            "unknown_instrument",
            "There is no such instrument or version. GET /v1/instruments lists what there is.",
        )
        raise InvalidError("The instrument is unknown.", faults=(fault,)) from None


def score_or_refuse(instrument: Instrument, responses: Sequence[int | None]) -> Score:
    """Raises InvalidError that names each faulty answer by its place, never by its value."""
    try:
        return score(instrument, responses)
    except ResponseError as error:
        faults = tuple(
            Fault("/responses" if fault.index is None else f"/responses/{fault.index}", fault.code, fault.message)
            for fault in error.faults
        )
        raise InvalidError("The responses do not fit the instrument.", faults=faults) from None


def submitted(form: AssessmentSubmit, received_at: datetime, clock: ClockReading) -> ScoredAssessment:
    """A form as it would be stored, at the time it was taken by our clock. Raises InvalidError."""
    instrument = known_instrument(form.instrument)
    return ScoredAssessment(
        id=form.id or new_id(),
        version=1,
        status="final",
        patient_id=form.patient_id,
        instrument=instrument,
        responses=tuple(form.responses),
        taken_at=clock.ours(form.taken_at.astimezone(UTC)),
        taken_at_offset_minutes=offset_minutes(form.taken_at),
        received_at=received_at,
        mode=form.mode,
        language=form.language,
        clock=clock,
        score=score_or_refuse(instrument, form.responses),
    )


def from_row(row: Mapping[str, Any]) -> ScoredAssessment:
    """A stored version, scored again by the rules it was stored under."""
    instrument = get_instrument(f"{row['instrument']}@{row['instrument_version']}")
    responses = tuple(row["responses"])
    return ScoredAssessment(
        id=row["id"],
        version=row["version"],
        status=row["status"],
        patient_id=row["patient_id"],
        instrument=instrument,
        responses=responses,
        taken_at=row["taken_at"],
        taken_at_offset_minutes=row["taken_at_offset_minutes"],
        received_at=row["received_at"],
        mode=row["mode"],
        language=row["language"],
        clock=ClockReading(row["device_skew_seconds"], row["clock_correction_minutes"]),
        score=score(instrument, responses),
    )


def in_view(
    assessment: ScoredAssessment, history: History, alerts: Sequence[RaisedAlert], safety_text: str
) -> AssessmentInView:
    placed = place(assessment.taken_at, history, assessment.instrument.recall_days)
    counts = assessment.status != "entered_in_error"
    return AssessmentInView(
        assessment, placed, tuple(alerts), safety_text if assessment.is_critical and counts else None
    )
