"""The outbox: what is to be told, to whom, and whether it has been."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, SmallInteger, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from app.tables.base import Sealed, to_clinic, to_patient


class Webhook(SQLModel, table=True):
    """An address of the clinic's own that is told of events, and the secrets it knows us by."""

    __table_args__ = (
        to_clinic(),
        CheckConstraint("(previous_secret IS NULL) = (previous_secret_until IS NULL)", name="previous_secret_ends"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    url: str = Field(sa_type=Text)
    events: list[str] = Field(sa_type=ARRAY(Text))  # kinds of notification; empty: all
    label: str = Field(sa_type=Text)
    secret: str = Field(sa_type=Sealed)
    previous_secret: str | None = Field(sa_type=Sealed)
    previous_secret_until: datetime | None
    created_at: datetime
    created_by: UUID  # token
    disabled_at: datetime | None


class Notification(SQLModel, table=True):
    """Something that happened, in ids alone: written in the transaction of what it tells of, once for each key."""

    __table_args__ = (
        to_patient(),
        UniqueConstraint("clinic_id", "key"),
        Index("ix_notification_created", "clinic_id", "created_at"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    key: str = Field(sa_type=Text)  # what it must not be told twice of
    kind: str = Field(sa_type=Text)
    patient_id: UUID
    resource_id: UUID
    created_at: datetime


class Delivery(SQLModel, table=True):
    """One notification on its way to one address."""

    __table_args__ = (
        CheckConstraint("status IN ('pending', 'delivered', 'dead')", name="status_known"),
        Index(
            "ix_delivery_pending",
            "clinic_id",
            "next_attempt_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_delivery_of_webhook", "clinic_id", "webhook_id", "notification_id"),
    )

    __tablename__: ClassVar[Any] = "delivery"

    clinic_id: UUID = Field(primary_key=True)
    notification_id: UUID = Field(primary_key=True)
    webhook_id: UUID = Field(primary_key=True)
    status: str = Field(sa_type=Text)
    attempts: int = Field(sa_type=SmallInteger)
    next_attempt_at: datetime  # while one is under way: when it counts as lost
    last_attempt_at: datetime | None
    last_status: int | None = Field(sa_type=SmallInteger)  # of HTTP
    last_error: str | None = Field(sa_type=Text)  # a code of ours, never the answer's text
    delivered_at: datetime | None
