"""The page on schedules says what the code says; its worked example runs with those of the other pages."""

import re
from typing import Final

from app.scoring.protocols import all_protocols
from app.scoring.schedule import Anchor
from app.scoring.schedule_checks import (
    ASSUMED_DOSES,
    MAXIMUM_CHECK_INS,
    MAXIMUM_CODE_LENGTH,
    MAXIMUM_DISTANCE_DAYS,
    plan_warnings,
)
from app.scoring.schedule_matching import DueStatus
from tests.docs.documents import ROOT

PAGE: Final = ROOT / "docs" / "schedules.md"


def test_the_tables_name_what_there_is() -> None:
    """Every anchor, status and protocol, the latter with the number of their warnings."""
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"`{anchor}`" in page for anchor in Anchor)
    assert re.findall(r"^\| `([a-z_]+)` \| (?:before|from|a form) ", page, flags=re.MULTILINE) == list(DueStatus)
    assert re.findall(r"^\| `([^`]+@\d+)` \|.*\| (\d+) \|$", page, flags=re.MULTILINE) == [
        (protocol.key, str(len(plan_warnings(protocol.entries)))) for protocol in all_protocols()
    ]


def test_the_limits_are_those_of_the_code() -> None:
    """Numbers in the text."""
    page = PAGE.read_text(encoding="utf-8")
    assert f"At most {MAXIMUM_CHECK_INS} check-ins" in page
    assert f"for {ASSUMED_DOSES} doses" in page
    assert f"at most {MAXIMUM_CODE_LENGTH} characters" in page
    assert MAXIMUM_DISTANCE_DAYS // 366 == 10
    assert "ten years" in page
