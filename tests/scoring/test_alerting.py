"""What raises an alert, in whatever order it arrives, and what a corrected answer takes back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.alerting import (
    AlertCause,
    AlertFact,
    AlertKind,
    AlertStatus,
    alert_state,
    form_causes,
    missed_causes,
    new_facts,
)
from app.scoring.model import CriticalItem, Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.schedule import Expected
from app.scoring.schedule_matching import DueStatus, due_status
from app.scoring.treatment import Baseline, BaselineReason, BaselineRule, Dose, NoBaseline, choose_baseline
from app.scoring.worse_after_dose import FormPoint

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
PHQ_9: Final = get_instrument("phq-9")  # reliable change: 6 points; item 9 is critical from 1
NOTHING: Final = NoBaseline(BaselineRule.FIRST, BaselineReason.NOT_FOUND)
ITEM, RISE, WORSE, AFTER_DOSE, MISSED = AlertKind
OPEN, WITHDRAWN = AlertStatus.OPEN, AlertStatus.WITHDRAWN


def day(count: float) -> datetime:
    return DAY_ZERO + timedelta(days=count)


def form(at: float, total: float | None = 10, item_9: int | None = 0) -> FormPoint:
    validity = Validity.INCOMPLETE if total is None else Validity.VALID
    return FormPoint(Point(f"{at:g}", day(at), total, validity), {9: item_9})


def causes(*forms: FormPoint, doses: Sequence[float] = (), baseline: FormPoint | None = None) -> tuple[AlertCause, ...]:
    chosen = Baseline(baseline.point, BaselineRule.NAMED) if baseline else NOTHING
    return form_causes(PHQ_9, forms, [Dose(f"dose {at:g}", day(at)) for at in doses], chosen)


def keys(found: Sequence[AlertCause], kind: AlertKind) -> list[str]:
    return [cause.key for cause in found if cause.kind is kind]


# --- The critical item ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "raised"), [(None, []), (0, []), (1, ["3:9:1"]), (3, ["3:9:3"])])
def test_a_critical_item_raises_from_its_limit_on(value: int | None, raised: list[str]) -> None:
    """One and above raises and names form, item and answer; unanswered is not an answer."""
    assert keys(causes(form(3, 5, value)), ITEM) == raised


def test_a_cause_says_what_and_whose_it_is() -> None:
    """Kind, instrument without version, item, form, and when the form was filled in."""
    assert causes(form(3, 5, 2)) == (AlertCause(ITEM, "phq-9", 9, "3:9:2", "3", day(3)),)


def test_an_incomplete_form_raises_and_so_does_one_whose_total_improved() -> None:
    """Neither a missing total nor a falling one hides the item."""
    before = form(0, 24, 1)
    found = causes(before, form(7, None, 1), form(14, 4, 1), baseline=before)
    assert keys(found, ITEM) == ["0:9:1", "7:9:1", "14:9:1"]


def test_every_raised_form_is_a_cause_of_its_own() -> None:
    """The same answer again is another form with another key, so that it opens a resolved alert again."""
    assert keys(causes(form(1, 9, 1), form(2, 9, 1)), ITEM) == ["1:9:1", "2:9:1"]


@pytest.mark.parametrize(
    ("answers", "rises"),
    [
        ((0, 1), ["1:9:0>1"]),
        ((1, 2), ["1:9:1>2"]),
        ((1, None, 2), ["2:9:1>2"]),  # unanswered is passed over
        ((2, 0, 1), ["2:9:0>1"]),  # against the last answer, not the highest
        ((1, 1), []),
        ((2, 1), []),
        ((None, 3), []),  # nothing to be higher than
        ((3,), []),
        ((0, 1, 2, 3), ["1:9:0>1", "2:9:1>2", "3:9:2>3"]),
    ],
)
def test_a_rise_is_told_against_the_last_answer(answers: tuple[int | None, ...], rises: list[str]) -> None:
    """Higher than the last answer before it; a fall, the same and a first answer are no rise."""
    assert keys(causes(*(form(at, 9, value) for at, value in enumerate(answers))), RISE) == rises


def test_a_late_form_moves_the_rise_to_where_it_belongs() -> None:
    """A form filled in between two others is compared in time, whenever it arrives."""
    first, between, last = form(1, 9, 0), form(2, 9, 2), form(3, 9, 2)
    assert keys(causes(first, last), RISE) == ["3:9:0>2"]
    assert keys(causes(first, last, between), RISE) == ["2:9:0>2"]


def test_each_critical_item_speaks_for_itself() -> None:
    """Two critical items with limits of their own; below its limit an item may rise without being raised."""
    two = replace(PHQ_9, critical_items=(*PHQ_9.critical_items, CriticalItem(2, at_least=2, code="low", label="")))
    points = [form(at).point for at in range(3)]
    forms = [FormPoint(point, {9: 1, 2: value}) for point, value in zip(points, (0, 1, 2), strict=True)]
    found = form_causes(two, forms, [], NOTHING)
    assert [cause.key for cause in found if cause.item == 2] == ["1:2:0>1", "2:2:2", "2:2:1>2"]
    assert keys([cause for cause in found if cause.item == 9], ITEM) == ["0:9:1", "1:9:1", "2:9:1"]


def test_an_instrument_without_critical_items_raises_none() -> None:
    """The PHQ-8 leaves out the question, and says nothing in its place."""
    assert form_causes(get_instrument("phq-8"), [form(0, 24, 3)], [], NOTHING) == ()


# --- Worsening --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("totals", "onsets"),
    [
        ((15,), []),
        ((16,), ["1:0"]),  # 6 points up from 10
        ((15.99,), []),
        ((16, 17, 20), ["1:0"]),  # told once
        ((16, 15, 16), ["1:0", "3:0"]),  # and again after a form that was not worse
        ((16, None, 16), ["1:0"]),  # a form without a total neither ends it nor begins it
        ((None, 16), ["2:0"]),
        ((4, 9), []),  # 5 points up from the best, but not from the baseline
    ],
)
def test_reliable_worsening_is_told_at_its_onset(totals: tuple[float | None, ...], onsets: list[str]) -> None:
    """The mirrored rule against the baseline, at the form with which it begins."""
    before = form(0, 10)
    forms = [form(at, total) for at, total in enumerate(totals, start=1)]
    assert keys(causes(before, *forms, baseline=before), WORSE) == onsets


def test_forms_before_the_baseline_are_never_worse_than_it() -> None:
    """Waiting-list forms of 27 are no worsening of a baseline that came later, and hide no onset after it."""
    before = form(0, 10)
    assert keys(causes(form(-14, 27), form(-7, 27), before, form(7, 16), baseline=before), WORSE) == ["7:0"]


def test_another_baseline_is_another_cause() -> None:
    """A dose that was moved may change the baseline: what was told against the old one is told anew."""
    first, second, last = form(0, 10), form(1, 9), form(8, 20)
    assert keys(causes(first, second, last, baseline=first), WORSE) == ["8:0"]
    assert keys(causes(first, second, last, baseline=second), WORSE) == ["8:1"]


def test_without_baseline_or_rule_no_worsening_is_told() -> None:
    """There is nothing to count from, or nothing to count with."""
    before = form(0, 0)
    assert keys(causes(before, form(7, 27)), WORSE) == []
    bare = replace(PHQ_9, thresholds=())
    assert form_causes(bare, [before, form(7, 27)], [], Baseline(before.point, BaselineRule.FIRST)) == ()


def test_where_higher_is_better_a_fall_is_worse() -> None:
    """WHO-5: 24 points down from 60 is the onset, 40 up is not."""
    before = form(0, 60)
    found = form_causes(
        get_instrument("who-5"), [before, form(7, 100), form(14, 36)], [], Baseline(before.point, BaselineRule.FIRST)
    )
    assert [(cause.kind, cause.instrument, cause.key) for cause in found] == [(WORSE, "who-5", "14:0")]


def test_every_signal_after_a_dose_is_a_cause() -> None:
    """Form and dose make the key; a form is held against its nearest dose alone."""
    found = causes(form(-1, 10), form(3, 16), form(5, 17), form(13, 10), form(16, 18), doses=(0, 14))
    assert keys(found, AFTER_DOSE) == ["3:dose 0", "5:dose 0", "16:dose 14"]
    assert {(cause.instrument, cause.item) for cause in found} == {("phq-9", None)}


def test_causes_come_oldest_first_and_of_one_form_in_the_order_of_kinds() -> None:
    """One bad form after a dose gives all four, then the next form its own."""
    before = form(-1, 10)
    found = causes(form(5, 10, 1), form(3, 16, 1), before, doses=(0,), baseline=before)
    assert [(cause.form_id, cause.kind) for cause in found] == [
        *(("3", kind) for kind in (ITEM, RISE, WORSE, AFTER_DOSE)),
        ("5", ITEM),
        ("5", AFTER_DOSE),
    ]


def test_causes_of_two_forms_of_one_instant_stay_with_their_form() -> None:
    """Ids decide which comes first, and with it which one is the rise."""
    one, other = (replace(form(3, 9, 1), point=form(3).point._replace(id=id_)) for id_ in ("a", "b"))
    found = causes(replace(other, critical_values={9: 2}), one)
    assert [(cause.form_id, cause.kind) for cause in found] == [("a", ITEM), ("b", ITEM), ("b", RISE)]
    before, worse = form(1, 9, 1), replace(one, point=one.point._replace(total=20))
    found = causes(other, worse, before, baseline=before)
    assert [(cause.form_id, cause.kind) for cause in found[1:]] == [("a", ITEM), ("a", WORSE), ("b", ITEM)]


# --- Missed check-ins -------------------------------------------------------------------------------------------------


STATUS: Final = {
    "u": DueStatus.UPCOMING,
    "d": DueStatus.DUE,
    "o": DueStatus.OVERDUE,
    "m": DueStatus.MISSED,
    "r": DueStatus.RECEIVED,
    "l": DueStatus.RECEIVED_LATE,
}


def expected(key: str, closes: float) -> Expected:
    """Wanted for a day, overdue for another."""
    opens_at, overdue_at = day(closes - 2), day(closes - 1)
    return Expected(key, "weekly", "phq-9", None, overdue_at, opens_at, overdue_at, day(closes), None)


def run(letters: str, in_a_row: int = 2) -> list[str]:
    """One check-in a day, its status by the first letter; `l` is received late."""
    statuses = [(expected(str(at), at), STATUS[letter]) for at, letter in enumerate(letters)]
    forward, backward = missed_causes(statuses, in_a_row), missed_causes(statuses[::-1], in_a_row)
    assert forward == backward
    return [cause.key for cause in forward]


@pytest.mark.parametrize(
    ("letters", "found"),
    [
        ("", []),
        ("m", []),
        ("mm", ["1"]),
        ("mmmm", ["1"]),  # a longer run is no new cause
        ("mdm", ["2"]),  # still open: neither ends nor lengthens the run
        ("mom", ["2"]),
        ("mmu", ["1"]),
        ("mrm", []),
        ("mlm", []),  # a late form is a form
        ("mmr", []),  # over
        ("mmrm", []),
        ("mmrmm", ["4"]),
        ("rrmmm", ["3"]),
    ],
)
def test_missed_check_ins_in_a_row(letters: str, found: list[str]) -> None:
    """The latest run that has not ended, from its second on."""
    assert run(letters) == found


@pytest.mark.parametrize(("in_a_row", "found"), [(1, ["1"]), (2, ["2"]), (3, ["3"]), (4, [])])
def test_how_many_in_a_row_is_the_clinics_to_say(in_a_row: int, found: list[str]) -> None:
    """The check-in that makes the run long enough is the cause."""
    assert run("rmmm", in_a_row) == found


def test_a_missed_cause_belongs_to_no_instrument() -> None:
    """It is about the person's silence, dated by the end of waiting."""
    statuses = [(expected("weekly/e/1", 7), DueStatus.MISSED)]
    assert missed_causes(statuses, 1) == (AlertCause(MISSED, None, None, "weekly/e/1", None, day(7)),)


