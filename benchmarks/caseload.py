"""What the first page of a large clinic's caseload costs: over HTTP, and the same SQL run by pgbench."""

import asyncio
import http.client
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID

from rich.console import Console
from rich.table import Table

from app.embedded_postgres import PostgresAddress
from app.scoring.registry import get_instrument
from app.services.caseload_query import CaseloadQuery, CaseloadRequest
from benchmarks import pgbench
from benchmarks.checkins import SETTLE_SECONDS, Plan
from benchmarks.measurement import Measurement, Requests, measure
from benchmarks.processes import HOST, cpu_seconds, free_port, listening
from benchmarks.stage import Stage, add_patients, machine_facts, new_clinic

PATIENTS: Final = 10_000
PAGES: Final = (50, 200)  # rows of the first page
SERVICE: Final = "service"
PGBENCH: Final = "pgbench"

# Every number divides by another prime, so that all combinations occur and every run has the same clinic.
_FILL: Final = (
    """
INSERT INTO standing (clinic_id, patient_id, instrument, assessment_id, taken_at, validity, total, severity,
    change_since_last, baseline_id, baseline_rule, baseline_total, change, percent_change, category, on_track,
    on_track_reason, forms, doses, last_dose_at)
SELECT $1::uuid, patient, instrument, gen_random_uuid(), now() - n * 7 % 4001 * interval '17 minutes',
    'valid', n % 28, 'moderate', n % 7 - 3, gen_random_uuid(), 'pre_treatment', 18, n % 28 - 18, n % 28 - 18,
    (ARRAY['harmed', 'deteriorated', 'unchanged', NULL, 'improved', 'recovered'])[1 + n % 11 % 6],
    (ARRAY[true, false, NULL])[1 + n % 13 % 3], 'too_early', 12, 3, now() - interval '9 days'
FROM unnest($2::uuid[]) WITH ORDINALITY AS each (patient, n), unnest('{phq-9,gad-7,pcl-5-month}'::text[]) AS instrument
WHERE n % 19 > 0
""",
    """
INSERT INTO alert (clinic_id, id, patient_id, kind, instrument, status, raised_at, reopened, version)
SELECT $1::uuid, gen_random_uuid(), patient, 'reliable_worsening', 'phq-9',
    (ARRAY['open', 'acknowledged', 'resolved', 'withdrawn', 'resolved'])[1 + n % 5],
    now() - n % 301 * interval '1 hour', 0, 1
FROM unnest($2::uuid[]) WITH ORDINALITY AS each (patient, n), generate_series(1, 2) AS again
WHERE n % 3 = 0 OR n % 7 = again
""",
    """
INSERT INTO expected_check_in (clinic_id, id, patient_id, episode_id, key, code, instrument, target_at, opens_at,
    overdue_at, closes_at, assessment_id, answered_at)
SELECT $1::uuid, gen_random_uuid(), patient, $1, week::text, 'weekly', 'phq-9', at, at - interval '1 day',
    at + interval '1 day', at + interval '3 days', CASE WHEN came THEN $1::uuid END, CASE WHEN came THEN at END
FROM unnest($2::uuid[]) WITH ORDINALITY AS each (patient, n), generate_series(-8, 7) AS week,
    LATERAL (SELECT now() + week * interval '7 days' - n % 11 * interval '14 hours') AS wanted (at),
    LATERAL (SELECT week < 0 AND (n + week) % 5 > 0) AS answered (came)
""",
    """
INSERT INTO treatment_session (clinic_id, id, version, recorded_at, recorded_by, reason, patient_id, episode_id, kind,
    status, scheduled_at, scheduled_at_offset_minutes, moved, started_at, started_at_offset_minutes, setting, "group",
    entered_in_error)
SELECT $1::uuid, md5(patient::text || week)::uuid, version, now(), $1::uuid,
    CASE WHEN version > 1 THEN 'moved'::bytea END, patient, $1, 'preparation',
    CASE WHEN done THEN 'done' ELSE 'planned' END, at, 0, false,
    CASE WHEN done THEN at END, CASE WHEN done THEN 0 END, 'clinic', false, false
FROM unnest($2::uuid[]) WITH ORDINALITY AS each (patient, n), generate_series(-3, 2) AS week,
    generate_series(1, 1 + n::int % 2) AS version,
    LATERAL (SELECT now() + week * interval '7 days' + n % 17 * interval '5 hours', week < -1) AS planned (at, done)
""",
)

WHAT_IT_SAYS: Final = """\
The first page of the caseload of one clinic, worst first, asked for again and again over one connection. pgbench runs
the service's own statement, prepared once, with the values written in, as the same database role; what the service
takes longer is token, transaction, JSON and HTTP. Nothing is kept between two reads: each sorts the whole clinic."""


@dataclass(frozen=True, slots=True)
class LargeClinic:
    clinic_id: UUID
    token: str
    patients: int


Round = Mapping[tuple[int, str], Measurement]  # rows of the page, and case


