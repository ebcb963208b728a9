"""The files of a release while it is built: tables in their shapes and formats, what explains them, the manifest."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count, islice, pairwise
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final, cast
from uuid import UUID

from app.errors import Fault
from app.privacy.columns import Column
from app.release_files.dictionary import documents
from app.release_files.exchange import cdisc_qs, cdisc_rows, omop_observation, omop_rows
from app.release_files.model import FileFacts, ReleaseFileError, Row, TableShape
from app.release_files.odds import odds
from app.release_files.package import MANIFEST, datapackage, document, manifest
from app.release_files.rows import OfPerson
from app.release_files.shapes import TIME_COLUMNS, persons, scores, sessions
from app.release_files.wide import scores_wide, wide_rows
from app.release_files.writers import BATCH_ROWS, Writer, file_name, open_writer, write_document
from app.schemas.releases import ReleaseCreate, ReleaseShape
from app.scoring.model import Instrument
from app.services.scored_assessments import known_instrument

_NEEDS: Final[Mapping[ReleaseShape, Sequence[Sequence[str]]]] = {  # one column of each of these
    "wide": (("instrument",), TIME_COLUMNS),
    "omop": (("instrument",), ("total",)),
    "cdisc": (("instrument",), ("total",)),
}


def shape_faults(asked: Sequence[ReleaseShape], columns: Sequence[Column]) -> Iterator[Fault]:
    """Shapes that cannot be made of these columns of `scores`."""
    names = {column.name for column in columns}
    for place, shape in enumerate(asked):
        for any_of in _NEEDS.get(shape, ()):
            if names.isdisjoint(any_of):
                missing = " or ".join(f"scores.{name}" for name in any_of)
                yield Fault(f"/shapes/{place}", "lacks_column", f"This shape cannot be made without {missing}.")


_Make = Callable[[Iterable[Row]], Iterable[Row]]


@dataclass(slots=True)
class _Table:
    """One table in every format. Its rows are those it is given, or are made of them."""

    shape: TableShape
    writers: Sequence[Writer[Any]]
    made: _Make | None = None

    def write(self, people: Sequence[OfPerson]) -> None:
        if self.made is None:
            for writer in self.writers:
                writer.write_people(people)
            return
        for batch in _batches(self.made((one.name, *row) for one in people for row in one.rows)):
            for writer in self.writers:
                writer.write(batch)


class ReleaseFiles:
    """A writer for each table and format, into temporary files that nobody can find by name."""

    def __init__(
        self,
        asked: ReleaseCreate,
        columns: Mapping[str, Sequence[Column]],
        keys: Sequence[str],
        release_id: UUID,
        stack: AsyncExitStack,
    ) -> None:
        self._asked, self.keys, self._release_id, self._stack = asked, keys, release_id, stack
        self.open: dict[str, BinaryIO] = {}
        self._instruments = [known_instrument(key) for key in keys]
        self._tables = {table: [*self._made_of(table, mine)] for table, mine in columns.items()}
        self._persons = dict.fromkeys(columns, 0)
        self._last = dict.fromkeys(columns, "")

    def write(self, table: str, people: Sequence[OfPerson]) -> None:
        """Whole persons, ordered by pseudonym; some may have no rows. Raises ReleaseFileError when one comes twice."""
        names = [self._last[table], *(one.name for one in people)]
        if any(name <= last for last, name in pairwise(names)):
            raise ReleaseFileError(f"{table}: persons are not in order, or the rows of one came in two parts")
        self._last[table] = names[-1]
        self._persons[table] += sum(1 for one in people if one.rows)
        for made in self._tables[table]:
            made.write(people)

    def finish(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """The whole manifest. As a file it vouches for all others, and only itself is missing in it."""
        shapes = [one.shape for one in self._every_table()]
        facts = [*self._closed()]
        facts += [self._add(name, content) for name, content in documents(shapes, self._instruments).items()]
        head = {
            "id": str(self._release_id),
            "request": self._asked.model_dump(mode="json"),
            "instruments": list(self.keys),
            "odds": odds(told),
            **told,
        }
        facts.append(self._add("datapackage.json", document(datapackage(head, facts, shapes))))
        whole = manifest(head, facts)
        itself = self._add(MANIFEST, document(whole))
        return whole | {"files": [asdict(one) for one in [*facts, itself]]}

    def _closed(self) -> Iterator[FileFacts]:
        for table, made in self._tables.items():
            for one in made:
                for writer in one.writers:
                    yield replace(writer.close(), persons=self._persons[table])

    def _every_table(self) -> Iterator[_Table]:
        for made in self._tables.values():
            yield from made

    def _made_of(self, table: str, columns: Sequence[Column]) -> Iterator[_Table]:
        match table:
            case "persons":
                yield self._new_table(persons(columns))
            case "sessions":
                yield self._new_table(sessions(columns))
            case "scores":
                forms = scores(columns, self.keys)
                for asked in self._asked.shapes:
                    yield self._of_forms(asked, forms, self._instruments)

    def _of_forms(self, asked: ReleaseShape, forms: TableShape, instruments: Sequence[Instrument]) -> _Table:
        match asked:
            case "long":
                return self._new_table(forms)
            case "wide":
                return self._new_table(scores_wide(forms, instruments), partial(wide_rows, forms, instruments))
            case "omop":
                made = partial(omop_rows, forms, instruments, numbers=count(1))
                return self._new_table(omop_observation(forms), made)
            case "cdisc":
                made = partial(cdisc_rows, forms, instruments, study=str(self._release_id))
                return self._new_table(cdisc_qs(forms), made)

    def _new_table(self, shape: TableShape, made: _Make | None = None) -> _Table:
        formats = sorted(self._asked.formats)
        return _Table(shape, [open_writer(one, shape, self._new(file_name(one, shape))) for one in formats], made)

    def _add(self, name: str, content: bytes) -> FileFacts:
        return write_document(name, content, self._new(name))

    def _new(self, name: str) -> BinaryIO:
        self.open[name] = file = cast("BinaryIO", self._stack.enter_context(TemporaryFile()))  # noqa: SIM115  # the stack closes it
        return file


def _batches(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    """A form becomes up to twenty rows: they are never all there at once."""
    coming = iter(rows)
    while batch := list(islice(coming, BATCH_ROWS)):
        yield batch
