"""Log lines: fit for machines and people, and without a word of what they speak of."""

import ast
import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import pytest

from app import logs
from app.settings import Settings
from tests.process.service import ROOT, plain_environment

CANARY = "canary-4711"
LEVELS = ("debug", "info", "warning", "error")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Whatever a test sets up is for this process alone, and this process has other tests."""
    root, own = logging.getLogger(), logging.getLogger("tidemark")
    handlers, levels = root.handlers[:], (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def set_up(level: Literal["debug", "info", "warning", "error"], log_format: Literal["json", "text"] = "json") -> None:
    logs.set_up(Settings(log_level=level, log_format=log_format))


def lines_of(capture: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capture.readouterr().err.splitlines()]


def test_an_event_of_ours_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Time with its offset, level, logger, name, request, then the fields, whatever stands in them."""
    set_up("info")
    bound = logs.REQUEST_ID.set(UUID(int=199))
    logging.getLogger("tidemark.worker").warning("tried", {"times": 3, "text": 'a "b"\nc', "none": None})
    logs.REQUEST_ID.reset(bound)
    (line,) = lines_of(capsys)
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "warning",
        "logger": "tidemark.worker",
        "event": "tried",
        "request_id": str(UUID(int=199)),
        "times": 3,
        "text": 'a "b"\nc',
        "none": None,
    }


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The same on one line."""
    set_up("info", "text")
    logging.getLogger("tidemark").warning("tried", {"times": 3})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" warning tried times=3")


def test_a_pipe_gets_json_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a word in the settings, because nobody sits there."""
    logs.set_up(Settings())
    logging.getLogger("tidemark").warning("tried")
    assert lines_of(capsys)[0]["event"] == "tried"


def test_setting_up_again_doubles_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """One server process does it as launcher and as worker."""
    set_up("info")
    set_up("info", "text")
    logging.getLogger("tidemark").warning("tried")
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_holds(level: Literal["debug", "info", "warning", "error"], capsys: pytest.CaptureFixture[str]) -> None:
    """For us; libraries are heard at `info` only when something is wrong."""
    set_up(level)
    for name in ("tidemark", "httpx2"):
        for tried in LEVELS:
            getattr(logging.getLogger(name), tried)("said")
    told = [(line["logger"], line["level"]) for line in lines_of(capsys) if line["logger"] != "asyncio"]
    from_here = LEVELS[LEVELS.index(level) :]
    assert [one for name, one in told if name == "tidemark"] == list(from_here)
    theirs = from_here if level != "info" else LEVELS[2:]
    assert [one for name, one in told if name == "httpx2"] == list(theirs)


@pytest.mark.parametrize("name", ["asyncio", "sqlalchemy.engine.Engine", "uvicorn.error", "httpx2", "tidemarked", ""])
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_library_says_only_where(
    name: str, log_format: Literal["json", "text"], capfd: pytest.CaptureFixture[str]
) -> None:
    """Messages, arguments, exceptions and what they were caused by may all quote a row."""
    set_up("debug", log_format)
    library = logging.getLogger(name)
    library.warning(f"row {CANARY}")
    library.warning("row %s", CANARY)
    library.warning("%(row)s", {"row": CANARY})
    library.warning("said", extra={"row": CANARY}, stack_info=True)
    error = asyncpg.UniqueViolationError(CANARY)
    error.__cause__ = ValueError(CANARY)
    library.error(CANARY, exc_info=error)
    told = capfd.readouterr().err
    assert CANARY not in told
    assert len(told.splitlines()) == 5
    assert "UniqueViolationError < ValueError" in told
    assert "23505" in told
    assert told.count("test_logs.py:") >= 5


def test_a_lost_task_says_only_its_kind(capfd: pytest.CaptureFixture[str]) -> None:
    """Asyncio writes the exception itself into its message."""
    set_up("debug")

    async def lose() -> None:
        async def fail() -> None:
            raise ValueError(CANARY)

        task = asyncio.get_running_loop().create_task(fail(), name=CANARY)
        await asyncio.wait((task,))
        del task

    asyncio.run(lose())
    told = capfd.readouterr().err
    assert '"error":"ValueError"' in told
    assert CANARY not in told


def test_python_itself_prints_nothing_of_troubles() -> None:
    """Of threads, of destructors, of the main program, of warnings, of records that cannot be written."""
    program = f"""
import logging, sys, threading, warnings
from app import logs
from app.settings import Settings
logs.set_up(Settings())
logs.guard_process()
def fail():
    raise ValueError("{CANARY}")
class Broken:
    def __del__(self):
        fail()
    def __str__(self):
        fail()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
Broken()
warnings.warn("{CANARY}")
logging.getLogger("tidemark").warning("tried", {{"broken": Broken(), "near": "{CANARY}"}})
fail()
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=plain_environment(), capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert CANARY not in finished.stderr
    told = [json.loads(line) for line in finished.stderr.splitlines()]
    assert [line["event"] for line in told if line.get("error") == "ValueError"] == ["uncaught"] * len(
        [line for line in told if line.get("error") == "ValueError"]
    )
    assert {"uncaught", "warning"} <= {line["event"] for line in told}


def calls_of_log() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted((ROOT / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=attribute)) if attribute in {
                    *LEVELS,
                    "log",
                    "exception",
                    "critical",
                }:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_event_of_ours_has_a_name() -> None:
    """A constant in small letters, and its fields in one mapping: nothing is ever written into the name."""
    calls = list(calls_of_log())
    assert len(calls) > 8
    for place, call in calls:
        positional = call.args[1:] if isinstance(call.func, ast.Attribute) and call.func.attr == "log" else call.args
        name = positional[0]
        assert isinstance(name, ast.Constant), place
        assert str(name.value).replace("_", "").isalpha(), place
        assert str(name.value).islower(), place
        assert len(positional) <= 2, place


def test_a_line_costs_little(capsys: pytest.CaptureFixture[str]) -> None:
    """One is written for each check-in. Measured: 20 µs of this process; the limit leaves room for a slow machine."""
    set_up("info")
    log, fields = (
        logging.getLogger("tidemark"),
        {"method": "POST", "route": "/v1/assessments", "status": 201, "ms": 4.2},
    )
    begun = time.process_time()
    for _ in range(2_000):
        log.info("request", fields)
    assert (time.process_time() - begun) / 2_000 < 200e-6
    capsys.readouterr()
