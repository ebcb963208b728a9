"""Emergency access to a restricted patient."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, StringConstraints

from app.schemas.fields import Answer, Body, Id

MAX_HOURS: Final = 24

_CONTENT: Final[dict[str, Any]] = {"reason": "brought in unconscious, on call tonight"}
EmergencyReason = Annotated[str, StringConstraints(min_length=10, max_length=500, strip_whitespace=True)]


class EmergencyAccessOpen(Body):
    """Why, and for how long."""

    model_config = ConfigDict(json_schema_extra={"example": _CONTENT | {"hours": 8}})

    reason: EmergencyReason = Field(description="Read by the administrators of the clinic.")
    hours: int = Field(ge=1, le=MAX_HOURS, description="It ends by itself.")


class EmergencyAccessAnswer(Answer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019a9c23-0000-7000-8000-000000000001",
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "actor_id": "019a9c1e-0000-7000-8000-00000000000a",
                **_CONTENT,
                "begun_at": "2026-11-20T23:10:00Z",
                "expires_at": "2026-11-21T07:10:00Z",
                "ended_at": None,
                "ended_by": None,
            }
        }
    )

    id: Id
    patient_id: Id
    actor_id: Id = Field(description="Who looked: a token, or a person of your issuer.")
    reason: str
    begun_at: datetime
    expires_at: datetime
    ended_at: datetime | None = Field(description="null unless somebody ended it before it expired")
    ended_by: Id | None
