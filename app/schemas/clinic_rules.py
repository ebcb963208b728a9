"""What a clinic decides for itself: quiet hours, corrections by patients, missed check-ins, the words on safety."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, StringConstraints

from app.schemas.fields import Answer, Body, Id
from app.schemas.versions import Change

ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), Field(examples=["21:00"])]
AmendWindowHours = Annotated[int, Field(ge=0, le=8760)]
MissedInARow = Annotated[int, Field(ge=1, le=20)]
SafetyText = Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]

_EXAMPLE: Final[dict[str, Any]] = {
    "quiet_from": "22:00",
    "quiet_until": "07:30",
    "amend_window_hours": 48,
    "missed_in_a_row": 2,
    "safety_text": "Nobody reads this form at night. In danger call 112 now, or our crisis line at 030 555 0100.",
}


class ClinicRulesContent(Body):
    """All rules of a clinic, as a change leaves them."""

    quiet_from: ClockTime
    quiet_until: ClockTime
    amend_window_hours: AmendWindowHours
    missed_in_a_row: MissedInARow
    safety_text: SafetyText


class ClinicRulesChange(Change):
    model_config = ConfigDict(
        json_schema_extra={"example": {"amend_window_hours": 48, "reason": "patients ask on the next working day"}}
    )

    quiet_from: ClockTime | None = Field(default=None, description="Start of quiet hours by the patient's clock.")
    quiet_until: ClockTime | None = Field(default=None, description="Equal to `quiet_from`: no quiet hours.")
    amend_window_hours: AmendWindowHours | None = Field(
        default=None, description="How long after it arrived patients may correct a form of their own; 0: never."
    )
    missed_in_a_row: MissedInARow | None = Field(default=None, description="Missed check-ins that raise an alert.")
    safety_text: SafetyText | None = Field(default=None, description="Shown to who answers a critical item.")


class ClinicAnswer(Answer):
    """The clinic with one version of its rules. Version 1 are the rules every clinic starts with."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019a9c1e-0000-7000-8000-0000000000c1",
                "name": "Harbour Clinic",
                "time_zone": "America/Denver",
                "version": 2,
                "recorded_at": "2026-11-20T19:31:00Z",
                "recorded_by": "019a9c1e-0000-7000-8000-00000000000a",
                "reason": "patients ask on the next working day",
                **_EXAMPLE,
            }
        }
    )

    id: Id
    name: str
    time_zone: str = Field(description="IANA name")
    version: int
    recorded_at: datetime = Field(description="of version 1: when the clinic was made")
    recorded_by: Id | None = Field(description="id of the token; null on version 1")
    reason: str | None = Field(description="null on version 1")
    quiet_from: str
    quiet_until: str
    amend_window_hours: int
    missed_in_a_row: int
    safety_text: str
