"""The tables, in reading order. `clinic_id` stands first in every key: it is the tenant and the shard."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = MetaData(naming_convention=NAMING_CONVENTION).naming_convention

# Tables the runtime role may only add to and read; what else it may do is granted in the migrations.
APPEND_ONLY = frozenset({"clinic", "patient", "assessment", "idempotency_key", "audit_event"})


# Rows written with every check-in carry no foreign key to the clinic: each check would lock the clinic's one row, for
# all writers at once. Their policy lets a transaction write its own clinic's rows alone, which says the same.
def _to_clinic() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["clinic_id"], ["clinic.clinic_id"])


def _to_patient() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"])


class Clinic(SQLModel, table=True):
    """A clinic: the tenant everything belongs to."""

    clinic_id: UUID = Field(primary_key=True)
    name: str = Field(sa_type=Text)
    time_zone: str = Field(sa_type=Text)  # IANA name
    created_at: datetime


class ApiToken(SQLModel, table=True):
    """A bearer token; its secret is stored as SHA-256 alone."""

    __tablename__: ClassVar[Any] = "api_token"
    __table_args__ = (
        _to_clinic(),
        CheckConstraint("role IN ('admin', 'clinician', 'service', 'researcher')", name="role_known"),
        CheckConstraint("octet_length(secret_hash) = 32", name="hash_is_sha256"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    role: str = Field(sa_type=Text)
    label: str = Field(sa_type=Text)
    secret_hash: bytes = Field(sa_type=LargeBinary)
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Patient(SQLModel, table=True):
    """A person in treatment. The clinic's own reference is the only identifier kept."""

    __table_args__ = (
        _to_clinic(),
        UniqueConstraint("clinic_id", "external_ref"),
        Index("ix_patient_clinic_id_created_at_id", "clinic_id", "created_at", "id"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    external_ref: str | None = Field(sa_type=Text)
    created_at: datetime


class Assessment(SQLModel, table=True):
    """One version of one filled form with its score. Never changed: a correction or a void is the next version."""

    __table_args__ = (
        _to_patient(),
        CheckConstraint("version >= 1", name="version_from_one"),
        CheckConstraint("status IN ('final', 'amended', 'entered_in_error')", name="status_known"),
        CheckConstraint("(version = 1) = (reason IS NULL)", name="reason_for_each_correction"),
        CheckConstraint("validity IN ('valid', 'prorated', 'incomplete')", name="validity_known"),
        CheckConstraint("(total IS NULL) = (validity = 'incomplete')", name="total_unless_incomplete"),
        CheckConstraint("mode IN ('self', 'interview', 'proxy')", name="mode_known"),
        # A patient's history of one instrument in order, answered from the index alone.
        Index(
            "ix_assessment_history",
            "clinic_id",
            "patient_id",
            "instrument",
            "taken_at",
            "id",
            postgresql_include=["version", "status", "received_at", "instrument_version", "validity", "total"],
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
    reason: str | None = Field(sa_type=Text)
    recorded_by: UUID  # token
    fingerprint: bytes = Field(sa_type=LargeBinary)  # SHA-256 of the submitted content, to tell a replay from a clash


class IdempotencyKey(SQLModel, table=True):
    """A caller's key for one write, and what the first answer was or where it can be read again."""

    __tablename__: ClassVar[Any] = "idempotency_key"

    clinic_id: UUID = Field(primary_key=True)
    principal_id: UUID = Field(primary_key=True)  # token
    key: str = Field(primary_key=True, sa_type=Text)
    fingerprint: bytes = Field(sa_type=LargeBinary)  # SHA-256 of operation and content
    resource_id: UUID
    created_at: datetime


class AuditEvent(SQLModel, table=True):
    """Who did what to which, written in the transaction of the act."""

    __tablename__: ClassVar[Any] = "audit_event"

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    at: datetime
    actor_id: UUID  # token
    actor_role: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)  # patient.create, assessment.create
    subject_id: UUID | None  # patient
    resource_id: UUID
