"""A private Postgres beside the program, for trying Tidemark out and for its tests. See docs/embedded-postgres.md.

The server is started by a watchdog process (postgres_watchdog.py) which stops it when nobody uses it any more.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from app.postgres_binaries import (
    QUIET_ENVIRONMENT,
    Account,
    Binaries,
    EmbeddedPostgresError,
    default_data_dir,
    find_binaries,
    identity,
    server_account,
)
from app.postgres_cluster import (
    APP,
    BOOTSTRAP,
    DATABASE,
    HOST,
    OWNER,
    QueryError,
    identifier,
    make_cluster,
    query,
    rights_script,
    roles_script,
    server_command,
)
from app.postgres_directory import POLL_SECONDS, STOP_SECONDS, DataDirectory, flock_within, try_flock
from app.postgres_watchdog import recorded_postmaster, running_postmaster, runs_here, stop_server

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "PostgresAddress", "default_data_dir", "temporary_postgres"]

START_SECONDS = 60.0  # a large write-ahead log may have to be replayed after a crash
RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    host: str
    port: int
    database: str
    owner: str
    owner_password: str = field(repr=False)
    runtime: str
    runtime_password: str = field(repr=False)

    @property
    def owner_url(self) -> str:
        return self._url(self.owner, self.owner_password)

    @property
    def runtime_url(self) -> str:
        return self._url(self.runtime, self.runtime_password)

    def _url(self, user: str, password: str) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@{self.host}:{self.port}/{self.database}"


class EmbeddedPostgres:
    """One server on one data directory, shared by all programs that start it there, gone when the last of them is."""

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        run_as: str | None = None,
        port: int | None = None,
        durable: bool = True,
    ) -> None:
        self._directory = DataDirectory(data_dir)
        self._bin_dir, self._run_as, self._fixed_port, self._durable = bin_dir, run_as, port, durable
        self._account: Account | None = None
        self._found: Binaries | None = None
        self._secrets: dict[str, str | int] = {}
        self._users_lock: int | None = None
        self._started_by = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> PostgresAddress:
        """Make the cluster if there is none, start its server or join the one that runs, and say where it is."""
        directory = self._directory
        self._account = server_account(directory.path, directory.cluster, self._run_as)
        directory.make(self._account)
        with directory.starting():
            self._found = find_binaries(self._bin_dir, self._account, directory.path)
            self._refuse_other_major()
            self._secrets = directory.read_or_make_secrets((BOOTSTRAP, OWNER, APP))
            if not (directory.cluster / "PG_VERSION").exists():
                password = str(self._secrets[BOOTSTRAP])
                make_cluster(directory.cluster, self._found, self._account, password, durable=self._durable)
            if self._users_lock is None:
                self._users_lock, self._started_by = directory.share_use(), os.getpid()
            try:
                self._ensure_running()
                # At every start: whoever was killed in the middle of it is made good.
                self._query_or_fail(roles_script(str(self._secrets[OWNER]), str(self._secrets[APP])))
            except BaseException:
                self._leave()
                raise
        return self.address

    def stop(self) -> None:
        """Leave. The last one to leave waits until the server is down; a second call does nothing."""
        users = self._users_lock
        if users is None:
            return
        # A forked child must not change the lock it shares with its parent; and if the directory was removed under us,
        # there is nobody to agree with. Either way letting go is enough, the watchdog does the rest.
        if self._started_by != os.getpid() or not self._directory.path.exists():
            self._leave()
            return
        try:
            with self._directory.starting():
                # Changing a share into a lock of one's own is not atomic: where the watchdog was quicker, none is left.
                last = try_flock(users, fcntl.LOCK_EX) or not try_flock(users, fcntl.LOCK_SH)
                self._leave()
                if last:
                    self._await_stopped()
        finally:
            self._leave()

    def is_running(self) -> bool:
        """Whether the server of this directory is alive; it may still be starting."""
        return running_postmaster(self._directory.cluster) is not None

    @property
    def address(self) -> PostgresAddress:
        running = recorded_postmaster(self._directory.cluster)
        if self._users_lock is None or running is None:
            raise EmbeddedPostgresError(f"The Postgres of {self._directory.path} is not started: call start() first.")
        return PostgresAddress(
            host=HOST,
            port=running.port,
            database=DATABASE,
            owner=OWNER,
            owner_password=str(self._secrets[OWNER]),
            runtime=APP,
            runtime_password=str(self._secrets[APP]),
        )

    def create_database(self, name: str, *, template: str | None = None) -> PostgresAddress:
        """One more database of the same owner, empty or a copy of a template that nobody is connected to."""
        copied = f" TEMPLATE {identifier(template)}" if template else ""
        self._query_or_fail(f"CREATE DATABASE {identifier(name)} OWNER {OWNER}{copied};" + rights_script(name))
        return dataclasses.replace(self.address, database=name)

    def drop_database(self, name: str) -> None:
        if name in (DATABASE, BOOTSTRAP):
            raise EmbeddedPostgresError(
                f"The database {name} is not dropped: to begin anew, remove {self._directory.path}."
            )
        self._query_or_fail(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE);")

    def _leave(self) -> None:
        lock, self._users_lock = self._users_lock, None
        if lock is not None:
            os.close(lock)

    @property
    def _binaries(self) -> Binaries:
        if self._found is None:
            raise EmbeddedPostgresError(f"The Postgres of {self._directory.path} is not started: call start() first.")
        return self._found

    def _refuse_other_major(self) -> None:
        directory, binaries = self._directory, self._binaries
        version_file = directory.cluster / "PG_VERSION"
        made_by = version_file.read_text().strip() if version_file.exists() else None
        if made_by and made_by != str(binaries.major):
            raise EmbeddedPostgresError(
                f"The data in {directory.cluster} was made by Postgres {made_by}, and {binaries.client} is Postgres "
                f"{binaries.major}: nothing was started. Set TIDEMARK_PG_BIN to the bin directory of a Postgres "
                f"{made_by}; or dump the data with that one (pg_dump) and load it into a new directory; or move "
                f"{directory.path} away to begin empty."
            )

    # --- Starting and joining -----------------------------------------------------------------------------------------

    def _ensure_running(self) -> None:
        """Join the server there is, whoever started it; adopt one whose watchdog was killed; else start one."""
        if self._directory.is_watched() and self._await_ready():
            return
        if running := running_postmaster(self._directory.cluster):
            self._spawn_watchdog({"command": None, "adopt": running.pid})
            if self._await_ready():
                return
        self._start_server()

    def _start_server(self) -> None:
        directory = self._directory
        directory.turn_log()
        deadline = time.monotonic() + START_SECONDS
        port = self._fixed_port or int(self._secrets.get("port", 0)) or _free_port()
        while True:
            port = self._usable_port(port)
            command = server_command(self._binaries, directory.cluster, port, durable=self._durable)
            self._spawn_watchdog({"command": command})
            if self._await_ready():
                break
            # The port was taken under our hands, or the last server's orphans still hold its memory: both pass.
            passes = not _port_is_free(port) or "shared memory block" in directory.tail()
            if not passes or time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"The Postgres of {directory.path} did not start. The end of {directory.log} says why: "
                    f"{directory.tail()}"
                )
            time.sleep(RETRY_SECONDS)
        if port != self._secrets.get("port") and not self._fixed_port:
            self._secrets = {**self._secrets, "port": port}
            directory.save_secrets(self._secrets)

    def _usable_port(self, port: int) -> int:
        if _port_is_free(port):
            return port
        if self._fixed_port:
            raise EmbeddedPostgresError(
                f"Port {port} on {HOST} is taken by another program: choose another, or give none and one is found."
            )
        return _free_port()

    def _spawn_watchdog(self, order: dict[str, object]) -> None:
        directory = self._directory
        # If the lock file names a pid that some other process has now, Postgres would refuse to start for ever. It
        # passes over its own parents' pids, and this variable names one more of them; the file stays untouched.
        stale = recorded_postmaster(directory.cluster)
        environment = QUIET_ENVIRONMENT | ({"PG_GRANDPARENT_PID": str(stale.pid)} if stale else {})
        with (
            directory.opened(directory.users_lock) as users,
            directory.opened(directory.server_lock) as server,
            directory.opened(directory.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as log,
        ):
            # Taken here and inherited there: no moment passes in which the server seems to have no watchdog.
            if not flock_within(server, fcntl.LOCK_EX, STOP_SECONDS):
                raise EmbeddedPostgresError(f"The watchdog of {directory.path} does not end: end it by hand.")
            order |= {"cluster": str(directory.cluster), "users_lock": users} | identity(self._account)
            script = Path(__file__).with_name("postgres_watchdog.py")
            watchdog = subprocess.Popen(  # noqa: S603 - our own file under our own interpreter
                [sys.executable, "-I", "-S", str(script), json.dumps(order)],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(users, server),
                start_new_session=True,
            )
        # Whoever started it may leave long before it ends; somebody must be waiting for it then, or it stays a zombie.
        threading.Thread(target=watchdog.wait, daemon=True, name="tidemark-postgres-reaper").start()

    def _await_ready(self) -> bool:
        """Wait for a real answer to a real login; False when the server went away instead."""
        directory = self._directory
        deadline = time.monotonic() + START_SECONDS
        said = "it does not listen"
        while time.monotonic() < deadline and "password authentication failed" not in said:
            running = running_postmaster(directory.cluster)
            if running and _listens(running.port):
                try:
                    answered_by = self._query("SELECT current_setting('data_directory')")
                except QueryError as error:
                    said = str(error)
                else:
                    if os.path.realpath(answered_by) == str(directory.cluster):
                        return True
                    said = f"port {running.port} is answered by the server of {answered_by}"
            if not directory.is_watched():
                return False
            time.sleep(POLL_SECONDS)
        raise EmbeddedPostgresError(
            f"A Postgres runs on {directory.cluster} and does not let us in ({said}). If {directory.secrets_file} was "
            "replaced, put the old one back; else stop that server and try again. The end of its log: "
            f"{directory.tail()}"
        )

    def _await_stopped(self) -> None:
        directory = self._directory
        deadline = time.monotonic() + STOP_SECONDS
        while directory.is_watched() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        left = running_postmaster(directory.cluster)
        if left is None:
            return
        if not stop_server(left.pid, lambda: runs_here(left.pid, directory.cluster)):  # its watchdog was killed
            raise EmbeddedPostgresError(f"The Postgres server, process {left.pid}, does not stop: end it by hand.")

    # --- Talking to it ------------------------------------------------------------------------------------------------

    def _query_or_fail(self, script: str) -> str:
        try:
            return self._query(script)
        except QueryError as error:
            raise EmbeddedPostgresError(f"The Postgres of {self._directory.path} refused: {error}") from None

    def _query(self, script: str) -> str:
        running = recorded_postmaster(self._directory.cluster)
        if running is None:
            raise QueryError("the server is not running: call start() first")
        return query(self._binaries.client / "psql", running.port, str(self._secrets[BOOTSTRAP]), script)


@contextlib.contextmanager
def temporary_postgres(*, bin_dir: Path | None = None, durable: bool = False) -> Iterator[EmbeddedPostgres]:
    """A started server for a test suite, on a new directory that is removed afterwards. Works for root too."""
    data_dir = Path(tempfile.gettempdir()) / f"tidemark-{secrets.token_hex(8)}"
    try:
        with EmbeddedPostgres(data_dir, bin_dir=bin_dir, durable=durable) as postgres:
            yield postgres
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one resting after its last connections is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
