"""Attackers at real releases: what they find is what the manifest says, neither more nor less."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from random import Random

import pytest
from scipy.stats import spearmanr

from tests.research.attackers import (
    Files,
    by_times_of_all_forms,
    by_times_of_all_sessions,
    by_traits,
    by_two_totals,
    guess,
)
from tests.research.clinic import Person
from tests.research.conftest import INSTRUMENTS, Downloaded, Study

pytestmark = pytest.mark.anyio

Attack = Callable[[Person], set[str]]


def friends(study: Study, release: Downloaded) -> dict[str, Person]:
    """Everybody who is in the release, by the pseudonym that the attacker looks for."""
    people = {person.id: person for person in study.people}
    return {name: people[id_] for name, id_ in release.names.items()}


def found_alone(study: Study, release: Downloaded, attack: Attack) -> float:
    """The share of friends of whom one pseudonym is left. It is never the wrong one, nor is none ever left."""
    candidates = {name: attack(friend) for name, friend in friends(study, release).items()}
    assert all(name in found for name, found in candidates.items())
    return sum(len(found) == 1 for found in candidates.values()) / len(candidates)


# --- The odds that are told -------------------------------------------------------------------------------------------


async def test_two_true_totals_find_as_many_as_the_manifest_says(study: Study, downloaded: Downloaded) -> None:
    """With their weeks, and with their days where days are told."""
    rate = found_alone(study, downloaded, by_two_totals(Files(downloaded.directory), INSTRUMENTS))
    assert rate > 0.9  # it works: who has two totals has the friend
    assert downloaded.manifest["unique_by_two_totals"]["alone_rate"] == pytest.approx(rate)


async def test_the_true_dates_of_all_forms_find_as_many_as_the_manifest_says(
    study: Study, downloaded: Downloaded
) -> None:
    """Turned into weeks, or days where days are told."""
    rate = found_alone(study, downloaded, by_times_of_all_forms(Files(downloaded.directory), INSTRUMENTS))
    assert downloaded.manifest["unique_by_weeks"]["alone_rate"] == pytest.approx(rate)


async def test_the_true_dates_of_all_sessions_find_as_many_as_the_manifest_says(
    study: Study, downloaded: Downloaded
) -> None:
    """Who drove the friend there knows them."""
    rate = found_alone(study, downloaded, by_times_of_all_sessions(Files(downloaded.directory)))
    assert downloaded.manifest["unique_by_sessions"]["alone_rate"] == pytest.approx(rate)


# --- What may be known of a person ------------------------------------------------------------------------------------


async def test_whoever_knows_a_friend_well_guesses_right_once_in_k_times(study: Study, downloaded: Downloaded) -> None:
    """Age, year, treatment, medicine, route and dose exactly: k fit, whoever it is, and one of them is picked."""
    attack, draw = by_traits(Files(downloaded.directory)), Random(1)  # noqa: S311  # a guess
    sizes, hits, rounds = [], 0, 40
    for name, friend in friends(study, downloaded).items():
        candidates = attack(friend)
        assert name in candidates
        sizes.append(len(candidates))
        hits += sum(guess(draw, candidates) == name for _ in range(rounds))
    told = downloaded.manifest
    assert min(sizes) >= told["k"] >= 11
    expected = sum(1 / size for size in sizes) / len(sizes)
    assert expected == pytest.approx(told["mean_risk"])
    assert expected <= told["highest_risk"] == pytest.approx(1 / told["k"])
    guesses = rounds * len(sizes)
    assert hits / guesses <= expected + 4 * (expected / guesses) ** 0.5


async def test_the_same_attack_on_the_true_table_would_find_them(study: Study, safe_harbor: Downloaded) -> None:
    """So that it is worth something that it fails."""
    known = [
        (one.age, one.first_dose.started_at.year, one.modality, one.medicine, one.route, one.first_dose.dose_mg)
        for one in friends(study, safe_harbor).values()
        if one.first_dose
    ]
    assert sum(count == 1 for count in Counter(known).values()) / len(known) > 0.7


async def test_who_was_left_out_is_nobody_in_the_files(study: Study, safe_harbor: Downloaded) -> None:
    """Neither for want of consent nor for standing out: no course is theirs, and no small class looks like them."""
    files, inside = Files(safe_harbor.directory), set(safe_harbor.names.values())
    outside = [one for one in study.people if one.first_dose and one.id not in inside]
    assert len([one for one in outside if one.may_be_in]) == safe_harbor.manifest["persons_left_out"] > 0
    by_course, by_trait = by_times_of_all_forms(files, INSTRUMENTS), by_traits(files)
    totals = by_two_totals(files, INSTRUMENTS)
    for one in outside:
        assert len(by_trait(one)) == 0 or len(by_trait(one)) >= safe_harbor.manifest["k"]
        assert not (by_course(one) & totals(one)) or len(one.standing(INSTRUMENTS)) < 3


async def test_the_class_of_a_friend_tells_little_of_how_they_fared(study: Study, downloaded: Downloaded) -> None:
    """Two outcomes at least in every class, and none that is surer than t above what is so of everybody."""
    files, told = Files(downloaded.directory), downloaded.manifest
    outcome = {row["patient"]: row["category"] for row in files.persons}
    everybody = Counter(outcome.values())
    attack = by_traits(files)
    for friend in friends(study, downloaded).values():
        candidates = attack(friend)
        among = Counter(outcome[name] for name in candidates)
        assert len(among.keys() - {None}) >= told["l"] >= 2
        for category, count in among.items():
            assert count / len(candidates) <= everybody[category] / len(outcome) + told["t"] + 1e-9


# --- Two releases of the same people ----------------------------------------------------------------------------------


async def test_two_releases_share_neither_a_name_nor_an_order(
    study: Study, safe_harbor: Downloaded, safe_harbor_again: Downloaded
) -> None:
    """Nor do names follow the order in which people came, or that of their ids."""
    one, other = ({id_: name for name, id_ in each.names.items()} for each in (safe_harbor, safe_harbor_again))
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())
    came = sorted((person for person in study.people if person.id in one), key=lambda person: person.dosed_at)
    born = sorted(came, key=lambda person: person.born_on)
    stored = [person for person in study.people if person.id in one]
    for order in (came, born, stored, sorted(came, key=lambda person: person.id)):
        ids = [person.id for person in order]
        assert_unrelated([one[id_] for id_ in ids])
        assert_unrelated([other[id_] for id_ in ids])
    by_one = sorted(one, key=lambda id_: one[id_])
    assert_unrelated([other[id_] for id_ in by_one])


def assert_unrelated(names: list[str]) -> None:
    """Spearman's rank correlation of names with the order they are in: chance alone stays below four of its errors."""
    order = {name: rank for rank, name in enumerate(sorted(names))}
    found = spearmanr(range(len(names)), [order[name] for name in names]).statistic
    assert abs(found) < 4 / len(names) ** 0.5


