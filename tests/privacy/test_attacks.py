"""Attackers at work: each wins against bare figures, and does little better than guessing against what is published.

Every attack is told as much as it could know and is given the best rule for its guess after the fact.
"""

import random
from collections.abc import Callable, Sequence
from itertools import combinations

import pytest

from app.privacy.answers import Hidden, to_nearest, told_count, told_rate
from app.privacy.budget import Answered, decide, needed_difference
from app.privacy.classes import group_sizes, risk
from app.privacy.generalise import Key, generalise
from app.privacy.ladders import AGE, ROUTE, YEAR
from app.privacy.noise import canonical
from app.privacy.uniqueness import two_totals_sizes

PAIRS = 10_000
BASE_RATE = 0.5  # of people for whom the secret is true: what guessing achieves, and where there is most to gain
KEY = bytes(range(32))
Answer = Callable[[int, int, bytes], float | None]  # of how many improved, of how many, to which question


def accuracy_of_the_best_rule(cases: Sequence[tuple[float, bool]]) -> float:
    """How often the best cut through what was seen is right, in either direction, or no cut at all."""
    secrets = sum(secret for _, secret in cases)
    best = right = len(cases) - secrets  # "no" for all; then "yes" from the highest down
    ordered = sorted(cases, reverse=True)
    for place, (seen, secret) in enumerate(ordered):
        right += 1 if secret else -1
        if place + 1 == len(ordered) or ordered[place + 1][0] != seen:
            best = max(best, right, len(cases) - right)
    return best / len(cases)


def neighbours(answer: Answer, base_rate: float) -> list[tuple[float, bool]]:
    """Ten thousand times: how many improved among all, and among all but one whose secret the attacker wants."""
    draw = random.Random(1)  # noqa: S311 - made-up people
    cases = []
    for pair in range(PAIRS):
        others, secret = draw.randrange(20, 120), draw.random() < base_rate
        improved = sum(draw.random() < 0.6 for _ in range(others))
        whole = answer(improved + secret, others + 1, canonical({"pair": pair}))
        part = answer(improved, others, canonical({"pair": pair, "but": "one"}))
        cases.append((99.0 if whole is None or part is None else whole - part, secret))
    return cases


def exact(improved: int, _people: int, _question: bytes) -> float | None:
    return improved if improved > 10 else None


def rounded(improved: int, _people: int, _question: bytes) -> float | None:
    return to_nearest(improved, 5) if improved > 10 else None


def published(improved: int, people: int, question: bytes) -> float | None:
    told = told_rate(improved, people, KEY, question, "improved", "all")
    return None if isinstance(told, Hidden) else told.numerator


def test_differencing_wins_against_exact_counts_and_against_rounding() -> None:
    """The attack is a real one: nearly always right about exact counts, and ten points above guessing about rounded."""
    assert accuracy_of_the_best_rule(neighbours(exact, 0.5)) > 0.95
    assert accuracy_of_the_best_rule(neighbours(rounded, 0.5)) > 0.58


@pytest.mark.parametrize(("base_rate", "limit"), [(0.5, 0.56), (0.6, 0.65), (0.7, 0.75), (0.9, 0.95)])
def test_differencing_ten_thousand_neighbours_is_guessing(base_rate: float, limit: float) -> None:
    """Two noisy answers, were both given, tell no more than the base rate and five points.

    At one half, the worst there is, the best rule comes to Phi(1 / (2 * 3 * sqrt(2))) = 0.547; a sample says it within
    a point.
    """
    assert accuracy_of_the_best_rule(neighbours(published, base_rate)) <= limit


def test_neighbours_are_not_both_answered_at_all() -> None:
    """The second cohort is refused, in the same words whoever it leaves out."""
    for pair in range(1_000):
        cohort = pair.to_bytes(4)
        refusal = decide(cohort, 100, [Answered(b"all", 1)], 1, needed_difference(KEY, cohort))
        assert refusal is not None


