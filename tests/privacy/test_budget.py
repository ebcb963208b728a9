"""Which questions are refused, and that no two cohorts a few people apart are ever both answered."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.budget import Answered, Refusal, decide, leaves_few_over, needed_difference

KEY = bytes(range(32))
EVERYBODY = frozenset(range(60))
cohorts = st.lists(st.frozensets(st.sampled_from(sorted(EVERYBODY))).map(lambda out: EVERYBODY - out), max_size=12)


def name(cohort: frozenset[int]) -> bytes:
    return ",".join(map(str, sorted(cohort))).encode()


@given(cohorts)
@settings(max_examples=50, deadline=None)
def test_no_two_answered_cohorts_are_a_few_people_apart(asked: list[frozenset[int]]) -> None:
    """Whatever is asked in whatever order: each answered cohort is eleven or more, and so far from every other."""
    answered: list[frozenset[int]] = []
    for number, cohort in enumerate(asked):
        history = [Answered(name(earlier), len(earlier ^ cohort)) for earlier in answered]
        if decide(name(cohort), len(cohort), history, number, needed_difference(KEY, name(cohort))) is None:
            answered.append(cohort)
    assert all(len(cohort) >= 11 for cohort in answered)
    assert all(len(one ^ other) >= 11 for one in answered for other in answered if one != other)


@given(cohorts)
@settings(max_examples=50, deadline=None)
def test_no_sum_of_answered_cohorts_is_about_a_few(asked: list[frozenset[int]]) -> None:
    """By linear algebra over fractions that shares no code with the rule: whatever small kinds add is nothing."""
    answered: list[frozenset[int]] = []
    for cohort in asked:
        if not leaves_few_over(kinds_of([*answered, cohort])):
            answered.append(cohort)
    kinds = kinds_of(answered)
    large = [kind for kind, count in kinds.items() if count >= 11]
    assert rank(large) == rank(list(kinds))


def kinds_of(made: list[frozenset[int]]) -> Counter[tuple[bool, ...]]:
    return Counter(tuple(one in cohort for cohort in made) for one in EVERYBODY)


def rank(rows: list[tuple[bool, ...]]) -> int:
    """Of whole numbers, by elimination in fractions."""
    left = [[Fraction(int(is_in)) for is_in in row] for row in rows]
    found = 0
    for column in range(len(left[0]) if left else 0):
        pivot = next((row for row in left if row[column]), None)
        if pivot is None:
            continue
        left.remove(pivot)
        left = [[a - b * row[column] / pivot[column] for a, b in zip(row, pivot, strict=True)] for row in left]
        found += 1
    return found


@pytest.mark.parametrize(("others", "refused"), [(0, False), (1, True), (10, True), (11, False)])
def test_a_part_that_is_left_over_is_no_answer(others: int, refused: bool) -> None:
    """All less those by vein less those under the tongue: nobody is no part, and eleven are enough."""
    kinds: dict[tuple[bool, ...], int] = {(True, True, False): 30, (True, False, True): 30}
    kinds |= {(True, False, False): others} if others else {}
    assert leaves_few_over(kinds) is refused


def test_what_was_left_over_before_refuses_nothing_more() -> None:
    """Since then somebody has left: a question that adds nothing to it is answered."""
    assert not leaves_few_over({(True, True, True): 40, (True, False, True): 3, (True, True, False): 30})


@given(st.integers(0, 10))
@settings(max_examples=50, deadline=None)
def test_one_person_more_or_less_changes_no_refusal_among_few(difference: int) -> None:
    """A difference of nobody is refused like one of ten, or the refusal would tell whether there is anybody."""
    assert decide(b"b", 100, [Answered(b"a", difference)], 1, 11) is Refusal.TOO_FEW_PEOPLE


def test_a_cohort_that_was_answered_is_no_difference_from_itself() -> None:
    """The same conditions are answered again, as another figure of the same people may be wanted."""
    assert decide(b"a", 100, [Answered(b"a", 0), Answered(b"b", 40)], 2, 21) is None


def test_the_budget_comes_before_anything_about_people() -> None:
    """The fifty-first question is refused for its number, and learns nothing of the people."""
    assert decide(b"a", 3, [Answered(b"b", 1)], 50, 11) is Refusal.BUDGET_SPENT
    assert decide(b"a", 30, [], 49, 11) is None
    assert decide(b"a", 30, [], 2, 11, questions=2) is Refusal.BUDGET_SPENT


def test_too_small_and_too_near_are_refused_in_the_same_words() -> None:
    """Which of the two it was would be one more answer."""
    assert decide(b"a", 10, [], 0, 11) is decide(b"a", 80, [Answered(b"b", 3)], 0, 11) is Refusal.TOO_FEW_PEOPLE


def test_the_least_difference_is_spread_over_its_range_and_never_below_the_threshold() -> None:
    """Eleven to twenty-one, each about as often, always the same for the same cohort, another under another key."""
    drawn = [needed_difference(KEY, number.to_bytes(4)) for number in range(11_000)]
    assert set(drawn) == set(range(11, 22))
    assert all(850 < drawn.count(least) < 1_150 for least in range(11, 22))
    assert drawn[:50] == [needed_difference(KEY, number.to_bytes(4)) for number in range(50)]
    assert drawn[:50] != [needed_difference(bytes(32), number.to_bytes(4)) for number in range(50)]


@pytest.mark.parametrize(("people", "asked", "least"), [(-1, 0, 11), (1, -1, 11), (1, 0, 1)])
def test_what_is_no_question_is_refused(people: int, asked: int, least: int) -> None:
    """Numbers below nobody, and a rule that hides nobody."""
    with pytest.raises(ValueError, match="least difference"):
        decide(b"a", people, [], asked, least)
