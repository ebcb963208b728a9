"""An attacker with two releases of the same people: together they find whom the manifest of the second one says."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from fastapi import FastAPI

from app.db import Database
from tests.research.attackers import Files, by_traits, by_traits_of_all, whole_courses
from tests.research.conftest import Downloaded, Study, new_study, released

pytestmark = pytest.mark.anyio

COURSES = ["scores.taken_on", "scores.instrument", "scores.total", "sessions.started_on", "sessions.kind"]
AGES = ["persons.age", *COURSES]
DOSES = ["persons.medicine", "persons.route", "persons.dose_mg", *COURSES]


@pytest.fixture(scope="module")
async def own_study(app: FastAPI, database: Database) -> AsyncIterator[Study]:
    """In which nothing was released before."""
    study = await new_study(app, database, 260, seed=4)
    yield study
    for api in (study.researcher, study.admin):
        await api.http.aclose()


@pytest.fixture(scope="module")
async def ages(own_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Downloaded:
    return await released(own_study, tmp_path_factory.mktemp("ages"), "limited_data_set", columns=AGES)


@pytest.fixture(scope="module")
async def doses(own_study: Study, ages: Downloaded, tmp_path_factory: pytest.TempPathFactory) -> Downloaded:
    assert ages.manifest["beside_earlier_releases"] is None
    return await released(own_study, tmp_path_factory.mktemp("doses"), "limited_data_set", columns=DOSES)


async def test_two_releases_find_whom_the_manifest_says(own_study: Study, ages: Downloaded, doses: Downloaded) -> None:
    """Linked by equal courses, and searched for what is known of each friend. By either alone nobody is found."""
    files = Files(ages.directory), Files(doses.directory)
    courses = [{course: name for name, course in whole_courses(each).items()} for each in files]
    links = {courses[1][course]: courses[0].get(course) for course in courses[1]}
    assert len(links) == doses.manifest["persons_out"] > 150  # no two courses are equal
    assert all(name is None or ages.names[name] == doses.names[new] for new, name in links.items())
    friends = {name: one for one in own_study.people for name, id_ in doses.names.items() if one.id == id_}
    alone_in_one = [by_traits(each) for each in files]
    together, before = by_traits_of_all(*files), set(ages.names.values())
    sizes = []
    for name, friend in friends.items():
        assert all(len(find(friend)) >= 11 or not find(friend) for find in alone_in_one)
        candidates = together(friend, [friend.id in before])
        assert name in candidates
        sizes.append(len(candidates))
    told = doses.manifest["beside_earlier_releases"]
    assert (told["releases"], told["k"]) == (1, min(sizes))
    assert told["alone_rate"] == pytest.approx(sizes.count(1) / len(sizes))
    assert told["small_rate"] == pytest.approx(sum(size < 11 for size in sizes) / len(sizes))
    assert min(ages.manifest["k"], doses.manifest["k"]) >= 11 > told["k"]  # each is safe, and both together are not
    assert told["small_rate"] > 0.3


async def test_the_class_that_is_kept_is_that_of_the_file(own_study: Study, doses: Downloaded) -> None:
    """By a number that comes from the order of the names alone."""
    query = "SELECT patient_id, told_as FROM release_person WHERE release_id = $1"
    async with own_study.database.connection(own_study.clinic_id) as connection:
        rows = await connection.fetch(query, UUID(doses.told["id"]))
    kept = {UUID(bytes=row["patient_id"].bytes): row["told_as"] for row in rows}
    numbers: dict[tuple[str, ...], int] = {}
    for row in Files(doses.directory).persons:  # ordered by name
        told = tuple(row[column.partition(".")[2]] for column in DOSES if column.startswith("persons."))
        assert kept[doses.names[row["patient"]]] == numbers.setdefault(told, len(numbers))
    assert len(numbers) > 3
