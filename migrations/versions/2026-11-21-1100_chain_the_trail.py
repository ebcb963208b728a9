"""Chain the trail: a place and a hash for each event, and triggers that let nobody change either.

Old code is still running while this runs: it goes on adding events, which are chained when a worker comes by.
A table of a clinic comes with its policy and its grants in the same revision.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "20261121_1100"
down_revision = "20261121_1000"
branch_labels = None
depends_on = None

TRAIL: Final = ("audit_event", "audit_link")
OF_THE_CLINIC: Final = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
OF_THE_PATIENT: Final = "nullif(current_setting('app.patient_id', true), '')::uuid"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    create_audit_link()
    op.execute("GRANT SELECT, INSERT ON audit_link TO tidemark_runtime")
    confine_to_clinic_and_staff()
    confine_events_to_patient()
    op.create_index("ix_audit_event_by_time", "audit_event", ["clinic_id", "at", "id"])
    op.create_index("ix_audit_event_of_patient", "audit_event", ["clinic_id", "subject_id", "at", "id"])
    refuse_changes()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    for table in TRAIL:
        op.execute(f"DROP TRIGGER only_added_to ON {table}")
    op.execute("DROP FUNCTION refuse_change_of_trail()")
    op.drop_index("ix_audit_event_of_patient", "audit_event")
    op.drop_index("ix_audit_event_by_time", "audit_event")
    op.execute("DROP POLICY own_patient ON audit_event")
    op.drop_table("audit_link")


def create_audit_link() -> None:
    """No foreign key to the event: it would write a lock into each event's row, and the verifier tells more."""
    op.create_table(
        "audit_link",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("clinic_id", "event_id"),
        sa.CheckConstraint("number >= 1", name="number_from_one"),
        sa.CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
    )


def confine_to_clinic_and_staff() -> None:
    """Forced, so that even the owner sees one clinic at a time. A patient's own transaction sees no link at all."""
    op.execute("ALTER TABLE audit_link ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE audit_link FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON audit_link USING ({OF_THE_CLINIC}) WITH CHECK ({OF_THE_CLINIC})")
    nobodys = f"{OF_THE_PATIENT} IS NULL"
    op.execute(f"CREATE POLICY no_patient ON audit_link AS RESTRICTIVE USING ({nobodys}) WITH CHECK ({nobodys})")


def confine_events_to_patient() -> None:
    """As the tables of patients are. An event without a patient is nobody's but the staff's, so NULL must not pass."""
    condition = f"{OF_THE_PATIENT} IS NULL OR subject_id IS NOT DISTINCT FROM {OF_THE_PATIENT}"
    op.execute(f"CREATE POLICY own_patient ON audit_event AS RESTRICTIVE USING ({condition}) WITH CHECK ({condition})")


def refuse_changes() -> None:
    """Of the owner and of superusers too, and ALWAYS, so that acting as a replica does not get past it.

    For each statement, not each row: row-level security hides rows from the owner, and TRUNCATE knows no rows.
    """
    op.execute("""
        CREATE FUNCTION refuse_change_of_trail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$""")
    for table in TRAIL:
        op.execute(
            f"CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_trail()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER only_added_to")
