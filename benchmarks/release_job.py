"""Builds the next release of a clinic in a process of its own, as a worker does, and tells time and memory.

Run as a program it takes a job on its input as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from app.cli_worker import NICENESS
from app.db import Database
from app.garbage import collect_seldom
from app.privacy.pseudonyms import draw_pseudonyms
from app.schemas.releases import ReleaseCreate
from app.services.release_builds import build_next
from app.services.release_contents import Step, build
from app.services.release_records import Source
from app.settings import Settings

MOST_SECONDS: Final = 1_800


@dataclass(frozen=True, slots=True)
class ReleaseJob:
    url: str
    clinic_id: str
    gives_way: bool = False  # as a worker beside the server does
    tables: dict[str, Any] | None = None  # what is asked: build the files of it alone; None: a whole waiting release


@dataclass(frozen=True, slots=True)
class Ran:
    seconds: float
    stream_seconds: float  # from the first row that is asked for to the last one written; 0 for a whole release
    cpu_seconds: float
    peak_mb: float  # resident memory of the process at its highest
    releases: int
    rows: int


def run(job: ReleaseJob) -> Ran:
    with running(job) as finish:
        return finish()


@contextmanager
def running(job: ReleaseJob) -> Iterator[Callable[[], Ran]]:
    """While it runs; what is given waits for it and tells."""
    command = [sys.executable, "-m", "benchmarks.release_job"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None  # noqa: S101  # asked for; narrows the type
        process.stdin.write(json.dumps(asdict(job)))
        process.stdin.close()
        process.stdin = None

        def finish() -> Ran:
            answer, _ = process.communicate()
            return Ran(**json.loads(answer))

        yield finish


async def work(job: ReleaseJob) -> Ran:
    os.nice(NICENESS if job.gives_way else 0)
    collect_seldom()
    database = Database(job.url, Settings(statement_timeout_ms=300_000))
    await database.open()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        if job.tables is None:
            releases, rows, stream = await build_next(database, UUID(job.clinic_id)), 0, 0.0
        else:
            rows, stream = await _tables(database, UUID(job.clinic_id), ReleaseCreate.model_validate(job.tables))
            releases = 0
    finally:
        await database.close()
    return Ran(time.perf_counter() - began, stream, time.process_time() - cpu, _peak_mb(), releases, rows)


async def _tables(database: Database, clinic_id: UUID, asked: ReleaseCreate) -> tuple[int, float]:
    told: list[tuple[int, float]] = []

    async def tell(_: int, rows: int) -> None:
        told.append((rows, time.perf_counter()))

    async with AsyncExitStack() as stack, database.snapshot(clinic_id, MOST_SECONDS) as connection:
        source = Source(connection, database.keys, clinic_id, clinic_id, asked, datetime.now(UTC))
        await build(source, draw_pseudonyms, Step(tell), stack)
    began = max(at for rows, at in told if rows == 0)
    return told[-1][0], told[-1][1] - began


def _peak_mb() -> float:
    """Of this program alone: what `getrusage` tells begins with what its parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(work(ReleaseJob(**json.load(sys.stdin)))))))
