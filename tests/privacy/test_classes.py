"""k, l and t against the tables of the papers that defined them, and their laws."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from app.privacy.classes import (
    Class,
    distinct_l,
    equal_distance,
    equivalence_classes,
    group_sizes,
    risk,
    t_closeness,
)

# Machanavajjhala 2007, figures 2 (4-anonymous) and 3 (3-diverse): zip code, age, condition.
FOUR_ANONYMOUS = [
    *[("130**", "<30", condition) for condition in ("heart", "heart", "viral", "viral")],
    *[("1485*", ">=40", condition) for condition in ("cancer", "heart", "viral", "viral")],
    *[("130**", "3*", condition) for condition in ("cancer", "cancer", "cancer", "cancer")],
]
THREE_DIVERSE = [
    *[("1305*", "<=40", condition) for condition in ("heart", "viral", "cancer", "cancer")],
    *[("1485*", ">40", condition) for condition in ("cancer", "heart", "viral", "viral")],
    *[("1306*", "<=40", condition) for condition in ("heart", "viral", "cancer", "cancer")],
]
# Li 2007, tables 4 (3-diverse) and 5 (0.167-close in salary): zip code, age, salary in thousands, disease.
THREE_DIVERSE_SALARIES = [
    *[("476**", "2*", salary, disease) for salary, disease in ((3, "ulcer"), (4, "gastritis"), (5, "stomach cancer"))],
    *[("4790*", ">=40", salary, disease) for salary, disease in ((6, "gastritis"), (11, "flu"), (8, "bronchitis"))],
    *[
        ("476**", "3*", salary, disease)
        for salary, disease in ((7, "bronchitis"), (9, "pneumonia"), (10, "stomach cancer"))
    ],
]
CLOSE_SALARIES = [
    *[
        ("4767*", "<=40", salary, disease)
        for salary, disease in ((3, "ulcer"), (5, "stomach cancer"), (9, "pneumonia"))
    ],
    *[("4790*", ">=40", salary, disease) for salary, disease in ((6, "gastritis"), (11, "flu"), (8, "bronchitis"))],
    *[
        ("4760*", "<=40", salary, disease)
        for salary, disease in ((4, "gastritis"), (7, "bronchitis"), (10, "stomach cancer"))
    ],
]

values = st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 5)), min_size=1, max_size=40)


def classes_of(table: list[tuple[str, str, str]] | list[tuple[str, str, int, str]]) -> tuple[Class, ...]:
    return equivalence_classes([row[:2] for row in table])


@pytest.mark.parametrize(("table", "distinct"), [(FOUR_ANONYMOUS, 1), (THREE_DIVERSE, 3)])
def test_the_published_tables_have_the_published_diversity(table: list[tuple[str, str, str]], distinct: int) -> None:
    """Both are 4-anonymous; in the first, everybody in their thirties has cancer."""
    conditions = [condition for *_, condition in table]
    found = risk(group_sizes([row[:2] for row in table]), threshold=5)
    assert (found.k, found.highest_risk, found.mean_risk, found.small_rate) == (4, 0.25, 0.25, 1.0)
    assert distinct_l(classes_of(table), conditions) == distinct


def by_rank(some: Sequence[int], everybody: Sequence[int]) -> float:
    """Li's distance of values in order: scipy's earth mover's distance over ranks, in units of the widest move."""
    known = sorted(set(everybody))
    here, there = ([known.index(value) for value in side] for side in (some, everybody))
    return float(wasserstein_distance(here, there)) / (len(known) - 1)


def test_the_published_table_is_as_close_as_it_says() -> None:
    """0.167 in salary after swapping people between classes, 0.375 before."""
    for table, expected in ((THREE_DIVERSE_SALARIES, 0.375), (CLOSE_SALARIES, 0.167)):
        salaries = [salary for _, _, salary, _ in table]
        assert t_closeness(classes_of(table), salaries, by_rank) == pytest.approx(expected, abs=0.0005)
    diseases = [disease for *_, disease in CLOSE_SALARIES]
    by_hand = (
        2 / 9 + 1 / 9 + 2 / 9 + 2 / 9 + 1 / 9 + 2 / 9
    ) / 2  # ulcer, cancer, pneumonia; gastritis, flu, bronchitis
    assert t_closeness(classes_of(CLOSE_SALARIES), diseases, equal_distance) == pytest.approx(by_hand)


@given(values)
@settings(max_examples=50, deadline=None)
def test_merging_classes_never_makes_anything_worse(people: list[tuple[int, int | None]]) -> None:
    """K and l rise or stay, t falls or stays, when what tells two classes apart is no longer told."""
    sensitive = [value for _, value in people]
    fine = [group for group, _ in people]
    coarse = [group // 2 for group in fine]
    one, other = equivalence_classes(fine), equivalence_classes(coarse)
    assert min(group_sizes(coarse)) >= min(group_sizes(fine))
    assert (distinct_l(other, sensitive) or 0) >= (distinct_l(one, sensitive) or 0)
    assert (t_closeness(other, sensitive, equal_distance) or 0) <= (
        t_closeness(one, sensitive, equal_distance) or 0
    ) + 1e-9


@given(st.lists(st.integers(0, 8), min_size=1))
@settings(max_examples=50, deadline=None)
def test_the_mean_risk_is_classes_over_people(people: list[int]) -> None:
    """Whoever picks a class at random is right once in each class."""
    found = risk(group_sizes(people))
    assert found.mean_risk == pytest.approx(len(set(people)) / len(people))
    assert found.k == min(people.count(one) for one in people)


def test_nobody_has_no_risk_and_unknown_is_a_category() -> None:
    """Nothing is made up where there is nothing."""
    assert risk([]) == risk(group_sizes([]))
    assert (risk([]).k, risk([]).people) == (None, 0)
    assert distinct_l([], []) is t_closeness([], [], equal_distance) is None
    assert equal_distance([None], [None, "a"]) == 0.5
    assert equal_distance([], ["a"]) is None
    assert equivalence_classes([(None,), ("a",), (None,)]) == ((0, 2), (1,))
    with pytest.raises(ValueError, match="themselves"):
        risk([0])
