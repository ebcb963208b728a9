"""Add schedules, alerts, check-in links, webhooks, rules of the clinic; confine patients to their own rows.

Old code is still running while this runs: add first, use later, drop last.
A table of a clinic comes with its policy and its grants in the same revision.
"""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "20261121_1000"
down_revision = "20261121_0900"
branch_labels = None
depends_on = None

# What the runtime role may do beyond reading and adding.
TABLES: Final = {
    "clinic_rules": "",
    "patient_time_zone": "",
    "check_in_link": "UPDATE (tries_left, revoked_at)",
    "schedule": "",
    "expected_check_in": "UPDATE, DELETE",
    "alert": "UPDATE",
    "alert_event": "",
    "standing": "UPDATE, DELETE",
    "derivation": "UPDATE",
    "webhook": "UPDATE",
    "notification": "",
    "delivery": "UPDATE",
}
# A transaction that says for which patient it is sees that one's rows alone; one that does not is the staff's.
OF_ONE_PATIENT: Final = {
    "patient": "id",
    **dict.fromkeys(
        (
            "assessment",
            "episode",
            "treatment_session",
            "observation",
            "adverse_event",
            "suitability_screen",
            "patient_time_zone",
            "check_in_link",
            "schedule",
            "expected_check_in",
            "alert",
            "alert_event",
            "standing",
            "notification",
        ),
        "patient_id",
    ),
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    extend_api_token()
    extend_assessment()
    extend_treatment_session()
    create_clinic_rules()
    create_patient_time_zone()
    create_check_in_link()
    create_schedule()
    create_expected_check_in()
    create_alert()
    create_alert_event()
    create_standing()
    create_derivation()
    create_webhook()
    create_notification()
    create_delivery()
    for table, more in TABLES.items():
        confine_to_clinic(table)
        op.execute(f"GRANT SELECT, INSERT ON {table} TO tidemark_runtime")
        if more:
            op.execute(f"GRANT {more} ON {table} TO tidemark_runtime")
    for table, column in OF_ONE_PATIENT.items():
        confine_to_patient(table, column)
    let_the_worker_list_clinics()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("DROP POLICY for_the_worker ON clinic")
    for table in OF_ONE_PATIENT:
        op.execute(f"DROP POLICY own_patient ON {table}")
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_index("ix_treatment_session_planned", "treatment_session")
    op.drop_column("assessment", "clock_correction_minutes")
    op.drop_column("assessment", "device_skew_seconds")
    op.execute("DELETE FROM api_token WHERE role = 'patient'")
    op.drop_constraint(op.f("ck_api_token_patient_of_a_patients_token"), "api_token", type_="check")
    op.drop_constraint(op.f("ck_api_token_role_known"), "api_token", type_="check")
    op.drop_column("api_token", "patient_id")
    op.create_check_constraint("role_known", "api_token", "role IN ('admin', 'clinician', 'service', 'researcher')")


def confine_to_clinic(table: str) -> None:
    """Forced, so that even the owner sees one clinic at a time; without a clinic nothing is seen."""
    condition = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON {table} USING ({condition}) WITH CHECK ({condition})")


def confine_to_patient(table: str, column: str) -> None:
    """Restrictive: it takes away from what the clinic's policy gives."""
    condition = f"coalesce(nullif(current_setting('app.patient_id', true), '')::uuid = {column}, true)"
    op.execute(f"CREATE POLICY own_patient ON {table} AS RESTRICTIVE USING ({condition}) WITH CHECK ({condition})")


def let_the_worker_list_clinics() -> None:
    """It works for one clinic after the other, and has to know which there are."""
    op.execute("CREATE POLICY for_the_worker ON clinic FOR SELECT USING (current_setting('app.worker', true) = 'on')")


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


def identified() -> tuple[Any, ...]:
    return (sa.Column("clinic_id", sa.Uuid, primary_key=True), sa.Column("id", sa.Uuid, primary_key=True))


def of_patient() -> tuple[Any, ...]:
    return (
        sa.Column("patient_id", sa.Uuid, nullable=False),
        sa.ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
    )


def to_clinic() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["clinic_id"], ["clinic.clinic_id"])


def at(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable)


def text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=nullable)


