"""A research release of a million forms: beside a copy of the same rows by psql, its memory, and check-ins then."""

import asyncio
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from app.schemas.releases import ReleaseCreate
from app.services.release_records import COUNTED
from benchmarks import load, pgbench
from benchmarks.checkins import SETTLE_SECONDS, Plan
from benchmarks.cohort import INSTRUMENTS, Cohort, add_release, fill
from benchmarks.measurement import measure
from benchmarks.processes import cpu_seconds, free_port, listening
from benchmarks.release_job import Ran, ReleaseJob, running
from benchmarks.release_job import run as run_job
from benchmarks.stage import Stage, machine_facts, opened

T = TypeVar("T")

PSQL: Final = "psql"
ROWS: Final = 1_000_000
FEW: Final = 10_000  # rows that memory is compared with
CONNECTIONS: Final = 16  # that send check-ins meanwhile
LEAST_RATIO: Final = 0.7  # rows a second, of those of psql
MOST_MB: Final = 32.0  # of memory, from few rows to many
MOST_WAIT: Final = 3.0  # times the p99 of check-ins
AT_ONCE: Final = 2  # releases
ASKED: Final[dict[str, Any]] = {
    "purpose": "A release to be measured",
    "recipient": "Nobody",
    "tier": "safe_harbor",
    "instruments": list(INSTRUMENTS),
    "formats": ["csv"],
}

WHAT_IT_SAYS: Final = """\
psql: `\\copy` to a file of the same rows, ordered by person and then by what they show, in one statement, as the same
database role. Scores: from the first row asked for to the last one written and checked, of all tables. Files: with who
may be in it, k and l, uniqueness, and what explains the files. Release: with sealing and storing, from claim to ready.
They ran one after the other in each round, each in a process of its own; ratios are of rows a second within a round, so
above 1 is faster than psql. Memory is the most that was resident; it grows with people, a hundred forms each here.
Check-ins are sent by 16 connections without a pause, first alone, then while releases are built beside them."""


@dataclass(frozen=True, slots=True)
class Cost:
    seconds: float
    cpu_seconds: float | None  # of whoever asks and of Postgres; None: a part of another case


Round = Mapping[str, Cost]  # by case


@dataclass(slots=True)
class Found:
    rounds: list[Round] = field(default_factory=list)
    few_mb: list[float] = field(default_factory=list)
    many_mb: list[float] = field(default_factory=list)
    p99_ms: dict[int, list[float]] = field(default_factory=dict)  # by how many releases were built meanwhile
    at_once: list[Ran] = field(default_factory=list)
    rows: int = 0  # that a release has, in all its tables


def run(stage: Stage, bin_dir: Path, plan: Plan, console: Console, rows: int = ROWS, few: int = FEW) -> Found:
    for name, fact in asyncio.run(machine_facts(stage)).items():
        console.print(f"[bold]{name}[/bold]: {fact}", highlight=False)
    large, small = asyncio.run(fill(stage.address, rows)), asyncio.run(fill(stage.address, few))
    query = asyncio.run(_query(stage, large))
    found = Found()
    for _ in range(plan.rounds):
        found.few_mb.append(_release(stage, small).peak_mb)
        found.rounds.append(_round(stage, bin_dir / "psql", large, query, found))
    _check_ins(stage, large, plan, found)
    console.print(*_told(found, large))
    console.print(WHAT_IT_SAYS, highlight=False)
    return found


# --- Cases ------------------------------------------------------------------------------------------------------------


def _round(stage: Stage, program: Path, cohort: Cohort, query: str, found: Found) -> Round:
    copied = _psql(program, stage, cohort, query)
    files, of_files = _with_postgres(stage, lambda: _tables(stage, cohort))
    release, of_release = _with_postgres(stage, lambda: _release(stage, cohort))
    found.rows = files.rows
    found.many_mb.append(release.peak_mb)
    return {
        PSQL: copied,
        "scores": Cost(files.stream_seconds, None),
        "files": Cost(files.seconds, files.cpu_seconds + of_files),
        "release": Cost(release.seconds, release.cpu_seconds + of_release),
    }


