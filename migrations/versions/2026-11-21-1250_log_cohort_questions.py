"""Log cohort questions: what was asked, what was told, and what was refused.

Old code is still running while this runs: add first, use later, drop last.
A table of a clinic comes with its policy and its grants in the same revision.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261121_1250"
down_revision = "20261121_1240"
branch_labels = None
depends_on = None

OF_THE_CLINIC: Final = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
OF_THE_PATIENT: Final = "nullif(current_setting('app.patient_id', true), '')::uuid"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    create_cohort_question()
    confine_to_clinic_and_staff("cohort_question")
    op.execute("GRANT SELECT, INSERT ON cohort_question TO tidemark_runtime")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_table("cohort_question")


def create_cohort_question() -> None:
    op.create_table(
        "cohort_question",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("principal_id", sa.Uuid, nullable=False),
        sa.Column("research", sa.Boolean, nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("cohort", sa.Text, nullable=False),
        sa.Column("persons", sa.Integer, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("refusal", sa.Text),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("answer", JSONB),
        sa.ForeignKeyConstraint(["clinic_id"], ["clinic.clinic_id"]),
        sa.CheckConstraint("decision IN ('answered', 'repeated', 'refused')", name="decision_known"),
        sa.CheckConstraint("(decision = 'answered') = (answer IS NOT NULL)", name="answer_when_answered"),
        sa.CheckConstraint("(decision = 'refused') = (refusal IS NOT NULL)", name="reason_when_refused"),
        sa.CheckConstraint("octet_length(key) = 32", name="key_is_32_bytes"),
    )
    op.create_index("ix_cohort_question_asked", "cohort_question", ["clinic_id", "principal_id", "asked_at"])
    op.create_index("ix_cohort_question_question", "cohort_question", ["clinic_id", "question", "asked_at"])


def confine_to_clinic_and_staff(table: str) -> None:
    """Forced, so that even the owner sees one clinic at a time. A patient's own transaction sees no row at all."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON {table} USING ({OF_THE_CLINIC}) WITH CHECK ({OF_THE_CLINIC})")
    nobodys = f"{OF_THE_PATIENT} IS NULL"
    op.execute(f"CREATE POLICY no_patient ON {table} AS RESTRICTIVE USING ({nobodys}) WITH CHECK ({nobodys})")
