"""Filled forms."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, Double, Index, LargeBinary, SmallInteger, Text, text
from sqlmodel import Field, SQLModel

from app.tables.base import Sealed, to_patient


class Assessment(SQLModel, table=True):
    """One version of one filled form with its score. Never changed: a correction or a void is the next version."""

    __table_args__ = (
        to_patient(),
        CheckConstraint("version >= 1", name="version_from_one"),
        CheckConstraint("status IN ('final', 'amended', 'entered_in_error')", name="status_known"),
        CheckConstraint("(version = 1) = (reason IS NULL)", name="reason_for_each_correction"),
        CheckConstraint("validity IN ('valid', 'prorated', 'incomplete')", name="validity_known"),
        CheckConstraint("(total IS NULL) = (validity = 'incomplete')", name="total_unless_incomplete"),
        CheckConstraint("mode IN ('self', 'interview', 'proxy')", name="mode_known"),
        # A patient's history of one instrument in order, and a release's forms, answered from the index alone.
        Index(
            "ix_assessment_history",
            "clinic_id",
            "patient_id",
            "instrument",
            "taken_at",
            "id",
            postgresql_include=[
                "version",
                "status",
                "received_at",
                "validity",
                "total",
                "responses",
                "instrument_version",
                "taken_at_offset_minutes",
                "mode",
            ],
        ),
        # The rare corrections of a patient, so that a history read need not probe each form for a later version.
        Index(
            "ix_assessment_corrections",
            "clinic_id",
            "patient_id",
            "id",
            "version",
            postgresql_where=text("version > 1"),
        ),
        Index("ix_assessment_clinic_id_taken_at_id", "clinic_id", "taken_at", "id"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_type=SmallInteger)
    patient_id: UUID
    instrument: str = Field(sa_type=Text)
    instrument_version: int = Field(sa_type=SmallInteger)
    responses: list[int | None] = Field(sa_column=Column(ARRAY(SmallInteger), nullable=False))
    validity: str = Field(sa_type=Text)
    total: float | None = Field(sa_type=Double)
    taken_at: datetime
    taken_at_offset_minutes: int = Field(sa_type=SmallInteger)
    received_at: datetime
    mode: str = Field(sa_type=Text)
    language: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Sealed)
    recorded_by: UUID  # token
    # What the request told of the sender's clock: seconds it ran ahead of ours, and what was taken off `taken_at`.
    device_skew_seconds: int | None
    clock_correction_minutes: int = Field(sa_column_kwargs={"server_default": "0"})
    fingerprint: bytes = Field(sa_type=LargeBinary)  # SHA-256 of the submitted content, to tell a replay from a clash
