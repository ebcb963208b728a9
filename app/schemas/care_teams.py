"""Who may see a restricted patient."""

from datetime import datetime
from typing import Any, Final

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Id
from app.schemas.versions import Change

MAX_MEMBERS: Final = 100

_CONTENT: Final[dict[str, Any]] = {
    "restricted": True,
    "members": ["019a9c1e-0000-7000-8000-00000000000a", "019a9c1e-0000-7000-8000-00000000000b"],
    "reason": "a colleague of ours",
}


class CareTeamPut(Change):
    """The whole care team, as it is from now on."""

    model_config = ConfigDict(json_schema_extra={"example": _CONTENT})

    restricted: bool = Field(
        description="True: there is no such patient for any clinician but the members. Administrators, programs "
        "(role `service`) and the patient are not hidden from."
    )
    members: list[Id] = Field(
        max_length=MAX_MEMBERS,
        description="Ids of tokens, or of persons of your issuer. One that nobody has lets nobody in.",
    )


class CareTeamAnswer(Answer):
    """One version. Version 1 is what every patient begins with: seen by all clinicians."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "version": 2,
                "recorded_at": "2026-11-20T19:31:00Z",
                "recorded_by": "019a9c1e-0000-7000-8000-000000000001",
                **_CONTENT,
            }
        }
    )

    patient_id: Id
    version: int
    recorded_at: datetime = Field(description="of version 1: when the patient was added")
    recorded_by: Id | None = Field(description="id of the token; null on version 1")
    reason: str | None = Field(description="null on version 1")
    restricted: bool
    members: list[Id]
