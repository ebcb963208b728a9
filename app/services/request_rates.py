"""What was asked for in the last minute, over all processes: one row for each token and each address.

A row counts in seven slots of ten seconds, so it looks back 60 to 70 seconds: never less than the minute promised.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.db import Database

NOBODY: Final = UUID(int=0)  # stands for the clinic where there is none: addresses
SLOT_SECONDS: Final = 10
SLOTS: Final = 7

# Everything counts by the database's clock, which all processes share. The lock of the row puts twins in order.
_ADD: Final = f"""
WITH bound AS MATERIALIZED (SELECT set_config('app.clinic_id', ($1::uuid)::text, true)),
     clock AS MATERIALIZED (SELECT extract(epoch FROM clock_timestamp())::float8 AS seconds)
INSERT INTO request_rate AS known (clinic_id, kind, key, slot, used)
SELECT $1::uuid, $2, $3, floor(seconds / {SLOT_SECONDS})::bigint,
       ARRAY[$4::integer] || array_fill(0, ARRAY[{SLOTS - 1}])
FROM bound, clock
ON CONFLICT (clinic_id, kind, key) DO UPDATE SET
    slot = greatest(known.slot, excluded.slot),
    used = ARRAY[excluded.used[1] + CASE WHEN excluded.slot > known.slot THEN 0 ELSE known.used[1] END]
        || (array_fill(0, ARRAY[least(greatest(excluded.slot - known.slot, 0), {SLOTS})::integer])
            || known.used)[2:{SLOTS}]
RETURNING used, extract(epoch FROM clock_timestamp())::float8 - slot * {SLOT_SECONDS} AS seconds
"""
_SWEEP: Final = f"""
DELETE FROM request_rate
WHERE clinic_id = $1 AND slot < floor(extract(epoch FROM clock_timestamp()) / {SLOT_SECONDS}) - {SLOTS}
"""


class RateKind(StrEnum):
    TOKEN = "token"  # noqa: S105  # what is counted, no secret
    ADDRESS = "address"
    FAILED_LOGIN = "failed_login"


@dataclass(frozen=True, slots=True)
class RateKey:
    """Whose requests are counted."""

    clinic_id: UUID  # NOBODY for an address
    kind: RateKind
    key: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The last slots, newest first, `seconds` after the newest began."""

    used: Sequence[int]
    seconds: float

    @property
    def total(self) -> int:
        return sum(self.used)

    def seconds_until_below(self, limit: int) -> int:
        """How long nothing may come so that there is room for one more; at least 1."""
        left, wait = self.total, 0.0
        for age in range(len(self.used) - 1, -1, -1):
            if left < limit:
                break
            left -= self.used[age]
            wait = (len(self.used) - age) * SLOT_SECONDS - self.seconds
        return max(1, math.ceil(wait))


async def add_usage(database: Database, key: RateKey, number: int) -> Usage:
    """Counts so many more and says what that makes, in one round trip. Raises UnavailableError."""
    (row,) = await database.fetch_alone(_ADD, key.clinic_id, key.kind.value, key.key, number)
    return Usage(row["used"], row["seconds"])


async def sweep_rates(database: Database, clinic_id: UUID) -> None:
    """Forgets what is too old to count, addresses of people above all. Raises UnavailableError."""
    async with database.connection(clinic_id) as connection:
        await connection.execute(_SWEEP, clinic_id)
