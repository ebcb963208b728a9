"""The directory of an export: what is asked for in it, which pieces of a file are there; one process at a time."""

import fcntl
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from app.errors import ConflictError, InvalidError
from app.postgres_directory import try_flock
from app.services.release_downloads import CHUNK_BYTES

ORDER: Final = ".tidemark-export.json"  # hidden: it goes to nobody with the files

File = Mapping[str, Any]  # as the manifest tells of it
OpenPieces = Callable[[int], Awaitable[AsyncIterator[bytes]]]  # from this one on
Told = Callable[[int], None]  # of so many bytes more


class BusyError(ConflictError):
    pass


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for in a directory. The key is there before the release, so that asking again asks for no other."""

    clinic_id: UUID
    key: str
    release_id: UUID | None = None


class ExportDirectory:
    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Made if it is not there; ours until the end, also one by `kill -9`. Raises InvalidError, BusyError."""
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            raise InvalidError("The directory named by --out cannot be made.") from None
        try:
            if not try_flock(descriptor, fcntl.LOCK_EX):
                raise BusyError("Another `tidemark export` works in this directory.")
            yield
        finally:
            os.close(descriptor)

    # --- What is asked for --------------------------------------------------------------------------------------------

    def order(self, clinic_id: UUID) -> Order:
        """The one that is here, or a new one. Raises InvalidError."""
        if not (self._path / ORDER).exists():
            self.keep(Order(clinic_id, str(uuid4())))
        found = self._read()
        if found.clinic_id != clinic_id:
            raise InvalidError("This directory has an export of another clinic. Name a new one.")
        return found

    def keep(self, order: Order) -> None:
        """All of it or nothing, and on the disk before anything is asked for."""
        new = self._path / f"{ORDER}.part"
        try:
            with _opened(new) as file:
                file.truncate()
                file.write(json.dumps(asdict(order), default=str).encode())
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path / ORDER)
        except OSError as error:
            raise InvalidError(f"The directory named by --out cannot be written to: {error.strerror}.") from None

    def _read(self) -> Order:
        try:
            found = json.loads((self._path / ORDER).read_bytes())
            release_id = found["release_id"]
            return Order(UUID(found["clinic_id"]), str(found["key"]), release_id and UUID(release_id))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InvalidError(f"{ORDER} in the directory named by --out cannot be read. Name a new one.") from None

    # --- Files --------------------------------------------------------------------------------------------------------

    def is_whole(self, file: File) -> bool:
        path = self._path / str(file["name"])
        return path.is_file() and _digest(path) == file["sha256"]

    async def fetch(self, file: File, pieces: OpenPieces, told: Told) -> None:
        """After the pieces that are there, or from the start if they were others'. Raises ConflictError."""
        part = self._path / f"{file['name']}.part"  # until it is whole
        try:
            for begin in dict.fromkeys((_pieces_in(part, file), 0)):
                await _fetch_from(begin, part, pieces, told)
                if _digest(part) == file["sha256"]:
                    part.replace(self._path / str(file["name"]))
                    return
                told(-part.stat().st_size)
        except OSError as error:
            raise ConflictError(f"{file['name']} cannot be written: {error.strerror}. What is there is kept.") from None
        raise ConflictError(f"{file['name']} is not as the manifest says. Was the release revoked meanwhile?")


async def _fetch_from(begin: int, part: Path, pieces: OpenPieces, told: Told) -> None:
    source = await pieces(begin)
    with _opened(part) as target:
        told(target.seek(begin * CHUNK_BYTES))
        target.truncate()
        async for piece in source:
            target.write(piece)
            told(len(piece))


def _pieces_in(part: Path, file: File) -> int:
    """Whole ones; never more than the file has."""
    held = part.stat().st_size if part.is_file() else 0
    return int(min(held, file["bytes"]) // CHUNK_BYTES)


def _opened(path: Path) -> Any:
    """To be written to, for its owner's eyes alone; what it holds stays."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
