"""Create clinics, patients and assessments.

Old code is still running while this runs: add first, use later, drop last.
A table of a clinic comes with its policy and its grants in the same revision.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "20261121_0800"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ("clinic", "api_token", "patient", "assessment", "idempotency_key", "audit_event")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    make_runtime_role()
    create_clinic()
    create_api_token()
    create_patient()
    create_assessment()
    create_idempotency_key()
    create_audit_event()
    for table in TABLES:
        confine_to_clinic(table)
        op.execute(f"GRANT SELECT, INSERT ON {table} TO tidemark_runtime")
    op.execute("GRANT UPDATE (revoked_at) ON api_token TO tidemark_runtime")
    op.execute("GRANT SELECT ON alembic_version TO tidemark_runtime")
    op.execute("GRANT USAGE ON SCHEMA public TO tidemark_runtime")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    for table in reversed(TABLES):
        op.drop_table(table)
    op.execute("REVOKE ALL ON alembic_version FROM tidemark_runtime")
    op.execute("REVOKE ALL ON SCHEMA public FROM tidemark_runtime")


def make_runtime_role() -> None:
    """Roles belong to the whole server: another database of it may have made this one already, or be making it now."""
    op.execute("""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'tidemark_runtime') THEN
                CREATE ROLE tidemark_runtime NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$""")
    op.execute("""
        DO $$ BEGIN
            IF NOT pg_has_role(current_user, 'tidemark_runtime', 'MEMBER') THEN
                EXECUTE format('GRANT tidemark_runtime TO %I', current_user);
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN NULL;  -- a separate runtime login is in use
        END $$""")


def confine_to_clinic(table: str) -> None:
    """Forced, so that even the owner sees one clinic at a time; without a clinic nothing is seen."""
    condition = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON {table} USING ({condition}) WITH CHECK ({condition})")


def create_clinic() -> None:
    op.create_table(
        "clinic",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
    )


def create_api_token() -> None:
    op.create_table(
        "api_token",
        sa.Column("clinic_id", sa.Uuid, sa.ForeignKey("clinic.clinic_id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True)),
        sa.CheckConstraint("role IN ('admin', 'clinician', 'service', 'researcher')", name="role_known"),
        sa.CheckConstraint("octet_length(secret_hash) = 32", name="hash_is_sha256"),
    )


def create_patient() -> None:
    op.create_table(
        "patient",
        sa.Column("clinic_id", sa.Uuid, sa.ForeignKey("clinic.clinic_id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("external_ref", sa.Text),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.UniqueConstraint("clinic_id", "external_ref"),
    )
    op.create_index("ix_patient_clinic_id_created_at_id", "patient", ["clinic_id", "created_at", "id"])


def create_assessment() -> None:
    op.create_table(
        "assessment",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("patient_id", sa.Uuid, nullable=False),
        sa.Column("instrument", sa.Text, nullable=False),
        sa.Column("instrument_version", sa.SmallInteger, nullable=False),
        sa.Column("responses", ARRAY(sa.SmallInteger), nullable=False),
        sa.Column("validity", sa.Text, nullable=False),
        sa.Column("total", sa.Double),
        sa.Column("taken_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("taken_at_offset_minutes", sa.SmallInteger, nullable=False),
        sa.Column("received_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("recorded_by", sa.Uuid, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
        sa.CheckConstraint("version >= 1", name="version_from_one"),
        sa.CheckConstraint("status IN ('final', 'amended', 'entered_in_error')", name="status_known"),
        sa.CheckConstraint("(version = 1) = (reason IS NULL)", name="reason_for_each_correction"),
        sa.CheckConstraint("validity IN ('valid', 'prorated', 'incomplete')", name="validity_known"),
        sa.CheckConstraint("(total IS NULL) = (validity = 'incomplete')", name="total_unless_incomplete"),
        sa.CheckConstraint("mode IN ('self', 'interview', 'proxy')", name="mode_known"),
    )
    op.create_index(
        "ix_assessment_history",
        "assessment",
        ["clinic_id", "patient_id", "instrument", "taken_at", "id"],
        postgresql_include=["version", "status", "received_at", "validity", "total", "responses"],
    )
    op.create_index(
        "ix_assessment_corrections",
        "assessment",
        ["clinic_id", "patient_id", "id", "version"],
        postgresql_where=sa.text("version > 1"),
    )
    op.create_index("ix_assessment_clinic_id_taken_at_id", "assessment", ["clinic_id", "taken_at", "id"])


def create_idempotency_key() -> None:
    op.create_table(
        "idempotency_key",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("principal_id", sa.Uuid, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("resource_id", sa.Uuid, nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
    )


def create_audit_event() -> None:
    op.create_table(
        "audit_event",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid, nullable=False),
        sa.Column("actor_role", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Uuid),
        sa.Column("resource_id", sa.Uuid, nullable=False),
    )
