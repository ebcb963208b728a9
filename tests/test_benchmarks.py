"""The benchmarks work from end to end and compare like with like. Nothing here is timed."""

import asyncio
import io
import re
import sys
from math import nan
from uuid import UUID

import asyncpg
import pytest
from rich.console import Console

from app.embedded_postgres import PostgresAddress
from app.postgres_binaries import wheel_bin_dir
from app.scoring.registry import get_instrument
from app.services.caseload_query import CaseloadQuery, CaseloadRequest
from app.settings import Settings
from benchmarks import batch, caseload, checkins, load, pgbench, release
from benchmarks.measurement import Requests, measure, percentile
from benchmarks.stage import Stage, prepare

STORED_BEFORE = 500
ANSWER = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"id":"\r\n\r\n"}'


async def stored(stage: Stage) -> list[asyncpg.Record]:
    """The check-ins of the benchmark's clinic, each with the number of its audit rows."""
    connection = await asyncpg.connect(stage.address.runtime_url)
    try:
        await connection.execute(f"SET app.clinic_id = '{stage.clinic_id}'")
        return await connection.fetch(  # type: ignore[no-any-return]  # asyncpg is untyped
            "SELECT instrument, status, recorded_by, (SELECT count(*) FROM audit_event "
            "WHERE resource_id = assessment.id AND subject_id = patient_id) AS audits FROM assessment"
        )
    finally:
        await connection.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="CPU times are read from /proc")
def test_every_case_stores_what_it_counts(address: PostgresAddress) -> None:
    """Service, pgbench and plain build each run without errors; every operation is one check-in and one audit row."""
    stage = asyncio.run(prepare(address, STORED_BEFORE))
    printed = io.StringIO()
    plan = checkins.Plan(rounds=1, seconds=0.8, warm_up_seconds=0.2, connections=(2,))
    (measured,) = checkins.run(stage, Settings().pg_bin or wheel_bin_dir(), plan, Console(file=printed, width=120))
    cases = (checkins.SERVICE, checkins.PGBENCH, checkins.PLAIN)
    assert set(measured) == {(2, case) for case in cases}
    for found in measured.values():
        assert (found.errors, found.rate > 0, found.p99_ms >= found.p50_ms > 0) == (0, True, True)
    rows = asyncio.run(stored(stage))
    written = [row for row in rows if row["recorded_by"] == stage.token_id]
    assert len(rows) - len(written) == STORED_BEFORE
    assert len(written) == sum(found.operations for found in measured.values())
    assert {(row["instrument"], row["status"], row["audits"]) for row in written} == {("phq-9", "final", 1)}
    for name in ("Machine", "Postgres", "Ratios", *cases, "Closed loop"):
        assert name in printed.getvalue()


def test_pgbench_runs_the_statement_of_the_service() -> None:
    """Between its parameters the text is the service's, letter for letter, and each parameter is the one meant."""
    between = re.split(r"\$\d+", pgbench.INSERT_ASSESSMENT.strip())
    match = re.fullmatch("(.+?)".join(map(re.escape, between)), pgbench.statement(), re.DOTALL)
    assert match is not None
    assert list(match.groups()) == [
        pgbench.PARAMETERS[int(n)] for n in re.findall(r"\$(\d+)", pgbench.INSERT_ASSESSMENT)
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="CPU times are read from /proc")
def test_the_caseload_is_read_page_for_page_from_a_full_clinic(address: PostgresAddress) -> None:
    """Service and pgbench both answer, with pages that are full and counts of the whole clinic; no error."""
    stage = asyncio.run(prepare(address, 0))
    printed = io.StringIO()
    plan = checkins.Plan(rounds=1, seconds=0.4, warm_up_seconds=0.1, connections=(1,))
    (measured,) = caseload.run(
        stage, Settings().pg_bin or wheel_bin_dir(), plan, Console(file=printed, width=120), patients=300
    )
    assert set(measured) == {(rows, case) for rows in caseload.PAGES for case in (caseload.SERVICE, caseload.PGBENCH)}
    for found in measured.values():
        assert (found.errors, found.p99_ms >= found.p50_ms > 0) == (0, True)
    assert "First page of 300 patients" in printed.getvalue()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="CPU times are read from /proc")
def test_batches_store_as_many_forms_as_single_check_ins(address: PostgresAddress) -> None:
    """Every row of every size is stored and audited once, and the ratios are told beside the limit."""
    stage = asyncio.run(prepare(address, 0))
    printed = io.StringIO()
    plan = checkins.Plan(rounds=1, seconds=0, warm_up_seconds=0, connections=())
    (measured,) = batch.run(
        stage, Settings().pg_bin or wheel_bin_dir(), plan, Console(file=printed, width=120), rows=500
    )
    assert measured.keys() == set(batch.SIZES)
    assert all(cost > 0 for cost in measured.values())
    rows = asyncio.run(stored(stage))
    assert len(rows) == sum(batch.SIZES) + 500 * len(batch.SIZES)  # the warm-up, then the round
    assert {row["audits"] for row in rows} == {1}
    assert f"limit {batch.LIMIT:.3f}" in printed.getvalue()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory and CPU times are read from /proc")
