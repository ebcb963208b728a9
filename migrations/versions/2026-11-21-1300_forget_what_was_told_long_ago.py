"""Forget what was told long ago: notifications and how they were delivered, a few hundred at a time.

Old code is still running while this runs: it never does.
"""

from alembic import op

revision = "20261121_1300"
down_revision = "20261121_1265"
branch_labels = None
depends_on = None

FORGET = "forget_notifications(timestamptz, integer)"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_index("ix_notification_created", "notification", ["clinic_id", "created_at"])
    create_forget_notifications()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute(f"DROP FUNCTION {FORGET}")
    op.drop_index("ix_notification_created", "notification")


def create_forget_notifications() -> None:
    """The only way the service deletes them: its own role holds no DELETE, and what is young stays whoever asks.

    The key of a check-in's notification is what keeps it from being told twice: it stays while its time may still be
    moved or looked back at. Nobody is waited for, so that an erasure under way and this cannot stop each other.
    """
    op.execute("""
        CREATE FUNCTION forget_notifications(before timestamptz, most integer) RETURNS integer
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            own_clinic uuid := nullif(current_setting('app.clinic_id', true), '')::uuid;
            old uuid[];
            gone integer;
        BEGIN
            IF own_clinic IS NULL OR nullif(current_setting('app.patient_id', true), '') IS NOT NULL
                OR before > now() - interval '30 days' THEN
                RAISE EXCEPTION 'only what is older than 30 days is forgotten, by the system itself'
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            old := ARRAY(
                SELECT told.id FROM public.notification told
                WHERE told.clinic_id = own_clinic AND told.created_at < before
                    AND NOT EXISTS (
                        SELECT FROM public.delivery
                        WHERE delivery.clinic_id = own_clinic AND delivery.notification_id = told.id
                            AND delivery.status = 'pending')
                    AND NOT EXISTS (
                        SELECT FROM public.expected_check_in wanted
                        WHERE wanted.clinic_id = own_clinic AND wanted.id = told.resource_id
                            AND wanted.closes_at > now() - interval '30 days')
                ORDER BY told.created_at LIMIT most
                FOR UPDATE SKIP LOCKED
            );
            DELETE FROM public.delivery
            WHERE clinic_id = own_clinic AND (notification_id, webhook_id) IN (
                SELECT notification_id, webhook_id FROM public.delivery closed
                WHERE closed.clinic_id = own_clinic AND closed.notification_id = ANY (old)
                    AND closed.status <> 'pending'
                FOR UPDATE SKIP LOCKED
            );
            DELETE FROM public.notification told
            WHERE told.clinic_id = own_clinic AND told.id = ANY (old) AND NOT EXISTS (
                SELECT FROM public.delivery
                WHERE delivery.clinic_id = own_clinic AND delivery.notification_id = told.id
            );
            GET DIAGNOSTICS gone = ROW_COUNT;
            RETURN gone;
        END $$""")
    op.execute(f"REVOKE ALL ON FUNCTION {FORGET} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {FORGET} TO tidemark_runtime")
