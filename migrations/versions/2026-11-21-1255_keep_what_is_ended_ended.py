"""Keep what is ended ended: no statement brings a revoked token or link back, that of the service included.

Old code is still running while this runs: it never did.
"""

from typing import Final

from alembic import op

revision = "20261121_1255"
down_revision = "20261121_1250"
branch_labels = None
depends_on = None

ENDED: Final = {"api_token": "revoked_at", "check_in_link": "revoked_at"}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("""
        CREATE FUNCTION refuse_revival() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            RAISE EXCEPTION 'what is ended stays ended' USING ERRCODE = 'insufficient_privilege';
        END $$""")
    for table, column in ENDED.items():
        op.execute(
            f"CREATE TRIGGER stays_ended BEFORE UPDATE ON {table} FOR EACH ROW "
            f"WHEN (OLD.{column} IS NOT NULL AND NEW.{column} IS DISTINCT FROM OLD.{column}) "
            "EXECUTE FUNCTION refuse_revival()"
        )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    for table in ENDED:
        op.execute(f"DROP TRIGGER stays_ended ON {table}")
    op.execute("DROP FUNCTION refuse_revival()")
