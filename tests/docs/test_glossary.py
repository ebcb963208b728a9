"""The glossary is one that a word is found in."""

import re

from tests.docs.documents import ROOT

TEXT = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")


def terms(section: str) -> list[str]:
    """What entries begin with; one may explain several."""
    return re.findall(r"^\*\*(.+?)\*\*: ", section, flags=re.MULTILINE)


def test_words_are_in_order() -> None:
    """Within each section, and each word stands once."""
    sections = TEXT.split("\n## ")[1:]
    assert len(terms(TEXT)) > 60
    for section in sections:
        assert terms(section) == sorted(terms(section), key=str.casefold)
    words = [word.casefold() for entry in terms(TEXT) for word in entry.split(", ")]
    assert [word for word in words if words.count(word) > 1] == []


def test_entries_stand_apart() -> None:
    """Else a renderer makes one paragraph of two."""
    assert re.findall(r"[^\n]\n\*\*", TEXT) == []
