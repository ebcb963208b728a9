"""Read forms from the index: what a release tells of a form is all in the history index, so that no row is looked up.

Old code is still running while this runs: the new index is built beside the old one and writes go on meanwhile, about
ten seconds for each million forms on a small machine. Broken off, it leaves an invalid index that the next try drops.
"""

from typing import Final

from alembic import op

revision = "20261121_1265"
down_revision = "20261121_1260"
branch_labels = None
depends_on = None

NAME: Final = "ix_assessment_history"
KEY: Final = "clinic_id, patient_id, instrument, taken_at, id"
BEFORE: Final = "version, status, received_at, validity, total, responses"
NOW: Final = f"{BEFORE}, instrument_version, taken_at_offset_minutes, mode"


def upgrade() -> None:
    build_beside(NOW)
    op.execute("SET LOCAL lock_timeout = '4s'")
    take_the_place()


def downgrade() -> None:
    build_beside(BEFORE)
    op.execute("SET LOCAL lock_timeout = '4s'")
    take_the_place()


def build_beside(included: str) -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}_new")
        op.execute(f"CREATE INDEX CONCURRENTLY {NAME}_new ON assessment ({KEY}) INCLUDE ({included})")


def take_the_place() -> None:
    op.execute(f"DROP INDEX {NAME}")
    op.execute(f"ALTER INDEX {NAME}_new RENAME TO {NAME}")
