"""Which patients are hidden from whom, and who looked all the same."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, Uuid, text
from sqlmodel import Field, SQLModel

from app.tables.base import Sealed, TreatmentRecord, to_patient, version_checks


class CareTeam(TreatmentRecord, table=True):
    """Who may see a restricted patient; its `id` is the patient's. Before the first: everybody who sees patients."""

    __tablename__: ClassVar[Any] = "care_team"
    __table_args__ = (
        to_patient(),
        *version_checks(),
        CheckConstraint("id = patient_id", name="of_the_patient"),
        Index("ix_care_team_restricted", "clinic_id", "id", "version", postgresql_where=text("restricted")),
    )

    restricted: bool
    members: list[UUID] = Field(sa_type=ARRAY(Uuid))  # tokens, or persons of an issuer


class EmergencyAccess(SQLModel, table=True):
    """A clinician saw a restricted patient of another care team, for a while, and said why."""

    __tablename__: ClassVar[Any] = "emergency_access"
    __table_args__ = (
        to_patient(),
        CheckConstraint("begun_at < expires_at", name="lasts"),
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_by_somebody"),
        Index("ix_emergency_access_by_time", "clinic_id", "begun_at", "id"),
        Index("ix_emergency_access_of_actor", "clinic_id", "actor_id", "expires_at"),
    )

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    patient_id: UUID
    actor_id: UUID  # token, or person of an issuer
    reason: str = Field(sa_type=Sealed)
    begun_at: datetime
    expires_at: datetime
    ended_at: datetime | None  # before it expired
    ended_by: UUID | None
