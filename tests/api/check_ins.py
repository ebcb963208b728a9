"""Check-ins that are wanted, written as the derivation of schedules writes them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.db import Database
from app.ids import new_id

_EXPECT = """
INSERT INTO expected_check_in (clinic_id, id, patient_id, episode_id, key, code, instrument, target_at, opens_at,
    overdue_at, closes_at)
VALUES ($1, $2, $3, $4, $5, 'weekly', $6, $7, $7, $8, $8)
"""
_FILL = """
UPDATE expected_check_in SET assessment_id = $3, answered_at = now() WHERE clinic_id = $1 AND id = $2
"""


async def expect(
    database: Database,
    clinic_id: UUID,
    patient_id: str,
    instrument: str = "phq-9",
    opens_in: float = -1,
    closes_in: float = 24,
) -> str:
    """Its id. Opens and closes so many hours from now."""
    expected_id, now = new_id(), datetime.now(UTC)
    opens_at, closes_at = now + timedelta(hours=opens_in), now + timedelta(hours=closes_in)
    values = (UUID(patient_id), new_id(), str(expected_id), instrument, opens_at, closes_at)
    async with database.connection(clinic_id) as connection:
        await connection.execute(_EXPECT, clinic_id, expected_id, *values)
    return str(expected_id)


async def fill(database: Database, clinic_id: UUID, expected_id: str, form_id: str) -> None:
    """What happens in the transaction of the form that answers it."""
    async with database.connection(clinic_id) as connection:
        await connection.execute(_FILL, clinic_id, UUID(expected_id), UUID(form_id))