def _with_postgres(stage: Stage, work: Callable[[], T]) -> tuple[T, float]:
    """And the CPU time Postgres used meanwhile."""
    before = cpu_seconds(stage.postmaster)
    done = work()
    time.sleep(SETTLE_SECONDS)
    return done, cpu_seconds(stage.postmaster) - before


def _tables(stage: Stage, cohort: Cohort) -> Ran:
    return run_job(ReleaseJob(stage.address.runtime_url, str(cohort.clinic_id), tables=ASKED))


def _release(stage: Stage, cohort: Cohort) -> Ran:
    asyncio.run(_ask(stage, cohort, 1))
    ran = run_job(ReleaseJob(stage.address.runtime_url, str(cohort.clinic_id)))
    asyncio.run(_refuse_unready(stage, cohort))
    return ran


async def _ask(stage: Stage, cohort: Cohort, count: int) -> None:
    async with opened(stage.address) as database:
        for _ in range(count):
            await add_release(database, cohort, ReleaseCreate.model_validate(ASKED))


async def _refuse_unready(stage: Stage, cohort: Cohort) -> None:
    async with opened(stage.address) as database, database.connection(cohort.clinic_id) as connection:
        stati = await connection.fetch("SELECT DISTINCT status FROM release")
    if [row["status"] for row in stati] != ["ready"]:
        raise SystemExit("a release was not built: nothing to compare")


def _psql(program: Path, stage: Stage, cohort: Cohort, query: str) -> Cost:
    environment = pgbench.environment(stage.address, cohort.clinic_id)
    with tempfile.TemporaryDirectory() as directory:
        script, told = Path(directory) / "script.sql", Path(directory) / "scores.csv"
        script.write_text(f"\\copy ({query}) TO '{told}' WITH (FORMAT csv, HEADER)\n")
        command = [str(program), "--no-psqlrc", "--quiet", f"--file={script}", stage.address.database]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        _, of_postgres = _with_postgres(
            stage, lambda: subprocess.run([*command, "--set=ON_ERROR_STOP=1"], env=environment, check=True)
        )
        taken, after = time.perf_counter() - began - SETTLE_SECONDS, resource.getrusage(resource.RUSAGE_CHILDREN)
        with told.open("rb") as file:
            if sum(1 for _ in file) != cohort.forms + 1:
                raise SystemExit("psql copied other rows: nothing to compare")
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(taken, own + of_postgres)


async def _query(stage: Stage, cohort: Cohort) -> str:
    """What a release tells of forms, as one statement, with each `$n` replaced by the value; on one line, for psql."""
    async with opened(stage.address) as database, database.connection(cohort.clinic_id) as connection:
        doses = await connection.fetch(_FIRST_DOSES)
    people = sorted((uuid4().hex, str(row["patient_id"]), row["at"].isoformat()) for row in doses)
    names, ids, starts = ("{" + ",".join(column) + "}" for column in zip(*people, strict=True))
    values = {
        1: f"'{cohort.clinic_id}'",
        2: "now()",
        3: f"'{ids}'::uuid[]",
        4: f"'{names}'::text[]",
        5: f"'{starts}'::timestamptz[]",
        6: "'{" + ",".join(INSTRUMENTS) + "}'::text[]",
    }
    return " ".join(re.sub(r"\$(\d+)", lambda each: values[int(each[1])], _SAME_ROWS).split())


_FIRST_DOSES: Final = "SELECT patient_id, min(started_at) AS at FROM treatment_session GROUP BY patient_id"
_SAME_ROWS: Final = f"""
SELECT one.name AS patient, floor(date_part('epoch', form.taken_at - one.start) / 604800)::int AS week,
    form.instrument || '@' || form.instrument_version AS instrument, form.total, form.validity
FROM unnest($3, $4, $5) WITH ORDINALITY AS one (id, name, start, place)
JOIN assessment form ON form.clinic_id = $1 AND form.patient_id = one.id
WHERE form.instrument = ANY($6) AND {COUNTED}
ORDER BY one.place, week, instrument, total NULLS FIRST, validity
"""