def run(stage: Stage, bin_dir: Path, plan: Plan, console: Console, patients: int = PATIENTS) -> list[Round]:
    for name, fact in asyncio.run(machine_facts(stage)).items():
        console.print(f"[bold]{name}[/bold]: {fact}", highlight=False)
    large = asyncio.run(fill(stage.address, patients))
    port = free_port()
    serve = ["-c", "from app.cli import main; main()", "serve", f"--port={port}", "--no-worker"]
    with listening(serve, port, {"TIDEMARK_DATABASE_URL": stage.address.runtime_url}) as process:
        rounds = [_round(stage, large, bin_dir / "pgbench", (process, port), plan) for _ in range(plan.rounds)]
    console.print(_table(rounds, large))
    console.print(WHAT_IT_SAYS, highlight=False)
    return rounds


async def fill(address: PostgresAddress, patients: int) -> LargeClinic:
    """A clinic beside the others, its derived rows written as they stand after months of check-ins."""
    async with new_clinic(address, "Large") as clinic:
        ids = await add_patients(clinic, ({"external_ref": f"chart-{n}"} for n in range(patients)))
        for statement in _FILL:
            await clinic.connection.execute(statement, clinic.id, ids)
    return LargeClinic(clinic.id, clinic.token, patients)


def _round(stage: Stage, large: LargeClinic, program: Path, service: tuple[int, int], plan: Plan) -> Round:
    process, port = service
    measured = {}
    for rows in PAGES:
        cases: dict[str, tuple[Callable[[float], Requests], int | None]] = {
            SERVICE: (lambda seconds, rows=rows: read_pages(port, large, rows, seconds), process),  # type: ignore[misc]  # bound early
            PGBENCH: (lambda seconds, rows=rows: _pgbench(program, stage, large, rows, seconds), None),  # type: ignore[misc]  # same
        }
        for name, (work, server) in cases.items():
            measured[rows, name] = _measured(stage, work, server, plan)
    return measured


def _measured(stage: Stage, work: Callable[[float], Requests], server: int | None, plan: Plan) -> Measurement:
    postgres = cpu_seconds(stage.postmaster)
    before = 0.0 if server is None else cpu_seconds(server)
    requests = work(plan.warm_up_seconds + plan.seconds)
    time.sleep(SETTLE_SECONDS)
    return measure(
        requests,
        warm_up_seconds=plan.warm_up_seconds,
        server_cpu_seconds=0.0 if server is None else cpu_seconds(server) - before,
        postgres_cpu_seconds=cpu_seconds(stage.postmaster) - postgres,
    )


def read_pages(port: int, large: LargeClinic, rows: int, seconds: float) -> Requests:
    client = http.client.HTTPConnection(HOST, port)
    ends_at, ended_at, latencies = time.time() + seconds, [], []
    while time.time() < ends_at:
        began = time.time()
        client.request("GET", f"/v1/caseload?limit={rows}", headers={"Authorization": f"Bearer {large.token}"})
        body = client.getresponse().read()
        ended_at.append(time.time())
        latencies.append(ended_at[-1] - began)
        page = json.loads(body)
        if page.get("n", {}).get("patients") != large.patients or len(page["data"]) != rows:
            raise SystemExit("a page of the caseload came back otherwise: nothing to compare")
    client.close()
    return Requests(ended_at, latencies, errors=0, client_cpu_seconds=0.0)


def statement(clinic_id: UUID, rows: int) -> str:
    """The service's text for its first page, with each `$n` replaced by the value and nothing else."""
    query = CaseloadQuery(CaseloadRequest(limit=rows), get_instrument("phq-9"), None)
    values = {1: f"'{clinic_id}'", 2: "'phq-9'", 3: f"'{datetime.now(UTC).isoformat()}'::timestamptz", 4: str(rows + 1)}
    return re.sub(r"\$(\d+)", lambda parameter: values[int(parameter[1])], query.text.strip())


def _pgbench(program: Path, stage: Stage, large: LargeClinic, rows: int, seconds: float) -> Requests:
    # A colon would be read as a variable of pgbench; a cast and a time need theirs.
    text = statement(large.clinic_id, rows).replace("\n", " ") + ";\n"
    return pgbench.run_script(program, stage.address, text, {}, 1, seconds, large.clinic_id)


def _table(rounds: Sequence[Round], large: LargeClinic) -> Table:
    names = ("rows of the page", "case", "p50 ms", "p99 ms", "CPU ms: server", "Postgres", "p50 / pgbench")
    table = Table(*names, title=f"First page of {large.patients:,} patients, median (lowest-highest) of the rounds")
    for rows in PAGES:
        for case in (SERVICE, PGBENCH):
            found = [each[rows, case] for each in rounds]
            ratios = [each[rows, case].p50_ms / each[rows, PGBENCH].p50_ms for each in rounds]
            table.add_row(
                str(rows),
                case,
                f"{median(each.p50_ms for each in found):.1f}",
                f"{median(each.p99_ms for each in found):.1f}",
                f"{median(each.server_cpu_us for each in found) / 1000:.1f}",
                f"{median(each.postgres_cpu_us for each in found) / 1000:.1f}",
                f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            )
        table.add_section()
    return table
