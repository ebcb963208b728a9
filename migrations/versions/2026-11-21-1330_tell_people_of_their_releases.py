"""Tell people of their releases: for what, for whom, which columns, until when, and when files were downloaded.

Old code is still running while this runs: add first, use later, drop last. The index is built while writes go on.
"""

from typing import Final

from alembic import op

revision = "20261121_1330"
down_revision = "20261121_1310"
branch_labels = None
depends_on = None

TOLD: Final = "releases_of(uuid)"
INDEX: Final = "ix_audit_event_of_download"
DOWNLOADED: Final = "action IN ('release_file.read', 'release.export')"
NOT_HIDDEN: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"  # as the revision that hides patients has it


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")  # of a try that was broken off
        op.execute(
            f"CREATE INDEX CONCURRENTLY {INDEX} ON audit_event (clinic_id, resource_id, at, id) WHERE {DOWNLOADED}"
        )
    op.execute("SET LOCAL lock_timeout = '4s'")
    create_releases_of()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute(f"DROP FUNCTION {TOLD}")
    op.drop_index(INDEX, "audit_event")


def create_releases_of() -> None:
    """What a person is told of the releases that hold them. No policy lets a patient's transaction see more than before.

    A policy shows whole rows: of a release its manifest, which counts the others, and who asked; of a download where
    its caller sat. So the person's transaction sees neither, and this tells just these columns, of a person in view
    alone. It asks that itself, as the policies do: an owner who is a superuser is held by none of them, and any other
    owner is held by all, for which `app.patient_id` is emptied for the one statement. An error puts it back as well.
    """
    op.execute(f"""
        CREATE FUNCTION releases_of(person uuid) RETURNS TABLE (
            release_id uuid, purpose text, recipient text, tier text, instruments text[], columns text[],
            ready_at timestamptz, expires_at timestamptz, status text, downloaded_at timestamptz[], downloaded_by uuid[]
        ) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            own_clinic uuid := nullif(current_setting('app.clinic_id', true), '')::uuid;
            bound text := coalesce(current_setting('app.patient_id', true), '');
            hidden text := coalesce(current_setting('app.hidden_patients', true), '');
        BEGIN
            IF NOT coalesce(CASE bound WHEN '' THEN true
                WHEN '{NOT_HIDDEN}' THEN person <> ALL (string_to_array(hidden, ',')::uuid[])
                ELSE person = bound::uuid END, false) THEN
                RETURN;
            END IF;
            PERFORM set_config('app.patient_id', '', true);
            RETURN QUERY
                SELECT made.id, made.request ->> 'purpose', made.request ->> 'recipient', made.request ->> 'tier',
                    ARRAY(SELECT jsonb_array_elements_text(made.manifest -> 'instruments')),
                    ARRAY(SELECT (one ->> 'table') || '.' || (one ->> 'name')
                        FROM jsonb_array_elements(made.manifest -> 'columns') one),
                    made.ready_at, made.expires_at, made.status, got.times, got.callers
                FROM public.release_person inside
                JOIN public.release made ON made.clinic_id = own_clinic AND made.id = inside.release_id
                CROSS JOIN LATERAL (
                    SELECT coalesce(array_agg(event.at ORDER BY event.at, event.id), '{{}}') AS times,
                        coalesce(array_agg(event.actor_id ORDER BY event.at, event.id), '{{}}') AS callers
                    FROM public.audit_event event
                    WHERE event.clinic_id = own_clinic AND event.resource_id = made.id AND event.{DOWNLOADED}
                        AND event.rows > 0  -- neither a document nor a refusal
                ) got
                WHERE inside.clinic_id = own_clinic AND inside.patient_id = person;
            PERFORM set_config('app.patient_id', bound, true);
        END $$""")
    op.execute(f"REVOKE ALL ON FUNCTION {TOLD} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {TOLD} TO tidemark_runtime")
