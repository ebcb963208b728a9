"""Keep who looked alike in a release, so that the next one can tell how few do in both together.

Old code is still running while this runs: it leaves the column empty, as a release that tells nothing of persons does.
Of releases from before it is not known, and they count as such.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261121_1320"
down_revision = "20261121_1310"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("release_person", sa.Column("told_as", sa.Integer()))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_column("release_person", "told_as")
