"""All shapes come of one pass over the rows, whose memory does not grow with their number."""

import tracemalloc
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any, get_args
from uuid import UUID

import pytest

from app.privacy.columns import columns_of
from app.release_files.model import ReleaseFileError, Row
from app.release_files.rows import OfPerson
from app.schemas.releases import ReleaseCreate, ReleaseShape
from app.services.release_package import ReleaseFiles

pytestmark = pytest.mark.anyio

WEEKS = 20
TOLD: dict[str, Any] = {
    "persons_out": 9, "known_at": "2026-03-02T09:00:00+00:00", "k": 11, "columns": [],
    "beside_earlier_releases": None,
}  # fmt: skip


def asked(**other: Any) -> ReleaseCreate:
    columns = [f"scores.{name}" for name in ("week", "instrument", "total", "validity", "responses")]
    whole = {
        "purpose": "does it last", "recipient": "X", "tier": "expert", "determination": "Opinion 3",
        "instruments": ["phq-9"], "columns": columns, "shapes": list(get_args(ReleaseShape)),
    }  # fmt: skip
    return ReleaseCreate.model_validate(whole | other)


def courses(first: int, people: int) -> list[OfPerson]:
    """Some persons with a form in each week."""
    forms: list[Row] = [(week, "phq-9@1", 10, "valid", "[1,1,1,1,1,1,1,1,2]") for week in range(WEEKS)]
    return [OfPerson(f"p{person:08}", forms) for person in range(first, first + people)]


def highest(stack: AsyncExitStack, blocks: int, people: int) -> int:
    """Memory of Python at its highest, while all shapes are written; its files are on the disk."""
    files = ReleaseFiles(asked(), columns_of(asked().tier, asked().columns), ["phq-9@1"], UUID(int=7), stack)
    tracemalloc.start()
    try:
        for block in range(blocks):
            files.write("scores", courses(block * people, people))
        files.finish(TOLD)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_memory_does_not_grow_with_rows_in_any_shape() -> None:
    async with AsyncExitStack() as stack:
        highest(stack, 1, 10)  # imports and caches
        assert highest(stack, 20, 10) - highest(stack, 5, 10) < 2**18


async def test_rows_of_a_block_are_never_all_there_at_once() -> None:
    """Three thousand forms are thirty thousand rows of OMOP: with all of them at once it would be twice as much."""
    async with AsyncExitStack() as stack:
        assert highest(stack, 1, 150) < 12 * 2**20


async def test_numbers_go_on_from_block_to_block() -> None:
    """Of OMOP through the file; of CDISC within the person."""
    async with AsyncExitStack() as stack:
        wanted = asked(shapes=["omop", "cdisc"])
        files = ReleaseFiles(wanted, columns_of(wanted.tier, wanted.columns), ["phq-9@1"], UUID(int=7), stack)
        for block in range(3):
            files.write("scores", courses(block, 1))
        told = {one["name"]: (one["rows"], one["persons"]) for one in files.finish(TOLD)["files"]}
        assert told["omop_observation.csv"] == (3 * WEEKS * 10, 3)
        assert told["cdisc_qs.csv"] == (3 * WEEKS * 11, 3)
        omop, cdisc = (lines(files, name) for name in ("omop_observation.csv", "cdisc_qs.csv"))
        assert [int(line.partition(",")[0]) for line in omop] == list(range(1, 3 * WEEKS * 10 + 1))
        numbers = [int(line.split(",")[3]) for line in cdisc]
        assert numbers.count(1) == 3
        assert all(then in {now + 1, 1} for now, then in pairwise(numbers))


def lines(files: ReleaseFiles, name: str) -> list[str]:
    files.open[name].seek(0)
    return files.open[name].read().decode().splitlines()[1:]


async def test_a_person_in_two_parts_is_a_mistake() -> None:
    """It would be two rows of one week, and two people of the manifest."""
    async with AsyncExitStack() as stack:
        files = ReleaseFiles(asked(), columns_of(asked().tier, asked().columns), ["phq-9@1"], UUID(int=7), stack)
        files.write("scores", courses(0, 2))
        files.write("scores", [OfPerson("p00000001a", ())])
        with pytest.raises(ReleaseFileError, match="two parts"):
            files.write("scores", courses(1, 2))
