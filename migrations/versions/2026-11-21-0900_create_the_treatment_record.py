"""Create the treatment record: episodes, sessions, observations, adverse events, suitability, thresholds.

Old code is still running while this runs: add first, use later, drop last.
A table of a clinic comes with its policy and its grants in the same revision.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "20261121_0900"
down_revision = "20261121_0800"
branch_labels = None
depends_on = None

TABLES = (
    "episode",
    "treatment_session",
    "observation",
    "adverse_event",
    "suitability_checklist",
    "suitability_screen",
    "threshold",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    create_episode()
    create_treatment_session()
    create_observation()
    create_adverse_event()
    create_suitability_checklist()
    create_suitability_screen()
    create_threshold()
    for table in TABLES:
        confine_to_clinic(table)
        op.execute(f"GRANT SELECT, INSERT ON {table} TO tidemark_runtime")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    for table in reversed(TABLES):
        op.drop_table(table)


def confine_to_clinic(table: str) -> None:
    """Forced, so that even the owner sees one clinic at a time; without a clinic nothing is seen."""
    condition = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON {table} USING ({condition}) WITH CHECK ({condition})")


def versioned() -> tuple[Any, ...]:
    """What every version of everything says."""
    return (
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("recorded_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Uuid, nullable=False),
        sa.Column("reason", sa.Text),
        sa.CheckConstraint("version >= 1", name="version_from_one"),
        sa.CheckConstraint("(version = 1) = (reason IS NULL)", name="reason_for_each_change"),
    )


def of_patient() -> tuple[Any, ...]:
    return (
        sa.Column("patient_id", sa.Uuid, nullable=False),
        sa.ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
    )


def time(name: str, *, nullable: bool = False) -> tuple[Any, Any]:
    """A time in UTC and the sender's offset beside it."""
    return (
        sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable),
        sa.Column(f"{name}_offset_minutes", sa.SmallInteger, nullable=nullable),
    )


