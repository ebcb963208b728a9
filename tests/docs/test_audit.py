"""The page about the trail: its recipe makes our hashes, its head is one of ours, its codes and fields are whole."""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from app.schemas.audit import AuditEventAnswer
from app.services.audit_chain import link_hash
from app.services.audit_heads import new_key, parse_heads, private_key
from tests.docs.documents import ROOT, blocks

PAGE = ROOT / "docs" / "audit.md"
VERIFIER = ROOT / "app" / "services" / "audit_verification.py"


def first_cells(path: Path, heading: str) -> list[str]:
    """What stands in backquotes at the head of the rows under a heading."""
    section = path.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, flags=re.MULTILINE)
    return re.findall(r"`([a-z_]+)`", " ".join(cells))


def test_the_recipe_makes_our_hashes() -> None:
    """Followed word for word, by somebody who has never seen the program."""
    text = PAGE.read_text(encoding="utf-8")
    (prefix,) = re.findall(r"the text `([^`]+)` and a zero byte", text)
    at = datetime(2026, 11, 20, 19, 31, tzinfo=UTC)
    assert f"`{at.isoformat(timespec='microseconds')}`" in text
    event: dict[str, Any] = {"id": UUID(int=7), "at": at, "action": "größer", "subject_id": None}
    shown = {"id": str(UUID(int=7)), "at": "2026-11-20T19:31:00.000000+00:00", "action": "größer"}
    written = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    before = hashlib.sha256(b"before").digest()
    recipe = prefix.encode() + b"\0" + (4711).to_bytes(8, "big") + before + written
    assert hashlib.sha256(recipe).digest() == link_hash(4711, before, event)


def test_the_head_is_one_of_ours() -> None:
    """Field for field, in their order."""
    (shown,) = blocks(PAGE, "json")
    (head,) = parse_heads(shown)
    assert head.line() == shown.strip()
    signature = head.signed(private_key(new_key()[0])).signature
    assert signature is not None
    assert signature.startswith("ed25519:")
    assert (head.signature or "").startswith("ed25519:")


def test_every_code_and_field_is_explained() -> None:
    """A row for each thing the verifier can say, and for each field of an event but its id."""
    said = set(re.findall(r'ChainFault\(\s*"([a-z_]+)"', VERIFIER.read_text(encoding="utf-8")))
    assert len(said) == 6
    assert set(first_cells(PAGE, "Verifying")) == said
    assert set(first_cells(PAGE, "What is in it")) == AuditEventAnswer.model_fields.keys() - {"id"}
