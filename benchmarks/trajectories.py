"""What a long history costs: server CPU of a trajectory of 10, 100 and 1,000 forms, each read anew."""

import asyncio
import http.client
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID

from rich.console import Console
from rich.table import Table

from benchmarks.checkins import Plan
from benchmarks.processes import HOST, cpu_seconds, free_port, listening
from benchmarks.stage import Stage, machine_facts, opened

SIZES: Final = (10, 100, 1_000)  # forms of one patient on one instrument
READS: Final = 20  # of each size in a round, one after the other

_ADD_FORMS: Final = """
INSERT INTO assessment (clinic_id, id, version, patient_id, instrument, instrument_version, responses, validity, total,
    taken_at, taken_at_offset_minutes, received_at, mode, language, status, recorded_by, fingerprint)
SELECT $1, gen_random_uuid(), 1, $2, 'gad-7', 1, ARRAY[n * 7 % 4, n * 5 % 4, n % 4, n * 3 % 4, 1, 1, 0]::smallint[],
    'valid', n * 7 % 4 + n * 5 % 4 + n % 4 + n * 3 % 4 + 2, now() - n * interval '1 hour', 0, now(),
    'self', 'en', 'final', $1, '\\x5a'
FROM generate_series(1, $3::int) AS n
"""

FIRST: Final = "first"  # read after a change: computed
AGAIN: Final = "again"  # read of a record that has not changed
_HOURS: Final = count(1)

Round = Mapping[tuple[int, str], float]  # size and kind: CPU microseconds of service and Postgres for one read

WHAT_IT_SAYS: Final = """\
CPU time of the service and of Postgres for one read over HTTP. The service computes a course once for each state of the
record, so most of these reads find it computed; no ETag is sent. The first read after a new form is told apart by
"first". The limit: 1,000 forms cost at most five times what 10 forms cost."""


def run(stage: Stage, _: Path, plan: Plan, console: Console) -> list[Round]:
    for name, fact in asyncio.run(machine_facts(stage)).items():
        console.print(f"[bold]{name}[/bold]: {fact}", highlight=False)
    patients = dict(zip(SIZES, stage.patients[:: len(stage.patients) // len(SIZES)], strict=False))
    asyncio.run(_add_forms(stage, patients))
    port = free_port()
    serve = ["-c", "from app.cli import main; main()", "serve", f"--port={port}", "--no-worker"]
    with listening(serve, port, {"TIDEMARK_DATABASE_URL": stage.address.runtime_url}) as process:
        _round(stage, process, port, patients)  # a warm-up
        rounds = [_round(stage, process, port, patients) for _ in range(plan.rounds)]
    console.print(_table(rounds))
    console.print(WHAT_IT_SAYS, highlight=False)
    return rounds


async def _add_forms(stage: Stage, patients: Mapping[int, UUID]) -> None:
    async with opened(stage.address) as database, database.connection(stage.clinic_id) as connection:
        for size, patient in patients.items():
            await connection.execute(_ADD_FORMS, stage.clinic_id, patient, size)


def _round(stage: Stage, process: int, port: int, patients: Mapping[int, UUID]) -> Round:
    return {
        (size, kind): _read(stage, process, port, patient, size, changing=kind == FIRST)
        for size, patient in patients.items()
        for kind in (FIRST, AGAIN)
    }


def _read(stage: Stage, process: int, port: int, patient: UUID, size: int, *, changing: bool) -> float:
    """`changing` looks from another hour each time, so that nothing computed before can serve."""
    client = http.client.HTTPConnection(HOST, port)
    before = cpu_seconds(process) + cpu_seconds(stage.postmaster)
    for _ in range(READS):
        path = f"/v1/patients/{patient}/trajectory?instrument=gad-7"
        if changing:
            later = datetime.now(UTC) + timedelta(hours=next(_HOURS))
            path += f"&known_at={later.strftime('%Y-%m-%dT%H:%M:%SZ')}"
        client.request("GET", path, headers={"Authorization": f"Bearer {stage.token}"})
        body = json.loads(client.getresponse().read())
        if len(body.get("points", ())) != size:
            raise SystemExit(f"a trajectory of {size} forms came back otherwise: nothing to compare")
    spent = cpu_seconds(process) + cpu_seconds(stage.postmaster) - before
    client.close()
    return 1e6 * spent / READS


def _table(rounds: Sequence[Round]) -> Table:
    table = Table("forms", "read", "CPU ms", f"/ {SIZES[0]} forms: median (lowest-highest)", title="One trajectory")
    for kind in (AGAIN, FIRST):
        for size in SIZES:
            ratios = [each[size, kind] / each[SIZES[0], kind] for each in rounds]
            cost = median(each[size, kind] for each in rounds) / 1000
            table.add_row(
                f"{size:,}", kind, f"{cost:.1f}", f"{median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
            )
        table.add_section()
    return table
