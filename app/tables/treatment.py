"""The treatment record, in versions."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Double, Index, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from app.tables.base import Sealed, TreatmentRecord, Versioned, to_patient, version_checks


class EpisodeOfCare(TreatmentRecord, table=True):
    """One version of one course of treatment of one patient; open while `closed_at` is null."""

    __tablename__: ClassVar[Any] = "episode"
    __table_args__ = (
        to_patient(),
        *version_checks(),
        CheckConstraint("closed_at >= opened_at", name="closed_after_opening"),
        CheckConstraint("end_reason IS NULL OR closed_at IS NOT NULL", name="end_reason_when_closed"),
        Index("ix_episode_of_patient", "clinic_id", "patient_id", "opened_at", "id"),
    )

    modality: str = Field(sa_type=Text)
    label: str | None = Field(sa_type=Sealed)
    opened_at: datetime
    opened_at_offset_minutes: int = Field(sa_type=SmallInteger)
    closed_at: datetime | None
    closed_at_offset_minutes: int | None = Field(sa_type=SmallInteger)
    end_reason: str | None = Field(sa_type=Text)
    entered_in_error: bool


class TreatmentSession(TreatmentRecord, table=True):
    """One version of one appointment of an episode. Only a dosing session says anything of a medicine."""

    __tablename__: ClassVar[Any] = "treatment_session"
    __table_args__ = (
        to_patient(),
        *version_checks(),
        CheckConstraint("kind IN ('preparation', 'dosing', 'integration')", name="kind_known"),
        CheckConstraint("status IN ('planned', 'done', 'cancelled')", name="status_known"),
        CheckConstraint("(status = 'done') = (started_at IS NOT NULL)", name="started_when_done"),
        CheckConstraint("ended_at >= started_at", name="ended_after_start"),
        CheckConstraint("ended_at IS NULL OR started_at IS NOT NULL", name="started_when_ended"),
        CheckConstraint(
            "kind = 'dosing' OR num_nonnulls(medicine, route, dose_mg, weight_kg, concomitant_medicines) = 0",
            name="medicine_when_dosing",
        ),
        CheckConstraint(
            "kind <> 'dosing' OR status <> 'done' OR num_nulls(medicine, route, dose_mg) = 0", name="dose_when_done"
        ),
        Index("ix_treatment_session_of_episode", "clinic_id", "episode_id", "scheduled_at", "id"),
        # What is still to come, for whoever asks for the next appointment of many patients at once.
        Index(
            "ix_treatment_session_planned",
            "clinic_id",
            "patient_id",
            "scheduled_at",
            "id",
            postgresql_where=text("status = 'planned'"),
            postgresql_include=["version", "kind", "entered_in_error"],
        ),
        # A patient's doses, read with every trajectory, answered from the index alone.
        Index(
            "ix_treatment_session_doses",
            "clinic_id",
            "patient_id",
            "started_at",
            "id",
            postgresql_where=text("kind = 'dosing'"),
            postgresql_include=["version", "episode_id", "ended_at", "status", "entered_in_error", "recorded_at"],
        ),
    )

    episode_id: UUID
    kind: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    scheduled_at: datetime
    scheduled_at_offset_minutes: int = Field(sa_type=SmallInteger)
    moved: bool  # whether any version up to this one changed scheduled_at
    started_at: datetime | None
    started_at_offset_minutes: int | None = Field(sa_type=SmallInteger)
    ended_at: datetime | None
    ended_at_offset_minutes: int | None = Field(sa_type=SmallInteger)
    setting: str = Field(sa_type=Text)
    group: bool
    therapist_hours: float | None = Field(sa_type=Double)
    medicine: str | None = Field(sa_type=Text)
    route: str | None = Field(sa_type=Text)
    dose_mg: float | None = Field(sa_type=Double)
    weight_kg: float | None = Field(sa_type=Double)
    concomitant_medicines: list[str] | None = Field(sa_type=ARRAY(Text))  # null: not asked; empty: none taken
    entered_in_error: bool


class Observation(TreatmentRecord, table=True):
    """One version of one look at the patient around a treatment session: vital signs, dissociation."""

    __table_args__ = (
        to_patient(),
        *version_checks(),
        CheckConstraint("diastolic < systolic", name="diastolic_below_systolic"),
        CheckConstraint("(dissociation_scale IS NULL) = (dissociation_score IS NULL)", name="score_of_a_scale"),
        CheckConstraint(
            "num_nonnulls(systolic, diastolic, heart_rate, oxygen_saturation, dissociation_score) > 0",
            name="something_observed",
        ),
        Index("ix_observation_of_session", "clinic_id", "treatment_session_id", "observed_at", "id"),
    )

    treatment_session_id: UUID
    observed_at: datetime
    observed_at_offset_minutes: int = Field(sa_type=SmallInteger)
    systolic: int | None = Field(sa_type=SmallInteger)  # mmHg
    diastolic: int | None = Field(sa_type=SmallInteger)  # mmHg
    heart_rate: int | None = Field(sa_type=SmallInteger)  # 1/min
    oxygen_saturation: int | None = Field(sa_type=SmallInteger)  # %
    dissociation_scale: str | None = Field(sa_type=Text)
    dissociation_score: int | None = Field(sa_type=SmallInteger)
    entered_in_error: bool

    @property
    def dissociation(self) -> dict[str, Any] | None:
        scale, score = self.dissociation_scale, self.dissociation_score
        return None if scale is None else {"scale": scale, "score": score}


class AdverseEvent(TreatmentRecord, table=True):
    """One version of one unwanted thing that happened during or after a treatment session."""

    __tablename__: ClassVar[Any] = "adverse_event"
    __table_args__ = (
        to_patient(),
        *version_checks(),
        CheckConstraint("severity IN ('mild', 'moderate', 'severe')", name="severity_known"),
        CheckConstraint("resolved_at >= onset_at", name="resolved_after_onset"),
        Index("ix_adverse_event_of_session", "clinic_id", "treatment_session_id", "onset_at", "id"),
    )

    treatment_session_id: UUID
    term: str = Field(sa_type=Text)
    note: str | None = Field(sa_type=Sealed)
    severity: str = Field(sa_type=Text)
    serious: bool
    onset_at: datetime
    onset_at_offset_minutes: int = Field(sa_type=SmallInteger)
    resolved_at: datetime | None
    resolved_at_offset_minutes: int | None = Field(sa_type=SmallInteger)
    entered_in_error: bool


class SuitabilityChecklist(Versioned, table=True):
    """One version of what a clinic asks before a dose. Data of the clinic, not a rule of ours."""

    __tablename__: ClassVar[Any] = "suitability_checklist"
    __table_args__ = (
        *version_checks(),
        Index("ix_suitability_checklist_recorded", "clinic_id", "recorded_at", "id"),
    )

    title: str = Field(sa_type=Text)
    valid_days: int = Field(sa_type=SmallInteger)
    questions: list[dict[str, Any]] = Field(sa_type=JSONB)


class SuitabilityScreen(TreatmentRecord, table=True):
    """A clinician's decision whether an episode's doses suit this patient, with the answers it rests on."""

    __tablename__: ClassVar[Any] = "suitability_screen"
    __table_args__ = (
        to_patient(),
        *version_checks(),
        CheckConstraint("outcome IN ('suitable', 'consult', 'not_suitable')", name="outcome_known"),
        Index("ix_suitability_screen_of_episode", "clinic_id", "episode_id", "answered_at", "id"),
    )

    episode_id: UUID
    checklist_id: UUID
    checklist_version: int = Field(sa_type=SmallInteger)
    answers: dict[str, Any] = Field(sa_type=JSONB)
    answered_at: datetime
    answered_at_offset_minutes: int = Field(sa_type=SmallInteger)
    outcome: str = Field(sa_type=Text)
    decided_by: str = Field(sa_type=Sealed)


class Threshold(Versioned, table=True):
    """A clinic's own rule for judging change. Only its retirement is ever a second version."""

    __table_args__ = (
        *version_checks(),
        CheckConstraint("kind IN ('change_points', 'change_rate', 'score')", name="kind_known"),
        CheckConstraint("inequality IN ('>=', '>', '<=', '<')", name="inequality_known"),
        # For ever: a verdict of last year must not change its meaning.
        Index(
            "ix_threshold_code", "clinic_id", "instrument", "code", unique=True, postgresql_where=text("version = 1")
        ),
        Index("ix_threshold_recorded", "clinic_id", "recorded_at", "id"),
    )

    instrument: str = Field(sa_type=Text)
    rule: str = Field(sa_type=Text)
    code: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    inequality: str = Field(sa_type=Text)
    value: float = Field(sa_type=Double)
    population: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    retired: bool
