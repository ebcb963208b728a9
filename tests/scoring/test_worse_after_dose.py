"""Worse soon after a dose: a signal with its dose number, never a cause."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.model import Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.treatment import Dose, doses_before
from app.scoring.worse_after_dose import FormPoint, WorseAfterDose, WorseReason, worse_after_dose

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
PHQ_9: Final = get_instrument("phq-9")  # reliable change: 6 points; item 9 is critical from 1
NEW, HIGHER, WORSE = (
    WorseReason.CRITICAL_ITEM_NEW,
    WorseReason.CRITICAL_ITEM_HIGHER,
    WorseReason.RELIABLE_WORSENING,
)


def dose(day: float) -> Dose:
    return Dose(f"dose {day}", DAY_ZERO + timedelta(days=day))


def form(day: float, total: float | None, item_9: int | None = 0) -> FormPoint:
    validity = Validity.INCOMPLETE if total is None else Validity.VALID
    return FormPoint(Point(f"day {day}", DAY_ZERO + timedelta(days=day), total, validity), {9: item_9})


def signals(*forms: FormPoint, doses: tuple[float, ...] = (0,), within_days: float = 7) -> tuple[WorseAfterDose, ...]:
    return worse_after_dose(forms, [dose(day) for day in doses], PHQ_9, within_days=within_days)


def test_worse_after_the_second_dose() -> None:
    """Better after the first dose, 19 three days after the second: the second is named, against the form before it."""
    forms = [form(-1, 18), form(7, 12), form(13, 11), form(17, 19)]
    (signal,) = signals(*forms, doses=(0, 14))
    assert (signal.dose_number, signal.hours_after, signal.change) == (2, 72.0, 8)
    assert (signal.before, signal.reasons, signal.rule) == (forms[2].point, (WORSE,), "reliable_change_6")


@pytest.mark.parametrize(("total", "found"), [(17, 0), (18, 1), (17.99, 0)])
def test_reliable_worsening_is_the_mirror_of_reliable_improvement(total: float, found: int) -> None:
    """Six points up from 12 is the boundary, and counts."""
    assert len(signals(form(-1, 12), form(3, total))) == found


def test_where_higher_is_better_a_fall_is_worse() -> None:
    """WHO-5 turns the rule round: 24 points down from 80 is a signal, 24 up from 20 is not."""
    who_5 = get_instrument("who-5")
    fell = worse_after_dose([form(-1, 80), form(3, 56)], [dose(0)], who_5)
    rose = worse_after_dose([form(-1, 20), form(3, 44)], [dose(0)], who_5)
    assert [signal.change for signal in fell] == [-24]
    assert rose == ()


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [(0, 1, NEW), (None, 1, NEW), (1, 2, HIGHER), (1, 1, None), (3, 1, None), (0, 0, None), (0, None, None)],
)
def test_critical_items(before: int | None, after: int | None, reason: WorseReason | None) -> None:
    """New means not known before; higher means more than before; the same, less, none and unanswered are no signal."""
    found = signals(form(-1, 12, before), form(3, 12, after))
    assert [signal.reasons for signal in found] == ([(reason,)] if reason else [])


def test_an_incomplete_form_still_speaks_by_its_critical_item() -> None:
    """No total, but item 9 is raised, against its last answer before the dose even if a later form left it out."""
    (signal,) = signals(form(-9, 12, 1), form(-1, 12, None), form(3, None, 2))
    assert (signal.change, signal.reasons) == (None, (HIGHER,))
    assert (signal.items[0].before, signal.items[0].after) == (1, 2)


def test_improvement_of_the_total_hides_nothing() -> None:
    """A total that halves and an item 9 that appears is a signal."""
    (signal,) = signals(form(-1, 20, 0), form(3, 8, 1))
    assert (signal.change, signal.reasons) == (-12, (NEW,))


@pytest.mark.parametrize(("day", "found"), [(0, 0), (0.01, 1), (7, 1), (7.01, 0)])
def test_the_days_after_a_dose_include_the_last(day: float, found: int) -> None:
    """At the start of the dose a form is before it; seven days after is within seven days."""
    assert len(signals(form(-1, 12), form(day, 20))) == found


def test_each_form_belongs_to_its_nearest_preceding_dose() -> None:
    """Two doses in one week: the form is reported once, for the second, against the form at its start."""
    (signal,) = signals(form(-1, 12), form(2, 12), form(3, 20), doses=(0, 2))
    assert (signal.dose_number, signal.before and signal.before.id) == (2, "day 2")


def test_without_an_earlier_total_no_worsening_is_told() -> None:
    """There is nothing to be worse than; a raised item is told all the same, as new."""
    assert signals(form(3, 27, 0)) == ()
    (signal,) = signals(form(3, 27, 2))
    assert (signal.before, signal.change, signal.reasons) == (None, None, (NEW,))


def test_no_dose_no_signal_and_no_rule_no_verdict() -> None:
    """Worse without a dose is somebody else's alert; an instrument without the rule is judged by its items alone."""
    assert worse_after_dose([form(-1, 5), form(3, 27, 3)], [], PHQ_9) == ()
    bare = replace(PHQ_9, thresholds=())
    (signal,) = worse_after_dose([form(-1, 5), form(3, 27, 3)], [dose(0)], bare)
    assert (signal.rule, signal.reasons) == (None, (NEW,))


def test_the_order_of_forms_does_not_matter() -> None:
    """Signals come in order of time from any order."""
    forms = [form(-1, 12), form(3, 20), form(5, 21), form(16, 30)]
    assert signals(*forms, doses=(0, 14)) == signals(*forms[::-1], doses=(14, 0))


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 40), st.none() | st.integers(0, 27), st.none() | st.integers(0, 3)),
        max_size=14,
        unique_by=lambda row: row[0],
    ),
    starts=st.lists(st.integers(0, 40), max_size=4),
)
@settings(max_examples=80, deadline=None)
def test_a_form_is_told_as_if_it_were_the_only_one_after_its_dose(
    rows: list[tuple[int, float | None, int | None]], starts: list[int]
) -> None:
    """Each form beside its nearest dose and what came before that dose alone gives the same signal, or none."""
    forms = [form(*row) for row in sorted(rows, key=lambda row: row[0])]
    doses = [replace(dose(day), id=f"dose {place}") for place, day in enumerate(starts)]
    alone = []
    for each in forms:
        started = doses_before(each.point.at, doses)
        if started:
            start = started[-1].dose.started_at
            earlier = [known for known in forms if known.point.at <= start]
            found = worse_after_dose([*earlier, each], doses, PHQ_9)
            alone += [signal for signal in found if signal.after == each.point]
    assert worse_after_dose(forms, doses, PHQ_9) == tuple(alone)
