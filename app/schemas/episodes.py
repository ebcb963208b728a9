"""Episodes of care."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.schemas.fields import Body, Id, Offset, ShortText, Timestamp
from app.schemas.versions import ENTERED_IN_ERROR, VERSION_EXAMPLE, Change, VersionAnswer, offset_of

Modality = Literal[
    "ketamine_assisted_psychotherapy",
    "exposure_therapy",
    "cognitive_processing_therapy",
    "emdr",
    "medication",
    "psychotherapy",
    "other",
]
EndReason = Literal["completed", "dropped_out", "referred", "other"]

_EXAMPLE: dict[str, Any] = {
    "modality": "ketamine_assisted_psychotherapy",
    "label": "First course",
    "opened_at": "2026-11-02T09:00:00-07:00",
}


class EpisodeCreate(Body):
    """A new course of treatment. Episodes of one patient may overlap: therapy goes on beside medication."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    modality: Modality
    label: ShortText | None = Field(default=None, description="What the clinic calls it. No names of people.")
    opened_at: Timestamp
    closed_at: Timestamp | None = Field(default=None, description="null while it is open")
    end_reason: EndReason | None = Field(default=None, description="Why it ended; wants `closed_at`.")


class EpisodeContent(EpisodeCreate):
    entered_in_error: bool = False


class EpisodeChange(Change):
    """A correction, or the closing of the episode."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "closed_at": "2027-02-01T12:00:00-07:00",
                "end_reason": "completed",
                "reason": "last integration done",
            }
        }
    )

    modality: Modality | None = None
    label: ShortText | None = None
    opened_at: Timestamp | None = None
    closed_at: Timestamp | None = None
    end_reason: EndReason | None = None
    entered_in_error: bool | None = Field(default=None, description=ENTERED_IN_ERROR)


class EpisodeAnswer(VersionAnswer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": VERSION_EXAMPLE
            | _EXAMPLE
            | {
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "opened_at": "2026-11-02T16:00:00Z",
                "opened_at_offset": "-07:00",
                "closed_at": None,
                "closed_at_offset": None,
                "end_reason": None,
                "entered_in_error": False,
            }
        }
    )

    patient_id: Id
    modality: Modality
    label: str | None
    opened_at: datetime
    opened_at_offset: Offset = offset_of("opened_at")
    closed_at: datetime | None
    closed_at_offset: Offset | None = offset_of("closed_at")
    end_reason: EndReason | None
    entered_in_error: bool
