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
from sqlalchemy.dialects.postgresql import JSONB
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
APPEND_ONLY = frozenset(
    {
        "clinic",
        "patient",
        "assessment",
        "episode",
        "treatment_session",
        "observation",
        "adverse_event",
        "suitability_checklist",
        "suitability_screen",
        "threshold",
        "idempotency_key",
        "audit_event",
    }
)


# Rows written with every check-in carry no foreign key to the clinic: each check would lock the clinic's one row, for
# all writers at once. Their policy lets a transaction write its own clinic's rows alone, which says the same.
def _to_clinic() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["clinic_id"], ["clinic.clinic_id"])


def _to_patient() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"])


def _version_checks() -> tuple[CheckConstraint, CheckConstraint]:
    return (
        CheckConstraint("version >= 1", name="version_from_one"),
        CheckConstraint("(version = 1) = (reason IS NULL)", name="reason_for_each_change"),
    )


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
            postgresql_include=["version", "status", "received_at", "validity", "total", "responses"],
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


class Versioned(SQLModel):
    """What is never changed: a correction is the next version, a whole row with its reason. The highest is current."""

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_type=SmallInteger)
    recorded_at: datetime
    recorded_by: UUID  # token
    reason: str | None = Field(sa_type=Text)


class TreatmentRecord(Versioned):
    """A versioned thing of one patient. No foreign key leads to its parent: that has versions, and keeps them."""

    patient_id: UUID


class EpisodeOfCare(TreatmentRecord, table=True):
    """One version of one course of treatment of one patient; open while `closed_at` is null."""

    __tablename__: ClassVar[Any] = "episode"
    __table_args__ = (
        _to_patient(),
        *_version_checks(),
        CheckConstraint("closed_at >= opened_at", name="closed_after_opening"),
        CheckConstraint("end_reason IS NULL OR closed_at IS NOT NULL", name="end_reason_when_closed"),
        Index("ix_episode_of_patient", "clinic_id", "patient_id", "opened_at", "id"),
    )

    modality: str = Field(sa_type=Text)
    label: str | None = Field(sa_type=Text)
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
        _to_patient(),
        *_version_checks(),
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
        _to_patient(),
        *_version_checks(),
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
        _to_patient(),
        *_version_checks(),
        CheckConstraint("severity IN ('mild', 'moderate', 'severe')", name="severity_known"),
        CheckConstraint("resolved_at >= onset_at", name="resolved_after_onset"),
        Index("ix_adverse_event_of_session", "clinic_id", "treatment_session_id", "onset_at", "id"),
    )

    treatment_session_id: UUID
    term: str = Field(sa_type=Text)
    note: str | None = Field(sa_type=Text)
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
        *_version_checks(),
        Index("ix_suitability_checklist_recorded", "clinic_id", "recorded_at", "id"),
    )

    title: str = Field(sa_type=Text)
    valid_days: int = Field(sa_type=SmallInteger)
    questions: list[dict[str, Any]] = Field(sa_type=JSONB)


class SuitabilityScreen(TreatmentRecord, table=True):
    """A clinician's decision whether an episode's doses suit this patient, with the answers it rests on."""

    __tablename__: ClassVar[Any] = "suitability_screen"
    __table_args__ = (
        _to_patient(),
        *_version_checks(),
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
    decided_by: str = Field(sa_type=Text)


class Threshold(Versioned, table=True):
    """A clinic's own rule for judging change. Only its retirement is ever a second version."""

    __table_args__ = (
        *_version_checks(),
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
