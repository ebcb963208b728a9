"""Keep who was in a release: its end destroys the names, and a later release has to know whom it would tell apart.

Old code is still running while this runs: add first, use later, drop last.
"""

from typing import Final

from alembic import op

revision = "20261121_1310"
down_revision = "20261121_1300"
branch_labels = None
depends_on = None

FORGET: Final = "forget_release(uuid)"
DELETED: Final = "DELETE FROM public.release_person WHERE clinic_id = own_clinic AND release_id = ended;"
UNNAMED: Final = (
    "UPDATE public.release_person SET pseudonym = NULL WHERE clinic_id = own_clinic AND release_id = ended;"
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.alter_column("release_person", "pseudonym", nullable=True)
    rewrite(DELETED, UNNAMED)


def downgrade() -> None:
    """What has no name any more is of no use to the code before."""
    op.execute("SET LOCAL lock_timeout = '4s'")
    rewrite(UNNAMED, DELETED)
    op.execute("ALTER TABLE release_person NO FORCE ROW LEVEL SECURITY")
    op.execute("DELETE FROM release_person WHERE pseudonym IS NULL")
    op.execute("ALTER TABLE release_person FORCE ROW LEVEL SECURITY")
    op.alter_column("release_person", "pseudonym", nullable=False)


def rewrite(part: str, by: str) -> None:
    """The function as it stands, with one part exchanged."""
    connection = op.get_bind()
    definition = connection.exec_driver_sql(f"SELECT pg_get_functiondef('{FORGET}'::regprocedure)").scalar_one()
    if definition.count(part) != 1:
        raise RuntimeError("forget_release is not as this revision knows it")
    connection.exec_driver_sql(definition.replace(part, by))
