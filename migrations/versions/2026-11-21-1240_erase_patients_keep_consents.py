"""Erase patients, keep consents: the one way to delete anything, its ledger, consents, and the flag of 42 CFR Part 2.

Old code is still running while this runs: add first, use later, drop last.
A table of a clinic comes with its policy and its grants in the same revision.
"""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "20261121_1240"
down_revision = "20261121_1230"
branch_labels = None
depends_on = None

# As the revision before has it.
NOT_HIDDEN: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
HIDDEN: Final = "SELECT unnest(string_to_array(current_setting('app.hidden_patients', true), ',')::uuid[])"

# Emptied of the patient by their `patient_id`. Order is free but for the first two: the one refers to the other.
OF_THE_PATIENT: Final = (
    "refresh_token",
    "enrolment",
    "api_token",
    "patient_time_zone",
    "check_in_link",
    "assessment",
    "episode",
    "treatment_session",
    "observation",
    "adverse_event",
    "suitability_screen",
    "schedule",
    "expected_check_in",
    "alert",
    "alert_event",
    "standing",
    "notification",
    "consent",
    "part_two",
    "care_team",
    "emergency_access",
)
# Whose ids a caller's key may stand for.
NAMED_BY_KEYS: Final = (
    "api_token",
    "enrolment",
    "assessment",
    "episode",
    "treatment_session",
    "observation",
    "adverse_event",
    "suitability_screen",
    "check_in_link",
    "alert",
    "notification",
    "consent",
    "emergency_access",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.add_column("idempotency_key", sa.Column("patient_ids", ARRAY(sa.Uuid)))
    create_consent()
    create_part_two()
    create_erasure()
    for table in ("consent", "part_two", "erasure"):
        confine_to_clinic(table)
        confine_to_patient(table)
        op.execute(f"GRANT SELECT ON {table} TO tidemark_runtime")
    for table in ("consent", "part_two"):
        op.execute(f"GRANT INSERT ON {table} TO tidemark_runtime")
    keep_the_ledger()
    create_erase_patient()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("DROP FUNCTION erase_patient(uuid, uuid, timestamptz, uuid, text, timestamptz)")
    for table in ("erasure", "part_two", "consent"):
        op.drop_table(table)
    op.drop_column("idempotency_key", "patient_ids")


def confine_to_clinic(table: str) -> None:
    """Forced, so that even the owner sees one clinic at a time; without a clinic nothing is seen."""
    condition = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON {table} USING ({condition}) WITH CHECK ({condition})")


def confine_to_patient(table: str) -> None:
    """Restrictive: it takes away from what the clinic's policy gives."""
    condition = (
        "CASE coalesce(current_setting('app.patient_id', true), '') WHEN '' THEN true "
        f"WHEN '{NOT_HIDDEN}' THEN patient_id NOT IN ({HIDDEN}) "
        "ELSE patient_id = nullif(current_setting('app.patient_id', true), '')::uuid END"
    )
    op.execute(f"CREATE POLICY own_patient ON {table} AS RESTRICTIVE USING ({condition}) WITH CHECK ({condition})")


def versioned_of_patient() -> tuple[Any, ...]:
    """What every version of something of a patient says."""
    return (
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.SmallInteger, primary_key=True, autoincrement=False),
        at("recorded_at"),
        sa.Column("recorded_by", sa.Uuid, nullable=False),
        sa.Column("reason", sa.LargeBinary),
        sa.Column("patient_id", sa.Uuid, nullable=False),
        sa.ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"]),
        sa.CheckConstraint("version >= 1", name="version_from_one"),
        sa.CheckConstraint("(version = 1) = (reason IS NULL)", name="reason_for_each_change"),
    )


def at(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable)


