"""What docs/erasure.md and docs/consents.md show is what is taken and told, field for field."""

import json
import re
from pathlib import Path

from app import tables
from app.schemas.consents import ConsentPut, ConsentWithdrawal, PartTwoPut, Purpose
from app.schemas.erasures import ErasureAnswer, ErasureGround
from app.schemas.everything import EverythingAnswer, ReleaseOfPerson
from app.schemas.fields import Body
from app.schemas.patients import PatientCreate
from app.services.erasure_ledger import parse_ledger
from app.services.everything import HIDDEN, MOST_ROWS, PARTS
from tests.docs.documents import ROOT, blocks

ERASURE = ROOT / "docs" / "erasure.md"
CONSENTS = ROOT / "docs" / "consents.md"


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without their heads."""
    section = page.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]


def named(cell: str) -> list[str]:
    return re.findall(r"`([a-z_0-9]+)`", cell)


def test_the_line_of_the_ledger_is_one_of_ours() -> None:
    """Read and written again it is the same."""
    (shown,) = blocks(ERASURE, "json")
    (entry,) = parse_ledger(shown)
    assert entry.line() == shown.strip()


def test_grounds_and_purposes_are_all_explained() -> None:
    """A row for each, and none for another."""
    assert [named(row[0]) for row in rows(ERASURE, "Erase")] == [[ground.value] for ground in ErasureGround]
    assert [named(row[0]) for row in rows(CONSENTS, "Record one")] == [[purpose.value] for purpose in Purpose]


def test_the_certificate_and_the_document_are_explained_field_by_field() -> None:
    """In the tables under their headings."""
    certificate = [name for row in rows(ERASURE, "The certificate") for name in named(row[0])]
    assert sorted(certificate) == sorted(ErasureAnswer.model_fields)
    document = [name for row in rows(ERASURE, "Everything about a person") if len(row) == 2 for name in named(row[0])]
    assert sorted(document) == sorted(EverythingAnswer.model_fields)
    assert f"{MOST_ROWS:,} rows" in ERASURE.read_text(encoding="utf-8")


def test_every_column_of_everything_is_named() -> None:
    """So that whoever gets the document can read it, and whoever adds a column decides about it."""
    shown = {named(row[0])[0]: named(row[2]) for row in rows(ERASURE, "Everything about a person") if len(row) == 3}
    known = {name: part.table for name, part in PARTS.items()} | {"delivery": tables.Delivery}
    assert set(shown.pop("release_person")) == set(ReleaseOfPerson.model_fields)
    assert shown.keys() == known.keys()
    for name, table in known.items():
        columns = {column.name for column in table.__table__.columns} - HIDDEN
        if name == "assessment":
            columns.add("score")
        if name == "patient":
            columns = columns - {"identifiers"} | set(PatientCreate.model_fields)
        assert set(shown[name]) == columns, name


def test_bodies_of_consents_are_what_is_taken() -> None:
    """All three are read by their models, and are the examples of the reference."""
    models: tuple[type[Body], ...] = (ConsentPut, ConsentWithdrawal, PartTwoPut)
    for shown, model in zip(blocks(CONSENTS, "json"), models, strict=True):
        assert json.loads(shown) == model.model_json_schema()["example"]
        model.model_validate(json.loads(shown))
