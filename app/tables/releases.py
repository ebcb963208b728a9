"""Research releases: what was asked, who said yes, and what was made of it."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.tables.base import to_clinic


def to_release() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["clinic_id", "release_id"], ["release.clinic_id", "release.id"])


class Release(SQLModel, table=True):
    """One de-identified data set: asked for, decided, built, in the end forgotten. A trigger keeps what is ready."""

    __table_args__ = (
        to_clinic(),
        CheckConstraint(
            "status IN ('requested', 'approved', 'rejected', 'building', 'ready', 'failed', 'revoked', 'expired')",
            name="status_known",
        ),
        CheckConstraint("decided_by <> requested_by", name="decided_by_another"),
        CheckConstraint("(status IN ('ready', 'expired')) <= (manifest IS NOT NULL)", name="ready_with_manifest"),
        CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failed_for_a_reason"),
        Index("ix_release_by_time", "clinic_id", "requested_at", "id"),
        Index("ix_release_of_principal", "clinic_id", "requested_by", "requested_at", "id"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    status: str = Field(sa_type=Text)
    request: dict[str, Any] = Field(sa_type=JSONB)  # as it was asked; never changed
    requested_at: datetime
    requested_by: UUID  # token, or person of an issuer
    decided_at: datetime | None = None
    decided_by: UUID | None = None
    decision_note: str | None = Field(default=None, sa_type=Text)
    expires_at: datetime | None = None
    attempts: int = Field(default=0, sa_type=SmallInteger)
    leased_until: datetime | None = None  # while a worker builds it; the database's clock
    persons_read: int = 0
    rows_written: int = Field(default=0, sa_type=BigInteger)
    known_at: datetime | None = None  # the record as it stood then is what the release holds
    ready_at: datetime | None = None
    failure: str | None = Field(default=None, sa_type=Text)
    manifest: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    ended_at: datetime | None = None
    ended_because: str | None = Field(default=None, sa_type=Text)


class ReleasePerson(SQLModel, table=True):
    """Who is in a release and like whom, with their name there under the release's own key. The name goes with it."""

    __tablename__: ClassVar[Any] = "release_person"
    __table_args__ = (
        to_release(),
        ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
        Index("ix_release_person_of_patient", "clinic_id", "patient_id"),
    )

    clinic_id: UUID = Field(primary_key=True)
    release_id: UUID = Field(primary_key=True)
    patient_id: UUID = Field(primary_key=True)
    pseudonym: bytes | None = Field(sa_type=LargeBinary)  # None: the release has ended
    told_as: int | None = None  # who looks alike there has the same number; None: nothing is told of persons


class ReleaseChunk(SQLModel, table=True):
    """A piece of a file, under the release's own key."""

    __tablename__: ClassVar[Any] = "release_chunk"
    __table_args__ = (to_release(),)

    clinic_id: UUID = Field(primary_key=True)
    release_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True, sa_type=Text)
    number: int = Field(primary_key=True)
    content: bytes = Field(sa_type=LargeBinary)
