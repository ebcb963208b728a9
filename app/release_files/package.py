"""What goes around the tables: a description that programs read, and the manifest, written last."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from app.release_files.model import Column, FileFacts, Kind, TableShape

MANIFEST: Final = "manifest.json"
Told = Mapping[str, Any]  # what is true of a release before its files are closed, as its manifest says it
NOTICE: Final = (
    "De-identified, not anonymous. A course of totals over weeks is a fingerprint: whoever knows two of a person's"
    " totals may find the person. Keep these files as the agreement says, link them with nothing, and look for nobody."
)
_FRICTIONLESS: Final[Mapping[Kind, str]] = {"text": "string", "category": "string"}  # the other kinds are called alike
_CSV: Final[Mapping[str, Any]] = {
    "type": "table",
    "profile": "tabular-data-resource",
    "dialect": {"delimiter": ",", "lineTerminator": "\r\n", "quoteChar": '"', "doubleQuote": True, "header": True},
}
_MEDIA_TYPES: Final = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "md": "text/markdown",
    "json": "application/json",
}


def datapackage(told: Told, files: Sequence[FileFacts], shapes: Sequence[TableShape]) -> dict[str, Any]:
    """A Frictionless data package of the files, each table with its schema."""
    by_name = {shape.name: shape for shape in shapes}
    names = {file.name for file in files}
    return {
        "profile": "data-package",
        "name": f"release-{told['id']}",
        "title": told["request"]["purpose"],
        "description": NOTICE,
        "created": told["known_at"],
        "resources": [_resource(file, by_name.get(Path(file.name).stem), names) for file in files],
    }


def manifest(told: Told, files: Sequence[FileFacts]) -> dict[str, Any]:
    """Same release, same files, same bytes. `complete` is the last word: a manifest that was cut off lacks it."""
    ordered = [asdict(file) for file in sorted(files, key=lambda file: file.name)]
    return {"notice": NOTICE, **told, "files": ordered, "complete": True}


def document(content: Mapping[str, Any]) -> bytes:
    """JSON as it stands in a release."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def release_faults(directory: Path) -> tuple[str, ...]:
    """What is missing, cut off or changed in a release that was downloaded; nothing when it is whole."""
    try:
        told = json.loads((directory / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return (f"{MANIFEST} is missing or cut off: the release is not whole",)
    if not isinstance(told, dict) or told.get("complete") is not True:
        return (f"{MANIFEST} does not say that the release is complete",)
    if not isinstance(told.get("files"), list) or not told["files"]:
        return (f"{MANIFEST} names no files: it is not that of a release",)
    return tuple(fault for file in told["files"] if (fault := _fault(directory, file)))


def _fault(directory: Path, told: object) -> str | None:
    match told:
        case {"name": str(name), "sha256": str(expected)}:
            pass
        case _:
            return f"{MANIFEST} has an entry without a file's name and SHA-256"
    if Path(name).name != name:
        return "a file of the manifest lies outside of the release"
    try:
        with (directory / name).open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # a name with a null character is no file's
        return f"{name} is missing"
    return None if digest == expected else f"{name} is cut off or changed"


def _resource(file: FileFacts, shape: TableShape | None, names: set[str]) -> dict[str, Any]:
    format_ = file.name.rpartition(".")[2]
    resource = {
        "name": file.name,
        "path": file.name,
        "format": format_,
        "mediatype": _MEDIA_TYPES[format_],
        "encoding": "utf-8",
        "bytes": file.bytes,
        "hash": f"sha256:{file.sha256}",
    }
    if shape is None:
        return {**resource, "type": "file"}
    # A validator needs more than its own package to look into the others; their bytes and hashes it checks without.
    kind = _CSV if format_ == "csv" else {"type": "file"}
    return {**resource, "description": shape.description, **kind, "schema": _schema(shape, names)}


def _schema(shape: TableShape, names: set[str]) -> dict[str, Any]:
    return {
        "fields": [_field(column) for column in shape.columns],
        "missingValues": [""],
        **({"primaryKey": list(shape.primary_key)} if shape.primary_key else {}),
        **_link(shape, names),
    }


def _link(shape: TableShape, names: set[str]) -> dict[str, Any]:
    if shape.name == "persons" or "persons.csv" not in names:
        return {}
    reference = {"resource": "persons.csv", "fields": ["patient"]}
    return {"foreignKeys": [{"fields": [shape.person], "reference": reference}]}


def _field(column: Column) -> dict[str, Any]:
    field: dict[str, Any] = {
        "name": column.name,
        "type": _FRICTIONLESS.get(column.kind, column.kind),
        "description": column.description,
    }
    if column.unit:
        field["unit"] = column.unit
    if column.categories:
        field["constraints"] = {"enum": list(column.categories)}
    return field
