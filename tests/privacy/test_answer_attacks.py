"""Attackers with whole answers about cohorts: every figure of them put together, not one."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import combinations
from random import Random
from statistics import pstdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.schemas.cohort_answers import cohort_answer
from app.scoring.cohort_course import CohortFilter, CourseOutcome, CourseRecord, course_baseline, course_outcome
from app.scoring.cohort_outcomes import CohortRecord, EventCount
from app.scoring.model import Instrument, Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.treatment import Dose
from tests.privacy.test_attacks import accuracy_of_the_best_rule

PHQ_9 = get_instrument("phq-9")
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
AS_OF = START + timedelta(days=500)
DAYS = (1, 8, 14, 28, 56, 91, 182)
CASES = 300


def course(before: int, later: tuple[int | None, ...]) -> CourseOutcome:
    """One dose, a form before it, and these after it; None: missed."""
    forms = [(-2, before), *((day, total) for day, total in zip(DAYS, later, strict=True) if total is not None)]
    points = [Point(str(day), START + timedelta(days=day), total, Validity.VALID) for day, total in forms]
    record = CourseRecord((Dose("first", START),), points, ends_at=None, closed=True, contacts=3)
    return course_outcome(PHQ_9, record, course_baseline(record), AS_OF)


@lru_cache(maxsize=2)
def pool(responds: bool) -> list[CourseOutcome]:
    """Two hundred who lose two thirds of their points for good, or next to none of them."""
    draw = Random(responds)  # noqa: S311 - made-up people
    share = 0.3 if responds else 0.95
    return [
        course(before, tuple(round(before * share) if draw.random() < 0.85 else None for _ in DAYS))
        for before in (draw.randint(12, 24) for _ in range(200))
    ]


def people(draw: Random, count: int) -> list[CourseOutcome]:
    return [draw.choice(pool(draw.random() < 0.6)) for _ in range(count)]


def told(courses: list[CourseOutcome], draw: Random, instrument: Instrument = PHQ_9) -> dict[str, float]:
    """Every number of the answer, by its place, with noise of its own."""
    record = CohortRecord(AS_OF, list(courses), {"any": EventCount(len(courses) // 2, len(courses) // 2)})
    answer = cohort_answer(instrument, CohortFilter(), "consenting", record, draw.randbytes(32), b"whom")
    return dict(numbers(answer.model_dump(mode="json", exclude={"disclosure"}), ""))


def numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, sub in inner:
        yield from numbers(sub, f"{path}/{key}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


COUNTS = ("n", "count", "dosed", "with_baseline", "due", "observed", "missed", "ended", "not_yet_due", "judged",
          "persons", "lost", "at_risk", "unknown")  # fmt: skip


def counts(found: dict[str, float]) -> dict[str, float]:
    return {path: value for path, value in found.items() if path.rpartition("/")[2] in COUNTS}


def in_favour(found: dict[str, float]) -> float:
    """The sum of all that speaks for somebody who responds, less what speaks against."""
    ways = {"/outcomes/0/": 1, "/outcomes/1/": 1, "/outcomes/2/": 1, "/outcomes/3/": -1}
    spoken = [ways[way] * value for path, value in counts(found).items() for way in ways if way in path]
    return sum(spoken) / max(1, len(spoken))


def difference(one: dict[str, float], *others: dict[str, float]) -> dict[str, float]:
    shared = [path for path in one if all(path in other for other in others)]
    return {path: one[path] - sum(other[path] for other in others) for path in shared}


# --- What is published ------------------------------------------------------------------------------------------------


@given(st.integers(0, 90), st.integers(0, 12), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_no_count_of_an_answer_is_small(many: int, few: int, seed: int) -> None:
    """Of any cohort: neither a count, nor what a share leaves out, nor any mean with its n."""
    draw = Random(seed)  # noqa: S311 - made-up people
    found = told([*people(draw, many), *(course(20, (None,) * 7) for _ in range(few))], draw)
    assert all(value >= 11 for value in counts(found).values())
    for path, value in found.items():
        if path.endswith("/count"):
            assert found[path.removesuffix("count") + "n"] - value >= 11, path
        if path.endswith("/mean"):
            assert found[path.removesuffix("mean") + "n"] >= 11, path


@given(st.integers(25, 60), st.integers(1, 10), st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_no_subtraction_within_an_answer_finds_a_few(many: int, few: int, seed: int) -> None:
    """Wherever two counts are told whose difference is 1 to 10, their noise is not the same: it hides the difference.

    The mean of forty answers, each with noise of its own, stands for the true counts.
    """
    draw = Random(seed)  # noqa: S311 - made-up people
    cohort = [*people(draw, many), *(course(20, (None,) * 7) for _ in range(few))]
    answers = [counts(told(cohort, draw)) for _ in range(40)]
    always = [path for path in answers[0] if all(path in answer for answer in answers)]
    values = {path: tuple(answer[path] for answer in answers) for path in always}
    for one, other in combinations(set(values.values()), 2):
        apart = [a - b for a, b in zip(one, other, strict=True)]
        assert pstdev(apart) > 1.5


# --- What attackers achieve -------------------------------------------------------------------------------------------


def attack(seen: Callable[[Random, CourseOutcome], float]) -> float:
    """How often the best rule says rightly whether one person responded, who does so in half of the cases."""
    draw = Random(11)  # noqa: S311 - made-up people
    cases = []
    for _ in range(CASES):
        secret = draw.random() < 0.5
        cases.append((seen(draw, draw.choice(pool(secret))), secret))
    return accuracy_of_the_best_rule(cases)


def test_all_figures_of_two_neighbours_together() -> None:
    """If both were answered, which the service refuses."""

    def seen(draw: Random, friend: CourseOutcome) -> float:
        others = people(draw, 30)
        return in_favour(difference(told([*others, friend], draw), told(others, draw)))

    assert attack(seen) <= 0.62


@pytest.mark.parametrize("looks_at", ["difference", "equal"])
def test_that_nobody_is_missing_does_not_show(looks_at: str) -> None:
    """All were due and have answered, or all but one: equal numbers of other people are not told as equal."""
    draw = Random(12)  # noqa: S311 - made-up people
    cases = []
    for _ in range(CASES):
        secret = draw.random() < 0.5
        others = [course(20, (draw.randint(5, 9),) * 7) for _ in range(draw.randint(25, 40))]
        found = counts(told([*others, course(20, (None,) * 7 if secret else (9,) * 7)], draw))
        due, observed = found["/time_points/2/due"], found["/time_points/2/total/n"]
        cases.append((due - observed if looks_at == "difference" else float(due == observed), secret))
    assert accuracy_of_the_best_rule(cases) <= 0.6


def test_asking_by_every_instrument_draws_no_noise_anew() -> None:
    """Who was treated is the same by each of them, and is told as the same; who filled a form is not."""
    cohort = people(Random(4), 40)  # noqa: S311 - made-up people
    answers = [told(cohort, Random(5), get_instrument(name)) for name in ("phq-9", "gad-7", "pcl-5-week")]  # noqa: S311
    treated = [path for path in answers[0] if re.fullmatch(r"/flow/dosed|.*/due|/adverse_events/.*", path)]
    assert len(treated) > 10
    for path in treated:
        assert len({answer[path] for answer in answers}) == 1, path
    assert len({answer["/flow/with_baseline"] for answer in answers}) > 1