def test_two_that_close_together_are_ordered_by_key() -> None:
    """Two instruments asked in one window: their order is the same every time."""
    statuses = [(expected(key, 7), DueStatus.MISSED) for key in ("phq/e/1", "pcl/e/1")]
    assert [cause.key for cause in missed_causes(statuses, 2)] == ["phq/e/1"]


@given(
    spans=st.lists(st.tuples(st.integers(2, 40), st.none() | st.integers(0, 40)), max_size=8),
    now=st.integers(0, 45),
    in_a_row=st.integers(1, 3),
    data=st.data(),
)
def test_missed_causes_are_a_function_of_what_came(
    spans: list[tuple[int, int | None]], now: int, in_a_row: int, data: st.DataObject
) -> None:
    """In any order the same; at most one cause, of a missed check-in, and none while fewer are missed."""
    statuses = [
        (each, due_status(each, None if came is None else day(came), day(now)))
        for place, (closes, came) in enumerate(spans)
        for each in [expected(f"weekly/e/{place}", closes)]
    ]
    found = missed_causes(statuses, in_a_row)
    assert missed_causes(data.draw(st.permutations(statuses)), in_a_row) == found
    missed = {each.key for each, status in statuses if status is DueStatus.MISSED}
    assert len(found) <= (len(missed) >= in_a_row)
    assert {cause.key for cause in found} <= missed
    answered = [each.closes_at for each, status in statuses if status.value.startswith("received")]
    assert all(cause.at >= closes_at for cause in found for closes_at in answered)


