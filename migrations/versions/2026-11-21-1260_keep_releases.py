"""Keep releases: what was asked, who said yes, the files under a key of their own, and how all of it is forgotten.

Old code is still running while this runs: add first, use later, drop last.
A table of a clinic comes with its policy and its grants in the same revision.
"""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261121_1260"
down_revision = "20261121_1255"
branch_labels = None
depends_on = None

NO_PATIENT: Final = "00000000-0000-0000-0000-000000000000"
NOT_HIDDEN: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
HIDDEN: Final = "SELECT unnest(string_to_array(current_setting('app.hidden_patients', true), ',')::uuid[])"
BOUND: Final = "coalesce(current_setting('app.patient_id', true), '')"
IN_VIEW: Final = (
    f"CASE {BOUND} WHEN '' THEN true WHEN '{NOT_HIDDEN}' THEN patient_id NOT IN ({HIDDEN}) "
    "ELSE patient_id = nullif(current_setting('app.patient_id', true), '')::uuid END"
)
# A researcher's transaction sees no patient, and releases all the same. A patient's sees no release.
OF_NO_PATIENT: Final = f"{BOUND} IN ('', '{NO_PATIENT}', '{NOT_HIDDEN}')"
OF_THE_SYSTEM: Final = f"{BOUND} = ''"
POLICIES: Final = {
    "release": ("no_patient", OF_NO_PATIENT),
    "release_person": ("own_patient", IN_VIEW),
    "release_chunk": ("no_patient", OF_THE_SYSTEM),
}
GRANTS: Final = {
    "release": "SELECT, INSERT, UPDATE (status, decided_at, decided_by, decision_note, expires_at, attempts, "
    "leased_until, persons_read, rows_written, known_at, ready_at, failure, manifest, ended_at, ended_because)",
    "release_person": "SELECT, INSERT",
    "release_chunk": "SELECT, INSERT",
}
ERASE: Final = "erase_patient(uuid, uuid, timestamptz, uuid, text, timestamptz)"
ANCHOR: Final = "-- What names the patient by `id`"
PERSON_ERASED: Final = """DELETE FROM public.release_person WHERE clinic_id = own_clinic AND patient_id = erased;
            GET DIAGNOSTICS gone = ROW_COUNT;
            removed := removed || pg_catalog.jsonb_build_object('release_person', gone);

            """


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    create_release()
    create_release_person()
    create_release_chunk()
    for table, (policy, condition) in POLICIES.items():
        confine(table, policy, condition)
        op.execute(f"GRANT {GRANTS[table]} ON {table} TO tidemark_runtime")
    keep_what_is_ready()
    create_forget_release()
    rewrite_erase_patient(ANCHOR, PERSON_ERASED + ANCHOR)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    rewrite_erase_patient(PERSON_ERASED, "")
    op.execute("DROP FUNCTION forget_release(uuid)")
    for table in ("release_chunk", "release_person", "release"):
        op.drop_table(table)
    op.execute("DROP FUNCTION keep_release()")


def confine(table: str, policy: str, condition: str) -> None:
    """Forced, so that even the owner sees one clinic at a time; restrictive, so that it takes away from that."""
    own = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON {table} USING ({own}) WITH CHECK ({own})")
    op.execute(f"CREATE POLICY {policy} ON {table} AS RESTRICTIVE USING ({condition}) WITH CHECK ({condition})")


def at(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable)


def of_release() -> tuple[Any, ...]:
    return (
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("release_id", sa.Uuid, primary_key=True),
        sa.ForeignKeyConstraint(["clinic_id", "release_id"], ["release.clinic_id", "release.id"]),
    )


