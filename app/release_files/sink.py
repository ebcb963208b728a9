"""Where a writer's bytes go: counted, hashed, and only while the writer is at work and nothing has failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import BinaryIO, Literal

from app.release_files.model import ReleaseFileError


class Sink:
    """A file that takes nothing after a failure.

    pyarrow writes the footer of an abandoned file when it collects the garbage: half a table would look whole.
    """

    closed = False  # pyarrow asks

    def __init__(self, file: BinaryIO) -> None:
        self.bytes = 0
        self._file = file
        self._hash = sha256()
        self._state: Literal["waiting", "taking", "done"] = "waiting"

    @contextmanager
    def taking(self) -> Iterator[None]:
        """For the time of one call of the writer."""
        if self._state == "done":
            raise ReleaseFileError("this file is closed, or broke off")
        self._state = "taking"
        try:
            yield
        except BaseException:
            self._state = "done"
            raise
        self._state = "waiting"

    def end(self) -> str:
        """The SHA-256 of everything; nothing is taken from here on."""
        self._state = "done"
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Drop what comes outside of a call: raising in a destructor would only be noise."""
        if self._state == "taking":
            if self._file.write(data) != len(data):
                raise ReleaseFileError("the file took less than it was given")
            self._hash.update(data)
            self.bytes += len(data)
        return len(data)

    def tell(self) -> int:
        """Files are written from front to back."""
        return self.bytes

    def flush(self) -> None:
        """The file is flushed by whoever opened it."""

    def close(self) -> None:
        """The file is closed by whoever opened it."""
