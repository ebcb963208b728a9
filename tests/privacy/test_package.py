"""What holds for the package as a whole: every public function says what a caller must know, and its page is true."""

import ast
import doctest
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import app.privacy

MODULES = sorted(path.stem for path in Path(app.privacy.__path__[0]).glob("*.py") if path.stem != "__init__")


def modules() -> Iterator[ModuleType]:
    for name in MODULES:
        yield import_module(f"app.privacy.{name}")


def public_functions() -> Iterator[tuple[str, Callable[..., object]]]:
    for module in modules():
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                yield f"{module.__name__}.{name}", function


@pytest.mark.parametrize(("name", "function"), list(public_functions()))
def test_a_public_function_says_what_a_caller_must_know(name: str, function: Callable[..., object]) -> None:
    """Units and range, missing data, errors, source, and an example that runs."""
    text = inspect.getdoc(function) or ""
    for part in ("Units and range:", "Missing data:", "Raises:", "Source:", ">>>"):
        assert part in text, f"{name} lacks {part}"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_standard_library_and_the_pure_core_are_imported(module: str) -> None:
    """Anywhere in the file, function bodies included."""
    tree = ast.parse(Path(app.privacy.__path__[0], f"{module}.py").read_text())
    imported = {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for name in imported:
        assert name.startswith(("app.privacy.", "app.scoring.")) or name.split(".")[0] in sys.stdlib_module_names


def test_the_page_about_it_is_true() -> None:
    """Every example of docs/privacy.md gives what is printed there."""
    page = Path(__file__).parents[2] / "docs/privacy.md"
    outcome = doctest.testfile(str(page), module_relative=False)
    assert outcome.attempted > 20
    assert outcome.failed == 0
