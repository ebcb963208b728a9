"""How a patient's device is let in: the code as the clinic sees it, and the tokens the device lives on."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Body, Id

EnrolmentState = Literal["waiting", "expired", "used_up", "active", "idle", "revoked", "logged_out", "reused"]

DEFAULT_HOURS: Final = 72
MAX_HOURS: Final = 336  # 14 days: a code is short because it does not live for long
DEFAULT_TRIES: Final = 10
MAX_TRIES: Final = 20
ACCESS_MINUTES: Final = 15
IDLE_DAYS: Final = 90  # of a device that renews nothing

_ENROLMENT_EXAMPLE: Final[dict[str, Any]] = {
    "id": "019a9c25-0000-7000-8000-000000000001",
    "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
    "state": "waiting",
    "created_at": "2026-11-20T19:30:00Z",
    "created_by": "019a9c1e-0000-7000-8000-00000000000a",
    "expires_at": "2026-11-23T19:30:00Z",
    "tries_left": 10,
    "redeemed_at": None,
    "last_used_at": None,
    "ended_at": None,
}
_CODE_EXAMPLE: Final = "K7QM-4F2X-9TRB-HW6D"


class EnrolmentCreate(Body):
    """How long a code lives, and how many wrong ones it stands."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"expires_in_hours": DEFAULT_HOURS, "tries": DEFAULT_TRIES}}
    )

    expires_in_hours: int = Field(default=DEFAULT_HOURS, ge=1, le=MAX_HOURS)
    tries: int = Field(
        default=DEFAULT_TRIES, ge=1, le=MAX_TRIES, description="Codes with a wrong second half that end it."
    )


class EnrolmentAnswer(Answer):
    """One code, and the one device that it let in, if it did."""

    model_config = ConfigDict(json_schema_extra={"example": _ENROLMENT_EXAMPLE})

    id: Id = Field(description="what the trail calls the device")
    patient_id: Id
    state: EnrolmentState = Field(
        description="`waiting`, `expired`, `used_up`: the code. `active`, `idle`: the device it let in. "
        "`revoked`, `logged_out`: ended by the clinic or the device. "
        "`reused`: ended by itself, because a spent refresh token came back, so that somebody has a copy."
    )
    created_at: datetime
    created_by: Id = Field(description="id of the token or person that made it")
    expires_at: datetime = Field(description="of the code")
    tries_left: int
    redeemed_at: datetime | None
    last_used_at: datetime | None = Field(description=f"of the device, to {ACCESS_MINUTES} minutes")
    ended_at: datetime | None


class NewEnrolmentAnswer(EnrolmentAnswer):
    """An enrolment with its code, told this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _ENROLMENT_EXAMPLE
            | {"code": _CODE_EXAMPLE, "token": f"tme_019a9c1e-0000-7000-8000-000000000001_{_CODE_EXAMPLE}"}
        }
    )

    code: str | None = Field(description="what the person types. null on a replay: only its hash is stored")
    token: str | None = Field(
        description="what the device sends to `POST /v1/enrolment`: `tme_`, the clinic's id, `_`, the code. null on a "
        "replay"
    )


class DeviceTokens(Answer):
    """What a device lives on until it renews it. Told this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "access_token": f"tma_{'A' * 43}_{'A' * 43}",
                "refresh_token": f"tmr_{'A' * 43}_{'A' * 43}",
                "expires_at": "2026-11-20T19:45:00Z",
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
            }
        }
    )

    access_token: str = Field(description="for every request of the patient")
    refresh_token: str = Field(description="for the next `POST /v1/token/refresh`, which spends it, and for the logout")
    expires_at: datetime = Field(
        description=f"of the access token. The refresh token lives for {IDLE_DAYS} days, if it is not spent before"
    )
    patient_id: Id
