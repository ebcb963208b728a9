"""What the files around the code promise: locks, Makefile, licence, changelog, decision records, links."""

import ast
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
OURS = {"app", "tests", "migrations", "benchmarks", "docs"}


class Pin(NamedTuple):
    """One package of a lock file: what it is, what it is locked to, who asks for it."""

    requirement: str
    name: str
    version: Version
    hashes: int
    asked_by: frozenset[str]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def pins(lock: str) -> list[Pin]:
    blocks = re.split(r"^(?=[a-z0-9])", read(lock), flags=re.MULTILINE)[1:]
    return [pin(block) for block in blocks]


def pin(block: str) -> Pin:
    requirement = Requirement(block.splitlines()[0].rstrip(" \\"))
    (specifier,) = requirement.specifier
    asked_by = re.findall(r"^    #   (?:via )?(\S.*)$|^    # via (.+)$", block, flags=re.MULTILINE)
    return Pin(
        str(requirement),
        canonicalize_name(requirement.name),
        Version(specifier.version),
        len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block)),
        frozenset(first or second for first, second in asked_by),
    )


def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


def declared(*groups: str) -> list[Requirement]:
    """Give the requirements of pyproject.toml: those of the service, of its extra, and of the named groups."""
    metadata = project()
    lines = [*metadata["project"]["dependencies"], *metadata["project"]["optional-dependencies"]["embedded"]]
    for group in groups:
        lines += [line for line in metadata["dependency-groups"][group] if isinstance(line, str)]
    return [Requirement(line) for line in lines]


def declared_names(*groups: str) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in declared(*groups)}


# --- Locks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lock", "groups"), [(LOCKS[0], ("build",)), (LOCKS[1], ("build", "dev"))])
def test_lock_agrees_with_pyproject(lock: str, groups: tuple[str, ...]) -> None:
    """Each declared dependency is locked, and each version locked for it is one that pyproject.toml allows."""
    for requirement in declared(*groups):
        versions = [pin.version for pin in pins(lock) if pin.name == canonicalize_name(requirement.name)]
        assert versions, f"{requirement.name} is not in {lock}: run `make lock`"
        assert all(version in requirement.specifier for version in versions), f"{requirement} against {versions}"


@pytest.mark.parametrize(("lock", "groups"), [(LOCKS[0], ("build",)), (LOCKS[1], ("build", "dev"))])
def test_lock_holds_nothing_unasked(lock: str, groups: tuple[str, ...]) -> None:
    """A package stays in a lock only as long as pyproject.toml, or another package of that lock, asks for it."""
    locked = pins(lock)
    names = {pin.name for pin in locked}
    for pin in locked:
        by_name = {canonicalize_name(asker) for asker in pin.asked_by if re.fullmatch(r"[\w.-]+", asker)}
        assert pin.name in declared_names(*groups) or by_name & names, f"nothing asks for {pin.name}"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    """No package can be installed from a lock without its content being checked."""
    locked = pins(lock)
    assert len(locked) > 30
    assert [pin.requirement for pin in locked if pin.hashes == 0] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_place(lock: str) -> None:
    """A lock says what to install and never from where: no index, host, path or direct reference."""
    assert re.findall(r"://|file:|--(?:extra-)?index|--find-links| @ |^-", read(lock), flags=re.MULTILINE) == []


def test_both_locks_install_the_same_service() -> None:
    """Tests run on exactly the versions that are deployed."""
    assert {pin.requirement for pin in pins(LOCKS[0])} <= {pin.requirement for pin in pins(LOCKS[1])}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_keeps_clear_of_known_holes(lock: str) -> None:
    """Packages with published weaknesses are locked at or above their fixed version, or absent."""
    floors = {"starlette": "0.49.1", "h11": "0.16", "python-multipart": "0.0.27", "pyjwt": "2.13.0"}
    low = [pin for pin in pins(lock) if pin.name in floors and pin.version < Version(floors[pin.name])]
    assert low == []


# --- Dependencies -----------------------------------------------------------------------------------------------------


def imported_modules(*folders: str) -> Iterator[tuple[str, str]]:
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            yield from ((name.split(".")[0], str(path.relative_to(ROOT))) for name in names)


@pytest.mark.parametrize(
    ("folders", "groups"),
    [(("app", "migrations"), ()), (("tests", "benchmarks", "docs"), ("build", "dev"))],
    ids=["service", "development"],
)
def test_what_is_imported_is_declared(folders: tuple[str, ...], groups: tuple[str, ...]) -> None:
    """Nothing works only because some other package happened to bring it along."""
    owners = packages_distributions()
    undeclared = {
        f"{path} imports {module}"
        for module, path in imported_modules(*folders)
        if module not in sys.stdlib_module_names | OURS
        and not {canonicalize_name(owner) for owner in owners.get(module, ())} & declared_names(*groups)
    }
    assert undeclared == set()


