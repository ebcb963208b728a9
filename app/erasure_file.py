"""The erasure ledger as a file outside the database, so that a restored backup does not bring anybody back."""

import asyncio
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from app.db import Database
from app.errors import InvalidError
from app.services.erasure_ledger import LedgerEntry, find_entries, parse_ledger

LINE_BEGINS: Final = b'{"clinic_id": "'


def read_ledger(path: Path) -> list[LedgerEntry]:
    """Empty where there is none yet. Raises InvalidError for one that cannot be trusted to be whole."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return _whole_entries(file)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidError(f"The erasure ledger {path} cannot be read: {error.strerror}.") from None


def add_to_ledger(path: Path, entries: Iterable[LedgerEntry]) -> set[UUID]:
    """Adds those it does not hold, on disk when this comes back. Returns the ids it holds now."""
    with _opened(path) as file:
        known = {entry.id for entry in _whole_entries(file)}
        _drop_torn_line(file)
        new = {entry.id: entry for entry in entries if entry.id not in known}
        if new:
            file.write("".join(f"{entry.line()}\n" for entry in new.values()).encode())
            file.flush()
            os.fsync(file.fileno())
        return known | new.keys()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Alone, at its end, and there to stay."""
    is_new = not path.exists()
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    if is_new:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _whole_entries(file: BinaryIO) -> list[LedgerEntry]:
    """What a crash cut short was never on record here: the database still has it, and it is written anew.

    But it has to look like the beginning of one of ours: the setting may name somebody else's file.
    """
    whole, torn = _parts(file)
    if torn[: len(LINE_BEGINS)] != LINE_BEGINS[: len(torn)]:
        raise InvalidError("The erasure ledger ends with what is none of ours. Nothing was done.")
    try:
        return parse_ledger(whole.decode())
    except UnicodeDecodeError:
        raise InvalidError("The erasure ledger is no text. Nothing was done.") from None


def _drop_torn_line(file: BinaryIO) -> None:
    whole, _ = _parts(file)
    file.truncate(len(whole))


def _parts(file: BinaryIO) -> tuple[bytes, bytes]:
    """Up to the end of the last whole line, and what follows it."""
    file.seek(0)
    content = file.read()
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


class LedgerKeeper:
    """Puts each new erasure into the file within a worker's round."""

    def __init__(self, database: Database, path: Path) -> None:
        self._database, self._path = database, path
        self._stamp: tuple[int, int] | None = None  # of the file whose entries are known
        self._known: set[UUID] = set()

    async def take_turn(self, clinic_id: UUID) -> int:
        """How many were added for this clinic."""
        if (stamp := self._stamp_now()) != self._stamp or stamp is None:
            self._known = {entry.id for entry in await asyncio.to_thread(read_ledger, self._path)}
        async with self._database.connection(clinic_id) as connection:
            missing = await find_entries(connection, clinic_id, self._known)
        if missing:
            self._known = await asyncio.to_thread(add_to_ledger, self._path, missing)
        self._stamp = self._stamp_now()
        return len(missing)

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size
