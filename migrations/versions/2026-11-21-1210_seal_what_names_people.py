"""Seal what names or describes people: a key for each patient, wrapped by a master key from outside the database.

What is in the columns already is sealed on the way, under an exclusive lock: run it while nobody works.
A table of a clinic comes with its policy and its grants in the same revision.
"""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from alembic import context, op

from app.crypto import DataKey, MasterKeys, keyed_hash

revision = "20261121_1210"
down_revision = "20261121_1200"
branch_labels = None
depends_on = None

# By table the columns, whose key seals them, and what its rows are told apart by.
SEALED: Final = {
    "assessment": (("reason",), "patient_id", ("clinic_id", "id", "version")),
    "episode": (("label", "reason"), "patient_id", ("clinic_id", "id", "version")),
    "treatment_session": (("reason",), "patient_id", ("clinic_id", "id", "version")),
    "observation": (("reason",), "patient_id", ("clinic_id", "id", "version")),
    "adverse_event": (("note", "reason"), "patient_id", ("clinic_id", "id", "version")),
    "suitability_screen": (("decided_by", "reason"), "patient_id", ("clinic_id", "id", "version")),
    "patient_time_zone": (("reason",), "patient_id", ("clinic_id", "id", "version")),
    "schedule": (("reason",), "patient_id", ("clinic_id", "id", "version")),
    "alert_event": (("note",), "patient_id", ("clinic_id", "alert_id", "number")),
    "webhook": (("secret", "previous_secret"), "clinic_id", ("clinic_id", "id")),
    "patient": (("identifiers",), "id", ("clinic_id", "id")),
}
# Constraints that name a sealed column, and have to be made again when it is.
NAMED_BY: Final = {
    "assessment": [("reason_for_each_correction", "(version = 1) = (reason IS NULL)")],
    "webhook": [("previous_secret_ends", "(previous_secret IS NULL) = (previous_secret_until IS NULL)")],
    **{
        table: [("reason_for_each_change", "(version = 1) = (reason IS NULL)")]
        for table in (
            "episode",
            "treatment_session",
            "observation",
            "adverse_event",
            "suitability_screen",
            "patient_time_zone",
            "schedule",
        )
    },
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    create_data_key()
    op.add_column("patient", sa.Column("identifiers", sa.Text))
    op.add_column("patient", sa.Column("ref_index", sa.LargeBinary))
    for clinic_id in each_clinic():
        seal_clinic(clinic_id)
    for table, (columns, _, _) in SEALED.items():
        retype(table, columns, "bytea", "decode({}, 'base64')")
    op.drop_constraint(op.f("uq_patient_clinic_id_external_ref"), "patient", type_="unique")
    op.drop_column("patient", "external_ref")
    op.create_unique_constraint(None, "patient", ["clinic_id", "ref_index"])
    op.create_check_constraint("index_is_a_hash", "patient", "octet_length(ref_index) = 32")
    op.execute("GRANT UPDATE (identifiers, ref_index) ON patient TO tidemark_runtime")


def downgrade() -> None:
    """Names beside the reference are lost, and every token and link ends: their secrets were hashed with a key."""
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("REVOKE UPDATE (identifiers, ref_index) ON patient FROM tidemark_runtime")
    op.drop_constraint(op.f("ck_patient_index_is_a_hash"), "patient", type_="check")
    op.drop_constraint(op.f("uq_patient_clinic_id_ref_index"), "patient", type_="unique")
    op.add_column("patient", sa.Column("external_ref", sa.Text))
    for table, (columns, _, _) in SEALED.items():
        retype(table, columns, "text", "encode({}, 'base64')")
    for clinic_id in each_clinic():
        open_clinic(clinic_id)
    op.drop_column("patient", "ref_index")
    op.drop_column("patient", "identifiers")
    op.create_unique_constraint(None, "patient", ["clinic_id", "external_ref"])
    op.drop_table("data_key")


def create_data_key() -> None:
    op.create_table(
        "data_key",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["clinic_id"], ["clinic.clinic_id"]),
    )
    condition = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
    op.execute("ALTER TABLE data_key ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE data_key FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON data_key USING ({condition}) WITH CHECK ({condition})")
    op.execute("GRANT SELECT, INSERT ON data_key TO tidemark_runtime")
    op.execute("GRANT UPDATE (wrapped) ON data_key TO tidemark_runtime")


def retype(table: str, columns: tuple[str, ...], kind: str, using: str) -> None:
    for name, _ in NAMED_BY.get(table, []):
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    for column in columns:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING {using.format(column)}")
    for name, condition in NAMED_BY.get(table, []):
        op.create_check_constraint(name, table, condition)


# --- What is there already --------------------------------------------------------------------------------------------


def each_clinic() -> Iterator[str]:
    """The owner is bound by row-level security too: one clinic after the other."""
    if context.is_offline_mode():
        return
    op.execute("SET LOCAL app.worker = 'on'")
    for clinic_id in op.get_bind().execute(sa.text("SELECT clinic_id FROM clinic")).scalars().all():
        op.execute(f"SET LOCAL app.clinic_id = '{clinic_id}'")
        yield str(clinic_id)


