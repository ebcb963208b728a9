"""Vital signs and dissociation around a treatment session."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from app.schemas.fields import Body, Id, Offset, Timestamp
from app.schemas.limits import LIMITS
from app.schemas.versions import ENTERED_IN_ERROR, VERSION_EXAMPLE, Change, VersionAnswer, offset_of


def _within(name: str) -> object:
    limit = LIMITS[name]
    return Field(ge=limit.minimum, le=limit.maximum, description=limit.unit)


Systolic = Annotated[int, _within("systolic")]
Diastolic = Annotated[int, _within("diastolic")]
HeartRate = Annotated[int, _within("heart_rate")]
OxygenSaturation = Annotated[int, _within("oxygen_saturation")]
DissociationScore = Annotated[int, _within("dissociation")]

_EXAMPLE: dict[str, Any] = {
    "observed_at": "2026-11-20T10:52:00-07:00",
    "systolic": 138,
    "diastolic": 86,
    "heart_rate": 84,
    "oxygen_saturation": 97,
    "dissociation": {"scale": "cadss", "score": 31},
}


class Dissociation(Body):
    scale: Literal["cadss"] = Field(
        description="Clinician-Administered Dissociative States Scale, its 23 subject items"
    )
    score: DissociationScore


class ObservationCreate(Body):
    """What was seen at one moment: at least one of the five."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    observed_at: Timestamp
    systolic: Systolic | None = None
    diastolic: Diastolic | None = None
    heart_rate: HeartRate | None = None
    oxygen_saturation: OxygenSaturation | None = None
    dissociation: Dissociation | None = None


class ObservationContent(ObservationCreate):
    entered_in_error: bool = False


class ObservationChange(Change):
    model_config = ConfigDict(json_schema_extra={"example": {"systolic": 148, "reason": "misread"}})

    observed_at: Timestamp | None = None
    systolic: Systolic | None = None
    diastolic: Diastolic | None = None
    heart_rate: HeartRate | None = None
    oxygen_saturation: OxygenSaturation | None = None
    dissociation: Dissociation | None = None
    entered_in_error: bool | None = Field(default=None, description=ENTERED_IN_ERROR)


class ObservationAnswer(VersionAnswer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": VERSION_EXAMPLE
            | _EXAMPLE
            | {
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "treatment_session_id": "019a9c21-5a00-7c3e-8b1a-1f2e3d4c5b6c",
                "observed_at": "2026-11-20T17:52:00Z",
                "observed_at_offset": "-07:00",
                "entered_in_error": False,
            }
        }
    )

    patient_id: Id
    treatment_session_id: Id
    observed_at: datetime
    observed_at_offset: Offset = offset_of("observed_at")
    systolic: int | None
    diastolic: int | None
    heart_rate: int | None
    oxygen_saturation: int | None
    dissociation: Dissociation | None
    entered_in_error: bool
