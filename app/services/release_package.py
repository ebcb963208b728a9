"""The files of a release while it is built: tables in every format, and what explains and vouches for them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import date
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final, cast
from uuid import UUID

from app.privacy.columns import Column, Tier
from app.release_files import shapes
from app.release_files.dictionary import dictionary_csv, dictionary_markdown, instruments_json
from app.release_files.model import FileFacts, Format, TableShape
from app.release_files.package import ReleaseFacts, datapackage, document
from app.release_files.package import manifest as package_manifest
from app.release_files.rows import Values
from app.release_files.writers import file_name, open_writer, write_document
from app.schemas.releases import ReleaseCreate
from app.services.scored_assessments import known_instrument

_SHAPES: Final[Mapping[str, Callable[[ReleaseCreate, Sequence[str], Sequence[str]], TableShape]]] = {
    "patients": lambda asked, _, more: shapes.persons(Tier(asked.tier), more),
    "assessments": lambda asked, keys, more: shapes.scores(Tier(asked.tier), keys, more),
    "treatment_sessions": lambda asked, _, more: shapes.sessions(Tier(asked.tier), more),
}


class ReleaseFiles:
    """A writer for each table and format, into temporary files that nobody can find by name."""

    def __init__(
        self, asked: ReleaseCreate, columns: Mapping[str, Sequence[Column]], keys: Sequence[str], stack: AsyncExitStack
    ) -> None:
        self._asked, self._keys = asked, keys
        self.open: dict[str, BinaryIO] = {}
        self.shapes = {table: _shape(asked, table, mine, keys) for table, mine in columns.items()}
        self._stack = stack
        self._writers = {
            table: [open_writer(format_, shape, self._file(format_, shape)) for format_ in sorted(asked.formats)]
            for table, shape in self.shapes.items()
        }

    def write(self, table: str, columns: Sequence[Values]) -> None:
        """Whole persons, ordered by pseudonym."""
        for writer in self._writers[table]:
            writer.write_columns(columns)

    def finish(self, release_id: UUID, made_on: date, manifest: Mapping[str, Any]) -> list[FileFacts]:
        """What explains the tables; then the manifest as a file, which vouches for all the others."""
        told, release = list(self.shapes.values()), _facts(self._asked, release_id, made_on, manifest, self._keys)
        facts = [
            *(writer.close() for writers in self._writers.values() for writer in writers),
            self._add("dictionary.csv", dictionary_csv(told).encode()),
            self._add("dictionary.md", dictionary_markdown(told).encode()),
            self._add("instruments.json", instruments_json(map(known_instrument, self._keys)).encode()),
        ]
        facts.append(self._add("datapackage.json", document(datapackage(release, facts, told))))
        notices = {"part_2_notice": manifest["part_2_notice"]}
        return [*facts, self._add("manifest.json", document(notices | package_manifest(release, facts)))]

    def _add(self, name: str, content: bytes) -> FileFacts:
        return write_document(name, content, self._new(name))

    def _file(self, format_: Format, shape: TableShape) -> BinaryIO:
        return self._new(file_name(format_, shape))

    def _new(self, name: str) -> BinaryIO:
        self.open[name] = file = cast("BinaryIO", self._stack.enter_context(TemporaryFile()))  # noqa: SIM115  # the stack closes it
        return file


def _shape(asked: ReleaseCreate, table: str, columns: Sequence[Column], keys: Sequence[str]) -> TableShape:
    chosen = {one.name for one in columns}
    whole = _SHAPES[table](asked, keys, [one.name for one in columns])
    return replace(whole, columns=tuple(one for one in whole.columns if one.name in chosen))


def _facts(
    asked: ReleaseCreate, release_id: UUID, made_on: date, manifest: Mapping[str, Any], keys: Sequence[str]
) -> ReleaseFacts:
    """Under the release's own id and day, so that a rebuild says the same."""
    versions = manifest["versions"]
    rates = {
        f"{attack}_{rate}": value
        for attack in ("unique_by_weeks", "unique_by_two_totals")
        for rate, value in manifest[attack].items()
    }
    same = ("rows_in", "rows_out", "k", "l", "t", "highest_risk", "mean_risk", "loss_rate")
    return ReleaseFacts(
        id=str(release_id),
        title=asked.purpose,
        made_on=made_on,
        tier=Tier(asked.tier),
        purpose=asked.purpose,
        agreement=asked.agreement or asked.determination,
        software_version=versions["tidemark"],
        rules_version=str(versions["rules"]),
        instruments=tuple(keys),
        people_in=manifest["persons_in"],
        people_out=manifest["persons_out"],
        levels=manifest["rungs"],
        suppressed={"persons": manifest["persons_left_out"], "rows": manifest["rows_left_out"]},
        uniqueness=rates,
        **{name: manifest[name] for name in same},
    )
