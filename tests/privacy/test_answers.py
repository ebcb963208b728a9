"""No count, rate or mean with few people behind it, by any way of printing it."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.answers import Hidden, to_nearest, told_count, told_effect, told_mean, told_parts, told_rate
from app.scoring.cohort import Pair, hedges_g, mean_change

KEY = bytes(range(32))
questions = st.binary(min_size=1, max_size=8)
around_the_threshold = st.one_of(st.integers(6, 16), st.integers(0, 80))


@given(around_the_threshold, questions)
@settings(max_examples=300, deadline=None)
def test_a_small_count_is_never_told_nor_looks_small(count: int, question: bytes) -> None:
    """Neither by what it is nor by what it would be printed as."""
    told = told_count(count, KEY, question, "n")
    if isinstance(told, Hidden):
        assert told is Hidden.TOO_FEW
    else:
        assert min(count, told) >= 11


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 60), min_size=1), questions)
@settings(max_examples=50, deadline=None)
def test_no_part_follows_from_the_total(counts: dict[str, int], question: bytes) -> None:
    """Hidden parts come together, eleven people or more, and nothing says which of them is the small one."""
    told = told_parts(counts, KEY, question)
    assert list(told) == list(counts)
    hidden = [counts[part] for part, figure in told.items() if isinstance(figure, Hidden)]
    assert Hidden.ALL_ALIKE not in told.values()
    if min(counts.values()) < 11 and len(hidden) < len(counts):
        assert len(hidden) > 1
        assert sum(hidden) >= 11
    for part, figure in told.items():
        assert figure in {Hidden.TOO_FEW, told_count(counts[part], KEY, question, part)}


@given(around_the_threshold, around_the_threshold, questions)
@settings(max_examples=300, deadline=None)
def test_a_rate_tells_neither_a_small_numerator_nor_a_small_rest(inside: int, outside: int, question: bytes) -> None:
    """Both counts of it are large enough, exactly and as printed, and the rate is exactly what they give."""
    told = told_rate(inside, inside + outside, KEY, question, "remission", "all")
    if isinstance(told, Hidden):
        assert told is Hidden.TOO_FEW
        return
    assert min(inside, outside, told.numerator, told.denominator - told.numerator) >= 11
    assert told.rate == told.numerator / told.denominator


def test_a_rate_of_everybody_or_nobody_is_hidden() -> None:
    """It would say of each of them what it says of all."""
    assert told_rate(0, 100, KEY, b"q", "remission", "all") is Hidden.TOO_FEW
    assert told_rate(100, 100, KEY, b"q", "remission", "all") is Hidden.TOO_FEW
    with pytest.raises(ValueError, match="numerator"):
        told_rate(3, 2, KEY, b"q", "remission", "all")


def test_the_people_of_many_figures_are_counted_with_one_noise() -> None:
    """A hundred figures about the same people are no hundred looks at how many they are."""
    rates = [told_rate(40, 80, KEY, b"q", f"figure {number}", "week 4") for number in range(100)]
    pairs = [(20 - person % 5, 20 - person % 13) for person in range(80)]
    mean = told_mean(mean_change(pairs), KEY, b"q", "week 4")
    effect = told_effect(hedges_g(pairs), KEY, b"q", "week 4")
    told = [one for one in rates if not isinstance(one, Hidden)]
    assert not isinstance(mean, Hidden)
    assert not isinstance(effect, Hidden)
    assert len({rate.denominator for rate in told} | {mean.n, effect.n}) == 1
    assert len({rate.numerator for rate in told}) > 5


totals = st.none() | st.integers(0, 27)


@given(st.lists(st.tuples(totals, totals), max_size=60), questions)
@settings(max_examples=100, deadline=None)
def test_a_mean_has_people_behind_it_and_differences_among_them(pairs: list[Pair], question: bytes) -> None:
    """At least eleven, not all alike, and each figure rounded to half a point."""
    found = mean_change(pairs)
    told = told_mean(found, KEY, question, "all")
    if isinstance(told, Hidden):
        assert told is Hidden.TOO_FEW or not found.sd or found.sd < 0.25
        return
    assert found.n >= 11
    assert told.sd > 0
    for name in ("mean", "sd", "low", "high"):
        assert abs(getattr(told, name) - getattr(found, name)) <= 0.25 + 1e-9
        assert getattr(told, name) * 2 % 1 == 0


@given(st.lists(st.tuples(totals, totals), max_size=60), questions)
@settings(max_examples=100, deadline=None)
def test_an_effect_has_people_behind_it_and_an_interval(pairs: list[Pair], question: bytes) -> None:
    """At least eleven, and each figure a number of twentieths, written as one."""
    found = hedges_g(pairs)
    told = told_effect(found, KEY, question, "all")
    if isinstance(told, Hidden):
        assert told is Hidden.TOO_FEW or found.g is None or found.low is None
        return
    assert found.n[0] >= 11
    for name in ("g", "low", "high"):
        assert abs(getattr(told, name) - getattr(found, name)) <= 0.025 + 1e-9
        assert len(str(getattr(told, name)).partition(".")[2]) <= 2


def test_a_mean_of_people_who_are_all_alike_is_hidden() -> None:
    """It would be each one's own value."""
    for one in (4, 5):
        found = mean_change([(0, 4)] * 99 + [(0, one)])
        assert told_mean(found, KEY, b"q", "all") is Hidden.ALL_ALIKE
    assert told_effect(hedges_g([(4, person % 9) for person in range(99)]), KEY, b"q", "all") is Hidden.ALL_ALIKE


@given(st.integers(-(10**6), 10**6), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_rounding_takes_the_nearest_step(value: int, step: int) -> None:
    """Half way up, exactly, whatever the size."""
    rounded = to_nearest(value, step)
    assert rounded % step == 0
    assert -Fraction(step, 2) < Fraction(rounded) - value <= Fraction(step, 2)


@pytest.mark.parametrize(
    ("value", "step"), [(1, 0), (1, -5), (math.nan, 5), (math.inf, 5), (1, math.inf), (1, math.nan)]
)
def test_what_cannot_be_rounded_is_refused(value: float, step: float) -> None:
    """No step, and no number."""
    with pytest.raises(ValueError, match="step"):
        to_nearest(value, step)
