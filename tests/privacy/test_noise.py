"""The same question gets the same answer, another question unrelated noise, and nobody without the key foresees it."""

import math
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from app.privacy.noise import Condition, canonical, keyed_uniform, noisy_count

KEY = bytes(range(32))
conditions = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
questions = st.dictionaries(st.text(), st.one_of(st.none(), conditions, st.lists(conditions, max_size=4)), max_size=5)


@given(questions, st.integers(0, 500))
@settings(max_examples=50, deadline=None)
def test_a_hundred_equal_questions_get_one_answer(question: dict[str, Condition], count: int) -> None:
    """Asking again averages nothing out."""
    assert len({noisy_count(count, KEY, canonical(question), "n") for _ in range(100)}) == 1


@given(questions, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_spelling_of_a_question_makes_no_difference(question: dict[str, object], shuffler: object) -> None:
    """Order of names, order and repetition of alternatives, and conditions not set."""
    names = list(question)
    shuffler.shuffle(names)  # type: ignore[attr-defined]  # random.Random by Hypothesis
    other: dict[str, object] = {name: question[name] for name in names} | {"not set": None}
    other = {name: value[::-1] + value if isinstance(value, list) else value for name, value in other.items()}
    assert canonical(other) == canonical(question)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"week": 4}, {"week": 5}),
        ({"week": 4}, {"day": 4}),
        ({"week": 4}, {"week": "4"}),
        ({"met": True}, {"met": 1}),
        ({"route": ["oral"]}, {"route": ["oral", "nasal"]}),
        ({"route": ["a", "b"]}, {"route": ["a,b"]}),
        ({}, {"route": []}),
    ],
)
def test_different_questions_are_told_apart(
    one: dict[str, Condition | list[Condition]], other: dict[str, Condition | list[Condition]]
) -> None:
    """In bytes, and so in their noise."""
    assert canonical(one) != canonical(other)


def test_a_whole_number_is_the_same_with_and_without_a_point() -> None:
    """4 and 4.0 mean the same; what is no number means nothing."""
    assert canonical({"week": 4.0, "in": [2.0, 2]}) == canonical({"week": 4, "in": [2]})
    with pytest.raises(ValueError, match="JSON"):
        canonical({"week": math.nan})
    with pytest.raises(TypeError):
        canonical({"week": KEY})


def test_the_noise_is_gaussian_and_unrelated_between_questions_figures_and_keys() -> None:
    """Mean 0 and standard deviation 3 over ten thousand questions; neighbours in text are strangers in noise."""
    drawn = [noisy_count(1000, KEY, canonical({"week": week}), "n") - 1000 for week in range(10_000)]
    other_figure = [noisy_count(1000, KEY, canonical({"week": week}), "m") - 1000 for week in range(10_000)]
    other_key = [noisy_count(1000, bytes(32), canonical({"week": week}), "n") - 1000 for week in range(10_000)]
    for noise in (drawn, other_figure, other_key):
        assert abs(fmean(noise)) < 0.1
        assert stdev(noise) == pytest.approx(math.sqrt(9 + 1 / 12), abs=0.1)  # rounding adds a twelfth
    for noise in (drawn[1:], other_figure[:-1], other_key[:-1]):
        assert abs(fmean(a * b for a, b in zip(drawn[:-1], noise, strict=True))) < 0.5  # covariance; 9 if they were one
    uniform = [keyed_uniform(KEY, week.to_bytes(4)) for week in range(10_000)]
    assert kstest(uniform, "uniform").pvalue > 0.01


def test_cutting_off_at_zero_raises_small_counts_as_stated() -> None:
    """By 1.2 people at 0, and by less than a thousandth from 11 on: exactly, from the distribution."""

    def bias(count: int) -> float:
        below = range(-60, -count)
        return float(
            sum((-count - noise) * (norm.cdf(noise + 0.5, scale=3) - norm.cdf(noise - 0.5, scale=3)) for noise in below)
        )

    assert bias(0) == pytest.approx(1.2, abs=0.05)
    assert bias(11) < 0.001
    assert min(noisy_count(0, KEY, canonical({"week": week}), "n") for week in range(1_000)) == 0


def test_what_would_not_protect_is_refused() -> None:
    """A short key, and a count of fewer than nobody."""
    with pytest.raises(ValueError, match="32 bytes"):
        noisy_count(20, b"short", b"{}", "n")
    with pytest.raises(ValueError, match="not negative"):
        noisy_count(-1, KEY, b"{}", "n")
