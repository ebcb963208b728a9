"""The embedded Postgres against real processes: real starts, real kills, real locks, nothing replaced by a double."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import app
from app import postgres_binaries
from app.embedded_postgres import (
    EmbeddedPostgres,
    EmbeddedPostgresError,
    PostgresAddress,
    default_data_dir,
    temporary_postgres,
)
from app.postgres_binaries import Account, identity, server_account, wheel_bin_dir
from app.postgres_directory import DataDirectory
from app.postgres_watchdog import recorded_postmaster, running_postmaster, runs_here

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the embedded Postgres needs Unix file locks")

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can run the server as another account")
needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
SYSTEM_POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), None)
SOON = 15.0  # seconds; a loaded machine is slow, a leaked server stays for ever

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from app.embedded_postgres import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[2]), bin_dir=Path(sys.argv[3]) if sys.argv[3] else None, durable=False)
address = postgres.start()
{then}
print("started", address.port, flush=True)
sys.stdin.read()
postgres.stop()
print("stopped", flush=True)
"""


class Program:
    """Another program that uses the same data directory: it starts, says so, and leaves when its input ends."""

    def __init__(
        self,
        data_dir: Path,
        *,
        then: str = "",
        python: str = sys.executable,
        source: Path = Path(app.__path__[0]).parent,
        bin_dir: Path | str = "",
        **options: Any,
    ) -> None:
        self.process = subprocess.Popen(
            [python, "-c", PROGRAM.format(then=then), str(source), str(data_dir), str(bin_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def wait_started(self) -> int:
        assert self.process.stdout
        assert self.process.stderr
        line: str = self.process.stdout.readline()
        assert line.startswith("started"), self.process.stderr.read()
        return int(line.split()[1])

    def leave(self) -> str:
        output, errors = self.process.communicate("", timeout=SOON)
        assert self.process.returncode == 0, errors
        return str(output)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def running(data_dir: Path, **options: Any) -> Iterator[Program]:
    program = Program(data_dir, **options)
    try:
        program.wait_started()
        yield program
    finally:
        program.kill()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory the server's account can pass through: pytest's own is closed to all but us."""
    path = Path(os.path.realpath(tempfile.mkdtemp(prefix="tm-")))
    path.chmod(0o711 if IS_ROOT else 0o700)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A whole data directory at rest, made once: initdb is most of a first start."""
    with temporary_postgres() as postgres:
        postgres.stop()
        yield postgres._directory.path


@pytest.fixture
def own_dir(made: Path, place: Path) -> Path:
    """A copy of it, for a test that spoils it."""
    copy = place / "data"
    subprocess.run(["cp", "-a", str(made), str(copy)], check=True)
    return copy


@pytest.fixture
def data_dir(made: Path) -> Iterator[Path]:
    """The directory itself, for tests that leave it whole and at rest. The port is a new one each time."""
    (made / "postgres.json").write_text(json.dumps(secrets_of(made) | {"port": free_port()}))
    yield made
    assert eventually(lambda: not EmbeddedPostgres(made)._directory.is_watched()), "the test left a server behind"


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedPostgres]:
    """One running server for the tests that only ask it something."""
    with temporary_postgres() as postgres:
        yield postgres


def secrets_of(data_dir: Path) -> dict[str, str | int]:
    content: dict[str, str | int] = json.loads((data_dir / "postgres.json").read_text())
    return content


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sql(url: str, *statements: str) -> Any:
    """Run statements on one connection; the first value of the last one."""

    async def run() -> Any:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return [await connection.fetchval(statement) for statement in statements][-1]
        finally:
            await connection.close()

    return asyncio.run(run())


def write_seven(url: str) -> None:
    sql(url, "DROP TABLE IF EXISTS t", "CREATE TABLE t AS SELECT 7 AS n")


def account_of(data_dir: Path) -> Account | None:
    return server_account(data_dir, data_dir / "postgres", None)


def server_pid(data_dir: Path) -> int:
    found = running_postmaster(data_dir / "postgres")
    assert found
    return found.pid


def parent_of(pid: int) -> int:
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, check=True).stdout)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SOON
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return met


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- What a first start makes -----------------------------------------------------------------------------------------


