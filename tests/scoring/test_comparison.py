"""Percentile bands of comparable patients."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.comparison import (
    MINIMUM,
    WEEKS,
    Course,
    Percentiles,
    WeekComparison,
    baseline_group,
    comparable,
    comparison,
    nearest_rank,
    total_in_week,
)
from app.scoring.model import Point, Validity
from app.scoring.registry import all_instruments, get_instrument

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
PHQ_9 = get_instrument("phq-9")
TOTALS = st.lists(st.integers(0, 27), min_size=1, max_size=60)


def course(
    name: str,
    forms: Sequence[tuple[float, int | None]] = (),
    baseline: float = 17,
    modality: str = "medication",
    first_dose_at: datetime = START,
) -> Course:
    points = tuple(
        Point(f"{name} {number}", first_dose_at + timedelta(days=day), total, Validity.VALID)
        for number, (day, total) in enumerate(forms)
    )
    return Course(name, modality, first_dose_at, baseline, points)


def week_1(totals: Sequence[int]) -> WeekComparison:
    others = [course(f"other {number}", [(7, total)]) for number, total in enumerate(totals)]
    return comparison(PHQ_9, course("me"), others).weeks[0]


def test_percentiles_worked_by_hand() -> None:
    """Of 31 totals 0 to 30 the ranks are 3.1, 7.75, 15.5, 23.25 and 27.9, each rounded up."""
    found = week_1(range(31))
    assert (found.n, found.reason) == (31, None)
    assert found.percentiles == Percentiles(p10=3, p25=7, p50=15, p75=23, p90=27)


def test_ranks_that_are_whole_are_not_rounded_up() -> None:
    """Of ten values the 10th percentile is the first, the 50th the fifth."""
    assert [nearest_rank(range(1, 11), percent) for percent in (10, 50, 90, 91, 100)] == [1, 5, 9, 10, 10]


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1], 0), ([1], 101)])
def test_what_is_no_percentile_is_refused(values: list[int], percent: int) -> None:
    """There must be a value and a percentage of it."""
    with pytest.raises(ValueError, match="a percentile is of at least one value"):
        nearest_rank(values, percent)


@given(TOTALS, st.integers(1, 100))
def test_nearest_rank_is_the_first_value_with_enough_at_or_below(totals: list[int], percent: int) -> None:
    """The definition itself, searched for instead of computed."""
    in_order = sorted(totals)
    shares = ((value, Fraction(sum(one <= value for one in totals), len(totals))) for value in in_order)
    assert nearest_rank(in_order, percent) == next(value for value, share in shares if share >= Fraction(percent, 100))


@settings(max_examples=30)
@given(TOTALS)
def test_bands_are_ordered_values_of_somebody_and_only_of_enough(totals: list[int]) -> None:
    """Below 30 nothing; else five totals that somebody has, none smaller than the one before."""
    found = week_1(totals)
    assert found.n == len(totals)
    assert (found.percentiles is None) == (found.reason == "too_few") == (len(totals) < MINIMUM)
    if found.percentiles is not None:
        band = [getattr(found.percentiles, name) for name in ("p10", "p25", "p50", "p75", "p90")]
        assert band == sorted(band)
        assert set(band) <= set(totals)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 27), st.integers(1, 60)), max_size=50), st.randoms())
def test_order_of_courses_changes_nothing(rows: list[tuple[int, int, int]], chance: object) -> None:
    """The clinic is a set; also where a patient has several courses."""
    courses = [
        course(f"other {name}", [(day, total)], first_dose_at=START + timedelta(days=number))
        for number, (name, total, day) in enumerate(rows)
    ]
    shuffled = list(courses)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random, which ruff would have us not import
    mine = course("me", [(7, 3)])
    assert comparison(PHQ_9, mine, courses) == comparison(PHQ_9, mine, shuffled)


@pytest.mark.parametrize("count", [29, 30])
def test_the_patient_in_question_is_left_out(count: int) -> None:
    """Nobody is the thirtieth patient beside themselves, in this course or an earlier one."""
    mine = course("me", [(7, 20)])
    others = [course(f"other {number}", [(7, 5)]) for number in range(count)]
    found = comparison(PHQ_9, mine, [mine, course("me", [(7, 27)]), *others])
    assert (found.patients, found.weeks[0].n, found.weeks[0].own) == (count, count, 20)
    assert found.weeks[0].reason == ("too_few" if count < 30 else None)


def test_only_the_same_band_and_modality_are_comparable() -> None:
    """15 to 19 are moderately severe; 14.5 is rounded up into it, as for the band that is shown."""
    courses = [course(str(total), baseline=total) for total in (14, 14.5, 15, 19, 20)]
    other_modality = course("other", modality="emdr")
    found = comparable(PHQ_9, course("me", baseline=16), [*courses, other_modality])
    assert [one.patient_id for one in found] == ["14.5", "15", "19"]


def test_without_bands_the_side_of_the_cut_point_decides() -> None:
    """The weekly PCL-5 has none."""
    pcl_5 = get_instrument("pcl-5-week")
    found = [baseline_group(pcl_5, total) for total in (32, 33, 80)]
    assert found == ["not:cut_point_33", "at:cut_point_33", "at:cut_point_33"]


def test_every_instrument_groups_both_ends_of_its_scale() -> None:
    """No instrument is without an answer, and its best and worst totals are alike only where it draws no line."""
    for instrument in all_instruments():
        ends = {baseline_group(instrument, total) for total in (instrument.minimum, instrument.maximum)}
        assert len(ends) == 2 or ends == {None}, instrument.id


def test_a_patient_counts_with_the_newest_course() -> None:
    """Once, whatever came before."""
    old = course("a", [(7, 20)])
    new = course("a", [(7, 5)], first_dose_at=START + timedelta(days=200))
    assert comparable(PHQ_9, course("me"), [new, old]) == (new,)


@pytest.mark.parametrize(
    ("forms", "expected"),
    [
        ([(7, 1)], 1),
        ([(4, 1)], 1),
        ([(3.99, 1)], None),
        ([(10, 1)], 1),
        ([(10.01, 1)], None),
        ([(4, 1), (8, 2), (10, 3)], 2),
        ([(8, 2), (6, 1)], 1),
        ([(7, None), (9, 2)], 2),
        ([(7, None)], None),
        ([(7, 0)], 0),
        ([], None),
    ],
)
def test_the_nearest_form_with_a_total_counts(forms: list[tuple[float, int | None]], expected: int | None) -> None:
    """Both ends of the window belong to it; of two as near the earlier; a total of 0 is one."""
    assert total_in_week(course("a", forms), WEEKS[0]) == expected


def test_windows_never_overlap() -> None:
    """One form is in one week at most."""
    assert [week.number for week in WEEKS] == [1, 2, 3, 4, 5, 6, 7, 8, 13, 26]
    assert all(before.closes < after.opens for before, after in pairwise(WEEKS))
    assert (WEEKS[-1].opens, WEEKS[-1].closes) == (timedelta(days=168), timedelta(days=196))
