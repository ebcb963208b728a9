"""Adverse events of a treatment session."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from app.schemas.fields import Body, Id, Offset, Timestamp
from app.schemas.versions import ENTERED_IN_ERROR, VERSION_EXAMPLE, Change, VersionAnswer, offset_of

Term = Literal[
    "dissociation",
    "dizziness",
    "nausea",
    "vomiting",
    "headache",
    "blood_pressure_rise",
    "anxiety",
    "blurred_vision",
    "respiratory_depression",
    "sedation",
    "urinary_symptoms",
    "psychiatric_event",
    "other",
]
Severity = Literal["mild", "moderate", "severe"]
Note = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]

_EXAMPLE: dict[str, Any] = {
    "term": "nausea",
    "note": "gone after 30 minutes without treatment",
    "severity": "mild",
    "serious": False,
    "onset_at": "2026-11-20T10:40:00-07:00",
    "resolved_at": "2026-11-20T11:10:00-07:00",
}


class AdverseEventCreate(Body):
    """What happened, how bad it was, and whether it lasts."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    term: Term
    note: Note | None = Field(default=None, description="Required for `other`. No names of people.")
    severity: Severity
    serious: bool = Field(description="As regulators use the word: death, danger to life, hospital or lasting harm.")
    onset_at: Timestamp
    resolved_at: Timestamp | None = Field(default=None, description="null while it lasts")


class AdverseEventContent(AdverseEventCreate):
    entered_in_error: bool = False


class AdverseEventChange(Change):
    model_config = ConfigDict(
        json_schema_extra={"example": {"resolved_at": "2026-11-20T12:00:00-07:00", "reason": "seen at discharge"}}
    )

    term: Term | None = None
    note: Note | None = None
    severity: Severity | None = None
    serious: bool | None = None
    onset_at: Timestamp | None = None
    resolved_at: Timestamp | None = None
    entered_in_error: bool | None = Field(default=None, description=ENTERED_IN_ERROR)


class AdverseEventAnswer(VersionAnswer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": VERSION_EXAMPLE
            | _EXAMPLE
            | {
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "treatment_session_id": "019a9c21-5a00-7c3e-8b1a-1f2e3d4c5b6c",
                "onset_at": "2026-11-20T17:40:00Z",
                "onset_at_offset": "-07:00",
                "resolved_at": "2026-11-20T18:10:00Z",
                "resolved_at_offset": "-07:00",
                "entered_in_error": False,
            }
        }
    )

    patient_id: Id
    treatment_session_id: Id
    term: Term
    note: str | None
    severity: Severity
    serious: bool
    onset_at: datetime
    onset_at_offset: Offset = offset_of("onset_at")
    resolved_at: datetime | None
    resolved_at_offset: Offset | None = offset_of("resolved_at")
    entered_in_error: bool
