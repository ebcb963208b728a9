"""What is inside one embedded Postgres: how its cluster is made, with which settings it runs, and whom it lets in."""

import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

from app.postgres_binaries import QUIET_ENVIRONMENT, Account, Binaries, EmbeddedPostgresError, run, telling_line

HOST = "127.0.0.1"
BOOTSTRAP = "postgres"  # the superuser; nothing but the launcher logs in as it
OWNER = "tidemark_owner"  # migrates
APP = "tidemark_app"  # the API; holds what the group below is granted
RUNTIME_GROUP = "tidemark_runtime"  # what migrations grant table rights to
DATABASE = "tidemark"
LONGEST_SOCKET_PATH = 103  # bytes; the limit is 107 on Linux, 103 on macOS

# Patient data must not reach the log: terse leaves out the DETAIL with the failing row, and `log` as the lowest level
# leaves out the errors of statements altogether, whose texts quote rejected values. The application logs their codes.
SETTINGS = {
    "cluster_name": "tidemark",
    "listen_addresses": HOST,
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "120",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "logging_collector": "off",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_checkpoints": "off",
    "log_parameter_max_length": "0",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class QueryError(Exception):
    """psql could not connect, or the server refused a statement; carries what psql said of it."""


def make_cluster(cluster: Path, binaries: Binaries, account: Account | None, password: str, *, durable: bool) -> None:
    """Made beside its place and renamed into it when whole: a killed initdb leaves nothing to be taken for one."""
    for leftover in cluster.parent.glob("postgres.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if cluster.exists() and any(cluster.iterdir()):
        raise EmbeddedPostgresError(f"{cluster} is not empty and not a Postgres data directory: move it away.")
    staging = cluster.with_name(f"postgres.new-{secrets.token_hex(4)}")
    staging.mkdir(mode=0o700)
    try:
        password_file = staging / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        if account:
            for path in (staging, password_file):
                os.chown(path, account.uid, account.gid)
        answer = run([binaries.server / "initdb", *_initdb_options(staging, binaries.major, durable=durable)], account)
        if answer.returncode:
            raise EmbeddedPostgresError(
                f"No Postgres could be made in {cluster.parent}; put right and try again: {telling_line(answer.stderr)}"
            )
        (staging / "cluster").rename(cluster)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _initdb_options(staging: Path, major: int, *, durable: bool) -> list[str]:
    # From 17 on Postgres brings C.UTF-8 itself: the same order on every system, and where the system has none.
    builtin = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [
        f"--pgdata={staging / 'cluster'}",
        f"--username={BOOTSTRAP}",
        f"--pwfile={staging / 'password'}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        *(builtin if major >= 17 else ["--locale=C.UTF-8"]),
        *([] if durable else ["--no-sync", "--wal-segsize=1"]),  # small files: a test suite makes and copies many
    ]


def server_command(binaries: Binaries, cluster: Path, port: int, *, durable: bool) -> list[str]:
    directory = str(cluster)
    longest = len(os.fsencode(f"{directory}/.s.PGSQL.{port}.lock"))
    # The setting is a list with a quoting of its own; over TCP everything works without a socket.
    fits = longest <= LONGEST_SOCKET_PATH and not re.search(r'[,"]|\s$', directory)
    settings = SETTINGS | (DURABLE if durable else FORGETFUL)
    settings |= {"port": str(port), "unix_socket_directories": directory if fits else ""}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(binaries.server / "postgres"), "-D", directory, *options]


def query(psql: Path, port: int, password: str, script: str) -> str:
    """Run a script as superuser. By psql and not a driver: the caller may sit in a running event loop."""
    login = {
        "PGPASSWORD": password,  # never on the command line, which everybody may read
        "PGREQUIREAUTH": "scram-sha-256",  # libpq 16 on: a stranger on that port cannot ask for the password itself
        "PGPASSFILE": os.devnull,
        "PGSSLMODE": "disable",
        "PGCONNECT_TIMEOUT": "5",
    }
    quiet = ["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"]
    answer = subprocess.run(  # noqa: S603 - our own binary, never a shell line
        [str(psql), *quiet, "-h", HOST, "-p", str(port), "-U", BOOTSTRAP, "-d", BOOTSTRAP, "-f", "-"],
        cwd="/",
        env=QUIET_ENVIRONMENT | login,
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise QueryError(telling_line(answer.stderr))
    return answer.stdout.strip()


def identifier(name: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise EmbeddedPostgresError(
            f"{name!r} is no database name: use small letters, digits and underscores, at most 63."
        )
    return name


def roles_script(owner_password: str, app_password: str) -> str:
    """Make the three roles and the database where they are missing; safe to run again."""
    plain = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    missing = "WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = "
    make_roles = "".join(
        f"SELECT 'CREATE ROLE {role}' {missing}'{role}') \\gexec\n" for role in (OWNER, RUNTIME_GROUP, APP)
    )
    return f"""
        SET client_min_messages = warning;
        {make_roles}
        ALTER ROLE {OWNER} LOGIN {plain} PASSWORD '{owner_password}';
        ALTER ROLE {RUNTIME_GROUP} NOLOGIN {plain};
        ALTER ROLE {APP} LOGIN INHERIT {plain} PASSWORD '{app_password}';
        GRANT {RUNTIME_GROUP} TO {APP};
        REVOKE ALL ON DATABASE {BOOTSTRAP}, template1 FROM PUBLIC;
        SELECT 'CREATE DATABASE {DATABASE} OWNER {OWNER}'
            WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
        """ + rights_script(DATABASE)


def rights_script(database: str) -> str:
    """Who may enter a database: its owner and the runtime role, and nobody by being PUBLIC."""
    return f"""
        REVOKE ALL ON DATABASE {database} FROM PUBLIC;
        GRANT CONNECT ON DATABASE {database} TO {APP};
        \\connect {database}
        ALTER SCHEMA public OWNER TO {OWNER};
        REVOKE ALL ON SCHEMA public FROM PUBLIC;
        GRANT USAGE ON SCHEMA public TO {RUNTIME_GROUP};
        """
