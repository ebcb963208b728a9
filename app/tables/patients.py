"""Patients, where their clocks stand, and the links that let them answer without a login."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, SmallInteger, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.tables.base import Sealed, TreatmentRecord, to_clinic, to_patient, version_checks


class Patient(SQLModel, table=True):
    """A person in treatment. Whatever names them is sealed; the clinic's own reference is found again by its index."""

    __table_args__ = (
        to_clinic(),
        UniqueConstraint("clinic_id", "ref_index"),
        CheckConstraint("octet_length(ref_index) = 32", name="index_is_a_hash"),
        Index("ix_patient_clinic_id_created_at_id", "clinic_id", "created_at", "id"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    identifiers: str | None = Field(sa_type=Sealed)  # JSON of what is known: external_ref, name, contact, date_of_birth
    ref_index: bytes | None = Field(sa_type=LargeBinary)  # keyed hash of external_ref
    created_at: datetime


class PatientTimeZone(TreatmentRecord, table=True):
    """Where a patient's clock stands from some time on; its `id` is the patient's. Before the first: the clinic's zone.

    All versions count together: at an instant holds the one with the latest `valid_from` up to it, of equals the later.
    """

    __tablename__: ClassVar[Any] = "patient_time_zone"
    __table_args__ = (
        to_patient(),
        *version_checks(),
        CheckConstraint("id = patient_id", name="of_the_patient"),
    )

    time_zone: str = Field(sa_type=Text)  # IANA name
    valid_from: datetime
    valid_from_offset_minutes: int = Field(sa_type=SmallInteger)


class CheckInLink(SQLModel, table=True):
    """A way for one patient to answer what is due without a login; its secret is stored as SHA-256 alone."""

    __tablename__: ClassVar[Any] = "check_in_link"
    __table_args__ = (
        to_patient(),
        CheckConstraint("octet_length(secret_hash) = 32", name="hash_is_sha256"),
        CheckConstraint("tries_left >= 0", name="tries_not_negative"),
        Index("ix_check_in_link_of_patient", "clinic_id", "patient_id", "created_at", "id"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    patient_id: UUID
    secret_hash: bytes = Field(sa_type=LargeBinary)
    created_at: datetime
    created_by: UUID  # token
    expires_at: datetime
    tries_left: int = Field(sa_type=SmallInteger)  # submissions and failed attempts it still stands
    revoked_at: datetime | None
