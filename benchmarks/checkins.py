"""Check-ins a second: the service as shipped, beside pgbench with its statement and a plain SQLModel build of it."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import load, pgbench
from benchmarks.measurement import Measurement, Requests, measure
from benchmarks.processes import cpu_seconds, free_port, listening
from benchmarks.stage import Stage, machine_facts

SERVICE: Final = "service"
PGBENCH: Final = "pgbench"
PLAIN: Final = "plain"
SETTLE_SECONDS: Final = 0.2  # for Postgres to bury its ended backends, whose CPU time counts only then

WHAT_THEY_DO_NOT_SHOW: Final = """\
Cases: the service as shipped, one worker; pgbench with the service's own statement; a plain SQLModel build of the same
endpoint. They ran one after the other in each round, and each ratio was taken within its round.
Closed loop: a client sends again only when it is answered, so a stall delays requests that then count as fast. Read
p99 as a comparison, never as what a patient waits. One machine: clients, service and Postgres share its cores, which
favours whoever has the cheaper client; there is no network and no TLS. One clinic, one token, fresh PHQ-9 forms with
nothing missing: no repeats, no refusals, no other traffic. Seconds, not days: few checkpoints, no vacuum. The plain
build does less for its answer: no idempotency keys, no repeats, no strict JSON. Absolute rates are no promise."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float  # measured, after the warm-up
    warm_up_seconds: float
    connections: Sequence[int]


@dataclass(frozen=True, slots=True)
class Case:
    """Something that stores check-ins, and the process whose tree does so; None where Postgres is all there is."""

    name: str
    store: Callable[[int, float], Requests]  # connections, seconds
    server: int | None


Round = Mapping[tuple[int, str], Measurement]  # connections and case


def run(stage: Stage, bin_dir: Path, plan: Plan, console: Console) -> list[Round]:
    for name, fact in asyncio.run(machine_facts(stage)).items():
        console.print(f"[bold]{name}[/bold]: {fact}", highlight=False)
    with _cases(stage, bin_dir) as cases:
        rounds = [_round(cases, stage, plan, console, number) for number in range(1, plan.rounds + 1)]
    console.print(_ratio_table(rounds, plan), _measured_table(rounds, plan))
    console.print(WHAT_THEY_DO_NOT_SHOW, highlight=False)
    return rounds


@contextmanager
def _cases(stage: Stage, bin_dir: Path) -> Iterator[tuple[Case, ...]]:
    """Both servers stay up all the time; the idle one costs nothing, and none is measured cold."""
    service_port, plain_port = free_port(), free_port()
    environment = {"TIDEMARK_DATABASE_URL": stage.address.runtime_url}
    serve = ["-c", "from app.cli import main; main()", "serve", f"--port={service_port}", "--no-worker"]
    plain = ["-m", "uvicorn", "benchmarks.plain_sqlmodel:app", f"--port={plain_port}"]
    quiet = ["--no-access-log", "--log-level=warning", "--no-server-header"]
    with (
        listening(serve, service_port, environment) as service_process,
        listening([*plain, *quiet], plain_port, environment) as plain_process,
    ):
        yield (
            Case(SERVICE, _http(service_port, stage), service_process),
            Case(PGBENCH, lambda c, s: pgbench.run(bin_dir / "pgbench", stage, c, s), None),
            Case(PLAIN, _http(plain_port, stage), plain_process),
        )


def _http(port: int, stage: Stage) -> Callable[[int, float], Requests]:
    patients = [str(patient) for patient in stage.patients]
    return lambda connections, seconds: load.run(load.Job(port, stage.token, patients, connections, seconds))


def _round(cases: Sequence[Case], stage: Stage, plan: Plan, console: Console, number: int) -> Round:
    measured = {}
    for connections in plan.connections:
        for case in cases:
            measured[connections, case.name] = found = _run(case, stage, plan, connections)
            console.print(
                f"round {number} of {plan.rounds}, {connections} connections, {case.name}: {found.rate:,.0f}/s",
                style="dim",
                highlight=False,
            )
            if found.errors:
                raise SystemExit(
                    f"{case.name} failed {found.errors} of {found.operations} requests: nothing to compare"
                )
    return measured


def _run(case: Case, stage: Stage, plan: Plan, connections: int) -> Measurement:
    postgres = cpu_seconds(stage.postmaster)
    server = 0.0 if case.server is None else cpu_seconds(case.server)
    requests = case.store(connections, plan.warm_up_seconds + plan.seconds)
    time.sleep(SETTLE_SECONDS)
    return measure(
        requests,
        warm_up_seconds=plan.warm_up_seconds,
        server_cpu_seconds=0.0 if case.server is None else cpu_seconds(case.server) - server,
        postgres_cpu_seconds=cpu_seconds(stage.postmaster) - postgres,
    )


# --- Tables -----------------------------------------------------------------------------------------------------------

Figure = Callable[[Measurement], float]
_RATIOS: Final[Sequence[tuple[str, Figure]]] = (
    ("rate", lambda of: of.rate),
    ("p50", lambda of: of.p50_ms),
    ("p99", lambda of: of.p99_ms),
    ("CPU", lambda of: of.server_cpu_us + of.postgres_cpu_us),
)
_MEASURED: Final[Sequence[tuple[str, Figure]]] = (
    ("rate /s", lambda of: of.rate),
    ("p50 ms", lambda of: of.p50_ms),
    ("p99 ms", lambda of: of.p99_ms),
    ("CPU µs: server", lambda of: of.server_cpu_us),
    ("Postgres", lambda of: of.postgres_cpu_us),
    ("client", lambda of: of.client_cpu_us),
)


def _ratio_table(rounds: Sequence[Round], plan: Plan) -> Table:
    table = Table("connections", "service /", title="Ratios: median (lowest-highest) of the rounds")
    for name, _ in _RATIOS:
        table.add_column(name, justify="right")
    for connections in plan.connections:
        for other in (PGBENCH, PLAIN):
            cells = (_ratio(rounds, connections, other, figure) for _, figure in _RATIOS)
            table.add_row(str(connections), other, *cells)
        table.add_section()
    return table


def _ratio(rounds: Sequence[Round], connections: int, other: str, figure: Figure) -> str:
    """Within each round first: neighbours in time share whatever else the machine was doing."""
    ratios = [figure(each[connections, SERVICE]) / figure(each[connections, other]) for each in rounds]
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _measured_table(rounds: Sequence[Round], plan: Plan) -> Table:
    table = Table("connections", "case", title=f"Medians of {len(rounds)} rounds of {plan.seconds:g} s, 0 errors")
    for name, _ in _MEASURED:
        table.add_column(name, justify="right")
    for connections in plan.connections:
        for case in (SERVICE, PGBENCH, PLAIN):
            found = [each[connections, case] for each in rounds]
            cells = (f"{median(map(figure, found)):,.{1 if 'ms' in name else 0}f}" for name, figure in _MEASURED)
            table.add_row(str(connections), case, *cells)
        table.add_section()
    return table
