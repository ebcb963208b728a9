"""What a check-in costs in a batch: CPU of service and Postgres for a row, against a check-in stored alone."""

import asyncio
import http.client
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.checkins import SETTLE_SECONDS, Plan
from benchmarks.load import Job, RequestMaker
from benchmarks.processes import HOST, cpu_seconds, free_port, listening
from benchmarks.stage import Stage, machine_facts

SIZES: Final = (1, 100, 500)  # rows of a request; 1: a check-in sent alone, over a connection that waits for its answer
TURNS: Final = 40  # patients who take turns
LIMIT: Final = 1 / 6  # of a check-in stored alone, for a row of a batch
ROWS: Final = 1_000  # of each size in a round

Round = Mapping[int, float]  # size: CPU microseconds of service and Postgres for one row

WHAT_IT_SAYS: Final = """\
CPU time of the service and of Postgres for one check-in: sent alone, one after the other over one connection, and as a
row of a batch of one patient, which is what a telephone sends that was offline. Fresh PHQ-9 forms of patients with
three doses and a hundred forms each, none refused, none repeated, no schedule. The limit: a row of a batch of 100 costs
at most a sixth of a check-in stored alone."""


def run(stage: Stage, _: Path, plan: Plan, console: Console, rows: int = ROWS) -> list[Round]:
    for name, fact in asyncio.run(machine_facts(stage)).items():
        console.print(f"[bold]{name}[/bold]: {fact}", highlight=False)
    port = free_port()
    serve = ["-c", "from app.cli import main; main()", "serve", f"--port={port}", "--no-worker"]
    environment = {"TIDEMARK_DATABASE_URL": stage.address.runtime_url}
    with listening(serve, port, environment) as process, closing(Sender(stage, port)) as sender:
        for size in SIZES:  # a warm-up
            sender.send(size, size)
        rounds: list[Round] = [
            {size: _cost(stage, process, sender, size, rows) for size in SIZES} for _ in range(plan.rounds)
        ]
    console.print(_table(rounds))
    console.print(WHAT_IT_SAYS, highlight=False)
    return rounds


class Sender:
    """One connection, and the forms of the load of `checkins`."""

    def __init__(self, stage: Stage, port: int) -> None:
        jobs = [Job(port, stage.token, [str(patient)], connections=1, seconds=0) for patient in stage.patients[:TURNS]]
        self._makers = cycle([RequestMaker(job) for job in jobs])
        self._client = http.client.HTTPConnection(HOST, port)
        self._headers = {"Authorization": f"Bearer {stage.token}", "Content-Type": "application/json"}

    def close(self) -> None:
        self._client.close()

    def send(self, size: int, rows: int) -> None:
        """So many forms, in requests of that size."""
        for _ in range(rows // size):
            make_request = next(self._makers)
            forms = [make_request().partition(b"\r\n\r\n")[2] for _ in range(size)]
            if size == 1:
                self._post("/v1/assessments", forms[0], 201)
                continue
            answer = self._post("/v1/assessments/batch", b'{"assessments":[%b]}' % b",".join(forms), 200)
            if {(one["status"], one["replayed"]) for one in answer["outcomes"]} != {(201, False)}:
                raise SystemExit("a row of a batch was not stored: nothing to compare")

    def _post(self, path: str, body: bytes, expected: int) -> Any:
        self._client.request("POST", path, body, self._headers)
        answer = self._client.getresponse()
        told = answer.read()
        if answer.status != expected:
            raise SystemExit(f"{path} was answered {answer.status}: nothing to compare")
        return json.loads(told)


def _cost(stage: Stage, process: int, sender: Sender, size: int, rows: int) -> float:
    before = cpu_seconds(process) + cpu_seconds(stage.postmaster)
    sender.send(size, rows)
    time.sleep(SETTLE_SECONDS)
    return 1e6 * (cpu_seconds(process) + cpu_seconds(stage.postmaster) - before) / (rows // size * size)


def _table(rounds: Sequence[Round]) -> Table:
    table = Table(
        "rows", "CPU µs a row", "/ alone: median (lowest-highest)", f"limit {LIMIT:.3f}", title="One check-in"
    )
    for size in SIZES:
        ratios = [each[size] / each[1] for each in rounds]
        verdict = "" if size == 1 else ("met" if median(ratios) <= LIMIT else "missed")
        spread = f"{median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
        table.add_row(str(size), f"{median(each[size] for each in rounds):,.0f}", spread, verdict)
    return table
