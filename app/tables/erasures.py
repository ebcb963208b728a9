"""Who was erased."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.tables.base import to_clinic


class Erasure(SQLModel, table=True):
    """That a patient was erased, when, by whom and why. Written by the function that erases; holds no content.

    No foreign key leads to the patient, who is gone.
    """

    __table_args__ = (
        to_clinic(),
        CheckConstraint(
            "ground IN ('patient_request', 'consent_withdrawn', 'retention_ended', 'entered_in_error')",
            name="ground_known",
        ),
        Index("ix_erasure_by_time", "clinic_id", "erased_at", "id"),
        Index("ix_erasure_of_patient", "clinic_id", "patient_id"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    patient_id: UUID
    erased_at: datetime
    erased_by: UUID  # token
    ground: str = Field(sa_type=Text)
    removed: dict[str, Any] = Field(sa_type=JSONB)  # rows by table
    replayed_at: datetime | None  # when this was done again in a database that did not know of it
