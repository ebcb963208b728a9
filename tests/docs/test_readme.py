"""The README is executed: what it tells a newcomer to type works, against the demo it tells them to start."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import typer

from app.cli import cli
from app.settings import Settings
from tests.docs.documents import DOCUMENTS, ROOT, blocks, name_of
from tests.process.service import Service, await_gone, data_directory, is_alive, kill, plain_environment

README = ROOT / "README.md"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the README's lines are made of curl")


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    with data_directory() as path:
        yield path


@pytest.fixture(scope="module")
def demo(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environment = plain_environment(TIDEMARK_DATA_DIR=str(data_dir))
    demo = Service(("demo",), environment, tmp_path_factory.mktemp("demo") / "said.log")
    try:
        demo.start()
        yield demo
    finally:
        demo.end()


def exports(demo: Service) -> list[str]:
    return re.findall(r"^ *(export \w+=.*)$", demo.said.read_text(), flags=re.MULTILINE)


def run_as_told(demo: Service, line: str) -> Any:
    """In a shell into which the demo's lines were pasted before."""
    script = "\n".join((*exports(demo), line))
    finished = subprocess.run(["/bin/sh", "-euc", script], capture_output=True, text=True, check=False, timeout=30)
    assert (finished.returncode, finished.stderr) == (0, "")
    return json.loads(finished.stdout)


# --- Five minutes -----------------------------------------------------------------------------------------------------


@needs_curl
def test_the_lines_do_what_the_readme_says(demo: Service) -> None:
    """A check-in is stored, the course has verdicts with sources, the instrument its texts, the caseload its order."""
    assert [re.findall(r"\w+", line)[1] for line in exports(demo)] == [
        *("TIDEMARK", "TOKEN", "PATIENT"),
        *("RESEARCHER", "ADMIN"),
    ]
    check_in, course, instrument, caseload = (run_as_told(demo, block) for block in blocks(README, "sh")[:4])

    assert check_in["score"]["validity"] == "prorated"
    assert check_in["score"]["missing"] == [4]
    assert check_in["score"]["severity"]["label"] in {"Mild", "Moderate"}
    assert None in {screen["met"] for screen in check_in["score"]["screens"]}

    assert course["baseline"]["rule"] == "pre_treatment"
    assert course["sessions"], "the demo's patient was given doses"
    assert course["points"][-1]["assessment_id"] == check_in["id"]
    assert len(course["points"]) > 10
    totals = [point["total"] for point in course["points"] if point["total"] is not None]
    assert min(totals) <= course["baseline"]["total"] / 2, "this patient answers to the first dose"
    verdicts = course["latest"]["verdicts"]
    assert {"reliable_change", "response", "remission"} <= {verdict["rule"] for verdict in verdicts}
    assert [verdict for verdict in verdicts if not verdict["source"] or verdict["threshold"] is None] == []

    assert [item["number"] for item in instrument["items"]] == list(range(1, 11))
    assert all(len(item["text"]) > 10 for item in instrument["items"])

    worst, *_, last = caseload["data"]
    assert worst["alerts"]["open"] >= last["alerts"]["open"]
    assert worst["alerts"]["open"] > 0


@needs_curl
def test_the_lines_the_demo_prints_work_too(demo: Service) -> None:
    """All of them answer with what they are about."""
    lines = re.findall(r"^ *(curl .*)$", demo.said.read_text(), flags=re.MULTILINE)
    patients, check_ins, course, caseload = (run_as_told(demo, line) for line in lines)
    assert len(patients["data"]) == 3
    assert len(check_ins["data"]) == len(caseload["data"]) - 2 == 1
    assert course["patient_id"] == check_ins["data"][0]["patient_id"]


