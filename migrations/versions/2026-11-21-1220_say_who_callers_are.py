"""Say who callers are: more about tokens, patients' devices, people whom an issuer vouches for.

Old code is still running while this runs: add first, use later, drop last.
A table of a clinic comes with its policies and its grants in the same revision.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "20261121_1220"
down_revision = "20261121_1210"
branch_labels = None
depends_on = None

# What the runtime role may do beyond reading and adding.
TABLES: Final = {"enrolment": ", UPDATE", "refresh_token": ", DELETE", "principal": "", "issuer_key_set": ", UPDATE"}
OF_ONE_PATIENT: Final = ("enrolment", "refresh_token")
NOBODY: Final = "00000000-0000-0000-0000-000000000000"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    extend_api_token()
    create_enrolment()
    create_refresh_token()
    create_principal()
    create_issuer_key_set()
    for table, more in TABLES.items():
        confine_to_clinic(table)
        op.execute(f"GRANT SELECT, INSERT{more} ON {table} TO tidemark_runtime")
    for table in OF_ONE_PATIENT:
        confine_to_patient(table)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    for table in reversed(TABLES):
        op.drop_table(table)
    for column in ("last_used_at", "created_by", "scopes"):
        op.drop_column("api_token", column)


def extend_api_token() -> None:
    op.add_column("api_token", sa.Column("scopes", ARRAY(sa.Text)))
    op.add_column("api_token", sa.Column("created_by", sa.Uuid))
    op.add_column("api_token", sa.Column("last_used_at", sa.TIMESTAMP(timezone=True)))
    op.execute("GRANT UPDATE (last_used_at) ON api_token TO tidemark_runtime")


def confine_to_clinic(table: str) -> None:
    """Forced, so that even the owner sees one clinic at a time; without a clinic nothing is seen."""
    condition = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON {table} USING ({condition}) WITH CHECK ({condition})")


def confine_to_patient(table: str) -> None:
    """Restrictive: it takes away from what the clinic's policy gives."""
    condition = "coalesce(nullif(current_setting('app.patient_id', true), '')::uuid = patient_id, true)"
    op.execute(f"CREATE POLICY own_patient ON {table} AS RESTRICTIVE USING ({condition}) WITH CHECK ({condition})")


def create_enrolment() -> None:
    op.create_table(
        "enrolment",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("patient_id", sa.Uuid, nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("created_by", sa.Uuid, nullable=False),
        sa.Column("code_id", sa.Uuid, nullable=False),
        sa.Column("code_hash", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("tries_left", sa.SmallInteger, nullable=False),
        sa.Column("redeemed_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("access_hash", sa.LargeBinary),
        sa.Column("access_expires_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("refresh_id", sa.Uuid),
        sa.Column("previous_refresh_id", sa.Uuid),
        sa.Column("refreshed_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("is_pair_used", sa.Boolean, nullable=False),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("ended_because", sa.Text),
        sa.ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
        sa.UniqueConstraint("clinic_id", "code_id"),
        sa.CheckConstraint("octet_length(code_hash) = 32", name="code_hash_is_sha256"),
        sa.CheckConstraint("octet_length(access_hash) = 32", name="access_hash_is_sha256"),
        sa.CheckConstraint("tries_left >= 0", name="tries_not_negative"),
        sa.CheckConstraint("ended_because IN ('revoked', 'logged_out', 'reused')", name="end_known"),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_because IS NULL)", name="end_has_its_reason"),
        sa.CheckConstraint(
            "num_nulls(redeemed_at, access_hash, access_expires_at, refresh_id, refreshed_at) IN (0, 5)",
            name="redeemed_as_a_whole",
        ),
    )
    op.create_index("ix_enrolment_of_patient", "enrolment", ["clinic_id", "patient_id", "created_at", "id"])


def create_refresh_token() -> None:
    op.create_table(
        "refresh_token",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("patient_id", sa.Uuid, nullable=False),
        sa.Column("enrolment_id", sa.Uuid, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
        sa.ForeignKeyConstraint(["clinic_id", "enrolment_id"], ["enrolment.clinic_id", "enrolment.id"]),
        sa.CheckConstraint("octet_length(secret_hash) = 32", name="hash_is_sha256"),
    )
    op.create_index("ix_refresh_token_of_enrolment", "refresh_token", ["clinic_id", "enrolment_id", "created_at"])


def create_principal() -> None:
    op.create_table(
        "principal",
        sa.Column("clinic_id", sa.Uuid, sa.ForeignKey("clinic.clinic_id"), primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("first_seen_at", sa.TIMESTAMP(timezone=True), nullable=False),
    )


def create_issuer_key_set() -> None:
    op.create_table(
        "issuer_key_set",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("keys", sa.Text, nullable=False),
        sa.Column("tried_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("fetched_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("wanted_at", sa.TIMESTAMP(timezone=True)),
        sa.CheckConstraint(f"clinic_id = '{NOBODY}'", name="of_no_clinic"),
    )
