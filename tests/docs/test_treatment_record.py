"""The page about the treatment record tells what the program does."""

import re
from pathlib import Path
from typing import get_args

import pytest

from app.schemas.limits import DOSE_LIMITS, LIMITS, MAX_DAYS_AHEAD, MAX_SESSION_HOURS, MAX_VERSIONS
from app.schemas.treatment_sessions import Route, SuitabilityStanding


@pytest.fixture(scope="module")
def page() -> str:
    return (Path(__file__).parents[2] / "docs" / "treatment-record.md").read_text(encoding="utf-8")


def test_every_limit_is_printed_with_its_reason(page: str) -> None:
    """Row for row as declared, and no row more."""
    declared = [
        f"| `{name}` | {limit.minimum:g} | {limit.maximum:g} | {limit.unit} | {limit.reason} |"
        for name, limit in LIMITS.items()
    ]
    first_table = page.partition("## Limits")[2].partition("A dose of ketamine")[0]
    assert [row for row in first_table.splitlines() if row.startswith("| `")] == declared


def test_every_dose_limit_is_printed(page: str) -> None:
    """One row for each route there is."""
    assert tuple(DOSE_LIMITS) == get_args(Route)
    for route, limit in DOSE_LIMITS.items():
        mg, per_kg = limit.mg, limit.mg_per_kg
        row = f"| `{route}` | {mg.minimum:g} | {mg.maximum:g} | {per_kg.minimum:g} | {per_kg.maximum:g} |"
        assert row in page, route


def test_the_other_limits_are_named(page: str) -> None:
    """Length of a session, days ahead, number of versions."""
    assert f"at most {MAX_SESSION_HOURS} hours" in page
    assert f"at most {MAX_DAYS_AHEAD} days ahead" in page
    assert f"at most {MAX_VERSIONS} versions" in page


def test_every_standing_is_explained(page: str) -> None:
    """A row for each word a session may say of its suitability."""
    rows = re.findall(r"^\| `(none|current|stale|consult|not_suitable)` \|", page, flags=re.MULTILINE)
    assert sorted(rows) == sorted(get_args(SuitabilityStanding.model_fields["status"].annotation))
