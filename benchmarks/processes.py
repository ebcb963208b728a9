"""Starting servers, and the CPU time that trees of processes have used."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second, the unit of /proc
_PROC: Final = Path("/proc")
_LIMITS: Final = dict.fromkeys(("TIDEMARK_RATE_PER_TOKEN", "TIDEMARK_RATE_PER_ADDRESS"), "10000000")  # kept, never met


@contextmanager
def listening(command: Sequence[str], port: int, environment: Mapping[str, str]) -> Iterator[int]:
    """Runs a server for as long as it is needed; gives its process id once it takes connections."""
    with TemporaryFile() as said:  # a line for each request, which is part of what is measured
        process = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **_LIMITS, **environment}, stderr=said
        )
        try:
            _await_port(process, port, said)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def cpu_seconds(root: int) -> float:
    """User and system time of a process, all its living descendants, and all the dead ones they have buried."""
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(entry)):
            process = int(entry.name)
            children.setdefault(int(fields[1]), []).append(process)
            seconds[process] = sum(map(int, fields[11:15])) / _TICKS
    tree = [root]
    for process in tree:
        tree.extend(children.get(process, ()))
    return sum(seconds.get(process, 0.0) for process in tree)


def parent_of(process: int) -> int:
    fields = _stat(_PROC / str(process))
    if not fields:
        raise SystemExit("The benchmarks read CPU times from /proc: run them on Linux, beside the Postgres they use.")
    return int(fields[1])


def _stat(entry: Path) -> list[str]:
    """The fields from the process's state on; empty when it is gone. Its name comes before and may hold anything."""
    try:
        return (entry / "stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _await_port(process: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    said.seek(0)
    raise RuntimeError(f"the server on port {port} did not start: {said.read().decode(errors='replace')}")