@needs_curl
def test_a_researcher_has_a_file_open(demo: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the cohort's figures to a data frame, by the README alone."""
    monkeypatch.chdir(tmp_path)
    cohort, ask, approve, look, fetch = blocks(README, "sh")[4:]
    assert run_as_told(demo, cohort)["flow"]["dosed"] > 30
    asked = run_as_told(demo, f"{ask}{look}".replace('echo "$RELEASE"', ":"))
    here = f"export RELEASE={asked['id']}\n"
    assert run_as_told(demo, here + approve)["status"] == "approved"
    asked = ready(demo, here + look)
    assert run_as_told(demo, here + fetch + "cat manifest.json")["id"] == asked["id"]
    (notebook,) = blocks(README, "python")
    made: dict[str, Any] = {}
    exec(notebook, made)  # noqa: S102  # the page's own code
    assert len(made["persons"]) == asked["manifest"]["persons_out"] > 30
    assert made["course"].loc["intramuscular", "count"].sum() > 100


def ready(demo: Service, look: str) -> Any:
    """What a look says once the release is built: every second the worker comes by."""
    for _ in range(60):
        if run_as_told(demo, look)["status"] not in {"approved", "building"}:
            break
        time.sleep(1)
    seen = run_as_told(demo, look)
    assert seen["status"] == "ready", seen["failure"]
    return seen


def test_ctrl_c_leaves_nothing_running_and_loses_nothing(demo: Service) -> None:
    """The second start is the same clinic with the same tokens and what was sent in the meantime; nothing leaks."""
    told = exports(demo), tokens(demo)
    before = run_as_told(demo, COUNT)
    postmaster, everyone = demo.postmaster(), demo.family()
    assert postmaster in everyone
    assert demo.stop(signal.SIGINT) == 0
    assert await_gone(everyone, 5) == []

    demo.said.write_text("")
    demo.start()
    assert (exports(demo), tokens(demo)) == told
    assert run_as_told(demo, COUNT) == before
    assert "Loading" not in demo.said.read_text()


COUNT = 'curl -s "$TIDEMARK/v1/assessments?patient_id=$PATIENT&limit=200" -H "Authorization: Bearer $TOKEN"'


def tokens(demo: Service) -> list[str]:
    return re.findall(r"\btmk_\S+", demo.said.read_text())


def test_the_demo_keeps_its_tokens_to_itself(demo: Service, data_dir: Path) -> None:
    """One for each role; the file that remembers them is the owner's alone."""
    assert is_alive(demo.launcher.pid)
    assert len(set(tokens(demo))) == 5
    assert (data_dir / "demo.json").stat().st_mode & 0o077 == 0


def test_a_killed_demo_leaves_nothing_running(demo: Service) -> None:
    """Who was killed cannot stop anything; its Postgres stops by itself, in order."""
    everyone = demo.family()
    assert len(everyone) > 2
    kill(demo.launcher.pid)
    demo.launcher.wait()
    assert await_gone(everyone) == []


# --- Your own clinic --------------------------------------------------------------------------------------------------


def test_the_lines_for_an_own_clinic_work(tmp_path: Path) -> None:
    """Clinic, token and import as written there, but for the id and the file a reader puts in."""
    (own,) = (block for block in blocks(README, "console") if "clinic create" in block)
    header = ["chart", *(f"phq{number}" for number in range(1, 10)), "date"]
    row = ["made-up-7", *"111111111", "2026-03-02T09:00:00+01:00"]
    (tmp_path / "forms.csv").write_text(f"{','.join(header)}\n{','.join(row)}\n")
    lines = re.findall(r"^\$ \.venv/bin/tidemark (.*)$", own, flags=re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["clinic", "token", "import", "serve"]
    with data_directory() as data_dir:
        environment = plain_environment(TIDEMARK_DATA_DIR=str(data_dir), PYTHONPATH=str(ROOT))
        clinic_id = said = ""
        for line in lines[:-1]:
            command = f"{sys.executable} -m app {line.replace('CLINIC_ID', clinic_id)}"
            said = subprocess.run(
                ["/bin/sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
            ).stdout
            clinic_id = clinic_id or re.findall(r"[0-9a-f-]{36}", said)[0]
        assert re.search(r"^ *stored +1 *$", said, flags=re.MULTILINE)


# --- What the documents name ------------------------------------------------------------------------------------------


def headings(document: Path) -> set[str]:
    """As a renderer makes them into fragments."""
    texts = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    """To a file that is there, and to a heading that it has."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, fragment = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not fragment or fragment in headings(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_what_is_named_exists(document: Path) -> None:
    """Every `make` target, every `tidemark` command, every variable."""
    text = document.read_text(encoding="utf-8")
    code = "\n".join([*re.findall(r"`([^`\n]+)`", text), *blocks(document, "sh"), *blocks(document, "console")])
    targets = set(re.findall(r"\bmake ([a-z][a-z-]*)\b(?!=)", code))
    assert targets - make_targets() == set()
    named = {word for line in re.findall(r"\btidemark ((?:[a-z]+ ?)+)", code) for word in [first_known(line)]}
    assert None not in named, "a command that is not there"
    variables = set(re.findall(r"\bTIDEMARK_[A-Z_]*[A-Z]\b", text))
    assert variables - known_variables() == set()


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def first_known(line: str) -> str | None:
    """The command that a line begins with, or nothing."""
    group: Any = typer.main.get_command(cli)
    words = line.split()
    while words and hasattr(group, "commands"):
        if words[0] not in group.commands:
            return None
        group = group.commands[words.pop(0)]
    return line


def known_variables() -> set[str]:
    settings = {f"TIDEMARK_{name.upper()}" for name in Settings.model_fields}
    compose = re.findall(r"\bTIDEMARK_[A-Z_]*[A-Z]\b", (ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return settings | set(compose)


# --- Operations -------------------------------------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of the page on operations."""
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    lines = page.split(f"\n## {heading}\n")[1].split("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]


def test_every_setting_is_in_the_table() -> None:
    """Once, and where its default is a number, with it."""
    told = {
        name.lower(): default
        for names, defaults, _ in table("Settings")
        for name, default in zip(re.findall(r"`TIDEMARK_(\w+)`", names), cycle(defaults.split(", ")), strict=False)
    }
    assert told.keys() == Settings.model_fields.keys()
    assert sum(names.count("TIDEMARK_") for names, *_ in table("Settings")) == len(told)
    numbers = {name: field.default for name, field in Settings.model_fields.items() if isinstance(field.default, float)}
    numbers |= {name: field.default for name, field in Settings.model_fields.items() if isinstance(field.default, int)}
    assert {name: told[name] for name in numbers} == {name: str(number) for name, number in numbers.items()}


def test_every_command_is_in_the_table() -> None:
    """With the groups' own commands, and nothing that is not one."""
    told = {
        name for names, _ in table("Commands") for name in re.findall(r"`tidemark ([a-z]+(?: [a-z]+)?)[^`]*`", names)
    }
    assert told == set(commands(typer.main.get_command(cli)))


def commands(group: Any) -> Iterator[str]:
    for name, command in group.commands.items():
        inner = commands(command) if hasattr(command, "commands") else ("",)
        yield from (f"{name} {one}".strip() for one in inner)
