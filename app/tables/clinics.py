"""Clinics and who may act in them."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, LargeBinary, SmallInteger, Text
from sqlmodel import Field, SQLModel

from app.tables.base import Versioned, to_clinic, version_checks


class Clinic(SQLModel, table=True):
    """A clinic: the tenant everything belongs to."""

    clinic_id: UUID = Field(primary_key=True)
    name: str = Field(sa_type=Text)
    time_zone: str = Field(sa_type=Text)  # IANA name
    created_at: datetime


class ClinicRules(Versioned, table=True):
    """One version of what a clinic has decided for itself; its `id` is the clinic's. Without a row defaults hold."""

    __tablename__: ClassVar[Any] = "clinic_rules"
    __table_args__ = (
        to_clinic(),
        *version_checks(),
        CheckConstraint("id = clinic_id", name="of_the_clinic"),
        CheckConstraint("amend_window_hours BETWEEN 0 AND 8760", name="amend_window_sound"),
        CheckConstraint("missed_in_a_row BETWEEN 1 AND 20", name="missed_in_a_row_sound"),
    )

    quiet_from: str = Field(sa_type=Text)  # HH:MM of the patient's clock; equal to quiet_until: no quiet hours
    quiet_until: str = Field(sa_type=Text)
    amend_window_hours: int = Field(sa_type=SmallInteger)  # since arrival, for patients; 0: never
    missed_in_a_row: int = Field(sa_type=SmallInteger)  # check-ins that raise an alert
    safety_text: str = Field(sa_type=Text)  # shown to who answers a critical item


class ApiToken(SQLModel, table=True):
    """A bearer token; its secret is stored as a keyed hash alone."""

    __tablename__: ClassVar[Any] = "api_token"
    __table_args__ = (
        to_clinic(),
        ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
        CheckConstraint("role IN ('admin', 'clinician', 'service', 'researcher', 'patient')", name="role_known"),
        CheckConstraint("(role = 'patient') = (patient_id IS NOT NULL)", name="patient_of_a_patients_token"),
        CheckConstraint("octet_length(secret_hash) = 32", name="hash_is_sha256"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    role: str = Field(sa_type=Text)
    patient_id: UUID | None  # the person a patient's token stands for
    label: str = Field(sa_type=Text)
    secret_hash: bytes = Field(sa_type=LargeBinary)
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class DataKey(SQLModel, table=True):
    """What texts of one patient are sealed with, or those of the clinic: the key itself, wrapped by a master key.

    The row is all there is of it. Destroyed, everything sealed with it is lost, in every copy.
    """

    __tablename__: ClassVar[Any] = "data_key"
    __table_args__ = (to_clinic(),)

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)  # the patient's; the clinic's own id for the clinic
    wrapped: bytes = Field(sa_type=LargeBinary)
    created_at: datetime
