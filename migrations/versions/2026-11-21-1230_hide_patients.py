"""Hide patients: researchers see none, clinicians none that is restricted to another care team; break-glass.

Old code is still running while this runs: what it binds, a clinic and perhaps one patient, means what it meant before.
A table of a clinic comes with its policies and its grants in the same revision.
"""

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "20261121_1230"
down_revision = "20261121_1210"
branch_labels = None
depends_on = None

# `app.patient_id` says of which patients a transaction sees rows: not set, of all; this value, of all but those in
# `app.hidden_patients`; another, of that one. Of nobody's id that is none.
NO_PATIENT: Final = "00000000-0000-0000-0000-000000000000"
NOT_HIDDEN: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
BOUND: Final = "current_setting('app.patient_id', true)"
ONE: Final = f"nullif({BOUND}, '')::uuid"  # the planner evaluates it for its guesses, set or not
UNBOUND: Final = f"coalesce({BOUND}, '') = ''"
HIDDEN: Final = "SELECT unnest(string_to_array(current_setting('app.hidden_patients', true), ',')::uuid[])"
OF_THE_CLINIC: Final = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"

LISTED: Final = """EXISTS (
    SELECT FROM audit_subject listed
    WHERE listed.clinic_id = audit_event.clinic_id AND listed.event_id = audit_event.id AND listed.patient_id = {})"""

# As it was before.
IS_SUBJECT: Final = f"{ONE} IS NULL OR subject_id IS NOT DISTINCT FROM {ONE}"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    create_care_team()
    create_emergency_access()
    confine("care_team", "GRANT SELECT, INSERT ON care_team TO tidemark_runtime")
    confine(
        "emergency_access",
        "GRANT SELECT, INSERT, UPDATE (ended_at, ended_by) ON emergency_access TO tidemark_runtime",
    )
    for table, column in confined_tables():
        alter(table, "own_patient", in_view(column))
    alter("audit_event", "own_patient", events_in_view(), events_of_ones_own())
    alter("audit_link", "no_patient", UNBOUND)
    token = f"patient_id IS NULL OR {in_view('patient_id')}"
    op.execute(f"CREATE POLICY own_patient ON api_token AS RESTRICTIVE USING ({token}) WITH CHECK ({token})")
    key = f"id = clinic_id OR {in_view('id')}"  # the clinic's own key is about nobody
    op.execute(f"CREATE POLICY own_patient ON data_key AS RESTRICTIVE USING ({key}) WITH CHECK ({key})")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("DROP POLICY own_patient ON data_key")
    op.execute("DROP POLICY own_patient ON api_token")
    alter("audit_link", "no_patient", f"{ONE} IS NULL")
    alter("audit_event", "own_patient", f"{IS_SUBJECT} OR {LISTED.format(ONE)}", IS_SUBJECT)
    op.drop_table("emergency_access")
    op.drop_table("care_team")
    for table, column in confined_tables():
        alter(table, "own_patient", f"coalesce({ONE} = {column}, true)")


def in_view(column: str) -> str:
    """One setting is read for each row where nothing is hidden. What is hidden is looked up in a hash, made once."""
    return (
        f"CASE coalesce({BOUND}, '') WHEN '' THEN true "
        f"WHEN '{NOT_HIDDEN}' THEN {column} NOT IN ({HIDDEN}) "
        f"ELSE {column} = {ONE} END"
    )


def events_in_view() -> str:
    """A patient's own, and the lists a patient stood in. What is about nobody is read by the staff alone."""
    return (
        f"CASE coalesce({BOUND}, '') WHEN '' THEN true "
        f"WHEN '{NOT_HIDDEN}' THEN subject_id IS NULL OR subject_id NOT IN ({HIDDEN}) "
        f"ELSE subject_id IS NOT DISTINCT FROM {ONE} OR {LISTED.format(ONE)} END"
    )


def events_of_ones_own() -> str:
    """What may be written: about patients in view; about nobody by the staff, and by who may see no patient."""
    return (
        f"CASE coalesce({BOUND}, '') WHEN '' THEN true "
        f"WHEN '{NOT_HIDDEN}' THEN subject_id IS NULL OR subject_id NOT IN ({HIDDEN}) "
        f"ELSE subject_id IS NOT DISTINCT FROM nullif({ONE}, '{NO_PATIENT}') END"
    )


def confined_tables() -> Iterable[tuple[str, str]]:
    """Every table of patients there is, with its column; the trail has conditions of its own."""
    rows = op.get_bind().exec_driver_sql(
        "SELECT tablename FROM pg_policies WHERE schemaname = 'public' AND policyname = 'own_patient' "
        "AND tablename NOT IN ('audit_event', 'api_token', 'data_key') ORDER BY 1"
    )
    return [(name, "id" if name == "patient" else "patient_id") for (name,) in rows]


def alter(table: str, policy: str, using: str, check: str | None = None) -> None:
    op.execute(f"ALTER POLICY {policy} ON {table} USING ({using}) WITH CHECK ({check or using})")


def confine(table: str, grant: str) -> None:
    """Forced, so that even the owner sees one clinic at a time; restrictive, so that it takes away from that."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON {table} USING ({OF_THE_CLINIC}) WITH CHECK ({OF_THE_CLINIC})")
    condition = in_view("patient_id")
    op.execute(f"CREATE POLICY own_patient ON {table} AS RESTRICTIVE USING ({condition}) WITH CHECK ({condition})")
    op.execute(grant)


def of_patient() -> tuple[Any, ...]:
    return (
        sa.Column("patient_id", sa.Uuid, nullable=False),
        sa.ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
    )


def at(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable)


def create_care_team() -> None:
    op.create_table(
        "care_team",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.SmallInteger, primary_key=True, autoincrement=False),
        at("recorded_at"),
        sa.Column("recorded_by", sa.Uuid, nullable=False),
        sa.Column("reason", sa.LargeBinary),
        *of_patient(),
        sa.Column("restricted", sa.Boolean, nullable=False),
        sa.Column("members", ARRAY(sa.Uuid), nullable=False),
        sa.CheckConstraint("version >= 1", name="version_from_one"),
        sa.CheckConstraint("(version = 1) = (reason IS NULL)", name="reason_for_each_change"),
        sa.CheckConstraint("id = patient_id", name="of_the_patient"),
    )
    op.create_index(
        "ix_care_team_restricted",
        "care_team",
        ["clinic_id", "id", "version"],
        postgresql_where=sa.text("restricted"),
    )


def create_emergency_access() -> None:
    op.create_table(
        "emergency_access",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        *of_patient(),
        sa.Column("actor_id", sa.Uuid, nullable=False),
        sa.Column("reason", sa.LargeBinary, nullable=False),
        at("begun_at"),
        at("expires_at"),
        at("ended_at", nullable=True),
        sa.Column("ended_by", sa.Uuid),
        sa.CheckConstraint("begun_at < expires_at", name="lasts"),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_by_somebody"),
    )
    op.create_index("ix_emergency_access_by_time", "emergency_access", ["clinic_id", "begun_at", "id"])
    op.create_index("ix_emergency_access_of_actor", "emergency_access", ["clinic_id", "actor_id", "expires_at"])
