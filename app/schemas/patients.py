"""Patients."""

from datetime import datetime

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Body, Id, ShortText


class PatientCreate(Body):
    """A new patient. The clinic's own reference is optional and unique in the clinic."""

    model_config = ConfigDict(json_schema_extra={"example": {"external_ref": "chart-4711"}})

    external_ref: ShortText | None = Field(default=None, description="The clinic's own number of this person.")


class PatientAnswer(Answer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "external_ref": "chart-4711",
                "created_at": "2026-11-20T19:30:00Z",
            }
        }
    )

    id: Id
    external_ref: str | None
    created_at: datetime
