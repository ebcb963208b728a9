"""Open tasks raised by forms and their absence, and a patient's latest state."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Double, Index, SmallInteger, Text
from sqlmodel import Field, SQLModel

from app.tables.base import Sealed, to_clinic, to_patient


class Alert(SQLModel, table=True):
    """Something of one patient that needs a person's eyes. One for each kind: when it comes again it is opened again.

    Its state is what its events amount to, kept beside them so that lists can be filtered by it.
    """

    __table_args__ = (
        to_patient(),
        CheckConstraint(
            "kind IN ('critical_item', 'critical_item_rise', 'reliable_worsening', 'worse_after_dose', "
            "'missed_check_ins')",
            name="kind_known",
        ),
        CheckConstraint("status IN ('open', 'acknowledged', 'resolved', 'withdrawn')", name="status_known"),
        Index("ix_alert_by_status", "clinic_id", "status", "raised_at", "id"),
        Index("ix_alert_of_patient", "clinic_id", "patient_id", "status"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)  # made of patient, kind, instrument and item
    patient_id: UUID
    kind: str = Field(sa_type=Text)
    instrument: str | None = Field(sa_type=Text)  # id without version
    item: int | None = Field(sa_type=SmallInteger)
    status: str = Field(sa_type=Text)
    raised_at: datetime  # when its present or last span began
    acknowledged_at: datetime | None  # of that span
    resolved_at: datetime | None
    reopened: int = Field(sa_type=SmallInteger)  # how often it came again after a resolution
    version: int  # number of its events


class AlertEvent(SQLModel, table=True):
    """What happened to an alert, in order. Never changed."""

    __tablename__: ClassVar[Any] = "alert_event"
    __table_args__ = (
        to_patient(),
        CheckConstraint("kind IN ('raised', 'withdrawn', 'acknowledged', 'resolved')", name="kind_known"),
        CheckConstraint("(kind IN ('raised', 'withdrawn')) = (cause IS NOT NULL)", name="cause_of_what_is_derived"),
        CheckConstraint("(kind = 'resolved') = (action IS NOT NULL)", name="action_of_a_resolution"),
        Index("ix_alert_event_of_form", "clinic_id", "assessment_id"),
    )

    clinic_id: UUID = Field(primary_key=True)
    alert_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=SmallInteger)  # from 1
    patient_id: UUID
    kind: str = Field(sa_type=Text)
    at: datetime
    actor_id: UUID | None  # token; null: the program
    cause: str | None = Field(sa_type=Text)  # key of what raised it, or of what no longer does
    assessment_id: UUID | None
    action: str | None = Field(sa_type=Text)  # what was done
    note: str | None = Field(sa_type=Sealed)


class Standing(SQLModel, table=True):
    """Where a patient stands on one instrument. Derived from forms and treatment, and made anew with each change."""

    __table_args__ = (to_patient(),)

    clinic_id: UUID = Field(primary_key=True)
    patient_id: UUID = Field(primary_key=True)
    instrument: str = Field(primary_key=True, sa_type=Text)  # id without version
    episode_id: UUID | None
    assessment_id: UUID  # the latest form
    taken_at: datetime
    validity: str = Field(sa_type=Text)
    total: float | None = Field(sa_type=Double)
    severity: str | None = Field(sa_type=Text)
    change_since_last: float | None = Field(sa_type=Double)  # points, against the form with a total before
    baseline_id: UUID | None
    baseline_rule: str = Field(sa_type=Text)
    baseline_total: float | None = Field(sa_type=Double)
    change: float | None = Field(sa_type=Double)  # points since baseline
    percent_change: float | None = Field(sa_type=Double)
    category: str | None = Field(sa_type=Text)
    on_track: bool | None
    on_track_reason: str = Field(sa_type=Text)
    forms: int  # that count in this course
    doses: int = Field(sa_type=SmallInteger)  # given in this course
    last_dose_at: datetime | None


class Derivation(SQLModel, table=True):
    """By which program and which of the clinic's rules everything derived of its patients was last made anew."""

    __table_args__ = (to_clinic(),)

    clinic_id: UUID = Field(primary_key=True)
    program: int
    rules_version: int
    made_at: datetime
