"""What the page about schedules shows can be sent as it stands, and is answered as it says."""

import json
from datetime import time

from app.schemas.schedules import SchedulePut, plan_entry, warnings_of
from app.scoring.protocols import get_protocol
from app.scoring.schedule import QuietHours
from app.scoring.schedule_checks import plan_faults
from tests.docs.documents import ROOT, blocks

PAGE = ROOT / "docs" / "schedules-api.md"


def test_bodies_are_accepted_and_warned_of_as_shown() -> None:
    """The entries can be carried out and raise the one warning of the page; the protocol is there."""
    own, ready_made = (SchedulePut.model_validate(json.loads(block)) for block in blocks(PAGE, "json"))
    entries = [plan_entry(entry) for entry in own.entries or ()]
    assert len(entries) == 2
    assert plan_faults(entries, QuietHours(time(20), time(8))) == ()
    (warning,) = warnings_of(entries)
    text = PAGE.read_text(encoding="utf-8")
    for shown in (f'"entry": {warning.entry},', f'"code": "{warning.code}"', f'"message": "{warning.message}"'):
        assert shown in text
    assert ready_made.protocol is not None
    assert get_protocol(ready_made.protocol).entries