def test_every_dependency_says_why_it_is_here() -> None:
    """The decision record on dependencies lists exactly the direct ones."""
    listed = re.findall(r"^\| `([^`]+)` \|", read("docs/adr/0009-dependencies.md"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(declared_names("build", "dev"))


# --- Makefile and continuous integration ------------------------------------------------------------------------------


# What an outer `make test` was called with must not reach the make under test.
PLAIN_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def run_make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=PLAIN_ENVIRONMENT, check=False, capture_output=True, text=True)


def make(*arguments: str) -> str:
    finished = run_make(*arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def make_targets() -> list[str]:
    (line,) = re.findall(r"^\.PHONY: (.+)$", read("Makefile"), flags=re.MULTILINE)
    return str(line).split()


def test_every_make_target_explains_itself() -> None:
    """Each target a person can call has one line in `make help`, and the help names no other."""
    listed = re.findall(r"^  (\S+) +\S", make("help"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(make_targets())
    assert {"demo", "test", "check", "run", "migrate", "lock"} <= set(listed)


def test_make_alone_helps() -> None:
    """Someone who types `make` is told what there is, and nothing happens."""
    assert make() == make("help")


def test_check_changes_nothing() -> None:
    """`make check` reports; only `make fix` and `make docs` edit files."""
    recipe = make("--dry-run", "check")
    assert "ruff format --check" in recipe
    assert "--fix" not in recipe


def test_old_python_is_refused_with_advice(tmp_path: Path) -> None:
    """A Python that is too old or missing gives one clear sentence, not a failed build."""
    old = tmp_path / "python"
    old.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "if sys.argv[1] == '--version': sys.exit(print('Python 3.10.14'))\n"
        "sys.version_info = (3, 10, 14)\n"
        "exec(sys.argv[2])\n"
    )
    old.chmod(0o755)
    finished = run_make("--always-make", "setup", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert finished.returncode != 0
    assert f"Tidemark needs Python 3.11 or newer; '{old}' is Python 3.10.14." in finished.stderr
    assert not (tmp_path / "venv").exists()


def test_continuous_integration_runs_what_people_run() -> None:
    """The entry point is executable, stops at the first failure, and runs the checks, the tests and the coverage."""
    script = read(".ci/run")
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script
    assert re.findall(r"^make .*$", script, flags=re.MULTILINE) == ["make check", "make test", "make coverage"]


# --- Documents --------------------------------------------------------------------------------------------------------


def test_licence_is_the_whole_apache_licence() -> None:
    """The licence text is the published one, byte for byte, and the package says the same."""
    published = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == published
    assert project()["project"]["license"] == "Apache-2.0"


def test_changelog_keeps_its_form() -> None:
    """Unreleased stands on top with a Scoring section, and each entry is one sentence on one line."""
    text = read("CHANGELOG.md")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE)[0] == "Unreleased"
    unreleased = text.split("\n## ")[1]
    assert "\n### Scoring\n" in unreleased
    entries = re.findall(r"^[-*] (.+)$", text, flags=re.MULTILINE)
    assert [entry for entry in entries if not re.fullmatch(r"[A-Z`].*(?<!\.)\.", entry) or ". " in entry] == []


def test_decision_records_are_complete() -> None:
    """Records are numbered without gaps, have the four headings, and are listed under their own titles."""
    records = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    index = read("docs/adr/README.md")
    for path in records:
        title, *lines = path.read_text(encoding="utf-8").splitlines()
        headings = [line for line in lines if line.startswith("## ")]
        assert headings == ["## Context", "## Decision", "## Consequences", "## Alternatives"], path.name
        assert title.startswith(f"# {path.name[:4]}: ")
        assert f"| [{path.name[:4]}]({path.name}) |" in index


def markdown_files() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_links_between_documents_lead_somewhere() -> None:
    """Each relative link of a document names a file that is there."""
    links = [
        (path, link)
        for path in markdown_files()
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
        if "://" not in link and not link.startswith("mailto:")
    ]
    assert len(links) > 10
    assert [f"{path.name}: {link}" for path, link in links if not (path.parent / link).exists()] == []


def test_every_setting_in_use_is_documented() -> None:
    """Each TIDEMARK_ variable of code, image and compose file stands on the page about running it."""
    sources = [ROOT / "compose.yaml", ROOT / "Dockerfile", ROOT / "Makefile", *(ROOT / "app").rglob("*.py")]
    used = {
        name for path in sources for name in re.findall(r"\bTIDEMARK_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    assert "TIDEMARK_DATABASE_URL" in used
    assert used - set(re.findall(r"\bTIDEMARK_[A-Z_]+", read("docs/operations.md"))) == set()
