"""What was asked before, and who did what."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Index, LargeBinary, Text, UniqueConstraint, Uuid, text
from sqlmodel import Field, SQLModel


class IdempotencyKey(SQLModel, table=True):
    """A caller's key for one write, and what the first answer was or where it can be read again."""

    __tablename__: ClassVar[Any] = "idempotency_key"

    clinic_id: UUID = Field(primary_key=True)
    principal_id: UUID = Field(primary_key=True)  # token
    key: str = Field(primary_key=True, sa_type=Text)
    fingerprint: bytes = Field(sa_type=LargeBinary)  # SHA-256 of operation and content
    resource_id: UUID  # what it made or changed
    # Of a batch, which makes many things: whose they are, so that erasing one of them can find the key.
    patient_ids: list[UUID] | None = Field(sa_type=ARRAY(Uuid))
    created_at: datetime


class AuditEvent(SQLModel, table=True):
    """Who did or saw what of whom, written in the transaction of the act.

    Its columns are sealed by name: new ones may come if they can be NULL; none may go, be renamed or change its kind.
    """

    __tablename__: ClassVar[Any] = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_by_time", "clinic_id", "at", "id"),
        Index("ix_audit_event_of_patient", "clinic_id", "subject_id", "at", "id"),
        Index(
            "ix_audit_event_of_download",
            *("clinic_id", "resource_id", "at", "id"),
            postgresql_where=text("action IN ('release_file.read', 'release.export')"),
        ),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    at: datetime
    actor_id: UUID  # token
    actor_role: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)  # patient.create, assessment.list
    subject_id: UUID | None  # patient; those of a list over several are in audit_subject
    resource_id: UUID  # of a list: what it is the list of
    request_id: UUID | None = None
    address: str | None = Field(default=None, sa_type=Text)
    purpose: str | None = Field(default=None, sa_type=Text)
    outcome: str | None = Field(default=None, sa_type=Text)  # done, refused, absent; None of those before it was told
    rows: int | None = None  # shown by a read
    filter: str | None = Field(default=None, sa_type=Text)  # what a read asked for: ids, times and words of ours
    subjects_digest: str | None = Field(default=None, sa_type=Text)  # SHA-256 over the ids in audit_subject
    emergency_id: UUID | None = None


class AuditSubject(SQLModel, table=True):
    """One of several patients whom one event is about; `at` is the event's, so that a patient's events are in order."""

    __tablename__: ClassVar[Any] = "audit_subject"
    __table_args__ = (Index("ix_audit_subject_of_patient", "clinic_id", "patient_id", "at", "event_id"),)

    clinic_id: UUID = Field(primary_key=True)
    event_id: UUID = Field(primary_key=True)
    patient_id: UUID = Field(primary_key=True)
    at: datetime


class AuditLink(SQLModel, table=True):
    """The place of one event in its clinic's chain, from 1 without gaps, and the hash that holds all up to it."""

    __tablename__: ClassVar[Any] = "audit_link"
    __table_args__ = (
        UniqueConstraint("clinic_id", "event_id"),
        CheckConstraint("number >= 1", name="number_from_one"),
        CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
    )

    clinic_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    event_id: UUID
    hash: bytes = Field(sa_type=LargeBinary)
