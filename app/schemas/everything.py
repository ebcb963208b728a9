"""All that is kept about one person, in one document."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Id

FORMAT: Final = "tidemark-everything/1"

Rows = list[dict[str, Any]]


class LeftOut(Answer):
    kind: str
    why: str


LEFT_OUT: Final = (
    LeftOut(
        kind="secrets",
        why="Of tokens, devices and check-in links only hashes are kept, which say nothing about anybody.",
    ),
    LeftOut(
        kind="idempotency_key",
        why="Hashes of requests, kept so that a repeat is known as one. What was asked for stands in the other parts.",
    ),
    LeftOut(
        kind="release_person",
        why="In which research releases the person was, and who looked alike there: ids and numbers alone, kept so "
        "that no later release tells them apart unseen.",
    ),
    LeftOut(
        kind="request_rate",
        why="How often a token asked within the last minute. Forgotten within the next.",
    ),
)


class EverythingAnswer(Answer):
    """Each part is a list of rows with their columns as they are kept; docs/erasure.md lists them."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "format": FORMAT,
                "as_of": "2026-11-20T19:31:00Z",
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "notice": None,
                "parts": {
                    "patient": [
                        {
                            "id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                            "external_ref": "chart-4711",
                            "created_at": "2026-11-20T19:30:00Z",
                        }
                    ],
                    "assessment": [],
                },
                "cut": [],
                "left_out": [one.model_dump() for one in LEFT_OUT],
            }
        }
    )

    format: Literal["tidemark-everything/1"]
    as_of: datetime
    patient_id: Id
    notice: str | None = Field(description="Goes with this document wherever it goes; null: none is needed.")
    parts: dict[str, Rows] = Field(description="By table, newest first. A part without rows is there and empty.")
    cut: list[str] = Field(description="Parts of which more is kept than the newest 10,000 rows shown here.")
    left_out: list[LeftOut]
