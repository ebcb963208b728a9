"""Limit rates: how much each token and each address has asked for of late.

Old code is still running while this runs: add first, use later, drop last.
A table of a clinic comes with its policy and its grants in the same revision.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "20261121_1130"
down_revision = "20261121_1100"
branch_labels = None
depends_on = None

NOBODY = "00000000-0000-0000-0000-000000000000"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    create_request_rate()
    confine_to_clinic("request_rate")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON request_rate TO tidemark_runtime")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_table("request_rate")


def create_request_rate() -> None:
    """Unlogged: what is lost in a crash is a minute old, and addresses of people stay out of every backup."""
    op.create_table(
        "request_rate",
        sa.Column("clinic_id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("slot", sa.BigInteger, nullable=False),
        sa.Column("used", ARRAY(sa.Integer), nullable=False),
        sa.CheckConstraint("kind IN ('token', 'address', 'failed_login')", name="kind_known"),
        sa.CheckConstraint(f"(kind = 'token') = (clinic_id <> '{NOBODY}')", name="address_of_no_clinic"),
        sa.CheckConstraint("cardinality(used) = 7", name="slots_of_a_minute"),
        prefixes=["UNLOGGED"],
    )


def confine_to_clinic(table: str) -> None:
    """Forced, so that even the owner sees one clinic at a time; without a clinic nothing is seen."""
    condition = "clinic_id = nullif(current_setting('app.clinic_id', true), '')::uuid"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_clinic ON {table} USING ({condition}) WITH CHECK ({condition})")