def test_a_release_is_built_as_often_as_it_is_measured(address: PostgresAddress) -> None:
    """As many rows are copied as there are forms, every release gets ready, and each limit stands beside its figure."""
    stage = asyncio.run(prepare(address, 0))
    printed = io.StringIO()
    plan = checkins.Plan(rounds=1, seconds=0.5, warm_up_seconds=0, connections=())
    found = release.run(
        stage, Settings().pg_bin or wheel_bin_dir(), plan, Console(file=printed, width=120), rows=3_000, few=2_000
    )
    (measured,) = found.rounds
    assert found.rows == 3_000 + 30 * 3  # forms and sessions of those who stay in, which are all
    assert set(measured) == {release.PSQL, "scores", "files", "release"}
    assert 0 < measured["scores"].seconds < measured["files"].seconds
    assert [one.releases for one in found.at_once] == [1, 1]
    assert {count: len(waits) for count, waits in found.p99_ms.items()} == {0: 1, 1: 1, 2: 1}
    for limit in (release.LEAST_RATIO, release.MOST_MB, release.MOST_WAIT):
        assert f"limit {limit:g}" in printed.getvalue()


def test_pgbench_runs_the_caseload_of_the_service() -> None:
    """Between its parameters the text is the service's, letter for letter."""
    query = CaseloadQuery(CaseloadRequest(limit=50), get_instrument("phq-9"), None)
    between = re.split(r"\$\d+", query.text.strip())
    match = re.fullmatch("(.+?)".join(map(re.escape, between)), caseload.statement(UUID(int=7), 50), re.DOTALL)
    assert match is not None
    assert query.values == []
    numbers = re.findall(r"\$(\d+)", query.text)
    told = {number: value for number, value in zip(numbers, match.groups(), strict=True) if number != "3"}
    assert told == {"1": f"'{UUID(int=7)}'", "2": "'phq-9'", "4": "51"}


def test_an_answer_is_whole_only_with_its_last_byte() -> None:
    """However an answer is cut into packets, the next request waits for all of it."""
    assert [load.is_whole(ANSWER[:length]) for length in range(len(ANSWER) + 1)] == [False] * len(ANSWER) + [True]


def test_requests_differ_in_id_and_agree_in_length() -> None:
    """No two check-ins are the same one, so none is answered as a repeat."""
    job = load.Job(1, "token", ["019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a"], connections=1, seconds=1)
    make_request = load.RequestMaker(job)
    requests = [make_request() for _ in range(100)]
    assert len(set(requests)) == 100
    assert {len(request.partition(b"\r\n\r\n")[2]) for request in requests} == {
        int(length) for request in requests for length in re.findall(rb"Content-Length: (\d+)", request)
    }


@pytest.mark.anyio
async def test_refusals_are_errors_and_no_operations() -> None:
    """A server that refuses everything, or hangs up, has stored nothing."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            (length,) = re.findall(rb"Content-Length: (\d+)", head)
            await reader.readexactly(int(length))
            writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
            refused.append(None)
            if len(refused) > 5:
                break
        writer.close()

    refused: list[None] = []
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        patients = ["019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a"]
        job = load.Job(server.sockets[0].getsockname()[1], "token", patients, connections=1, seconds=20)
        found = await load.submit(job)
    assert (found.ended_at, found.latencies) == ([], [])
    assert found.errors == 7  # six refusals, and the request that was cut off


def test_the_warm_up_is_left_out_of_rates_and_latencies() -> None:
    """Only what began after the warm-up counts; CPU time is shared among all operations, since all used it."""
    ended_at = [10.5, 11.0, 11.5, 12.0, 12.5, 13.0]
    requests = Requests(ended_at, [0.5, 0.5, 0.5, 0.5, 0.2, 0.1], errors=2, client_cpu_seconds=0.6)
    found = measure(requests, warm_up_seconds=1.0, server_cpu_seconds=1.2, postgres_cpu_seconds=0.0)
    assert (found.operations, found.errors, found.rate) == (6, 2, 2.0)
    assert [found.p50_ms, found.p99_ms] == pytest.approx([200, 500])
    assert [found.server_cpu_us, found.postgres_cpu_us, found.client_cpu_us] == pytest.approx([2e5, 0, 1e5])


def test_nothing_answered_is_nothing_measured() -> None:
    """A case without a single answer is refused, not shown as a rate of zero."""
    nothing = Requests([], [], errors=3, client_cpu_seconds=0.0)
    with pytest.raises(RuntimeError, match="3 failed"):
        measure(nothing, warm_up_seconds=0, server_cpu_seconds=nan, postgres_cpu_seconds=nan)


def test_percentiles_are_latencies_that_occurred() -> None:
    """Nearest rank: of 1 to 100 the median is 50 and the 99th percentile 99; of one value, that value."""
    hundred = [float(each) for each in range(1, 101)]
    assert (percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([7.0], 0.99)) == (50, 99, 7)
