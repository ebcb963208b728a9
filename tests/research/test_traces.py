"""Nothing that is in the database names a row in any file of any tier: every byte of every file is looked through."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pyarrow import parquet

from tests.research.clinic import Person
from tests.research.conftest import Downloaded, Study

pytestmark = pytest.mark.anyio

TABLES = {"persons", "scores", "sessions", "scores_wide", "omop_observation", "cdisc_qs"}
WORD = re.compile(rb"[A-Za-z0-9]{6,}")
UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
DAYS = re.compile(r"\d{4}-\d\d-\d\d")
COLUMNS = """
SELECT table_name, column_name, data_type FROM information_schema.columns c
WHERE table_schema = 'public' AND data_type IN ('uuid', 'bytea', 'timestamp with time zone')
    AND EXISTS (SELECT FROM information_schema.columns o WHERE o.table_schema = 'public'
        AND o.table_name = c.table_name AND o.column_name = 'clinic_id')
ORDER BY table_name, column_name
"""


def texts(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Each file as it is; and Parquet, which is compressed, opened: its values, footer and metadata."""
    for path in sorted(directory.iterdir()):
        yield path.name, path.read_bytes()
        if path.suffix == ".parquet":
            file = parquet.ParquetFile(path)
            metadata = file.metadata
            groups = [metadata.row_group(number).to_dict() for number in range(metadata.num_row_groups)]
            opened = (
                file.read().to_pylist(),
                metadata.to_dict(),
                metadata.metadata,
                file.schema_arrow.metadata,
                groups,
            )
            yield f"{path.name}, opened", repr(opened).encode()


@pytest.fixture(scope="module")
async def stored(
    study: Study,
    safe_harbor: Downloaded,  # noqa: ARG001  # what building them stores is looked for, too
    limited: Downloaded,  # noqa: ARG001  # same
    expert: Downloaded,  # noqa: ARG001  # same
) -> dict[str, set[Any]]:
    """Every id, sealed or hashed value and time that is in the database of this clinic, by its kind."""
    found: dict[str, set[Any]] = {"uuid": set(), "bytea": set(), "timestamp with time zone": set()}
    async with study.database.connection(study.clinic_id) as connection:
        for table, column, kind in await connection.fetch(COLUMNS):
            query = f'SELECT DISTINCT "{column}" FROM "{table}" WHERE clinic_id = $1 AND "{column}" IS NOT NULL'
            found[kind].update(row[0] for row in await connection.fetch(query, study.clinic_id))
    return found


def traces(found: dict[str, set[Any]]) -> set[bytes]:
    """How any of these would look as a word of a file."""
    words: set[str] = set()
    for one in found["uuid"]:
        words |= {UUID(str(one)).hex, str(one).rpartition("-")[2]}
    for one in found["bytea"]:
        words |= {one.hex(), one.hex()[:16], one.hex()[-16:]} if len(one) >= 8 else set()
    for one in found["timestamp with time zone"]:
        words |= {str(int(one.timestamp())), str(int(one.timestamp() * 1_000)), str(int(one.timestamp() * 1_000_000))}
    return {form.encode() for word in words if len(word) >= 6 for form in (word, word.upper())}


async def test_no_id_key_hash_or_time_of_the_database_is_a_word_of_a_file(
    stored: dict[str, set[Any]], downloaded: Downloaded
) -> None:
    """All of the clinic's tables, whatever they come to hold; but for the release's own id, which is told."""
    own = UUID(downloaded.told["id"])
    wanted = traces(stored | {"uuid": {one for one in stored["uuid"] if UUID(str(one)) != own}})
    assert len(wanted) > 30_000
    for name, content in texts(downloaded.directory):
        assert not wanted & set(WORD.findall(content)), name
        assert {UUID(one) for one in UUIDS.findall(content.decode("latin-1"))} <= {own}, name
        raw = (UUID(str(one)).bytes for one in stored["uuid"]) if name.endswith(".parquet") else ()
        assert not any(id_ in content for id_ in raw), name


async def test_the_search_would_find_them(study: Study, stored: dict[str, set[Any]]) -> None:
    """An id written in any way, or the second in which a form was filled."""
    one, wanted = study.people[7], traces(stored)
    second = int(one.forms[0].taken_at.timestamp())
    for written in (f"row {one.id}", one.id.hex, f'"{one.id.hex.upper()}"', f"{one.forms[0].id},valid", f"{second}"):
        assert wanted & set(WORD.findall(written.encode())), written


async def test_no_name_reference_or_birthday_is_in_a_file(study: Study, downloaded: Downloaded) -> None:
    """In whatever case."""
    named = {one.name.lower().encode() for one in study.people}
    numbers = {one.external_ref.removeprefix("chart-").encode() for one in study.people}
    born = {one.born_on.isoformat() for one in study.people}
    for name, content in texts(downloaded.directory):
        words = set(WORD.findall(content.lower()))
        assert not (named | numbers) & words, name
        assert not born & set(DAYS.findall(content.decode("latin-1"))), name


async def test_no_day_or_time_of_the_record_is_told_but_where_the_tier_tells_days(
    study: Study, downloaded: Downloaded
) -> None:
    """A limited data set tells days; no tier a time of day."""
    dated = downloaded.told["request"]["tier"] == "limited_data_set"
    true_days = {day.isoformat() for one in study.people for day in days_of(one)}
    for name, content in texts(downloaded.directory):
        text, about = content.decode("latin-1"), name.partition(".")[0]
        if about in TABLES:
            assert not re.search(r"\d\d:\d\d:|datetime\.datetime", text) or name.endswith(".parquet"), name
            assert not true_days & set(DAYS.findall(text)) or (dated and about != "persons"), name
            assert "datetime.date(" not in text or (dated and about != "persons"), name
        if about in {"manifest", "datapackage"}:
            assert not true_days & set(DAYS.findall(text)), name


def days_of(one: Person) -> set[date]:
    forms, sessions = (each.taken_at for each in one.forms), (each.started_at for each in one.sessions)
    return {at.date() for at in (one.opened_at, *forms, *sessions)}


async def test_parquet_says_who_wrote_it_and_nothing_else(downloaded: Downloaded) -> None:
    """The library, the schema and what its columns mean; no name of a host, a person or a clinic."""
    for path in downloaded.directory.glob("*.parquet"):
        file = parquet.ParquetFile(path)
        assert re.fullmatch(r"parquet-cpp-arrow version \d+\.\d+\.\d+", file.metadata.created_by)
        assert set(file.metadata.metadata or {}) == {b"ARROW:schema"}
        assert file.schema_arrow.metadata is None
        assert {key for field in file.schema_arrow for key in field.metadata or {}} == {b"description"}
