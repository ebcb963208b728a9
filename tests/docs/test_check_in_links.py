"""What docs/check-in-links.md shows can be sent as it stands, and what it says in numbers is so."""

import json
from pathlib import Path

from app.schemas import check_in_links
from app.schemas.check_in_links import CheckInLinkCreate, CheckInSubmit
from tests.docs.documents import blocks


def test_bodies_are_what_is_taken(repository: Path) -> None:
    """Both are read by their models, and are the examples of the reference."""
    made, answered = map(json.loads, blocks(repository / "docs/check-in-links.md", "json"))
    for body, model in ((made, CheckInLinkCreate), (answered, CheckInSubmit)):
        model.model_validate(body)
        assert body == model.model_json_schema()["example"]


def test_defaults_and_bounds_are_as_said(repository: Path) -> None:
    """Hours and tries."""
    page = (repository / "docs/check-in-links.md").read_text(encoding="utf-8")
    hours, tries = check_in_links.DEFAULT_HOURS, check_in_links.DEFAULT_TRIES
    most_hours, most_tries = check_in_links.MAX_HOURS, check_in_links.MAX_TRIES
    assert f"{hours} hours (1 to {most_hours}) and {tries} tries (1 to {most_tries}) are the defaults." in page
