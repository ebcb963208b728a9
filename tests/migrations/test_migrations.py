"""Migrations: from nothing to the newest, back, and forth again, without drift."""

import re
from pathlib import Path

import pytest

from app import migrate
from app.embedded_postgres import EmbeddedPostgres


def test_up_check_down_up(postgres: EmbeddedPostgres) -> None:
    """Every revision can be taken back and made again; tables and migrations agree."""
    fresh = postgres.create_database("migrations")
    try:
        for _ in range(2):
            migrate.upgrade(fresh.owner_url)
            migrate.check(fresh.owner_url)
            migrate.downgrade(fresh.owner_url, "base")
        migrate.upgrade(fresh.owner_url)
    finally:
        postgres.drop_database("migrations")


def test_revisions_are_named_by_date_and_words(repository: Path) -> None:
    """So that their order can be read in a listing."""
    names = [path.name for path in (repository / "migrations" / "versions").glob("*.py")]
    assert names
    assert [name for name in names if not re.fullmatch(r"\d{4}-\d{2}-\d{2}-\d{4}_[a-z0-9_]+\.py", name)] == []


@pytest.mark.parametrize("part", ["lock_timeout", "import sqlmodel", "policy and its grants"])
def test_template_reminds_of_what_is_forgotten(repository: Path, part: str) -> None:
    """Lock time-out, the import that autogenerate needs, and the tenancy."""
    assert part in (repository / "migrations" / "script.py.mako").read_text()


def test_every_revision_limits_its_locks(repository: Path) -> None:
    """A migration that waits for a lock makes everyone wait."""
    for path in (repository / "migrations" / "versions").glob("*.py"):
        assert path.read_text().count("SET LOCAL lock_timeout") >= 2, path.name
