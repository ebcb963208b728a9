"""With and without a friend: what the answers about cohorts tell somebody who knows two totals and all dates of theirs.

Answers are made by the function that makes them in service, of people whose courses the pure core has judged.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random
from statistics import fmean
from typing import Any

import pytest

from app.schemas.cohort_answers import cohort_answer
from app.scoring.cohort_course import CohortFilter, CourseOutcome
from app.scoring.cohort_outcomes import CohortRecord, EventCount, cohort_outcomes
from tests.cohort_clinic import START, Invented, invented
from tests.services.test_cohorts import AS_OF, PHQ_9, expected

People = Sequence[tuple[Invented, CourseOutcome]]
Make = Callable[[People], dict[str, Any]]
ROUTES = ("intravenous", "sublingual")  # of everybody but the friend
PLAIN = Invented(
    first_dose_at=START + timedelta(days=10),
    forms={"phq-9": [(-2, 19), (8, 7), (28, 6), (91, 5)]},
    route="oral",
)


def judged(one: Invented) -> tuple[Invented, CourseOutcome]:
    return one, expected(one)


@pytest.fixture(scope="module")
def everybody() -> People:
    """Of whom each clinic of the games has some."""
    return [judged(invented(number)) for number in range(300)]


def answer(people: People) -> dict[str, Any]:
    record = CohortRecord(AS_OF, [outcome for _, outcome in people], events_of(people), not_dosed=0)
    noise = secrets.token_bytes(32), b"whom"
    return cohort_answer(PHQ_9, CohortFilter(), "consenting", record, *noise).model_dump(mode="json")


def events_of(people: People) -> dict[str, EventCount]:
    """As SQL counts them."""
    persons: defaultdict[str, set[int]] = defaultdict(set, any=set(), any_serious=set())
    doses: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
    for number, (one, _) in enumerate(people):
        for place, term, serious in one.events:
            for name in ("any", term, *["any_serious"] * serious):
                persons[name].add(number)
                doses[name].add((number, place))
    return {name: EventCount(len(mine), len(doses[name])) for name, mine in persons.items()}


def figures(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of an answer with its place."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: one for key, sub in inner for name, one in figures(sub, f"{path}/{key}").items()}
    return {path: value}


# --- What an answer is made of ----------------------------------------------------------------------------------------

FRIENDS = {
    "like others": PLAIN,
    "with the one seizure": replace(PLAIN, events=((0, "psychiatric_event", True),)),
    "with a twelfth dose": replace(PLAIN, doses=tuple(7.0 * place for place in range(12))),
    "with the one loss of response": replace(PLAIN, forms={"phq-9": [(-2, 20), (8, 4), (28, 18)]}),
    "with the one finished course": replace(PLAIN, closed_on=90.0, preparations=1),
    "without a form": replace(PLAIN, forms={}),
    "with two courses": replace(PLAIN, closed_on=20.0, next_opened_on=30.0),
}


@pytest.mark.parametrize("friend", FRIENDS)
def test_no_entry_word_or_reason_of_an_answer_is_there_for_one_person(friend: str) -> None:
    """Also beside people who all lack what the friend has: only numbers differ, and those by more than the friend."""
    others = [judged(_without_a_past(number)) for number in range(60)]
    clinics = (others, [*others, judged(FRIENDS[friend])])
    without, with_ = ([shape(answer(people)) for _ in range(10)] for people in clinics)
    paths = set().union(*without, *with_)
    apart = {path for path in paths if not seen(without, path) & seen(with_, path)}
    assert apart == set()


def _without_a_past(number: int) -> Invented:
    """Who responds and stays well, is in treatment yet, and had no event."""
    forms: list[tuple[float, float | None]] = [(-2, 17 + number % 5), (8, 6 + number % 4), (28, 4 + number % 7)]
    return Invented(START + timedelta(days=number % 50), forms={"phq-9": forms}, route=ROUTES[number % 2])


def shape(told: Mapping[str, Any]) -> dict[str, str]:
    """An answer without its numbers."""
    return {path: "number" if isinstance(one, int | float) else str(one) for path, one in figures(told).items()}


def seen(shapes: Sequence[Mapping[str, str]], path: str) -> set[str]:
    return {shape.get(path, "absent") for shape in shapes}


# --- Differencing -----------------------------------------------------------------------------------------------------

ROUNDS = 160
COUNTS = ("n", "count", "dosed", "with_baseline", "due", "observed", "missed", "judged", "persons", "unknown")


def bare_answer(people: People) -> dict[str, Any]:
    """The same counts as they are."""
    found = cohort_outcomes([outcome for _, outcome in people])
    due = {one.at.code: {"due": one.due, "judged": one.judged} for one in found.time_points}
    return {"flow": {"dosed": found.persons, "with_baseline": found.baseline.n}, "time_points": due}


def leftover(make: Make, people: People) -> float:
    """All less each route: what is left is the friend, who alone has another. The mean over all cells that are told."""
    parts = [[person for person in people if person[0].route == route] for route in ROUTES]
    whole, *told = (
        {path: n for path, n in figures(make(some)).items() if path.endswith(COUNTS)} for some in (people, *parts)
    )
    cells = [n for n in whole if isinstance(whole[n], int) and all(isinstance(part.get(n), int) for part in told)]
    return fmean(whole[n] - sum(part[n] for part in told) for n in cells)


def game(make: Make, everybody: People) -> float:
    """How often the attacker is right about whether the friend is in a clinic of eighty others.

    The rule is the best cut through what was seen in one half of the clinics; it is tried on the other half.
    """
    draw, cases = Random(3), []  # noqa: S311  # made-up people
    friend = judged(PLAIN)
    for _ in range(ROUNDS):
        is_in = draw.random() < 0.5
        cases.append((leftover(make, [*draw.sample(everybody, 80), *[friend] * is_in]), is_in))
    known, tried = cases[: ROUNDS // 2], cases[ROUNDS // 2 :]
    cut = max((seen for seen, _ in known), key=lambda cut: sum((seen >= cut) == is_in for seen, is_in in known))
    return sum((seen >= cut) == is_in for seen, is_in in tried) / len(tried)


def test_differencing_all_cells_of_three_answers_wins_against_bare_figures(everybody: People) -> None:
    """So the attack is a real one, though each cohort differs from each by many."""
    assert game(bare_answer, everybody) == 1


def test_differencing_all_cells_of_three_answers_is_near_guessing(everybody: People) -> None:
    """One half, and what chance adds in so many clinics."""
    assert game(answer, everybody) <= 0.5 + 0.06 + 3 * (0.25 / (ROUNDS / 2)) ** 0.5
