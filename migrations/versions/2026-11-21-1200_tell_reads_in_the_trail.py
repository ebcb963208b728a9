"""Tell reads in the trail: from where, why, how it ended, how much was shown, and of whom.

Old code is still running while this runs: it goes on adding events without the new columns. Each of them can be NULL,
which is left out of an event's hash, so that what was sealed stays as it was sealed.
A table of a clinic comes with its policy and its grants in the same revision.
"""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "20261121_1200"
down_revision = "20261121_1130"
branch_labels = None
depends_on = None

NEW: Final[dict[str, Any]] = {
    "request_id": sa.Uuid,
    "address": sa.Text,
    "purpose": sa.Text,
    "outcome": sa.Text,
    "rows": sa.Integer,
    "filter": sa.Text,
    "subjects_digest": sa.Text,
    "emergency_id": sa.Uuid,
}
OF_THE_CLINIC: Final = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
OF_THE_PATIENT: Final = "nullif(current_setting('app.patient_id', true), '')::uuid"
IS_SUBJECT: Final = f"{OF_THE_PATIENT} IS NULL OR subject_id IS NOT DISTINCT FROM {OF_THE_PATIENT}"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for name, kind in NEW.items():
        op.add_column("audit_event", sa.Column(name, kind, nullable=True))
    create_audit_subject()
    op.execute("GRANT SELECT, INSERT ON audit_subject TO tidemark_runtime")
    confine_to_clinic_and_patient()
    show_patients_the_lists_they_are_in()
    op.execute(
        "CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_subject "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_trail()"
    )
    op.execute("ALTER TABLE audit_subject ENABLE ALWAYS TRIGGER only_added_to")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("DROP POLICY own_patient ON audit_event")
    op.execute(
        f"CREATE POLICY own_patient ON audit_event AS RESTRICTIVE USING ({IS_SUBJECT}) WITH CHECK ({IS_SUBJECT})"
    )
    op.drop_table("audit_subject")
    for name in reversed(NEW):
        op.drop_column("audit_event", name)


def create_audit_subject() -> None:
    """A table and no array in the event: row-level security keeps the index of an array from being used.

    No foreign key to the event, as with its link: what the event seals tells whether all are there.
    """
    op.create_table(
        "audit_subject",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("patient_id", sa.Uuid, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_audit_subject_of_patient", "audit_subject", ["clinic_id", "patient_id", "at", "event_id"])


def confine_to_clinic_and_patient() -> None:
    op.execute("ALTER TABLE audit_subject ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE audit_subject FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON audit_subject USING ({OF_THE_CLINIC}) WITH CHECK ({OF_THE_CLINIC})")
    own = f"{OF_THE_PATIENT} IS NULL OR patient_id = {OF_THE_PATIENT}"
    op.execute(f"CREATE POLICY own_patient ON audit_subject AS RESTRICTIVE USING ({own}) WITH CHECK ({own})")


def show_patients_the_lists_they_are_in() -> None:
    """The event of a list names none of those it showed, so that nobody learns of another by seeing it."""
    op.execute("DROP POLICY own_patient ON audit_event")
    is_listed = f"""EXISTS (
        SELECT FROM audit_subject listed
        WHERE listed.clinic_id = audit_event.clinic_id AND listed.event_id = audit_event.id
          AND listed.patient_id = {OF_THE_PATIENT})"""
    op.execute(
        f"CREATE POLICY own_patient ON audit_event AS RESTRICTIVE USING ({IS_SUBJECT} OR {is_listed}) "
        f"WITH CHECK ({IS_SUBJECT})"
    )
