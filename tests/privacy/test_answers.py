"""No count, rate or mean with few people behind it, by any way of printing it."""

import math
from fractions import Fraction
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.answers import Hidden, to_nearest, told_count, told_mean, told_parts, told_rate

KEY = bytes(range(32))
questions = st.binary(min_size=1, max_size=8)
around_the_threshold = st.one_of(st.integers(6, 16), st.integers(0, 80))


@given(around_the_threshold, questions)
@settings(max_examples=300, deadline=None)
def test_a_small_count_is_never_told_nor_looks_small(count: int, question: bytes) -> None:
    """Neither by what it is nor by what it would be printed as."""
    told = told_count(count, KEY, question, "n")
    assert (told.count is None) == (told.hidden is Hidden.TOO_FEW)
    if told.count is not None:
        assert min(count, told.count) >= 11


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 60), min_size=1), questions)
@settings(max_examples=50, deadline=None)
def test_no_part_follows_from_the_total(counts: dict[str, int], question: bytes) -> None:
    """Hidden parts come together, eleven people or more, and nothing says which of them is the small one."""
    told = told_parts(counts, KEY, question)
    assert list(told) == list(counts)
    hidden = [counts[part] for part, figure in told.items() if figure.count is None]
    assert {figure.hidden for figure in told.values() if figure.count is None} <= {Hidden.TOO_FEW}
    if min(counts.values()) < 11 and len(hidden) < len(counts):
        assert len(hidden) > 1
        assert sum(hidden) >= 11
    for part, figure in told.items():
        assert figure.count is None or figure == told_count(counts[part], KEY, question, part)


@given(around_the_threshold, around_the_threshold, questions)
@settings(max_examples=300, deadline=None)
def test_a_rate_tells_neither_a_small_numerator_nor_a_small_rest(inside: int, outside: int, question: bytes) -> None:
    """Both counts of it are large enough, exactly and as printed, and the rate is exactly what they give."""
    told = told_rate(inside, inside + outside, KEY, question, "remission", "all")
    if told.numerator is None or told.denominator is None:
        assert told.rate is told.denominator is told.numerator
        assert told.hidden is Hidden.TOO_FEW
        return
    assert min(inside, outside, told.numerator, told.denominator - told.numerator) >= 11
    assert told.rate == told.numerator / told.denominator


def test_a_rate_of_everybody_or_nobody_is_hidden() -> None:
    """It would say of each of them what it says of all."""
    assert told_rate(0, 100, KEY, b"q", "remission", "all").hidden is Hidden.TOO_FEW
    assert told_rate(100, 100, KEY, b"q", "remission", "all").hidden is Hidden.TOO_FEW
    with pytest.raises(ValueError, match="numerator"):
        told_rate(3, 2, KEY, b"q", "remission", "all")


def test_the_people_of_many_figures_are_counted_with_one_noise() -> None:
    """A hundred figures about the same people are no hundred looks at how many they are."""
    rates = [told_rate(40, 80, KEY, b"q", f"figure {number}", "week 4") for number in range(100)]
    mean = told_mean(range(80), KEY, b"q", "week 4")
    assert len({rate.denominator for rate in rates} | {mean.n}) == 1
    assert len({rate.numerator for rate in rates}) > 5


@given(st.lists(st.none() | st.integers(-27, 27), max_size=60), questions)
@settings(max_examples=50, deadline=None)
def test_a_mean_has_people_behind_it_and_differences_among_them(values: list[int | None], question: bytes) -> None:
    """At least eleven, not all alike, and rounded to half a point."""
    known = [value for value in values if value is not None]
    told = told_mean(values, KEY, question, "all")
    if told.mean is None or told.sd is None:
        assert told.n is told.sd is told.mean
        assert told.hidden is not None
        return
    assert len(known) >= 11
    assert told.sd > 0
    assert abs(told.mean - fmean(known)) <= 0.25 + 1e-9
    assert abs(told.sd - stdev(known)) <= 0.25 + 1e-9
    assert (told.mean * 2 % 1, told.sd * 2 % 1) == (0, 0)


def test_a_mean_of_people_who_are_all_alike_is_hidden() -> None:
    """It would be each one's own value."""
    assert told_mean([4] * 100, KEY, b"q", "all").hidden is Hidden.ALL_ALIKE
    assert told_mean([4] * 99 + [5], KEY, b"q", "all").hidden is Hidden.ALL_ALIKE


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