def test_a_tracker_of_three_cohorts_is_guessing() -> None:
    """All less this half less that half leaves one person, though every two cohorts are far apart."""
    draw = random.Random(2)  # noqa: S311 - made-up people
    bare, noisy = [], []
    for case in range(PAIRS):
        one, other, secret = draw.randrange(20, 100), draw.randrange(20, 100), draw.random() < BASE_RATE
        sizes = {"all": one + other + secret, "one": one, "other": other}
        told = [told_count(n, KEY, canonical({"case": case, "part": part}), "n") for part, n in sizes.items()]
        counts = [count for count in told if not isinstance(count, Hidden)]
        bare.append((float(sizes["all"] - one - other), secret))
        noisy.append((float(counts[0] - sum(counts[1:])) if len(counts) == 3 else 99.0, secret))
    assert accuracy_of_the_best_rule(bare) == 1
    assert accuracy_of_the_best_rule(noisy) <= BASE_RATE + 0.05


def test_probing_for_a_refusal_is_nearly_guessing() -> None:
    """Ten known people and one whose secret is wanted are left out: answered if eleven differ, refused if ten.

    The cohort is put together anew each time; one case in eleven tells, and half of the rest are guessed.
    """
    draw = random.Random(3)  # noqa: S311 - made-up people
    fixed, drawn = [], []
    for case in range(PAIRS):
        secret = draw.random() < BASE_RATE
        cohort, history = case.to_bytes(4), [Answered(b"all", 10 + secret)]
        fixed.append((float(decide(cohort, 100, history, 1, 11) is None), secret))
        drawn.append((float(decide(cohort, 100, history, 1, needed_difference(KEY, cohort)) is None), secret))
    assert accuracy_of_the_best_rule(fixed) == 1
    assert accuracy_of_the_best_rule(drawn) <= BASE_RATE + 0.05


@pytest.fixture(scope="module")
def people() -> list[Key]:
    draw = random.Random(4)  # noqa: S311 - made-up people
    routes = ("oral", "intravenous", "intramuscular", "sublingual", "intranasal")
    return [(round(draw.gauss(42, 14)) % 99, draw.choice(routes), draw.randrange(2022, 2027)) for _ in range(2_000)]


def test_linkage_by_what_is_known_of_a_person_finds_one_in_eleven_at_best(people: list[Key]) -> None:
    """Somebody who knows age, route and year finds the person's row among eleven or more, or not at all."""
    raw = risk(group_sizes(people))
    assert raw.alone_rate is not None
    assert raw.alone_rate > 0.05  # the attack wins against the raw table
    told = generalise(people, [AGE, ROUTE, YEAR])
    crowds = {key: told.keys.count(key) for key in set(told.keys) if key is not None}
    assert told.keys.count(None) < 100
    assert min(crowds.values()) >= 11
    draw = random.Random(5)  # noqa: S311 - a guess
    rows = {key: [place for place, found in enumerate(told.keys) if found == key] for key in crowds}
    hits = sum(key is not None and draw.choice(rows[key]) == place for place, key in enumerate(told.keys))
    assert hits / len(people) <= 1 / 11


def test_the_printed_uniqueness_is_what_a_friend_can_do() -> None:
    """Who knows two totals and their weeks and picks them best is right about as many people as the manifest says."""
    draw = random.Random(6)  # noqa: S311 - made-up people
    courses = [[(week, float(draw.randrange(6))) for week in (0, 2, 4, 8) if draw.random() < 0.8] for _ in range(300)]
    found_alone = sum(
        any(sum({one, other} <= set(course) for course in courses) == 1 for one, other in combinations(mine, 2))
        or (len(mine) == 1 and sum(mine[0] in course for course in courses) == 1)
        for mine in courses
    )
    assert found_alone > 0
    assert risk(two_totals_sizes(courses)).alone_rate == found_alone / len(courses)
