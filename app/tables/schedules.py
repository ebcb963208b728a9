"""What is asked when, and what follows from it."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.tables.base import TreatmentRecord, to_patient, version_checks


class Schedule(TreatmentRecord, table=True):
    """One version of what an episode's patient is asked and when; its `id` is the episode's."""

    __table_args__ = (to_patient(), *version_checks())

    protocol: str | None = Field(sa_type=Text)  # code and version of the ready-made one it was taken from
    entries: list[dict[str, Any]] = Field(sa_type=JSONB)  # empty: nothing is asked any more
    quiet_from: str | None = Field(sa_type=Text)  # HH:MM; null: the clinic's
    quiet_until: str | None = Field(sa_type=Text)


class ExpectedCheckIn(SQLModel, table=True):
    """One form that is wanted at one time.

    Derived from schedule, sessions, time zone and forms, and made anew with each change of theirs.
    """

    __tablename__: ClassVar[Any] = "expected_check_in"
    __table_args__ = (
        to_patient(),
        CheckConstraint("opens_at < closes_at", name="window_opens"),
        CheckConstraint("(assessment_id IS NULL) = (answered_at IS NULL)", name="answered_by_a_form"),
        Index("ix_expected_check_in_of_patient", "clinic_id", "patient_id", "opens_at", "id"),
        Index(
            "ix_expected_check_in_unanswered",
            "clinic_id",
            "closes_at",
            "id",
            postgresql_where=text("assessment_id IS NULL"),
        ),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)  # made of episode and key, so that it stays when the time moves
    patient_id: UUID
    episode_id: UUID
    key: str = Field(sa_type=Text)
    code: str = Field(sa_type=Text)  # of the schedule's entry
    instrument: str = Field(sa_type=Text)
    treatment_session_id: UUID | None  # the dosing session it is counted from
    target_at: datetime
    opens_at: datetime
    overdue_at: datetime
    closes_at: datetime
    remind_at: datetime | None  # outside quiet hours; null: no such time in the window
    assessment_id: UUID | None
    answered_at: datetime | None  # when that form was filled in