# --- Check-ins meanwhile ----------------------------------------------------------------------------------------------


def _check_ins(stage: Stage, cohort: Cohort, plan: Plan, found: Found) -> None:
    port = free_port()
    serve = ["-c", "from app.cli import main; main()", "serve", f"--port={port}", "--no-worker"]
    with listening(serve, port, {"TIDEMARK_DATABASE_URL": stage.address.runtime_url}):
        for _ in range(plan.rounds):
            for count in range(AT_ONCE + 1):
                found.p99_ms.setdefault(count, []).append(_p99_ms(stage, cohort, plan, port, count, found))


def _p99_ms(stage: Stage, cohort: Cohort, plan: Plan, port: int, count: int, found: Found) -> float:
    asyncio.run(_ask(stage, cohort, count))
    job = ReleaseJob(stage.address.runtime_url, str(cohort.clinic_id), gives_way=True)
    patients = [str(patient) for patient in stage.patients]
    with ExitStack() as stack:
        builds = [stack.enter_context(running(job)) for _ in range(count)]
        requests = load.run(load.Job(port, stage.token, patients, CONNECTIONS, plan.warm_up_seconds + plan.seconds))
        ran = [finish() for finish in builds]
    asyncio.run(_refuse_unready(stage, cohort))
    if count == AT_ONCE:
        found.at_once += ran
    told = measure(requests, warm_up_seconds=plan.warm_up_seconds, server_cpu_seconds=0, postgres_cpu_seconds=0)
    if told.errors:
        raise SystemExit(f"{told.errors} check-ins failed: nothing to compare")
    return told.p99_ms


# --- Tables -----------------------------------------------------------------------------------------------------------


def _told(found: Found, cohort: Cohort) -> list[Table]:
    return [_speed_table(found, cohort), _memory_table(found, cohort), _wait_table(found)]


def _speed_table(found: Found, cohort: Cohort) -> Table:
    columns = ("case", "seconds", "CPU s", "rows/s / psql: median (lowest-highest)", f"limit {LEAST_RATIO:g}")
    table = Table(*columns, title=f"A release of {cohort.forms:,} forms of {len(cohort.patients):,} people as CSV")
    for name in found.rounds[0]:
        costs = [each[name] for each in found.rounds]
        cpu = [cost.cpu_seconds for cost in costs if cost.cpu_seconds is not None]
        ratios = [each[PSQL].seconds / each[name].seconds for each in found.rounds]
        verdict = "" if name == PSQL else ("met" if median(ratios) >= LEAST_RATIO else "missed")
        spread = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        seconds = f"{median(cost.seconds for cost in costs):.1f}"
        table.add_row(name, seconds, f"{median(cpu):.1f}" if cpu else "", spread, verdict)
    return table


def _memory_table(found: Found, cohort: Cohort) -> Table:
    table = Table(
        "forms", "MB at most", "more than few", f"limit {MOST_MB:g} MB", title="Memory of the process that builds"
    )
    few, many = median(found.few_mb), median(found.many_mb)
    table.add_row("few", f"{few:.0f}", "", "")
    table.add_row(f"{cohort.forms:,}", f"{many:.0f}", f"{many - few:.0f}", "met" if many - few <= MOST_MB else "missed")
    return table


def _wait_table(found: Found) -> Table:
    table = Table(
        "releases built meanwhile",
        "p99 ms",
        "/ alone: median (lowest-highest)",
        f"limit {MOST_WAIT:g}",
        title="Check-ins",
    )
    for count, waits in found.p99_ms.items():
        ratios = [wait / alone for wait, alone in zip(waits, found.p99_ms[0], strict=True)]
        verdict = "" if not count else ("met" if median(ratios) <= MOST_WAIT else "missed")
        spread = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        table.add_row(str(count), f"{median(waits):.1f}", spread, verdict)
    return table