async def test_rows_are_in_an_order_that_says_nothing(safe_harbor: Downloaded, safe_harbor_again: Downloaded) -> None:
    """By the random name, and within a person by what stands in the row."""
    for release in (safe_harbor, safe_harbor_again):
        for table in ("persons", "scores", "sessions"):
            cells = [list(row.values()) for row in Files(release.directory).rows(table)]
            assert cells == sorted(cells, key=lambda row: [(value is not None, value) for value in row])


async def test_only_equal_courses_link_two_releases(safe_harbor: Downloaded, safe_harbor_again: Downloaded) -> None:
    """As docs/releases.md says. By what stands of a person beside the course, one in k is linked at best."""
    one, other = Files(safe_harbor.directory), Files(safe_harbor_again.directory)
    linked_by_course = linked(safe_harbor, safe_harbor_again, course_of(one), course_of(other))
    assert linked_by_course > 0.95
    by_person = [
        {row["patient"]: tuple(value for name, value in row.items() if name not in {"patient", "category"})
         for row in each.persons}
        for each in (one, other)
    ]  # fmt: skip
    assert linked(safe_harbor, safe_harbor_again, *by_person) <= safe_harbor.manifest["highest_risk"]


def course_of(files: Files) -> dict[str, Hashable]:
    return {
        name: tuple(tuple(value for key, value in row.items() if key != "patient") for row in rows)
        for name, rows in files.forms.items()
    }


def linked(
    release: Downloaded, again: Downloaded, told: Mapping[str, Hashable], told_again: Mapping[str, Hashable]
) -> float:
    """The share of people whose two names are put together by a guess among those who look the same."""
    alike: dict[Hashable, list[str]] = {}
    for name, seen in told_again.items():
        alike.setdefault(seen, []).append(name)
    true = {id_: name for name, id_ in again.names.items()}
    right = (
        1 / len(alike[seen]) if true[release.names[name]] in alike.get(seen, ()) else 0 for name, seen in told.items()
    )
    return sum(right) / len(told)
