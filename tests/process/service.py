"""A real `tidemark` process, its workers and its Postgres, as a person would start them. Linux: it looks into /proc."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx2

from app.crypto import new_master_key
from app.postgres_watchdog import recorded_postmaster, running_postmaster

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 240.0  # the demo loads a clinic first: 12 on two idle cores, many times that on busy ones
STOP_SECONDS = 30.0
MASTER_KEY = new_master_key()  # of all tests of this run
UNLIMITED = dict.fromkeys(
    ("TIDEMARK_RATE_PER_TOKEN", "TIDEMARK_RATE_PER_ADDRESS", "TIDEMARK_FAILED_LOGINS_PER_ADDRESS"), "0"
)


def plain_environment(**settings: str) -> dict[str, str]:
    """Nothing of the outer process's settings, only these; no word while all is well, no limits on rates."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEMARK_", "MAKE"))}
    keys = {"TIDEMARK_MASTER_KEYS": MASTER_KEY}
    quiet = {"COLUMNS": "200", "NO_COLOR": "1", "TIDEMARK_LOG_LEVEL": "warning"}
    return outer | quiet | UNLIMITED | keys | settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def data_directory() -> Iterator[Path]:
    """Directly in the place for temporary things, where the account of a private Postgres may enter."""
    path = Path(tempfile.gettempdir()) / f"tidemark-{secrets.token_hex(8)}"
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass
class Service:
    """One `tidemark serve` or `tidemark demo`, with everything it says in one file."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    said: Path
    port: int = field(default_factory=free_port)
    program: tuple[str, ...] = ("-m", "app")
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cluster(self) -> Path:
        return Path(self.environment["TIDEMARK_DATA_DIR"]) / "postgres"

    @property
    def launcher(self) -> "subprocess.Popen[bytes]":
        assert self.process is not None
        return self.process

    def start(self) -> None:
        said: IO[bytes]
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, *self.arguments, "--port", str(self.port)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.await_ready()

    def await_ready(self) -> None:
        """Until every worker could be the one that says so; also again after some were killed."""
        wanted = int(self.arguments[self.arguments.index("--workers") + 1]) if "--workers" in self.arguments else 1
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx2.TransportError):
                ready = httpx2.get(f"{self.url}/readyz", timeout=5).status_code == 200
                if ready and len(self.workers()) >= wanted:
                    return
            assert self.launcher.poll() is None, self.said.read_text()
            time.sleep(0.05)
        raise AssertionError(self.said.read_text())

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.launcher.send_signal(number)
        return self.launcher.wait(STOP_SECONDS)

    def end(self) -> None:
        """Whatever state it is in. The watchdog sees to the Postgres."""
        if self.process is not None and self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.stop()
            self.process.kill()
            self.process.wait()

    def workers(self) -> list[int]:
        """The processes that answer requests; the launcher itself where there is no other."""
        pid = self.launcher.pid
        return [child for child in children(pid) if b"spawn_main" in command_line(child)] or [pid]

    def family(self) -> list[int]:
        """Everybody who has to be gone afterwards: launcher, workers, watchdog, Postgres."""
        found = [self.launcher.pid]
        for pid in found:
            found += children(pid)
        return found

    def postmaster(self) -> int | None:
        running = running_postmaster(self.cluster)
        return None if running is None else running.pid

    def recorded_postmaster(self) -> int | None:
        recorded = recorded_postmaster(self.cluster)
        return None if recorded is None else recorded.pid


def complaints(said: Path) -> list[str]:
    """What a program said but that it waits for the database, as it may on a busy machine."""
    return [line for line in said.read_text().splitlines() if '"event":"database_awaited"' not in line]


def children(pid: int) -> list[int]:
    listed = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for numbers in listed for child in numbers]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def await_gone(pids: list[int], seconds: float = STOP_SECONDS) -> list[int]:
    """Those still alive after waiting."""
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