def seal_clinic(clinic_id: str) -> None:
    """Names first, because they change their shape; texts are kept as Base64 until their column is retyped."""
    masters, key_of = master_keys(), dict[str, DataKey]()
    clinic_key = key_of[clinic_id] = add_key(masters, clinic_id, clinic_id)
    key_hashes(clinic_id, clinic_key)
    index_key = clinic_key.derive("external_ref")
    named = "SELECT id, external_ref FROM patient WHERE clinic_id = :clinic AND external_ref IS NOT NULL"
    for row in run(named, clinic=clinic_id).mappings().all():
        run(
            "UPDATE patient SET identifiers = :names, ref_index = :index WHERE clinic_id = :clinic AND id = :id",
            names=json.dumps({"external_ref": row["external_ref"]}),
            index=keyed_hash(index_key, row["external_ref"].encode()),
            clinic=clinic_id,
            id=row["id"],
        )

    def seal(owner: str, text: str, place: str) -> str:
        if owner not in key_of:
            key_of[owner] = add_key(masters, clinic_id, owner)
        return base64.b64encode(key_of[owner].seal(text.encode(), place)).decode()

    change_texts(clinic_id, seal)


def open_clinic(clinic_id: str) -> None:
    masters, key_of = master_keys(), dict[str, DataKey]()
    for row in run("SELECT id, wrapped FROM data_key WHERE clinic_id = :clinic", clinic=clinic_id).mappings():
        key_of[str(row["id"])] = masters.unwrap(row["wrapped"], f"data_key.wrapped {clinic_id} {row['id']}")

    def open_(owner: str, text: str, place: str) -> str:
        return key_of[owner].open(base64.b64decode(text), place).decode()

    change_texts(clinic_id, open_)
    for table in ("api_token", "check_in_link"):
        run(f"UPDATE {table} SET revoked_at = coalesce(revoked_at, now()) WHERE clinic_id = :clinic", clinic=clinic_id)
    named = "SELECT id, identifiers FROM patient WHERE clinic_id = :clinic AND identifiers IS NOT NULL"
    for row in run(named, clinic=clinic_id).mappings().all():
        run(
            "UPDATE patient SET external_ref = :ref WHERE clinic_id = :clinic AND id = :id",
            ref=json.loads(row["identifiers"]).get("external_ref"),
            clinic=clinic_id,
            id=row["id"],
        )


def change_texts(clinic_id: str, change: Callable[[str, str, str], str]) -> None:
    for table, (columns, owner, keys) in SEALED.items():
        for column in columns:
            asked = f"SELECT * FROM {table} WHERE clinic_id = :clinic AND {column} IS NOT NULL"
            for row in run(asked, clinic=clinic_id).mappings().all():
                place = " ".join([f"{table}.{column}", *(str(row[key]) for key in keys)])
                which = " AND ".join(f"{key} = :{key}" for key in keys)
                changed = change(str(row[owner]), row[column], place)
                run(
                    f"UPDATE {table} SET {column} = :changed WHERE {which}",
                    changed=changed,
                    **{key: row[key] for key in keys},
                )


def key_hashes(clinic_id: str, clinic_key: DataKey) -> None:
    """Secrets and requests are hashed already; now nobody without the key can try what they might have been.

    A form's own key is left as it is: its answers stand beside it, and nothing is sealed of it.
    """
    tokens, requests = clinic_key.derive("tokens"), clinic_key.derive("idempotency")
    for table, kind in {"api_token": b"tmk_", "check_in_link": b"tml_"}.items():
        for row in (
            run(f"SELECT id, secret_hash FROM {table} WHERE clinic_id = :clinic", clinic=clinic_id).mappings().all()
        ):
            rehash = f"UPDATE {table} SET secret_hash = :hash WHERE clinic_id = :clinic AND id = :id"
            run(
                rehash,
                hash=keyed_hash(tokens, kind + row["id"].bytes + row["secret_hash"]),
                clinic=clinic_id,
                id=row["id"],
            )
    asked = """
        SELECT principal_id, key, fingerprint FROM idempotency_key WHERE clinic_id = :clinic AND NOT EXISTS (
            SELECT FROM assessment WHERE clinic_id = :clinic AND id = resource_id)"""
    for row in run(asked, clinic=clinic_id).mappings().all():
        rehash = """
            UPDATE idempotency_key SET fingerprint = :hash
            WHERE clinic_id = :clinic AND principal_id = :principal_id AND key = :key"""
        run(rehash, hash=keyed_hash(requests, row["fingerprint"]), **row, clinic=clinic_id)


def add_key(masters: MasterKeys, clinic_id: str, id_: str) -> DataKey:
    key, wrapped = masters.wrap_new(f"data_key.wrapped {clinic_id} {id_}")
    run(
        "INSERT INTO data_key (clinic_id, id, wrapped, created_at) VALUES (:clinic, :id, :wrapped, :at)",
        clinic=clinic_id,
        id=id_,
        wrapped=wrapped,
        at=datetime.now(UTC),
    )
    return key


def master_keys() -> MasterKeys:
    written = context.config.attributes["master_keys"]
    if written is None:
        raise SystemExit("Set TIDEMARK_MASTER_KEYS: texts that name people are sealed with it.")
    return MasterKeys.parse(written.get_secret_value())


def run(statement: str, **values: Any) -> sa.CursorResult[Any]:
    return op.get_bind().execute(sa.text(statement), values)
