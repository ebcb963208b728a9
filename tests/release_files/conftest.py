"""A small made-up release: three people, two instruments."""

from pathlib import Path
from typing import get_args

import pytest

from app.release_files.dictionary import documents
from app.release_files.exchange import cdisc_qs, cdisc_rows, omop_observation, omop_rows
from app.release_files.model import FileFacts, Format, Row, TableShape
from app.release_files.package import MANIFEST, datapackage, document, manifest
from app.release_files.wide import scores_wide, wide_rows
from app.release_files.writers import write_document, write_table
from tests.release_files.madeup import INSTRUMENTS, PERSONS, RELEASE, SCORES, persons_rows, scores_rows

FORMS = scores_rows()
TABLES: list[tuple[TableShape, list[Row]]] = [
    (PERSONS, persons_rows()),
    (SCORES, FORMS),
    (scores_wide(SCORES, INSTRUMENTS), list(wide_rows(SCORES, INSTRUMENTS, FORMS))),
    (omop_observation(SCORES), list(omop_rows(SCORES, INSTRUMENTS, FORMS))),
    (cdisc_qs(SCORES), list(cdisc_rows(SCORES, INSTRUMENTS, FORMS, "r1"))),
]
SHAPES = [shape for shape, _ in TABLES]


def written(directory: Path, name: str, content: bytes) -> FileFacts:
    with (directory / name).open("wb") as file:
        return write_document(name, content, file)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A directory with every file of the release."""
    files: list[FileFacts] = []
    for shape, rows in TABLES:
        for format_ in get_args(Format):
            with (tmp_path / f"{shape.name}.{format_}").open("wb") as file:
                files.append(write_table(format_, shape, [rows], file))
    explained = documents(SHAPES, INSTRUMENTS)
    files += [written(tmp_path, name, content) for name, content in explained.items()]
    package = document(datapackage(RELEASE, files, SHAPES))
    files.append(written(tmp_path, "datapackage.json", package))
    (tmp_path / MANIFEST).write_bytes(document(manifest(RELEASE, files)))
    return tmp_path
