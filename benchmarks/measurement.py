"""What one case did in one round, from its requests' end times and latencies."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Requests:
    """Every request of one run, the warm-up included; `ended_at` and `latencies` belong together, in seconds."""

    ended_at: Sequence[float]
    latencies: Sequence[float]
    errors: int
    client_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """Rates and latencies after the warm-up; CPU over the whole run, because processes count theirs only in all."""

    operations: int  # answered, the warm-up included: so many rows are in the table
    errors: int
    rate: float  # operations a second
    p50_ms: float
    p99_ms: float
    server_cpu_us: float  # microseconds an operation: process tree of the service; 0 for pgbench, which has none
    postgres_cpu_us: float  # same: every process of Postgres
    client_cpu_us: float  # same: whoever makes the load


def measure(
    requests: Requests, *, warm_up_seconds: float, server_cpu_seconds: float, postgres_cpu_seconds: float
) -> Measurement:
    operations = len(requests.ended_at)
    if operations == 0:
        raise RuntimeError(f"no request was answered, {requests.errors} failed")
    began = min(end - latency for end, latency in zip(requests.ended_at, requests.latencies, strict=True))
    counted_from, ended = began + warm_up_seconds, max(requests.ended_at)
    counted = sorted(
        latency
        for end, latency in zip(requests.ended_at, requests.latencies, strict=True)
        if end - latency >= counted_from
    )
    if not counted:
        raise RuntimeError("no request was answered after the warm-up: measure longer")
    return Measurement(
        operations=operations,
        errors=requests.errors,
        rate=len(counted) / (ended - counted_from),
        p50_ms=1000 * percentile(counted, 0.50),
        p99_ms=1000 * percentile(counted, 0.99),
        server_cpu_us=1e6 * server_cpu_seconds / operations,
        postgres_cpu_us=1e6 * postgres_cpu_seconds / operations,
        client_cpu_us=1e6 * requests.client_cpu_seconds / operations,
    )


def percentile(ordered: Sequence[float], rate: float) -> float:
    """Nearest rank: a latency that somebody really waited."""
    return ordered[max(0, ceil(rate * len(ordered)) - 1)]