def test_the_order_of_closing_counts_not_that_of_opening() -> None:
    """A month to answer ends after the two weeks inside it: the form that came for it ends their run."""
    month = replace(expected("monthly/e/1", 30), opens_at=day(0))
    weeks = [(expected(f"weekly/e/{week}", 7 * week), DueStatus.MISSED) for week in (1, 2)]
    assert missed_causes([(month, DueStatus.RECEIVED), *weeks], 2) == ()
    assert [cause.key for cause in missed_causes([(month, DueStatus.DUE), *weeks], 2)] == ["weekly/e/2"]


def test_a_run_of_none_is_refused() -> None:
    """Zero in a row would alert on everybody."""
    with pytest.raises(ValueError, match="at least one"):
        missed_causes([], 0)


# --- The same record, the same causes ---------------------------------------------------------------------------------

rows: Final = st.tuples(
    st.integers(0, 30), st.none() | st.integers(0, 27) | st.just(10.125), st.none() | st.integers(0, 3)
)
records: Final = st.lists(rows, max_size=10)
starts: Final = st.lists(st.integers(0, 30), max_size=3)


def record_of(drawn: Sequence[tuple[int, float | None, int | None]]) -> list[FormPoint]:
    """Forms with ids of their own; some share an instant."""
    made = (form(*row) for row in drawn)
    return [replace(each, point=each.point._replace(id=f"f{place}")) for place, each in enumerate(made)]


