"""What all bodies of the treatment record share: how a change is sent, how a version is answered."""

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from app.schemas.fields import Answer, Body, Id, ShortText

ENTERED_IN_ERROR: Final = "True for what should never have been entered; it stays readable and counts for nothing."


class Change(Body):
    """A change: only what is sent changes, null empties. Wants `If-Match`."""

    reason: ShortText = Field(description="Why; kept with the new version.")


class VersionAnswer(Answer):
    """Which version this is, who wrote it when, and why."""

    id: Id
    version: int
    recorded_at: datetime
    recorded_by: Id = Field(description="id of the token")
    reason: str | None = Field(description="null on the first version")


def offset_of(name: str) -> Any:
    """The answer's field for the offset kept beside the time of this name."""
    return Field(validation_alias=f"{name}_offset_minutes", examples=["-07:00"])


VERSION_EXAMPLE: Final[dict[str, Any]] = {
    "id": "019a9c21-0000-7000-8000-000000000001",
    "version": 1,
    "recorded_at": "2026-11-20T19:31:00Z",
    "recorded_by": "019a9c1e-0000-7000-8000-00000000000a",
    "reason": None,
}
