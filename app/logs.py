"""What the service says of itself: one line for each event, and in it no word that somebody sent.

A record of ours is the name of an event and a mapping of fields: `log.info("request", {"status": 200})`. The records of
libraries, and the messages of all exceptions, may quote a row: of those only kinds and places are written.
"""

import json
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import Any, Final
from uuid import UUID

from app.settings import Settings

log = logging.getLogger("tidemark")

REQUEST_ID: Final[ContextVar[UUID | None]] = ContextVar("request_id", default=None)
_OURS: Final = "tidemark"
_CAUSES: Final = 4  # told of one trouble; more only repeat
_encode: Final = json.JSONEncoder(separators=(",", ":"), default=str).encode

Fields = Mapping[str, Any]


def set_up(settings: Settings) -> None:
    """For this process. May be called again."""
    written_as = settings.log_format or ("text" if sys.stderr.isatty() else "json")
    lines = _StandardError()
    lines.setFormatter(Lines(as_text if written_as == "text" else as_json))
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _StandardError)]:
        root.removeHandler(old)
    root.addHandler(lines)
    level = settings.log_level.upper()
    log.setLevel(level)
    root.setLevel("WARNING" if level == "INFO" else level)  # what libraries tell at `info` helps nobody


def guard_process() -> None:
    """What Python would print of troubles by itself, messages and all, becomes a line like any other."""
    logging.raiseExceptions = False
    sys.excepthook = _tell_uncaught
    threading.excepthook = lambda met: _tell_uncaught(met.exc_type, met.exc_value, met.exc_traceback)
    sys.unraisablehook = lambda met: _tell_uncaught(met.exc_type, met.exc_value, met.exc_traceback)
    warnings.showwarning = _tell_warning  # type: ignore[assignment]  # called by place alone


class _StandardError(logging.StreamHandler[Any]):
    """Wherever that leads when a line is written."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, _: Any) -> None:
        raise AttributeError("it is standard error")


class Lines(logging.Formatter):
    """Makes the one line of a record."""

    def __init__(self, write: Callable[[Fields], str]) -> None:
        super().__init__()
        self._write = write

    def format(self, record: logging.LogRecord) -> str:
        return self._write(told_by(record))


def told_by(record: logging.LogRecord) -> dict[str, Any]:
    told: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
    }
    ours = record.name == _OURS or record.name.startswith(f"{_OURS}.")
    told["event"] = record.msg if ours else "library"
    if (request_id := REQUEST_ID.get()) is not None:
        told["request_id"] = request_id
    if not ours:
        told["from"] = f"{record.pathname}:{record.lineno}"
    elif isinstance(record.args, Mapping):
        told.update(record.args)
    if record.exc_info and record.exc_info[1]:
        told.update(trouble(record.exc_info[1]))
    return told


def as_json(told: Fields) -> str:
    return _encode(told)


def as_text(told: Fields) -> str:
    """For people at a terminal."""
    head = f"{told['time']} {told['level']:<7} {told['event']}"
    rest = (f"{name}={value}" for name, value in told.items() if name not in {"time", "level", "event", "logger"})
    return " ".join((head, *rest))


def trouble(error: BaseException) -> dict[str, Any]:
    """Kinds and places, with Postgres' own code, never the message."""
    told: dict[str, Any] = {"error": " < ".join(_kind(one) for one in islice(_causes(error), _CAUSES))}
    states = (getattr(one, "sqlstate", None) for one in _causes(error))
    if state := next((state for state in states if isinstance(state, str)), None):
        told["sqlstate"] = state
    return told | {"at": places(error.__traceback__)}


def places(trace: TracebackType | None) -> str:
    """The innermost first."""
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(traceback.extract_tb(trace)))


def _kind(error: BaseException) -> str:
    return type(error).__qualname__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _tell_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    log.error("uncaught", {"error": kind.__qualname__, "at": places(trace)} if error is None else trouble(error))


def _tell_warning(message: object, category: type[Warning], filename: str, lineno: int, *_: object) -> None:  # noqa: ARG001  # Python's signature
    log.warning("warning", {"kind": category.__qualname__, "at": f"{filename}:{lineno}"})