def test_first_start_makes_private_directory(place: Path) -> None:
    """Cluster, passwords and log can be read by their owner alone, and nothing is left of the making."""
    with EmbeddedPostgres(place / "new" / "data", durable=False):
        data_dir = place / "new" / "data"
        assert mode_of(data_dir / "postgres") == 0o700
        assert {mode_of(path) for path in data_dir.iterdir() if path.is_file()} == {0o600}
        assert not list(data_dir.glob("postgres.new-*"))
        assert mode_of(data_dir) & 0o066 == 0
        passwords = secrets_of(data_dir)
        assert {len(str(passwords[name])) for name in ("postgres", "tidemark_owner", "tidemark_app")} == {43}


def test_roles_and_rights(shared: EmbeddedPostgres) -> None:
    """The owner owns the database, the runtime role owns nothing and bypasses nothing, PUBLIC may not even connect."""
    roles = shared._query(
        "SELECT rolname, rolcanlogin, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication "
        "FROM pg_roles WHERE rolname LIKE 'tidemark%' ORDER BY 1"
    )
    assert roles.split() == ["tidemark_app|t|f", "tidemark_owner|t|f", "tidemark_runtime|f|f"]
    assert shared._query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'tidemark'") == (
        "tidemark_owner"
    )
    public = shared._query(
        "SELECT datname FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) "
        "WHERE grantee = 0 AND datallowconn"
    )
    assert public == ""
    assert sql(shared.address.owner_url, "SELECT pg_has_role('tidemark_app', 'tidemark_runtime', 'MEMBER')")
    assert sql(shared.address.owner_url, "SELECT getdatabaseencoding() || upper('é') || ('Z' < 'a')") == "UTF8Étrue"