def create_release() -> None:
    op.create_table(
        "release",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("request", JSONB, nullable=False),
        at("requested_at", nullable=False),
        sa.Column("requested_by", sa.Uuid, nullable=False),
        at("decided_at"),
        sa.Column("decided_by", sa.Uuid),
        sa.Column("decision_note", sa.Text),
        at("expires_at"),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        at("leased_until"),
        sa.Column("persons_read", sa.Integer, nullable=False),
        sa.Column("rows_written", sa.BigInteger, nullable=False),
        at("known_at"),
        at("ready_at"),
        sa.Column("failure", sa.Text),
        sa.Column("manifest", JSONB),
        at("ended_at"),
        sa.Column("ended_because", sa.Text),
        sa.ForeignKeyConstraint(["clinic_id"], ["clinic.clinic_id"]),
        sa.CheckConstraint(
            "status IN ('requested', 'approved', 'rejected', 'building', 'ready', 'failed', 'revoked', 'expired')",
            name="status_known",
        ),
        sa.CheckConstraint("decided_by <> requested_by", name="decided_by_another"),
        sa.CheckConstraint("(status IN ('ready', 'expired')) <= (manifest IS NOT NULL)", name="ready_with_manifest"),
        sa.CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failed_for_a_reason"),
    )
    op.create_index("ix_release_by_time", "release", ["clinic_id", "requested_at", "id"])
    op.create_index("ix_release_of_principal", "release", ["clinic_id", "requested_by", "requested_at", "id"])


def create_release_person() -> None:
    op.create_table(
        "release_person",
        *of_release(),
        sa.Column("patient_id", sa.Uuid, primary_key=True),
        sa.Column("pseudonym", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
    )
    op.create_index("ix_release_person_of_patient", "release_person", ["clinic_id", "patient_id"])


def create_release_chunk() -> None:
    op.create_table(
        "release_chunk",
        *of_release(),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )


def keep_what_is_ready() -> None:
    """Whoever holds a file finds its manifest unchanged; what has ended does not come back."""
    op.execute("""
        CREATE FUNCTION keep_release() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.status IN ('rejected', 'failed', 'revoked', 'expired') THEN
                RAISE EXCEPTION 'this release has ended' USING ERRCODE = 'insufficient_privilege';
            END IF;
            IF OLD.status = 'ready' AND (NEW.status NOT IN ('ready', 'revoked', 'expired')
                OR ROW(NEW.manifest, NEW.known_at, NEW.expires_at, NEW.decided_by)
                    IS DISTINCT FROM ROW(OLD.manifest, OLD.known_at, OLD.expires_at, OLD.decided_by)) THEN
                RAISE EXCEPTION 'what is ready is not changed' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$""")
    op.execute("CREATE TRIGGER keep_release BEFORE UPDATE ON release FOR EACH ROW EXECUTE FUNCTION keep_release()")


def create_forget_release() -> None:
    """The only way the service deletes files, maps and keys of releases: its own role holds no DELETE on them."""
    op.execute("""
        CREATE FUNCTION forget_release(ended uuid) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            own_clinic uuid := nullif(current_setting('app.clinic_id', true), '')::uuid;
        BEGIN
            IF nullif(current_setting('app.patient_id', true), '') IS NOT NULL OR NOT EXISTS (
                SELECT FROM public.release
                WHERE clinic_id = own_clinic AND id = ended AND status IN ('revoked', 'expired')) THEN
                RAISE EXCEPTION 'only what has ended is forgotten' USING ERRCODE = 'insufficient_privilege';
            END IF;
            DELETE FROM public.release_chunk WHERE clinic_id = own_clinic AND release_id = ended;
            DELETE FROM public.release_person WHERE clinic_id = own_clinic AND release_id = ended;
            DELETE FROM public.data_key WHERE clinic_id = own_clinic AND id = ended;
        END $$""")
    op.execute("REVOKE ALL ON FUNCTION forget_release(uuid) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION forget_release(uuid) TO tidemark_runtime")


def rewrite_erase_patient(part: str, by: str) -> None:
    """The function as it stands, with one part exchanged: other revisions add to it as well."""
    connection = op.get_bind()
    definition = connection.exec_driver_sql(f"SELECT pg_get_functiondef('{ERASE}'::regprocedure)").scalar_one()
    if definition.count(part) != 1:
        raise RuntimeError("erase_patient is not as this revision knows it")
    connection.exec_driver_sql(definition.replace(part, by))