def derived(forms: Sequence[FormPoint], doses: Sequence[Dose]) -> tuple[AlertCause, ...]:
    first = min((dose.started_at for dose in doses), default=None)
    rule = BaselineRule.FIRST if first is None else BaselineRule.PRE_TREATMENT
    baseline = choose_baseline([each.point for each in forms], rule, first_dose_at=first)
    return form_causes(PHQ_9, forms, doses, baseline)


def doses_at(days: Sequence[int]) -> list[Dose]:
    return [Dose(f"d{place}", day(at)) for place, at in enumerate(days)]


@given(drawn=records, days=starts, data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_order_of_forms_changes_nothing(
    drawn: list[tuple[int, float | None, int | None]], days: list[int], data: st.DataObject
) -> None:
    """Any permutation of forms and doses gives the same causes, and each key once."""
    forms, doses = record_of(drawn), doses_at(days)
    found = derived(forms, doses)
    assert derived(data.draw(st.permutations(forms)), data.draw(st.permutations(doses))) == found
    for kind in AlertKind:
        assert len(set(keys(found, kind))) == len(keys(found, kind))


@given(drawn=records, days=starts, data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_arrival_changes_nothing(
    drawn: list[tuple[int, float | None, int | None]], days: list[int], data: st.DataObject
) -> None:
    """Forms one by one in any order, later corrected: what stays active is what the record as it stands gives."""
    forms, doses = record_of(drawn), doses_at(days)
    wrong = [replace(each, critical_values={9: data.draw(st.integers(0, 3))}) for each in forms]
    facts: list[AlertFact] = []
    present: dict[str, FormPoint] = {}
    arrivals = [*data.draw(st.permutations(wrong)), *data.draw(st.permutations(forms))]
    for step, arrived in enumerate(arrivals):
        present[arrived.point.id] = arrived
        known = {f"{cause.kind}/{cause.key}" for cause in derived(list(present.values()), doses)}
        facts += new_facts(facts, known, day(step))
    in_time_order = {f"{cause.kind}/{cause.key}" for cause in derived(forms, doses)}
    active = alert_state(facts).active if facts else frozenset()
    assert active == in_time_order


@given(drawn=records, days=starts, data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_other_form_silences_a_critical_item(
    drawn: list[tuple[int, float | None, int | None]], days: list[int], data: st.DataObject
) -> None:
    """Whatever stands around it, a form with item 9 from 1 on raises."""
    worried = form(
        data.draw(st.integers(0, 30)), data.draw(st.none() | st.integers(0, 27)), data.draw(st.integers(1, 3))
    )
    found = derived([*record_of(drawn), worried], doses_at(days))
    assert f"{worried.point.id}:9:{worried.critical_values[9]}" in keys(found, ITEM)


@pytest.mark.parametrize(("answer", "corrected"), [(1, 2), (2, 1), (3, 2)])
def test_a_corrected_answer_leaves_the_alert_open(answer: int, corrected: int) -> None:
    """A higher or lower answer is another cause: seen before or not, somebody has to look again."""
    first = new_facts([], [cause.key for cause in causes(form(3, 5, answer))], day(4))
    seen = [*first, AlertFact("acknowledged", day(5))]
    after = new_facts(seen, [cause.key for cause in causes(form(3, 5, corrected))], day(6))
    state = alert_state([*seen, *after])
    assert [fact.kind for fact in after] == ["withdrawn", "raised"]
    assert (state.status, state.raised_at, state.active) == (OPEN, day(4), frozenset({f"3:9:{corrected}"}))


def test_a_corrected_answer_may_take_the_alert_back() -> None:
    """Entered as 1 by mistake and corrected to 0: withdrawn, and still on record."""
    first = new_facts([], [cause.key for cause in causes(form(3, 5, 1))], day(4))
    after = new_facts(first, [cause.key for cause in causes(form(3, 5, 0))], day(6))
    state = alert_state([*first, *after])
    assert (state.status, state.raised_at, state.active) == (WITHDRAWN, day(4), frozenset())
