"""The directory of one embedded Postgres: its cluster, and beside it the locks, the passwords and the log."""

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

from app.postgres_binaries import Account, EmbeddedPostgresError, first_unreachable, nearest_existing, owner_of
from app.postgres_watchdog import STOP_STEPS

LOCK_SECONDS = 120.0  # longer than another program's first start
STOP_SECONDS = sum(seconds for _, seconds in STOP_STEPS) + 5.0
POLL_SECONDS = 0.02
LOG_TAIL_LINES = 5


class DataDirectory:
    """Three lock files decide everything: the kernel lets go of a lock when its holder dies, however it dies.

    `starting` is held while somebody starts or leaves, `users` is shared by all who use the server, and `server` is
    held by the watchdog for as long as it has one.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self.cluster = self.path / "postgres"
        self.log = self.path / "postgres.log"
        self.secrets_file = self.path / "postgres.json"
        self.users_lock = self.path / "postgres-users.lock"
        self.server_lock = self.path / "postgres-server.lock"

    def make(self, account: Account | None) -> None:
        """Make what is missing of the way; a directory that was there keeps its mode, whatever it is."""
        nearest = nearest_existing(self.path)
        owner = owner_of(nearest)
        missing = [folder for folder in (self.path, *self.path.parents) if nearest in folder.parents]
        for folder in reversed(missing):
            self._make_folder(folder, account, owner)
        blocked = first_unreachable(account, [self.path])
        if blocked:
            raise EmbeddedPostgresError(
                f"The Postgres server runs as {account.name if account else 'this account'} here, which may not enter "
                f"{blocked}: set TIDEMARK_DATA_DIR to a place it can reach, such as /var/lib/tidemark, or run Tidemark "
                "as an ordinary user. No mode was changed."
            )

    @staticmethod
    def _make_folder(folder: Path, account: Account | None, owner: Account) -> None:
        """It appears with its owner and mode: who starts at the same moment may look at it at once."""
        try:
            made = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        except OSError:
            raise EmbeddedPostgresError(
                f"{folder} cannot be made: set TIDEMARK_DATA_DIR to a place where this account may write."
            ) from None
        if account:
            os.chown(made, owner.uid, owner.gid)
            if owner.uid != account.uid:  # the server must pass through here to its cluster, and can read nothing else
                made.chmod(0o711)
        try:
            made.rename(folder)
        except OSError:
            made.rmdir()
            if not folder.is_dir():  # else somebody else who starts was faster
                raise

    def open(self, path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
        """Open a file beside the cluster. It belongs to the directory's owner: a visit of root must lock nobody out."""
        try:
            descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"{path} cannot be opened ({error.strerror}): run Tidemark as the account that made {self.path}, "
                "or choose another TIDEMARK_DATA_DIR."
            ) from None
        if os.geteuid() == 0:
            owner = owner_of(self.path)
            os.fchown(descriptor, owner.uid, owner.gid)
        return descriptor

    @contextlib.contextmanager
    def opened(self, path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
        descriptor = self.open(path, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        with self.opened(self.path / "postgres-starting.lock") as lock:
            if not flock_within(lock, fcntl.LOCK_EX, LOCK_SECONDS):
                raise EmbeddedPostgresError(
                    f"Another program has been starting or stopping the Postgres of {self.path} for {LOCK_SECONDS:.0f} "
                    "seconds: look at that program, or stop it, and try again."
                )
            yield

    def share_use(self) -> int:
        """Once we hold this share, the watchdog cannot stop the server. It refuses us only while it does so."""
        lock = self.open(self.users_lock)
        if flock_within(lock, fcntl.LOCK_SH, STOP_SECONDS):
            return lock
        os.close(lock)
        raise EmbeddedPostgresError(
            f"The Postgres of {self.path} is stopping and does not come to an end: end its processes by hand. "
            f"The end of its log: {self.tail()}"
        )

    def is_watched(self) -> bool:
        with self.opened(self.server_lock) as lock:
            return not try_flock(lock, fcntl.LOCK_EX)

    def read_or_make_secrets(self, names: tuple[str, ...]) -> dict[str, str | int]:
        if self.secrets_file.exists():
            with os.fdopen(self.open(self.secrets_file, os.O_RDONLY), encoding="utf-8") as file:
                values: dict[str, str | int] = json.load(file)
            return values
        if (self.cluster / "PG_VERSION").exists():
            raise EmbeddedPostgresError(
                f"{self.secrets_file} is missing, and with it the passwords of {self.cluster}: put it back, or move "
                f"{self.path} away to begin empty."
            )
        values = {name: secrets.token_urlsafe(32) for name in names}
        self.save_secrets(values)
        return values

    def save_secrets(self, values: dict[str, str | int]) -> None:
        new = self.secrets_file.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(self.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.secrets_file)

    def turn_log(self) -> None:
        """Two files are kept: what was said since the last start, and what between the two starts before."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " | ".join(lines[-LOG_TAIL_LINES:]) or f"{self.log} is empty."


def try_flock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def flock_within(descriptor: int, mode: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (locked := try_flock(descriptor, mode)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return locked