def offset(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(f"{name}_offset_minutes", sa.SmallInteger, nullable=nullable)


def create_consent() -> None:
    op.create_table(
        "consent",
        *versioned_of_patient(),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("recipient", sa.LargeBinary),
        sa.Column("how", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary),
        at("given_at"),
        offset("given_at"),
        at("expires_at", nullable=True),
        offset("expires_at", nullable=True),
        at("withdrawn_at", nullable=True),
        offset("withdrawn_at", nullable=True),
        sa.CheckConstraint(
            "purpose IN ('treatment_payment_operations', 'research', 'disclosure_to_recipient', 'contact')",
            name="purpose_known",
        ),
        sa.CheckConstraint(
            "purpose <> 'disclosure_to_recipient' OR recipient IS NOT NULL", name="disclosed_to_somebody"
        ),
        sa.CheckConstraint("how IN ('signed', 'electronic', 'verbal_documented')", name="how_known"),
        sa.CheckConstraint("expires_at > given_at", name="expires_after_giving"),
        sa.CheckConstraint("withdrawn_at >= given_at", name="withdrawn_after_giving"),
    )
    op.create_index("ix_consent_of_patient", "consent", ["clinic_id", "patient_id", "id", "version"])
    op.create_index("ix_consent_by_purpose", "consent", ["clinic_id", "purpose", "id", "version"])


def create_part_two() -> None:
    op.create_table(
        "part_two",
        *versioned_of_patient(),
        sa.Column("applies", sa.Boolean, nullable=False),
        sa.CheckConstraint("id = patient_id", name="of_the_patient"),
    )


def create_erasure() -> None:
    op.create_table(
        "erasure",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("patient_id", sa.Uuid, nullable=False),
        at("erased_at"),
        sa.Column("erased_by", sa.Uuid, nullable=False),
        sa.Column("ground", sa.Text, nullable=False),
        sa.Column("removed", JSONB, nullable=False),
        at("replayed_at", nullable=True),
        sa.ForeignKeyConstraint(["clinic_id"], ["clinic.clinic_id"]),
        sa.CheckConstraint(
            "ground IN ('patient_request', 'consent_withdrawn', 'retention_ended', 'entered_in_error')",
            name="ground_known",
        ),
    )
    op.create_index("ix_erasure_by_time", "erasure", ["clinic_id", "erased_at", "id"])
    op.create_index("ix_erasure_of_patient", "erasure", ["clinic_id", "patient_id"])


def keep_the_ledger() -> None:
    """As the trail is kept: of the owner and of superusers too."""
    op.execute(
        "CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON erasure "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_trail()"
    )
    op.execute("ALTER TABLE erasure ENABLE ALWAYS TRIGGER only_added_to")


def create_erase_patient() -> None:
    """The one thing the service can delete a record with; its own role holds no DELETE on what people entered.

    It runs with the owner's rights, whom row-level security confines to the transaction's clinic as it does everybody;
    where the owner is a superuser, each statement still names the clinic itself. Row locks are taken or refused, never
    waited for: those who write about the patient hold theirs while they wait for the advisory lock our caller has.
    """
    emptied = "\n".join(
        f"""
            DELETE FROM public.{table} WHERE clinic_id = own_clinic AND patient_id = erased;
            GET DIAGNOSTICS gone = ROW_COUNT;
            removed := removed || pg_catalog.jsonb_build_object('{table}', gone);"""
        for table in OF_THE_PATIENT
    )
    named = "\n                UNION ".join(
        f"SELECT id FROM public.{table} WHERE clinic_id = own_clinic AND patient_id = erased" for table in NAMED_BY_KEYS
    )
    op.execute(f"""
        CREATE FUNCTION erase_patient(
            erased uuid, erasure_id uuid, erased_at timestamptz, erased_by uuid, ground text, replayed_at timestamptz
        ) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            own_clinic uuid := nullif(current_setting('app.clinic_id', true), '')::uuid;
            things uuid[];
            gone bigint;
            removed jsonb := '{{}}';
        BEGIN
            IF own_clinic IS NULL OR nullif(current_setting('app.patient_id', true), '') IS NOT NULL THEN
                RAISE EXCEPTION 'erasing is for a transaction of a clinic''s staff'
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            PERFORM FROM public.patient WHERE clinic_id = own_clinic AND id = erased FOR UPDATE NOWAIT;
            PERFORM FROM public.check_in_link WHERE clinic_id = own_clinic AND patient_id = erased FOR UPDATE NOWAIT;

            -- What stands for the patient without naming them: keys hold a hash of what was sent.
            things := ARRAY(
                SELECT erased
                UNION {named}
            );
            DELETE FROM public.idempotency_key
            WHERE clinic_id = own_clinic AND (resource_id = ANY (things) OR erased = ANY (patient_ids));
            GET DIAGNOSTICS gone = ROW_COUNT;
            removed := removed || pg_catalog.jsonb_build_object('idempotency_key', gone);
            DELETE FROM public.delivery USING public.notification
            WHERE delivery.clinic_id = own_clinic AND notification.clinic_id = own_clinic
                AND notification.id = delivery.notification_id AND notification.patient_id = erased;
            GET DIAGNOSTICS gone = ROW_COUNT;
            removed := removed || pg_catalog.jsonb_build_object('delivery', gone);
            {emptied}

            -- What names the patient by `id`: the person, and the key that their texts in older backups are sealed with.
            DELETE FROM public.data_key WHERE clinic_id = own_clinic AND id = erased;
            GET DIAGNOSTICS gone = ROW_COUNT;
            removed := removed || pg_catalog.jsonb_build_object('data_key', gone);
            DELETE FROM public.patient WHERE clinic_id = own_clinic AND id = erased;
            GET DIAGNOSTICS gone = ROW_COUNT;
            removed := removed || pg_catalog.jsonb_build_object('patient', gone);

            INSERT INTO public.erasure VALUES (
                own_clinic, erasure_id, erased, erased_at, erased_by, ground, removed, replayed_at
            );
        END $$""")
    signature = "erase_patient(uuid, uuid, timestamptz, uuid, text, timestamptz)"
    op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO tidemark_runtime")
