"""What is expected of patients, and what came of it."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Id

Status = Literal["upcoming", "due", "overdue", "missed", "received", "received_late"]
OpenStatus = Literal["upcoming", "due", "overdue", "missed"]

_EXAMPLE: Final[dict[str, Any]] = {
    "id": "5a0b6d86-3c9f-5d55-8a63-5f2c0a6b1b1e",
    "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
    "episode_id": "019a9c21-0000-7000-8000-000000000001",
    "instrument": "phq-9",
    "code": "phq-9-weekly",
    "treatment_session_id": None,
    "target_at": "2026-11-20T08:00:00Z",
    "opens_at": "2026-11-19T08:00:00Z",
    "overdue_at": "2026-11-21T08:00:00Z",
    "closes_at": "2026-11-23T08:00:00Z",
    "remind_at": "2026-11-19T08:00:00Z",
    "status": "due",
    "assessment_id": None,
    "answered_at": None,
}


class DueAnswer(Answer):
    """One form that is wanted at one time."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: Id = Field(description="Stays when the time moves.")
    patient_id: Id
    episode_id: Id
    instrument: str = Field(description="id without version")
    code: str = Field(description="of the schedule's entry")
    treatment_session_id: Id | None = Field(description="the dosing session it is counted from")
    target_at: datetime
    opens_at: datetime = Field(description="from then on a form counts")
    overdue_at: datetime = Field(description="a form from then on is late")
    closes_at: datetime = Field(description="a form from then on does not count")
    remind_at: datetime | None = Field(description="outside quiet hours; null: the window has no such time")
    status: Status
    assessment_id: Id | None = Field(description="the form that came")
    answered_at: datetime | None = Field(description="when that was filled in")


class DueCounts(Answer):
    """Check-ins of the patient by status, whatever was asked for."""

    upcoming: int
    due: int
    overdue: int
    missed: int
    received: int
    received_late: int


class DueOfPatientAnswer(Answer):
    """In order of opening."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "as_of": "2026-11-20T09:12:00Z",
                "counts": {"upcoming": 6, "due": 1, "overdue": 0, "missed": 1, "received": 3, "received_late": 1},
                "data": [_EXAMPLE],
            }
        }
    )

    as_of: datetime = Field(description="the time the statuses hold for")
    counts: DueCounts
    data: list[DueAnswer]
