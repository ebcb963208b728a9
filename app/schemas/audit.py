"""The trail as its readers see it."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, StringConstraints

from app.schemas.fields import Answer, Id

Action = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,99}$")]

COVERS: Final = (
    "Writes alone: one row for each thing that was recorded, corrected or decided through the API, a check-in link or "
    "an import, written together with it. Reads are not recorded yet: that somebody is not listed does not mean that "
    "they did not look."
)
_EVENT: Final[dict[str, Any]] = {
    "id": "019a9c21-0000-7000-8000-000000000004",
    "number": 4711,
    "at": "2026-11-20T19:31:00Z",
    "actor_id": "019a9c1e-0000-7000-8000-00000000000a",
    "actor_role": "clinician",
    "action": "assessment.create",
    "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
    "resource_id": "019a9c21-0000-7000-8000-000000000003",
}
_ACCESS: Final = {name: _EVENT[name] for name in ("at", "actor_id", "actor_role", "action", "resource_id")}


class AuditEventAnswer(Answer):
    """Who did what to which."""

    model_config = ConfigDict(json_schema_extra={"example": _EVENT})

    id: Id
    number: int | None = Field(description="Place in the clinic's chain; null for the seconds until it is sealed.")
    at: datetime
    actor_id: Id = Field(description="The token or check-in link that was used.")
    actor_role: str
    action: str = Field(description="The thing and what was done to it.")
    patient_id: Id | None = Field(description="Whom it is about; null when no patient is concerned.")
    resource_id: Id = Field(description="The thing.")


class AuditEventPage(Answer):
    model_config = ConfigDict(json_schema_extra={"example": {"data": [_EVENT], "next_cursor": None, "covers": COVERS}})

    data: list[AuditEventAnswer]
    next_cursor: str | None
    covers: str = Field(description="What is recorded here, and what is not.")


class AccessAnswer(Answer):
    """One thing that was done about a patient."""

    model_config = ConfigDict(json_schema_extra={"example": _ACCESS})

    at: datetime
    actor_id: Id = Field(description="The token or check-in link that was used.")
    actor_role: str
    action: str = Field(description="The thing and what was done to it.")
    resource_id: Id = Field(description="The thing.")


class AccessPage(Answer):
    model_config = ConfigDict(json_schema_extra={"example": {"data": [_ACCESS], "next_cursor": None, "covers": COVERS}})

    data: list[AccessAnswer]
    next_cursor: str | None
    covers: str = Field(description="What is recorded here, and what is not.")
