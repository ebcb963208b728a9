"""The page about rules claims nothing that is not there: its routes, tests and modules exist, its rules are all.

Settings, commands and links are held for every document alike by `test_readme.py`.
"""

import re

import pytest

from app.main import create_app
from app.settings import Settings
from tests.docs.documents import DOCUMENTS, ROOT

PAGE = ROOT / "docs" / "compliance.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(page: str) -> list[list[str]]:
    """Of all tables, without their heads."""
    tables = re.findall(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, flags=re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for table in tables for row in table.splitlines()]


def test_every_route_exists(page: str) -> None:
    """With its method, letter for letter as the reference has it."""
    named = set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`]*)`", page))
    paths = create_app(Settings(), "postgresql://nobody@localhost:1/none").openapi()["paths"]
    there = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert len(named) > 15
    assert named - there == set()
    assert set(re.findall(r"/v1/[^`\s]*", page)) == {path for _, path in named}


def test_every_test_and_module_exists(page: str) -> None:
    """And each test is one that pytest collects."""
    tests, modules = (set(re.findall(rf"`({folder}/[^`]+)`", page)) for folder in ("tests", "app"))
    assert len(tests) > 30
    assert modules
    assert [name for name in tests | modules if not (ROOT / name).exists()] == []
    assert [
        name for name in tests if "\ndef test_" not in (text := read(name)) and "\nasync def test_" not in text
    ] == []


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_what_is_offered_is_held_by_a_test(rows: list[list[str]]) -> None:
    """And where nothing is offered, none is named."""
    laws = [row for row in rows if len(row) in (4, 5)]
    assert len(laws) > 75
    for rule, *_, offered, tests, _ in laws:
        names_a_feature = re.search(r"`(?:[A-Z]+ /v1|tidemark |TIDEMARK_)", offered)
        assert ("tests/" in tests) != (tests == "–"), rule
        assert tests == "–" or not offered.startswith("nothing"), rule
        assert tests != "–" or not names_a_feature, rule


def test_the_security_rule_is_whole(rows: list[list[str]]) -> None:
    """All rows of Appendix A to Subpart C of 45 CFR 164: 20 required, 22 addressable; and the five of 164.316."""
    marks = [row[1] for row in rows if len(row) == 5]
    assert (marks.count("(R)"), marks.count("(A)"), len(marks)) == (20 + 5, 22, 47)


def test_the_page_is_found() -> None:
    """From the README."""
    assert PAGE in DOCUMENTS
    assert "docs/compliance.md" in read("README.md")
