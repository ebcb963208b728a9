"""The keys of an issuer: fetched by the worker, kept in a table, read by the processes that answer.

The table is the only way between them, so no process that answers requests calls anybody. It is sealed by the master
key: whoever can write to the table, but lacks that key, vouches for nobody.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Final

from app.crypto import BrokenSealError
from app.db import Database
from app.errors import UnavailableError
from app.services.issuers import Key
from app.services.request_rates import NOBODY

FETCH_SECONDS: Final = 600.0  # between two fetches while nobody asks for more
PAUSE_SECONDS: Final = 30.0  # between any two: tokens with made-up key ids shall not make us a nuisance

_READ: Final = "SELECT keys FROM issuer_key_set WHERE clinic_id = $1 AND issuer = $2"
_WANT: Final = "UPDATE issuer_key_set SET wanted_at = $3 WHERE clinic_id = $1 AND issuer = $2"
# Of several workers one fetches. Early where a key was wanted since, or the last try failed.
_CLAIM: Final = """
INSERT INTO issuer_key_set AS known (clinic_id, issuer, keys, tried_at) VALUES ($1, $2, '', $3)
ON CONFLICT (clinic_id, issuer) DO UPDATE SET tried_at = excluded.tried_at
WHERE known.tried_at <= $4
   OR (known.tried_at <= $5 AND (known.wanted_at > known.tried_at OR known.fetched_at IS DISTINCT FROM known.tried_at))
RETURNING tried_at
"""
_STORE: Final = """
UPDATE issuer_key_set SET keys = $3, fetched_at = tried_at WHERE clinic_id = $1 AND issuer = $2 AND tried_at = $4
"""


async def find_keys(database: Database, issuer: str) -> dict[str, Key]:
    """By their ids; none before the worker has fetched them, and none that are not sealed as ours."""
    async with database.connection(NOBODY) as connection:
        stored = await connection.fetchval(_READ, NOBODY, issuer)
    try:
        keys = json.loads(database.keys.masters.open(base64.b64decode(stored or ""), _place(issuer)))
    except (BrokenSealError, UnavailableError, ValueError):  # the worker will fetch them, for they are asked for
        return {}
    return {key["kid"]: key for key in keys}


async def want_keys(database: Database, issuer: str) -> None:
    """Somebody showed a key id that is not known: it may be new, or made up."""
    async with database.connection(NOBODY) as connection:
        await connection.execute(_WANT, NOBODY, issuer, datetime.now(UTC))


async def claim_fetch(database: Database, issuer: str) -> datetime | None:
    """Whether it is for the caller to fetch now; if so, what to give back with the keys."""
    now = datetime.now(UTC)
    latest, earliest = now - timedelta(seconds=FETCH_SECONDS), now - timedelta(seconds=PAUSE_SECONDS)
    async with database.connection(NOBODY) as connection:
        claimed: datetime | None = await connection.fetchval(_CLAIM, NOBODY, issuer, now, latest, earliest)
    return claimed


async def record_keys(database: Database, issuer: str, keys: list[dict[str, str]], claimed_at: datetime) -> None:
    """All at once: a key that the issuer no longer publishes proves nothing from now on."""
    sealed = base64.b64encode(database.keys.masters.seal(json.dumps(keys).encode(), _place(issuer))).decode()
    async with database.connection(NOBODY) as connection:
        await connection.execute(_STORE, NOBODY, issuer, sealed, claimed_at)


def _place(issuer: str) -> str:
    return f"issuer_key_set.keys {issuer}"
