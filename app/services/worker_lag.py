"""How far the worker is behind, asked clinic by clinic: no statement sees more than one."""

import asyncio
import math
import time
from typing import Final
from uuid import UUID

from app.db import Database
from app.errors import UnavailableError
from app.metrics import Lag
from app.services.audit_chain import FIRST_ID

FRESH_SECONDS: Final = 10.0
MOST_SECONDS: Final = 2.0  # for all clinics; whoever scrapes gives up after ten

# A delivery that failed waits for its next try, which is no lag. An event whose id is lower than the last sealed one's
# was committed late; the worker's own sweep finds it, and this does not look for it.
_LAG: Final = """
SELECT
    (SELECT extract(epoch FROM now() - min(next_attempt_at))::float8 FROM delivery
     WHERE clinic_id = $1 AND status = 'pending' AND next_attempt_at < now()) AS delivery,
    (SELECT extract(epoch FROM now() - event.at)::float8 FROM audit_event event
     WHERE event.clinic_id = $1
       AND event.id > coalesce((SELECT event_id FROM audit_link WHERE clinic_id = $1 ORDER BY number DESC LIMIT 1), $2)
     ORDER BY event.id LIMIT 1) AS seal
"""


class LagWatch:
    """Asks again when the last answer is ten seconds old, and one at a time, however often it is itself asked."""

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._asked_at = -math.inf
        self._seen: tuple[bool, Lag | None] = False, None

    async def look(self, database: Database) -> tuple[bool, Lag | None]:
        """Whether the database answers, and the lag; None where there was no time for all clinics."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= FRESH_SECONDS:
                self._seen = await _look(database)
                self._asked_at = time.monotonic()
            return self._seen


async def _look(database: Database) -> tuple[bool, Lag | None]:
    try:
        clinic_ids = await database.clinic_ids()
    except UnavailableError:
        return False, None
    try:
        async with asyncio.timeout(MOST_SECONDS):
            return True, _furthest([await _lag_of(database, clinic_id) for clinic_id in clinic_ids])
    except (UnavailableError, TimeoutError):
        return True, None


def _furthest(of_clinics: list[Lag]) -> Lag:
    return Lag(
        max((lag.delivery_seconds for lag in of_clinics), default=0.0),
        max((lag.seal_seconds for lag in of_clinics), default=0.0),
    )


async def _lag_of(database: Database, clinic_id: UUID) -> Lag:
    async with database.connection(clinic_id) as connection:
        row = await connection.fetchrow(_LAG, clinic_id, FIRST_ID)
    return Lag(row["delivery"] or 0.0, max(row["seal"] or 0.0, 0.0))
