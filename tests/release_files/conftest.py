"""A small made-up release: three people, two instruments."""

from pathlib import Path

import pytest

from app.release_files.model import FORMATS, FileFacts, Row, TableShape
from app.release_files.package import MANIFEST, datapackage, document, manifest
from app.release_files.writers import write_document, write_table
from tests.release_files.madeup import PERSONS, RELEASE, SCORES, persons_rows, scores_rows


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A directory with every file of the release."""
    tables: list[tuple[TableShape, list[Row]]] = [(PERSONS, persons_rows()), (SCORES, scores_rows())]
    files: list[FileFacts] = []
    for shape, rows in tables:
        for format_ in FORMATS:
            with (tmp_path / f"{shape.name}.{format_}").open("wb") as file:
                files.append(write_table(format_, shape, [rows], file))
    package = document(datapackage(RELEASE, files, [PERSONS, SCORES]))
    with (tmp_path / "datapackage.json").open("wb") as file:
        files.append(write_document("datapackage.json", package, file))
    (tmp_path / MANIFEST).write_bytes(document(manifest(RELEASE, files)))
    return tmp_path
