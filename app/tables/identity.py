"""Who comes in beside the holders of tokens: patients' devices, and people whom an issuer vouches for."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, SmallInteger, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.tables.base import to_clinic, to_patient


class Enrolment(SQLModel, table=True):
    """One code for one patient, and the one device that it let in, whose tokens it holds; as SHA-256 alone."""

    __table_args__ = (
        to_patient(),
        UniqueConstraint("clinic_id", "code_id"),
        CheckConstraint("octet_length(code_hash) = 32", name="code_hash_is_sha256"),
        CheckConstraint("octet_length(access_hash) = 32", name="access_hash_is_sha256"),
        CheckConstraint("tries_left >= 0", name="tries_not_negative"),
        CheckConstraint("ended_because IN ('revoked', 'logged_out', 'reused')", name="end_known"),
        CheckConstraint("(ended_at IS NULL) = (ended_because IS NULL)", name="end_has_its_reason"),
        CheckConstraint(
            "num_nulls(redeemed_at, access_hash, access_expires_at, refresh_id, refreshed_at) IN (0, 5)",
            name="redeemed_as_a_whole",
        ),
        Index("ix_enrolment_of_patient", "clinic_id", "patient_id", "created_at", "id"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    patient_id: UUID
    created_at: datetime
    created_by: UUID  # token
    code_id: UUID  # the first half of the code
    code_hash: bytes = Field(sa_type=LargeBinary)
    expires_at: datetime  # of the code
    tries_left: int = Field(sa_type=SmallInteger)  # wrong codes it still stands
    redeemed_at: datetime | None = None
    access_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    access_expires_at: datetime | None = None
    refresh_id: UUID | None = None  # the refresh token that is to be shown next
    previous_refresh_id: UUID | None = None  # the one before, which may be shown again while the pair is not used
    refreshed_at: datetime | None = None
    is_pair_used: bool = False  # whether the newest access token was ever shown
    last_used_at: datetime | None = None  # the first use of the newest access token that was used
    ended_at: datetime | None = None
    ended_because: str | None = Field(default=None, sa_type=Text)


class RefreshToken(SQLModel, table=True):
    """Every refresh token of a device, spent ones too: one that comes back has been copied."""

    __tablename__: ClassVar[Any] = "refresh_token"
    __table_args__ = (
        to_patient(),
        ForeignKeyConstraint(["clinic_id", "enrolment_id"], ["enrolment.clinic_id", "enrolment.id"]),
        CheckConstraint("octet_length(secret_hash) = 32", name="hash_is_sha256"),
        Index("ix_refresh_token_of_enrolment", "clinic_id", "enrolment_id", "created_at"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    patient_id: UUID
    enrolment_id: UUID
    secret_hash: bytes = Field(sa_type=LargeBinary)
    created_at: datetime


class Principal(SQLModel, table=True):
    """A person whom an issuer vouched for. The trail calls them by `id`, which follows from the other two."""

    __table_args__ = (to_clinic(),)

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    issuer: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)  # what the issuer calls them
    first_seen_at: datetime


class IssuerKeySet(SQLModel, table=True):
    """The public keys of an issuer, as the worker fetched them last. Of no clinic: it stands under the nil UUID."""

    __tablename__: ClassVar[Any] = "issuer_key_set"
    __table_args__ = (CheckConstraint(f"clinic_id = '{UUID(int=0)}'", name="of_no_clinic"),)

    clinic_id: UUID = Field(primary_key=True)
    issuer: str = Field(primary_key=True, sa_type=Text)
    keys: str = Field(sa_type=Text)  # JSON, one list of public keys (RFC 7517)
    tried_at: datetime
    fetched_at: datetime | None
    wanted_at: datetime | None  # when a token named a key that is not among them