def test_runtime_role_gets_what_is_granted_to_its_group(shared: EmbeddedPostgres) -> None:
    """What a migration grants to tidemark_runtime the API can use; it can make nothing of its own."""
    owner, runtime = shared.address.owner_url, shared.address.runtime_url
    sql(owner, "CREATE TABLE t (n int)", "GRANT SELECT, INSERT ON t TO tidemark_runtime", "INSERT INTO t VALUES (7)")
    assert sql(runtime, "SELECT n FROM t") == 7
    for forbidden in ("CREATE TABLE u (n int)", "DELETE FROM t", "CREATE TEMP TABLE v (n int)", "DROP TABLE t"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            sql(runtime, forbidden)


def test_nobody_enters_without_the_password(shared: EmbeddedPostgres) -> None:
    """Nobody is trusted over TCP or the socket, the superuser included; only 127.0.0.1 is listened on."""
    address = shared.address
    with pytest.raises(asyncpg.InvalidPasswordError):
        sql(address.owner_url.replace(address.owner_password, "wrong"), "SELECT 1")
    socket_dir = shared._directory.cluster
    psql = [str(wheel_bin_dir() / "psql"), "-w", "-h", str(socket_dir), "-p", str(address.port)]
    answer = subprocess.run(
        [*psql, "-U", "postgres", "-c", "SELECT 1"], capture_output=True, text=True, env={}, check=False
    )
    assert "no password supplied" in answer.stderr
    assert shared._query("SHOW listen_addresses") == "127.0.0.1"
    methods = shared._query("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    assert methods == "scram-sha-256"


def test_durable_unless_asked(data_dir: Path) -> None:
    """A commit is on the disk by default; only a test suite trades that for speed."""
    names = "{fsync,synchronous_commit,full_page_writes}"
    query = f"SELECT string_agg(setting, ',') FROM pg_settings WHERE name = ANY('{names}')"
    with EmbeddedPostgres(data_dir) as postgres:
        assert postgres._query(query) == "on,on,on"
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        assert postgres._query(query) == "off,off,off"


def test_log_holds_no_data(data_dir: Path) -> None:
    """Neither a rejected value, a failing row, a password, nor the statement of a killed backend reaches the log."""
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        owner = postgres.address.owner_url
        sql(
            owner,
            "DROP TABLE IF EXISTS t",
            "CREATE TABLE t (n text PRIMARY KEY)",
            "INSERT INTO t VALUES ('canary-7f3a')",
        )
        for statement in (
            "INSERT INTO t VALUES ('canary-7f3a')",
            "SELECT 'canary-7f3a'::int",
            "SELEC 'canary-7f3a'",
            "DO $$ BEGIN RAISE WARNING 'fine'; RAISE 'canary-7f3a'; END $$",
        ):
            with pytest.raises(asyncpg.PostgresError):
                sql(owner, statement)

        async def killed_while_it_runs() -> None:
            connection = await asyncpg.connect(owner)
            running = asyncio.ensure_future(connection.fetchval("SELECT pg_sleep(30), 'canary-7f3a'"))
            await asyncio.sleep(0.2)
            os.kill(connection.get_server_pid(), signal.SIGKILL)
            with pytest.raises((asyncpg.PostgresError, OSError)):
                await running
            connection.terminate()

        asyncio.run(killed_while_it_runs())
        log = data_dir / "postgres.log"
        assert eventually(lambda: log.read_text().count("is ready to accept connections") == 2)
        text = log.read_text()
        assert "terminated by signal 9" in text
        assert "canary" not in text
        assert not [value for value in secrets_of(data_dir).values() if isinstance(value, str) and value in text]


@needs_proc
def test_no_password_on_a_command_line(place: Path) -> None:
    """Command lines can be read by everybody on the machine: no secret ever stands on one."""
    data_dir, seen = place / "data", set[bytes]()
    program = Program(data_dir)
    try:
        while not (data_dir / "postgres" / "postmaster.pid").exists():
            seen |= command_lines()
        program.wait_started()
        seen |= command_lines()
        passwords = [value.encode() for value in secrets_of(data_dir).values() if isinstance(value, str)]
        assert any(b"initdb" in line for line in seen)
        assert not [line for line in seen for password in passwords if password in line]
        assert program.leave() == "stopped\n"
    finally:
        program.kill()


def command_lines() -> set[bytes]:
    lines = set[bytes]()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.add(path.read_bytes())
    return lines


def test_address_does_not_print_passwords(shared: EmbeddedPostgres) -> None:
    """An address in a log line or a traceback shows no password."""
    assert shared.address.owner_password not in repr(shared.address)
    assert shared.address.runtime_password not in repr(shared.address)


# --- Restart, crash, kill ---------------------------------------------------------------------------------------------


def test_restart_keeps_data_passwords_and_port(data_dir: Path) -> None:
    """A second start finds the same data at the same address; a second stop does nothing; in between it is down."""
    postgres = EmbeddedPostgres(data_dir, durable=False)
    first = postgres.start()
    write_seven(first.owner_url)
    pid = server_pid(data_dir)
    postgres.stop()
    assert not runs_here(pid, data_dir / "postgres")
    postgres.stop()
    assert postgres.start() == first
    assert postgres.start() == first
    assert sql(first.owner_url, "SELECT n FROM t") == 7
    postgres.stop()


def test_server_killed(data_dir: Path) -> None:
    """After kill -9 of the server its record is stale and known to be, and every commit is there at the next start."""
    with EmbeddedPostgres(data_dir) as postgres:
        write_seven(postgres.address.owner_url)
        pid = server_pid(data_dir)
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not postgres._directory.is_watched())
        recorded = recorded_postmaster(data_dir / "postgres")
        assert recorded
        assert recorded.pid == pid
        assert running_postmaster(data_dir / "postgres") is None
        assert sql(postgres.start().owner_url, "SELECT n FROM t") == 7


def test_launcher_killed(data_dir: Path) -> None:
    """When the only program is killed the server and its watchdog stop by themselves, cleanly."""
    with running(data_dir) as program:
        pid = server_pid(data_dir)
        watchdog = parent_of(pid)
        program.kill()
        assert eventually(lambda: not runs_here(pid, data_dir / "postgres"))
        assert eventually(lambda: not is_alive(watchdog))
        assert "database system is shut down" in (data_dir / "postgres.log").read_text()


def is_alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_server_stays_while_anybody_uses_it(data_dir: Path) -> None:
    """A second program joins the first one's server, keeps it when the first is killed, and is the last to leave."""
    with running(data_dir) as first, running(data_dir) as second:
        pid = server_pid(data_dir)
        with EmbeddedPostgres(data_dir, durable=False) as postgres:
            assert server_pid(data_dir) == pid
            first.kill()
            time.sleep(0.5)
            assert sql(postgres.address.runtime_url, "SELECT 1") == 1
        assert runs_here(pid, data_dir / "postgres")
        assert second.leave() == "stopped\n"
        assert not runs_here(pid, data_dir / "postgres")


def test_watchdog_killed(data_dir: Path) -> None:
    """A server that lost its watchdog is taken over by the next start, and gone after the last stop."""
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        pid = server_pid(data_dir)
        os.kill(parent_of(pid), signal.SIGKILL)
        assert eventually(lambda: not postgres._directory.is_watched())
        with running(data_dir) as second:
            assert server_pid(data_dir) == pid
            assert postgres._directory.is_watched()
            postgres.stop()
            second.kill()
            assert eventually(lambda: not runs_here(pid, data_dir / "postgres"))
        postgres.start()
        pid = server_pid(data_dir)
        os.kill(parent_of(pid), signal.SIGKILL)
        assert eventually(lambda: not postgres._directory.is_watched())
        postgres.stop()
        assert not runs_here(pid, data_dir / "postgres")


def test_watchdog_outlives_polite_signals(data_dir: Path) -> None:
    """A service manager signals every process of the service: the server stays until its users have finished."""
    with running(data_dir) as program:
        watchdog = parent_of(server_pid(data_dir))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(watchdog, number)
        time.sleep(0.3)
        assert is_alive(watchdog)
        assert program.leave() == "stopped\n"
        assert running_postmaster(data_dir / "postgres") is None


@pytest.mark.parametrize("zombie", [False, True], ids=["unrelated", "zombie"])
def test_lock_file_names_somebody_else(data_dir: Path, zombie: bool) -> None:
    """A stale lock file may name another program by now, or a zombie: the server starts, and they stay."""
    with EmbeddedPostgres(data_dir) as postgres:
        write_seven(postgres.address.owner_url)
        old_pid = server_pid(data_dir)
        os.kill(old_pid, signal.SIGKILL)
        assert eventually(lambda: not postgres._directory.is_watched())
        stranger = subprocess.Popen(["sleep", "0" if zombie else "60"], cwd="/", **identity(account_of(data_dir)))
        try:
            assert not zombie or eventually(lambda: not is_alive(stranger.pid))
            lock_file = data_dir / "postgres" / "postmaster.pid"
            rest = lock_file.read_text().partition("\n")[2]
            lock_file.write_text(f"{stranger.pid}\n{rest}")
            assert sql(postgres.start().owner_url, "SELECT n FROM t") == 7
            assert zombie or stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


def test_ctrl_c_does_not_reach_the_server(data_dir: Path) -> None:
    """Ctrl-C goes to the terminal's whole foreground group; the program may still commit what it has begun."""
    catching = "caught = []; signal.signal(signal.SIGINT, lambda *_: caught.append(1))"
    answer = "\nsys.stdin.readline(); print(len(caught), postgres._query('SELECT 42'), flush=True)"
    program = Program(data_dir, then=f"{catching}\nprint('started', address.port, flush=True){answer}", process_group=0)
    try:
        program.wait_started()
        os.killpg(program.process.pid, signal.SIGINT)
        time.sleep(0.3)
        lines = program.process.communicate("\n", timeout=SOON)[0].splitlines()
        assert lines[0] == "1 42"
        assert lines[-1] == "stopped"
    finally:
        program.kill()


def test_children_do_not_hold_the_server(data_dir: Path) -> None:
    """A child of the program, even one that inherits all it can, does not keep the server when that is killed."""
    then = "import subprocess; subprocess.Popen(['sleep', '60'], close_fds=False, stdin=-3, stdout=-3, stderr=-3)"
    with running(data_dir, then=then, process_group=0) as program:
        pid = server_pid(data_dir)
        program.kill()
        assert eventually(lambda: not runs_here(pid, data_dir / "postgres"))
        os.killpg(program.process.pid, signal.SIGKILL)


def test_forked_child_does_not_stop_it(data_dir: Path) -> None:
    """A forked copy of the program that leaves does not take the server from its parent."""
    then = "child = os.fork()\nif not child: postgres.stop(); os._exit(0)\nos.waitpid(child, 0)"
    with running(data_dir, then=then) as program:
        time.sleep(0.3)
        assert EmbeddedPostgres(data_dir)._directory.is_watched()
        assert program.leave() == "stopped\n"
        assert running_postmaster(data_dir / "postgres") is None


@needs_proc
def test_no_zombies(data_dir: Path) -> None:
    """All processes we started are gone and reaped soon after the stop."""
    with EmbeddedPostgres(data_dir, durable=False):
        pid = server_pid(data_dir)
        watchdog = parent_of(pid)
    assert not Path(f"/proc/{pid}").exists()
    assert eventually(lambda: not Path(f"/proc/{watchdog}").exists())


def test_directory_removed_under_it(own_dir: Path) -> None:
    """Whoever removes the directory while the server runs loses the data, but no process stays behind."""
    postgres = EmbeddedPostgres(own_dir, durable=False)
    postgres.start()
    pid = server_pid(own_dir)
    shutil.rmtree(own_dir)
    postgres.stop()
    assert eventually(lambda: not is_alive(pid))


# --- Several at once, and half-done starts ----------------------------------------------------------------------------


def test_concurrent_first_starts(place: Path) -> None:
    """Programs that find no cluster at the same moment make one, and all use it."""
    programs = [Program(place / "data") for _ in range(3)]
    try:
        assert len({program.wait_started() for program in programs}) == 1
        assert [program.leave() for program in programs] == ["stopped\n"] * 3
        assert running_postmaster(place / "data" / "postgres") is None
    finally:
        for program in programs:
            program.kill()


@needs_root
def test_a_folder_is_there_with_its_owner_or_not_at_all(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another start that looks between making and giving away took it for one that the server may not enter."""
    directory, given_away = DataDirectory(place / "new" / "data"), os.chown
    account = server_account(directory.path, directory.cluster, None)

    def chown(path: Path, uid: int, gid: int) -> None:
        monkeypatch.setattr(os, "chown", given_away)
        directory.make(account)  # the other
        given_away(path, uid, gid)

    monkeypatch.setattr(os, "chown", chown)
    directory.make(account)
    assert directory.path.is_dir()
    assert [each.name for each in place.rglob("*")] == ["new", "data"]


def test_initdb_killed_half_way(place: Path) -> None:
    """A killed first start leaves nothing that is taken for a cluster; the next one makes it whole and tidies up."""
    data_dir = place / "data"
    program = Program(data_dir, process_group=0)
    assert eventually(lambda: bool(list(data_dir.glob("postgres.new-*/cluster/global/*"))))
    os.killpg(program.process.pid, signal.SIGKILL)
    program.kill()
    assert not (data_dir / "postgres").exists()
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        assert sql(postgres.address.runtime_url, "SELECT 1") == 1
        assert not list(data_dir.glob("postgres.new-*"))


def test_first_start_killed_before_the_roles(data_dir: Path) -> None:
    """A start that was killed between cluster and roles is made good by the next one."""
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        postgres._query("DROP DATABASE tidemark; DROP ROLE tidemark_app; DROP ROLE tidemark_owner")
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        assert sql(postgres.address.runtime_url, "SELECT 1") == 1


# --- Ports and paths --------------------------------------------------------------------------------------------------


def test_taken_port_is_replaced_and_recorded(data_dir: Path) -> None:
    """When another program has our port we take a free one and keep it; a port that was asked for is not replaced."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        (data_dir / "postgres.json").write_text(json.dumps(secrets_of(data_dir) | {"port": taken}))
        with EmbeddedPostgres(data_dir, durable=False) as postgres:
            port = postgres.address.port
            assert port != taken
            assert secrets_of(data_dir)["port"] == port
        with pytest.raises(EmbeddedPostgresError, match=f"Port {taken} on 127.0.0.1 is taken"):
            EmbeddedPostgres(data_dir, port=taken).start()
    wanted = free_port()
    with EmbeddedPostgres(data_dir, durable=False, port=wanted) as postgres:
        assert postgres.address.port == wanted
    assert secrets_of(data_dir)["port"] == port


def test_awkward_paths(place: Path, own_dir: Path) -> None:
    """A path too long for a socket, or one that a setting's list would split, works all the same."""
    for name, has_socket in (("n" * 120, False), ("with, comma and 'quotes\"", False), ("Ünïcode dir", True)):
        moved = own_dir.rename(place / name)
        with EmbeddedPostgres(moved, durable=False) as postgres:
            assert sql(postgres.address.runtime_url, "SELECT 1") == 1
            assert bool(list((moved / "postgres").glob(".s.PGSQL.*"))) == has_socket
        own_dir = moved


def test_path_through_a_symbolic_link(place: Path, data_dir: Path) -> None:
    """Two names of the same directory are the same server."""
    (place / "link").symlink_to(data_dir)
    with EmbeddedPostgres(data_dir, durable=False) as one, EmbeddedPostgres(place / "link", durable=False) as other:
        assert one.address == other.address


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_other_major_is_refused(made: Path) -> None:
    """Data of another major version is left alone, with what to do about it."""
    version_file = made / "postgres" / "PG_VERSION"
    right = version_file.read_text()
    version_file.write_text("16\n")
    try:
        with pytest.raises(EmbeddedPostgresError) as refused:
            EmbeddedPostgres(made).start()
    finally:
        version_file.write_text(right)
    for word in ("made by Postgres 16", "is Postgres 18", "TIDEMARK_PG_BIN", "pg_dump", "move"):
        assert word in str(refused.value)
    assert running_postmaster(made / "postgres") is None


@pytest.mark.skipif(SYSTEM_POSTGRES is None, reason="no Postgres of the system under /usr/lib/postgresql")
def test_system_postgres(place: Path) -> None:
    """The same launcher over the system's binaries; the package's then refuse its data, if of another major."""
    assert SYSTEM_POSTGRES
    bin_dir = SYSTEM_POSTGRES.parent
    postgres = EmbeddedPostgres(place / "data", bin_dir=bin_dir, durable=False)
    with postgres:
        version = sql(postgres.address.owner_url, "SHOW server_version")
        assert version.split(".")[0] == bin_dir.parent.name
        assert sql(postgres.create_database("copy", template="tidemark").runtime_url, "SELECT 1") == 1
        os.kill(server_pid(place / "data"), signal.SIGKILL)
        assert eventually(lambda: not postgres._directory.is_watched())
        assert sql(postgres.start().owner_url, "SELECT 1") == 1
    if bin_dir.parent.name != "18":
        with pytest.raises(EmbeddedPostgresError, match=f"made by Postgres {bin_dir.parent.name}"):
            EmbeddedPostgres(place / "data").start()


def test_running_server_with_other_passwords_is_not_joined(own_dir: Path) -> None:
    """A server that does not know our passwords is named, neither joined nor disturbed."""
    with running(own_dir):
        pid = server_pid(own_dir)
        secrets = secrets_of(own_dir)
        (own_dir / "postgres.json").write_text(json.dumps(secrets | {"postgres": "other"}))
        with pytest.raises(EmbeddedPostgresError, match="password authentication failed") as refused:
            EmbeddedPostgres(own_dir).start()
        assert "postgres.json" in str(refused.value)
        assert server_pid(own_dir) == pid


def test_missing_passwords_are_named(made: Path) -> None:
    """Without its passwords a cluster is of no use: say which file to put back, and make no new one."""
    kept = (made / "postgres.json").rename(made / "kept.json")
    try:
        with pytest.raises(EmbeddedPostgresError, match=r"postgres\.json is missing.*put it back"):
            EmbeddedPostgres(made).start()
        assert not (made / "postgres.json").exists()
    finally:
        kept.rename(made / "postgres.json")


def test_foreign_directory_is_left_alone(place: Path) -> None:
    """A directory in our place that is no cluster is not written into."""
    (place / "data" / "postgres").mkdir(parents=True)
    (place / "data").chmod(0o711)
    (place / "data" / "postgres" / "thesis.txt").write_text("mine")
    if IS_ROOT:
        os.chown(place / "data" / "postgres", 65534, 65534)
    with pytest.raises(EmbeddedPostgresError, match="not empty and not a Postgres data directory"):
        EmbeddedPostgres(place / "data").start()
    assert [path.name for path in (place / "data" / "postgres").iterdir()] == ["thesis.txt"]


def test_broken_settings_show_the_log(own_dir: Path) -> None:
    """When the server itself refuses, its last words are in the error."""
    with (own_dir / "postgres" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedPostgresError, match=r"did not start.*no_such_setting"):
        EmbeddedPostgres(own_dir).start()
    assert not EmbeddedPostgres(own_dir)._directory.is_watched()


def test_missing_and_unfit_binaries(place: Path) -> None:
    """A directory without Postgres, or with one that is too old, is named together with the setting to change."""
    with pytest.raises(EmbeddedPostgresError, match=r"no program .*/postgres: .*TIDEMARK_PG_BIN"):
        EmbeddedPostgres(place / "data", bin_dir=place).start()
    for name in ("postgres", "initdb", "psql"):
        (place / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 13.4'\n")
        (place / name).chmod(0o755)
    with pytest.raises(EmbeddedPostgresError, match="is Postgres 13; Tidemark needs 15"):
        EmbeddedPostgres(place / "data", bin_dir=place).start()


def test_use_before_start_is_refused(place: Path) -> None:
    """An object that was not started says so."""
    postgres = EmbeddedPostgres(place / "data")
    with pytest.raises(EmbeddedPostgresError, match="not started"):
        _ = postgres.address
    with pytest.raises(EmbeddedPostgresError, match="not running"):
        postgres.create_database("x")
    postgres.stop()


# --- For test suites --------------------------------------------------------------------------------------------------


def test_databases_are_cloned_and_dropped(shared: EmbeddedPostgres) -> None:
    """A clone has its template's tables and grants and the same closed doors, and writes to it stay in it."""
    template = shared.create_database("template_migrated")
    sql(template.owner_url, "CREATE TABLE t AS SELECT 7 AS n", "GRANT SELECT ON t TO tidemark_runtime")
    clone = shared.create_database("test_1", template="template_migrated")
    assert clone.database == "test_1"
    assert sql(clone.owner_url, "UPDATE t SET n = 8 RETURNING n") == 8
    assert sql(clone.runtime_url, "SELECT n FROM t") == 8
    assert sql(template.runtime_url, "SELECT n FROM t") == 7
    acl = shared._query("SELECT datacl FROM pg_database WHERE datname = 'test_1'")
    assert not re.search(r"[{,]=", acl)
    shared.drop_database("test_1")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        sql(clone.owner_url, "SELECT 1")


def test_database_names_are_checked(shared: EmbeddedPostgres) -> None:
    """No name can carry SQL, the main database cannot be dropped, and a refusal of the server is passed on."""
    for name in ("x; DROP DATABASE tidemark", "", "Ünï", "x" * 64, '"'):
        with pytest.raises(EmbeddedPostgresError, match="no database name"):
            shared.create_database(name)
    for name in ("tidemark", "postgres"):
        with pytest.raises(EmbeddedPostgresError, match="is not dropped"):
            shared.drop_database(name)
    with pytest.raises(EmbeddedPostgresError, match='"tidemark" already exists'):
        shared.create_database("tidemark")


def test_temporary_postgres_leaves_nothing() -> None:
    """A suite's server and directory are gone afterwards, after an error too; it works inside a running loop."""

    async def use() -> tuple[Path, PostgresAddress]:
        with temporary_postgres() as postgres:
            assert sql_value(postgres) == "7"
            raise_after = postgres._directory.path, postgres.address
            raise LookupError(raise_after)

    def sql_value(postgres: EmbeddedPostgres) -> str:
        return postgres._query("SELECT 7")

    with pytest.raises(LookupError) as error:
        asyncio.run(use())
    path, address = error.value.args[0]
    assert not path.exists()
    with pytest.raises(OSError):
        socket.create_connection((address.host, address.port), timeout=1)


# --- Root and other accounts ------------------------------------------------------------------------------------------


@needs_root
def test_root_hands_only_the_cluster_to_another_account(place: Path) -> None:
    """As root the server runs as nobody, without root's groups; everything but the cluster stays root's."""
    data_dir = place / "data"
    with EmbeddedPostgres(data_dir, durable=False):
        status = Path(f"/proc/{server_pid(data_dir)}/status").read_text()
        nobody = postgres_binaries.account_named("nobody")
        assert f"Uid:\t{nobody.uid}\t{nobody.uid}\t{nobody.uid}\t{nobody.uid}" in status
        assert re.search(rf"Groups:\t({nobody.gid})? *\n", status)
        assert {path.name: path.stat().st_uid for path in data_dir.iterdir() if path.stat().st_uid} == {
            "postgres": nobody.uid
        }
        assert mode_of(data_dir) == 0o711


@needs_root
def test_root_uses_the_owner_of_the_directory(place: Path) -> None:
    """In somebody's own directory root's server runs as that one, and leaves nothing that locks the owner out."""
    (place / "theirs").mkdir(mode=0o700)
    os.chown(place / "theirs", 12345, 12345)
    data_dir = place / "theirs" / "data"
    with pytest.raises(EmbeddedPostgresError, match=r"No Postgres could be made.*user"):
        EmbeddedPostgres(data_dir).start()  # initdb wants the account to have a name: the reason is passed on
    daemon = postgres_binaries.account_named("daemon")
    shutil.rmtree(data_dir)
    os.chown(place / "theirs", daemon.uid, daemon.gid)
    with EmbeddedPostgres(data_dir, durable=False):
        assert f"Uid:\t{daemon.uid}\t" in Path(f"/proc/{server_pid(data_dir)}/status").read_text()
        assert {path.stat().st_uid for path in (data_dir, *data_dir.iterdir())} == {daemon.uid}


@needs_root
def test_unreachable_directory_is_named_and_left_alone(place: Path) -> None:
    """Where the server's account may not pass, the exact directory and the way out are said; no mode is widened."""
    (place / "closed").mkdir(mode=0o700)
    with pytest.raises(EmbeddedPostgresError) as refused:
        EmbeddedPostgres(place / "closed" / "checkout" / "data").start()
    assert f"runs as nobody here, which may not enter {place / 'closed'}:" in str(refused.value)
    assert "TIDEMARK_DATA_DIR" in str(refused.value)
    assert mode_of(place / "closed") == 0o700


@needs_root
def test_default_data_dir_avoids_closed_checkouts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root in a closed checkout gets a directory of its own where the server can run; else the preferred."""
    monkeypatch.setattr(postgres_binaries, "SHARED_DATA_ROOT", place / "shared")
    (place / "closed").mkdir(mode=0o700)
    assert default_data_dir(place / "open" / ".tidemark") == place / "open" / ".tidemark"
    fallback = default_data_dir(place / "closed" / "tidemark" / ".tidemark")
    assert fallback.parent == place / "shared"
    assert fallback != default_data_dir(place / "closed" / "other" / ".tidemark")
    assert fallback == default_data_dir(place / "closed" / "tidemark" / ".tidemark")
    with EmbeddedPostgres(fallback, durable=False) as postgres:
        assert postgres._query("SELECT 1") == "1"


@needs_root
def test_binaries_in_a_closed_environment_are_copied(data_dir: Path, place: Path) -> None:
    """With the virtual environment under a 0700 directory the server runs from a copy of root's own beside the data."""
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    package = wheel_bin_dir().parent.parent
    for source in (package, package.with_name("embedded_postgres.libs")):
        if source.exists():
            shutil.copytree(source, closed / source.name, ignore=shutil.ignore_patterns("include", "*.py"))
    (closed / "embedded_postgres" / "__init__.py").write_text("raise RuntimeError('imported')")
    environment = dict(os.environ, PYTHONPATH=str(closed))
    for _ in range(2):
        with running(data_dir, env=environment) as program:
            executable = Path(f"/proc/{server_pid(data_dir)}/exe").readlink()
            (copy,) = data_dir.glob("binaries-18*")
            assert executable == copy / "embedded_postgres" / "pginstall" / "bin" / "postgres"
            assert {path.stat().st_uid for path in copy.rglob("*")} == {0}
            assert not [path for path in copy.rglob("*") if mode_of(path) & 0o022]
            assert program.leave() == "stopped\n"
    assert mode_of(closed) == 0o700
    with pytest.raises(EmbeddedPostgresError, match=f"may not enter or run {closed}:.*TIDEMARK_PG_BIN"):
        EmbeddedPostgres(data_dir, bin_dir=closed / "embedded_postgres" / "pginstall" / "bin").start()


@needs_root
def test_accounts_that_cannot_run_it(made: Path, place: Path) -> None:
    """An account that does not exist, root itself, and one that does not own the data are refused."""
    with pytest.raises(EmbeddedPostgresError, match="no account 'no-such-one'"):
        EmbeddedPostgres(made, run_as="no-such-one").start()
    with pytest.raises(EmbeddedPostgresError, match=r"belongs to nobody.*chown -R daemon"):
        EmbeddedPostgres(made, run_as="daemon").start()
    with pytest.raises(EmbeddedPostgresError, match="refuses to run as root"):
        EmbeddedPostgres(place / "other", run_as="root").start()


@needs_root
def test_everything_works_without_root(place: Path) -> None:
    """An ordinary account starts, is killed, starts again and stops; another one's data it refuses with a reason."""
    nobody = identity(postgres_binaries.account_named("nobody"))
    source = place / "source"
    shutil.copytree(Path(app.__path__[0]), source / "app", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (source, *source.rglob("*")):
        path.chmod(0o755)  # whatever our umask is
    (place / "home").mkdir(mode=0o700)
    os.chown(place / "home", nobody["user"], nobody["group"])
    python = next((path for path in (sys.executable, "/usr/bin/python3") if can_run(path, nobody)), None)
    if python is None or not can_run(str(wheel_bin_dir() / "postgres"), nobody):
        pytest.skip("no Python 3.11 or no Postgres binaries that an ordinary account may run")
    options: dict[str, Any] = {"python": python, "source": source, "bin_dir": wheel_bin_dir(), "cwd": "/", **nobody}
    data_dir = place / "home" / "data"
    with running(data_dir, **options) as program:
        pid = server_pid(data_dir)
        assert mode_of(data_dir) == 0o700
        program.kill()
        assert eventually(lambda: not runs_here(pid, data_dir / "postgres"))
    with running(data_dir, **options) as program:
        assert program.leave() == "stopped\n"
    os.chown(data_dir / "postgres", 0, 0)
    refused = Program(data_dir, **options).process.communicate("")[1]
    assert "has to run as root, and only root can arrange that" in refused


def can_run(program: str, account: dict[str, Any]) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))" if "python" in Path(program).name else "--version"
    arguments = [program, "-c", check] if "python" in Path(program).name else [program, check]
    try:
        return subprocess.run(arguments, cwd="/", capture_output=True, check=False, **account).returncode == 0
    except OSError:
        return False
