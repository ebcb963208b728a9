"""People whom an issuer vouches for, as an auditor sees them."""

from datetime import datetime
from typing import Any, Final

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Id

_EXAMPLE: Final[dict[str, Any]] = {
    "id": "8f6a1c02-5b7e-5d0a-9c43-2f1e6b7a8d90",
    "issuer": "https://login.clinic.example/realms/staff",
    "subject": "f:2b9d:jdoe",
    "first_seen_at": "2026-11-20T08:00:00Z",
}


class PrincipalAnswer(Answer):
    """Who an id of the trail is, in the words of who vouched for them."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: Id
    issuer: str
    subject: str = Field(description="what the issuer calls them; their name is looked up there")
    first_seen_at: datetime
