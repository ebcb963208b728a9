"""Say who callers are: scopes, makers and last use of tokens.

Old code is still running while this runs: add first, use later, drop last.
A table of a clinic comes with its policies and its grants in the same revision.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "20261121_1220"
down_revision = "20261121_1130"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    extend_api_token()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    for column in ("last_used_at", "created_by", "scopes"):
        op.drop_column("api_token", column)


def extend_api_token() -> None:
    op.add_column("api_token", sa.Column("scopes", ARRAY(sa.Text)))
    op.add_column("api_token", sa.Column("created_by", sa.Uuid))
    op.add_column("api_token", sa.Column("last_used_at", sa.TIMESTAMP(timezone=True)))
    op.execute("GRANT UPDATE (last_used_at) ON api_token TO tidemark_runtime")