def create_episode() -> None:
    op.create_table(
        "episode",
        *versioned(),
        *of_patient(),
        sa.Column("modality", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        *time("opened_at"),
        *time("closed_at", nullable=True),
        sa.Column("end_reason", sa.Text),
        sa.Column("entered_in_error", sa.Boolean, nullable=False),
        sa.CheckConstraint("closed_at >= opened_at", name="closed_after_opening"),
        sa.CheckConstraint("end_reason IS NULL OR closed_at IS NOT NULL", name="end_reason_when_closed"),
    )
    op.create_index("ix_episode_of_patient", "episode", ["clinic_id", "patient_id", "opened_at", "id"])


def create_treatment_session() -> None:
    op.create_table(
        "treatment_session",
        *versioned(),
        *of_patient(),
        sa.Column("episode_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        *time("scheduled_at"),
        sa.Column("moved", sa.Boolean, nullable=False),
        *time("started_at", nullable=True),
        *time("ended_at", nullable=True),
        sa.Column("setting", sa.Text, nullable=False),
        sa.Column("group", sa.Boolean, nullable=False),
        sa.Column("therapist_hours", sa.Double),
        sa.Column("medicine", sa.Text),
        sa.Column("route", sa.Text),
        sa.Column("dose_mg", sa.Double),
        sa.Column("weight_kg", sa.Double),
        sa.Column("concomitant_medicines", ARRAY(sa.Text)),
        sa.Column("entered_in_error", sa.Boolean, nullable=False),
        sa.CheckConstraint("kind IN ('preparation', 'dosing', 'integration')", name="kind_known"),
        sa.CheckConstraint("status IN ('planned', 'done', 'cancelled')", name="status_known"),
        sa.CheckConstraint("(status = 'done') = (started_at IS NOT NULL)", name="started_when_done"),
        sa.CheckConstraint("ended_at >= started_at", name="ended_after_start"),
        sa.CheckConstraint("ended_at IS NULL OR started_at IS NOT NULL", name="started_when_ended"),
        sa.CheckConstraint(
            "kind = 'dosing' OR num_nonnulls(medicine, route, dose_mg, weight_kg, concomitant_medicines) = 0",
            name="medicine_when_dosing",
        ),
        sa.CheckConstraint(
            "kind <> 'dosing' OR status <> 'done' OR num_nulls(medicine, route, dose_mg) = 0", name="dose_when_done"
        ),
    )
    op.create_index(
        "ix_treatment_session_of_episode", "treatment_session", ["clinic_id", "episode_id", "scheduled_at", "id"]
    )
    op.create_index(
        "ix_treatment_session_doses",
        "treatment_session",
        ["clinic_id", "patient_id", "started_at", "id"],
        postgresql_where=sa.text("kind = 'dosing'"),
        postgresql_include=["version", "episode_id", "ended_at", "status", "entered_in_error", "recorded_at"],
    )


def create_observation() -> None:
    op.create_table(
        "observation",
        *versioned(),
        *of_patient(),
        sa.Column("treatment_session_id", sa.Uuid, nullable=False),
        *time("observed_at"),
        sa.Column("systolic", sa.SmallInteger),
        sa.Column("diastolic", sa.SmallInteger),
        sa.Column("heart_rate", sa.SmallInteger),
        sa.Column("oxygen_saturation", sa.SmallInteger),
        sa.Column("dissociation_scale", sa.Text),
        sa.Column("dissociation_score", sa.SmallInteger),
        sa.Column("entered_in_error", sa.Boolean, nullable=False),
        sa.CheckConstraint("diastolic < systolic", name="diastolic_below_systolic"),
        sa.CheckConstraint("(dissociation_scale IS NULL) = (dissociation_score IS NULL)", name="score_of_a_scale"),
        sa.CheckConstraint(
            "num_nonnulls(systolic, diastolic, heart_rate, oxygen_saturation, dissociation_score) > 0",
            name="something_observed",
        ),
    )
    op.create_index(
        "ix_observation_of_session", "observation", ["clinic_id", "treatment_session_id", "observed_at", "id"]
    )


def create_adverse_event() -> None:
    op.create_table(
        "adverse_event",
        *versioned(),
        *of_patient(),
        sa.Column("treatment_session_id", sa.Uuid, nullable=False),
        sa.Column("term", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("serious", sa.Boolean, nullable=False),
        *time("onset_at"),
        *time("resolved_at", nullable=True),
        sa.Column("entered_in_error", sa.Boolean, nullable=False),
        sa.CheckConstraint("severity IN ('mild', 'moderate', 'severe')", name="severity_known"),
        sa.CheckConstraint("resolved_at >= onset_at", name="resolved_after_onset"),
    )
    op.create_index(
        "ix_adverse_event_of_session", "adverse_event", ["clinic_id", "treatment_session_id", "onset_at", "id"]
    )


def create_suitability_checklist() -> None:
    op.create_table(
        "suitability_checklist",
        *versioned(),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("valid_days", sa.SmallInteger, nullable=False),
        sa.Column("questions", JSONB, nullable=False),
    )
    op.create_index("ix_suitability_checklist_recorded", "suitability_checklist", ["clinic_id", "recorded_at", "id"])


def create_suitability_screen() -> None:
    op.create_table(
        "suitability_screen",
        *versioned(),
        *of_patient(),
        sa.Column("episode_id", sa.Uuid, nullable=False),
        sa.Column("checklist_id", sa.Uuid, nullable=False),
        sa.Column("checklist_version", sa.SmallInteger, nullable=False),
        sa.Column("answers", JSONB, nullable=False),
        *time("answered_at"),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.CheckConstraint("outcome IN ('suitable', 'consult', 'not_suitable')", name="outcome_known"),
    )
    op.create_index(
        "ix_suitability_screen_of_episode", "suitability_screen", ["clinic_id", "episode_id", "answered_at", "id"]
    )


def create_threshold() -> None:
    op.create_table(
        "threshold",
        *versioned(),
        sa.Column("instrument", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("inequality", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("population", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
        sa.CheckConstraint("kind IN ('change_points', 'change_rate', 'score')", name="kind_known"),
        sa.CheckConstraint("inequality IN ('>=', '>', '<=', '<')", name="inequality_known"),
    )
    op.create_index(
        "ix_threshold_code",
        "threshold",
        ["clinic_id", "instrument", "code"],
        unique=True,
        postgresql_where=sa.text("version = 1"),
    )
    op.create_index("ix_threshold_recorded", "threshold", ["clinic_id", "recorded_at", "id"])
