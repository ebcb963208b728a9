"""What is counted, over all processes that answer: requests, check-ins, waits. Nothing of a patient or a clinic.

A single process counts in its memory. Several count in files of their own in one place, which `tidemark serve` makes
before it starts them, and whichever of them is asked adds up the files of all.
"""

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

PLACE_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"  # the library's own; read by it when it is imported
MEDIA_TYPE: Final = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # a check-in takes 5 ms, a refusal 2 s

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # one more line for each series, read by nobody
REGISTRY: Final = CollectorRegistry()

_REQUESTS: Final = Counter("tidemark_requests", "Requests answered.", ("method", "route", "status"), registry=REGISTRY)
_UNREADABLE: Final = Counter(
    "tidemark_unreadable_requests",
    "What came in and was no request of HTTP, or one beyond its bounds.",
    registry=REGISTRY,
)
_DURATIONS: Final = Histogram(
    "tidemark_request_seconds",
    "Time to the end of the answer.",
    ("method", "route"),
    buckets=SECONDS,
    registry=REGISTRY,
)
_IN_FLIGHT: Final = Gauge(
    "tidemark_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum", registry=REGISTRY
)
_CHECK_INS: Final = Counter(
    "tidemark_check_ins", "Forms sent, by what became of them.", ("outcome",), registry=REGISTRY
)
_IN_USE: Final = Gauge(
    "tidemark_pool_connections_in_use", "Connections in use.", ("pool",), multiprocess_mode="livesum", registry=REGISTRY
)
_SIZE: Final = Gauge(
    "tidemark_pool_connections_most",
    "Connections there can be.",
    ("pool",),
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
_WAITS: Final = Summary(
    "tidemark_pool_wait_seconds", "Time until a connection was there.", ("pool",), registry=REGISTRY
)
_TROUBLES: Final = Counter(
    "tidemark_database_troubles", "Work given up for the database's sake, by SQLSTATE.", ("reason",), registry=REGISTRY
)

Outcome = Literal["stored", "replayed", "refused", "failed"]


# --- Counting ---------------------------------------------------------------------------------------------------------


class RequestMeter:
    """Looks each series up once: that would be most of what counting costs."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str | None, int], tuple[Counter, Histogram]] = {}

    def begin(self) -> None:
        _IN_FLIGHT.inc()

    def end(self, method: str, route: str | None, status: int, seconds: float) -> None:
        _IN_FLIGHT.dec()
        key = (method, route, status // 100)
        if (series := self._known.get(key)) is None:
            labels = (method, route or "none")
            series = _REQUESTS.labels(*labels, f"{status // 100}xx"), _DURATIONS.labels(*labels)
            self._known[key] = series
        series[0].inc()
        series[1].observe(seconds)


class PoolMeter:
    """Of one pool of connections."""

    def __init__(self, pool: str) -> None:
        self._in_use, self._waits, self._size = _IN_USE.labels(pool), _WAITS.labels(pool), _SIZE.labels(pool)

    def open(self, size: int) -> None:
        self._size.set(size)

    def take(self, waited_seconds: float) -> None:
        self._in_use.inc()
        self._waits.observe(waited_seconds)

    def give_back(self) -> None:
        self._in_use.dec()


REQUESTS: Final = RequestMeter()
HOT_POOL: Final = PoolMeter("hot")
ORM_POOL: Final = PoolMeter("orm")
_BY_OUTCOME: Final[dict[Outcome, Counter]] = {
    outcome: _CHECK_INS.labels(outcome) for outcome in ("stored", "replayed", "refused", "failed")
}


def count_check_in(outcome: Outcome) -> None:
    _BY_OUTCOME[outcome].inc()


def count_unreadable() -> None:
    _UNREADABLE.inc()


def count_trouble(reason: str) -> None:
    _TROUBLES.labels(reason).inc()


# --- Telling ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the worker is behind, at the clinic where it is furthest; 0 where nothing waits."""

    delivery_seconds: float = 0.0
    seal_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Moment(Collector):
    """What is not counted but true just now. A lag that is not known is not told."""

    version: str
    database_up: bool
    lag: Lag | None

    def collect(self) -> Iterable[GaugeMetricFamily]:
        build = GaugeMetricFamily("tidemark_build_info", "What runs here.", labels=("version", "python"))
        build.add_metric((self.version, platform.python_version()), 1)
        yield build
        yield _gauge("tidemark_database_up", "Whether the database answers.", float(self.database_up))
        if self.lag is not None:
            told = "How long the webhook that should have gone out first is overdue."
            yield _gauge("tidemark_worker_delivery_lag_seconds", told, self.lag.delivery_seconds)
            told = "Age of the oldest event of the trail that is not sealed."
            yield _gauge("tidemark_worker_seal_lag_seconds", told, self.lag.seal_seconds)


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, value=value)


def text(moment: Moment) -> bytes:
    """All of it in Prometheus' text format. Takes milliseconds: not for an event loop."""
    counted = REGISTRY
    if place := os.environ.get(PLACE_VARIABLE):
        _forget_the_dead(Path(place))
        counted = CollectorRegistry()
        MultiProcessCollector(counted, place)  # type: ignore[no-untyped-call]  # registers itself
    present = CollectorRegistry()
    present.register(moment)
    return generate_latest(counted) + generate_latest(present)


@contextmanager
def shared_by(workers: int) -> Iterator[None]:
    """A place for the counts of processes started within; an empty one each time."""
    if workers == 1:
        yield
        return
    with TemporaryDirectory(prefix="tidemark-metrics-") as place:
        os.environ[PLACE_VARIABLE] = place
        try:
            yield
        finally:
            del os.environ[PLACE_VARIABLE]


def _forget_the_dead(place: Path) -> None:
    """Nothing is in flight in a process that was killed. What it has counted stays."""
    for file in place.glob("gauge_live*_*.db"):
        if not _is_alive(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
