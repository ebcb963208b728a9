"""Runs one Postgres server for as long as anybody uses it, then stops it. A process of its own, started by file name.

Everyone who uses the server holds a shared lock on one file. The kernel drops such a lock when its holder dies, however
it dies, so the moment this process gets the lock for itself nobody is left. A list of pids would go stale.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Fast shutdown first; then immediate, which costs a recovery at the next start and no data; SIGKILL if even that hangs.
# Postgres 18.6 sometimes hangs for good when asked for the first while it recovers from a crash (6 of 50 tries).
STOP_STEPS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))  # seconds of patience after each
POLL_SECONDS = 0.02
ADOPTED_POLL_SECONDS = 0.25  # a server that is not our child can only be looked at now and then


@dataclass(frozen=True, slots=True)
class Postmaster:
    pid: int
    port: int


def recorded_postmaster(cluster: Path) -> Postmaster | None:
    """What the server's lock file says, true or stale."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return Postmaster(pid=abs(int(lines[0])), port=int(lines[3]))
    except (FileNotFoundError, IndexError, ValueError):
        return None


def runs_here(pid: int, cluster: Path) -> bool:
    """Whether this pid is a live Postgres working in this data directory: a reused pid or a zombie is not."""
    if not Path("/proc/self/cwd").exists():
        command = ["/bin/ps", "-p", str(pid), "-o", "stat=,comm="]
        answer = subprocess.run(command, capture_output=True, check=False).stdout.strip()  # noqa: S603 - fixed words
        return not answer.startswith(b"Z") and answer.endswith(b"postgres")
    try:
        program = Path(f"/proc/{pid}/comm").read_text().strip()
        directory = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return program == "postgres" and directory == cluster


def running_postmaster(cluster: Path) -> Postmaster | None:
    recorded = recorded_postmaster(cluster)
    return recorded if recorded and runs_here(recorded.pid, cluster) else None


def stop_server(pid: int, is_alive: Callable[[], bool]) -> bool:
    """Stop the server with growing force; whether it is down."""
    for signal_number, patience in STOP_STEPS:
        if not is_alive():
            return True
        with contextlib.suppress(ProcessLookupError):  # it ended between the question and the signal
            os.kill(pid, signal_number)
        deadline = time.monotonic() + patience
        while is_alive() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    return not is_alive()


class Child:
    """The server we started. Waiting for it also reaps it."""

    def __init__(self, order: dict[str, Any]) -> None:
        identity = {name: order[name] for name in ("user", "group", "extra_groups") if name in order}
        self._process = subprocess.Popen(order["command"], cwd="/", **identity)  # noqa: S603 - the launcher's command
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        self._process.wait()


class Adopted:
    """A server whose first watchdog was killed."""

    def __init__(self, pid: int, cluster: Path) -> None:
        self.pid, self._cluster = pid, cluster

    def is_alive(self) -> bool:
        return runs_here(self.pid, self._cluster)

    def wait(self) -> None:
        while self.is_alive():
            time.sleep(ADOPTED_POLL_SECONDS)


def leave_with_server(server: Child | Adopted) -> None:
    server.wait()
    os._exit(0)  # the main thread sits in flock and cannot be told


def main() -> None:
    # Ctrl-C or a service manager may signal the whole group; the server must outlive those who are still committing.
    # Handlers, not SIG_IGN: an ignored signal would stay ignored in the server.
    for signal_number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: None)
    order = json.loads(sys.argv[1])
    cluster = Path(order["cluster"])
    server = Child(order) if order["command"] else Adopted(order["adopt"], cluster)
    threading.Thread(target=leave_with_server, args=(server,), daemon=True).start()
    fcntl.flock(order["users_lock"], fcntl.LOCK_EX)
    stop_server(server.pid, server.is_alive)


if __name__ == "__main__":
    main()