def extend_api_token() -> None:
    op.add_column("api_token", sa.Column("patient_id", sa.Uuid))
    op.create_foreign_key(None, "api_token", "patient", ["clinic_id", "patient_id"], ["clinic_id", "id"])
    op.drop_constraint(op.f("ck_api_token_role_known"), "api_token", type_="check")
    op.create_check_constraint(
        "role_known", "api_token", "role IN ('admin', 'clinician', 'service', 'researcher', 'patient')"
    )
    op.create_check_constraint(
        "patient_of_a_patients_token", "api_token", "(role = 'patient') = (patient_id IS NOT NULL)"
    )


def extend_assessment() -> None:
    op.add_column("assessment", sa.Column("device_skew_seconds", sa.Integer))
    op.add_column("assessment", sa.Column("clock_correction_minutes", sa.Integer, nullable=False, server_default="0"))


def extend_treatment_session() -> None:
    op.create_index(
        "ix_treatment_session_planned",
        "treatment_session",
        ["clinic_id", "patient_id", "scheduled_at", "id"],
        postgresql_where=sa.text("status = 'planned'"),
        postgresql_include=["version", "kind", "entered_in_error"],
    )


def create_clinic_rules() -> None:
    op.create_table(
        "clinic_rules",
        *versioned(),
        text("quiet_from"),
        text("quiet_until"),
        sa.Column("amend_window_hours", sa.SmallInteger, nullable=False),
        sa.Column("missed_in_a_row", sa.SmallInteger, nullable=False),
        text("safety_text"),
        to_clinic(),
        sa.CheckConstraint("id = clinic_id", name="of_the_clinic"),
        sa.CheckConstraint("amend_window_hours BETWEEN 0 AND 8760", name="amend_window_sound"),
        sa.CheckConstraint("missed_in_a_row BETWEEN 1 AND 20", name="missed_in_a_row_sound"),
    )


def create_patient_time_zone() -> None:
    op.create_table(
        "patient_time_zone",
        *versioned(),
        *of_patient(),
        text("time_zone"),
        at("valid_from"),
        sa.Column("valid_from_offset_minutes", sa.SmallInteger, nullable=False),
        sa.CheckConstraint("id = patient_id", name="of_the_patient"),
    )


def create_check_in_link() -> None:
    op.create_table(
        "check_in_link",
        *identified(),
        *of_patient(),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        at("created_at"),
        sa.Column("created_by", sa.Uuid, nullable=False),
        at("expires_at"),
        sa.Column("tries_left", sa.SmallInteger, nullable=False),
        at("revoked_at", nullable=True),
        sa.CheckConstraint("octet_length(secret_hash) = 32", name="hash_is_sha256"),
        sa.CheckConstraint("tries_left >= 0", name="tries_not_negative"),
    )
    op.create_index("ix_check_in_link_of_patient", "check_in_link", ["clinic_id", "patient_id", "created_at", "id"])


def create_schedule() -> None:
    op.create_table(
        "schedule",
        *versioned(),
        *of_patient(),
        text("protocol", nullable=True),
        sa.Column("entries", JSONB, nullable=False),
        text("quiet_from", nullable=True),
        text("quiet_until", nullable=True),
    )


def create_expected_check_in() -> None:
    op.create_table(
        "expected_check_in",
        *identified(),
        *of_patient(),
        sa.Column("episode_id", sa.Uuid, nullable=False),
        text("key"),
        text("code"),
        text("instrument"),
        sa.Column("treatment_session_id", sa.Uuid),
        at("target_at"),
        at("opens_at"),
        at("overdue_at"),
        at("closes_at"),
        at("remind_at", nullable=True),
        sa.Column("assessment_id", sa.Uuid),
        at("answered_at", nullable=True),
        sa.CheckConstraint("opens_at < closes_at", name="window_opens"),
        sa.CheckConstraint("(assessment_id IS NULL) = (answered_at IS NULL)", name="answered_by_a_form"),
    )
    op.create_index(
        "ix_expected_check_in_of_patient", "expected_check_in", ["clinic_id", "patient_id", "opens_at", "id"]
    )
    op.create_index(
        "ix_expected_check_in_unanswered",
        "expected_check_in",
        ["clinic_id", "closes_at", "id"],
        postgresql_where=sa.text("assessment_id IS NULL"),
    )


