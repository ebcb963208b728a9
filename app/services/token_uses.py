"""When each token was used last, written beside the requests and never in their way."""

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from app.db import Database
from app.logs import trouble

log = logging.getLogger("tidemark")

NOTE_SECONDS: Final = 60.0  # between two notes of one token by one process
MAX_NOTED: Final = 10_000  # tokens. When there are more all are forgotten, and each is noted once more

_NOTE: Final = """
UPDATE api_token SET last_used_at = greatest(last_used_at, $3) WHERE clinic_id = $1 AND id = $2
"""


class TokenUses:
    """Those of one process. What is not written yet when it is killed is lost, and nothing else."""

    def __init__(self) -> None:
        self._noted_at: dict[UUID, float] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def note(self, database: Database, clinic_id: UUID, token_id: UUID) -> None:
        now = time.monotonic()
        noted_at = self._noted_at.get(token_id)
        if noted_at is not None and now - noted_at < NOTE_SECONDS:
            return
        if len(self._noted_at) >= MAX_NOTED:
            self._noted_at.clear()
        self._noted_at[token_id] = now
        task = asyncio.create_task(self._write(database, clinic_id, token_id))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._under_way)

    async def _write(self, database: Database, clinic_id: UUID, token_id: UUID) -> None:
        try:
            async with database.connection(clinic_id) as connection:
                await connection.execute(_NOTE, clinic_id, token_id, datetime.now(UTC))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is written again in a minute
            log.warning("token_use_not_noted", trouble(error))
