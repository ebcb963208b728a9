"""What researchers asked."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.tables.base import to_clinic


class CohortQuestion(SQLModel, table=True):
    """One question about a cohort and what became of it: two answers can together tell of one person."""

    __tablename__: ClassVar[Any] = "cohort_question"
    __table_args__ = (
        to_clinic(),
        CheckConstraint("decision IN ('answered', 'repeated', 'refused')", name="decision_known"),
        CheckConstraint("(decision = 'answered') = (answer IS NOT NULL)", name="answer_when_answered"),
        CheckConstraint("(decision = 'refused') = (refusal IS NOT NULL)", name="reason_when_refused"),
        CheckConstraint("octet_length(key) = 32", name="key_is_32_bytes"),
        Index("ix_cohort_question_asked", "clinic_id", "principal_id", "asked_at"),
        Index("ix_cohort_question_question", "clinic_id", "question", "asked_at"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    principal_id: UUID  # token
    research: bool  # asked by a researcher: bound by the budget, and answered to one
    asked_at: datetime
    question: str = Field(sa_type=Text)  # canonical: instrument and conditions
    cohort: str = Field(sa_type=Text)  # canonical: the conditions alone, by which persons are chosen
    persons: int  # in the cohort then, exactly; never told
    decision: str = Field(sa_type=Text)
    refusal: str | None = Field(sa_type=Text)
    key: bytes = Field(sa_type=LargeBinary)  # of the cohort: how far others have to lie from it
    answer: dict[str, Any] | None = Field(sa_type=JSONB(none_as_null=True))  # as it was told
