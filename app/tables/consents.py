"""What a patient has consented to, and the law their record stands under."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index, SmallInteger, Text
from sqlmodel import Field

from app.tables.base import Sealed, TreatmentRecord, to_patient, version_checks


class Consent(TreatmentRecord, table=True):
    """One version of what a patient has consented to, for one purpose and one recipient."""

    __table_args__ = (
        to_patient(),
        *version_checks(),
        CheckConstraint(
            "purpose IN ('treatment_payment_operations', 'research', 'disclosure_to_recipient', 'contact')",
            name="purpose_known",
        ),
        CheckConstraint("purpose <> 'disclosure_to_recipient' OR recipient IS NOT NULL", name="disclosed_to_somebody"),
        CheckConstraint("how IN ('signed', 'electronic', 'verbal_documented')", name="how_known"),
        CheckConstraint("expires_at > given_at", name="expires_after_giving"),
        CheckConstraint("withdrawn_at >= given_at", name="withdrawn_after_giving"),
        Index("ix_consent_of_patient", "clinic_id", "patient_id", "id", "version"),
        Index("ix_consent_by_purpose", "clinic_id", "purpose", "id", "version"),
    )

    purpose: str = Field(sa_type=Text)
    recipient: str | None = Field(sa_type=Sealed)  # null: whoever the purpose covers
    how: str = Field(sa_type=Text)
    document: str | None = Field(sa_type=Sealed)  # where the clinic keeps what was signed
    given_at: datetime
    given_at_offset_minutes: int = Field(sa_type=SmallInteger)
    expires_at: datetime | None
    expires_at_offset_minutes: int | None = Field(sa_type=SmallInteger)
    withdrawn_at: datetime | None
    withdrawn_at_offset_minutes: int | None = Field(sa_type=SmallInteger)


class PartTwo(TreatmentRecord, table=True):
    """Whether 42 CFR Part 2 protects this patient's record; its `id` is the patient's. Without a row: it does not."""

    __tablename__: ClassVar[Any] = "part_two"
    __table_args__ = (to_patient(), *version_checks(), CheckConstraint("id = patient_id", name="of_the_patient"))

    applies: bool