def create_alert() -> None:
    op.create_table(
        "alert",
        *identified(),
        *of_patient(),
        text("kind"),
        text("instrument", nullable=True),
        sa.Column("item", sa.SmallInteger),
        text("status"),
        at("raised_at"),
        at("acknowledged_at", nullable=True),
        at("resolved_at", nullable=True),
        sa.Column("reopened", sa.SmallInteger, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.CheckConstraint(
            "kind IN ('critical_item', 'critical_item_rise', 'reliable_worsening', 'worse_after_dose', "
            "'missed_check_ins')",
            name="kind_known",
        ),
        sa.CheckConstraint("status IN ('open', 'acknowledged', 'resolved', 'withdrawn')", name="status_known"),
    )
    op.create_index("ix_alert_by_status", "alert", ["clinic_id", "status", "raised_at", "id"])
    op.create_index("ix_alert_of_patient", "alert", ["clinic_id", "patient_id", "status"])


def create_alert_event() -> None:
    op.create_table(
        "alert_event",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("alert_id", sa.Uuid, primary_key=True),
        sa.Column("number", sa.SmallInteger, primary_key=True, autoincrement=False),
        *of_patient(),
        text("kind"),
        at("at"),
        sa.Column("actor_id", sa.Uuid),
        text("cause", nullable=True),
        sa.Column("assessment_id", sa.Uuid),
        text("action", nullable=True),
        text("note", nullable=True),
        sa.CheckConstraint("kind IN ('raised', 'withdrawn', 'acknowledged', 'resolved')", name="kind_known"),
        sa.CheckConstraint("(kind IN ('raised', 'withdrawn')) = (cause IS NOT NULL)", name="cause_of_what_is_derived"),
        sa.CheckConstraint("(kind = 'resolved') = (action IS NOT NULL)", name="action_of_a_resolution"),
    )
    op.create_index("ix_alert_event_of_form", "alert_event", ["clinic_id", "assessment_id"])


def create_standing() -> None:
    op.create_table(
        "standing",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("patient_id", sa.Uuid, primary_key=True),
        sa.Column("instrument", sa.Text, primary_key=True),
        sa.ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
        sa.Column("episode_id", sa.Uuid),
        sa.Column("assessment_id", sa.Uuid, nullable=False),
        at("taken_at"),
        text("validity"),
        sa.Column("total", sa.Double),
        text("severity", nullable=True),
        sa.Column("change_since_last", sa.Double),
        sa.Column("baseline_id", sa.Uuid),
        text("baseline_rule"),
        sa.Column("baseline_total", sa.Double),
        sa.Column("change", sa.Double),
        sa.Column("percent_change", sa.Double),
        text("category", nullable=True),
        sa.Column("on_track", sa.Boolean),
        text("on_track_reason"),
        sa.Column("forms", sa.Integer, nullable=False),
        sa.Column("doses", sa.SmallInteger, nullable=False),
        at("last_dose_at", nullable=True),
    )


def create_derivation() -> None:
    op.create_table(
        "derivation",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("program", sa.Integer, nullable=False),
        sa.Column("rules_version", sa.Integer, nullable=False),
        at("made_at"),
        to_clinic(),
    )


def create_webhook() -> None:
    op.create_table(
        "webhook",
        *identified(),
        text("url"),
        sa.Column("events", ARRAY(sa.Text), nullable=False),
        text("label"),
        text("secret"),
        text("previous_secret", nullable=True),
        at("previous_secret_until", nullable=True),
        at("created_at"),
        sa.Column("created_by", sa.Uuid, nullable=False),
        at("disabled_at", nullable=True),
        to_clinic(),
        sa.CheckConstraint("(previous_secret IS NULL) = (previous_secret_until IS NULL)", name="previous_secret_ends"),
    )


def create_notification() -> None:
    op.create_table(
        "notification",
        *identified(),
        text("key"),
        text("kind"),
        *of_patient(),
        sa.Column("resource_id", sa.Uuid, nullable=False),
        at("created_at"),
        sa.UniqueConstraint("clinic_id", "key"),
    )


def create_delivery() -> None:
    op.create_table(
        "delivery",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("notification_id", sa.Uuid, primary_key=True),
        sa.Column("webhook_id", sa.Uuid, primary_key=True),
        text("status"),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        at("next_attempt_at"),
        at("last_attempt_at", nullable=True),
        sa.Column("last_status", sa.SmallInteger),
        text("last_error", nullable=True),
        at("delivered_at", nullable=True),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'dead')", name="status_known"),
    )
    op.create_index(
        "ix_delivery_pending",
        "delivery",
        ["clinic_id", "next_attempt_at"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("ix_delivery_of_webhook", "delivery", ["clinic_id", "webhook_id", "notification_id"])
