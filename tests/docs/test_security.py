"""docs/security.md: each claim of a wall names a test, and each test named is there."""

import ast
import re

import pytest

from app.auth import TokenKind
from app.deps import TOKEN_CACHE_SECONDS
from app.services import issuers
from app.services.issuer_keys import FETCH_SECONDS
from app.settings import Settings
from tests.docs.documents import ROOT

TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def test_every_row_has_a_test() -> None:
    for heading, columns in (("What is protected", 5), ("Doors that were tried", 3)):
        found = rows(heading)
        assert len(found) >= 8
        for row in found:
            assert len(row) == columns, row
            assert re.fullmatch(r"`tests/\S+::\w+`(, `tests/\S+::\w+`)*", row[-1].strip()), row


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_every_test_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_no_test_is_named_otherwise() -> None:
    """In another form it would escape the test above."""
    assert len(re.findall(r"tests/", TEXT)) == len(re.findall(r"`tests/[\w/]+\.py::\w+`", TEXT))
    assert len(NAMED) > 50


def test_numbers_are_as_said() -> None:
    assert TOKEN_CACHE_SECONDS == 1
    assert "asked for again after one second" in TEXT
    assert Settings.model_fields["failed_logins_per_address"].default == 10
    assert "ten wrong ones a minute" in TEXT
    assert (issuers.MAX_LIFETIME_SECONDS, issuers.LEEWAY_SECONDS) == (2 * 3_600, 30)
    assert "lives for two hours at most, and half a minute" in TEXT
    assert FETCH_SECONDS == 10 * 60
    assert "believed for up to ten minutes" in TEXT


def test_every_kind_of_token_was_thought_of() -> None:
    """A new kind is a new door: tell of it on the page, then add it here."""
    assert {kind.name for kind in TokenKind} == {"API", "LINK", "CODE", "ACCESS", "REFRESH"}
