"""What raises an alert, and what is left of it after corrections, acknowledgements and resolutions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.alerting import (
    AlertCause,
    AlertFact,
    AlertFactKind,
    AlertKind,
    AlertStatus,
    alert_state,
    form_causes,
    latency,
    missed_causes,
    new_facts,
)
from app.scoring.model import CriticalItem, Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.treatment import Baseline, BaselineReason, BaselineRule, Dose, NoBaseline, choose_baseline
from app.scoring.worse_after_dose import FormPoint

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
PHQ_9: Final = get_instrument("phq-9")  # reliable change: 6 points; item 9 is critical from 1
NOTHING: Final = NoBaseline(BaselineRule.FIRST, BaselineReason.NOT_FOUND)
ITEM, RISE, WORSE, AFTER_DOSE, MISSED = AlertKind
OPEN, ACKNOWLEDGED, RESOLVED, WITHDRAWN = AlertStatus


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


# --- Missed check-ins -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Awaited:
    key: str
    closes_at: datetime


def run(letters: str, in_a_row: int = 2) -> list[str]:
    """One check-in a day: m missed, r received, l late, u upcoming, d due, o overdue."""
    words = {"m": "missed", "r": "received", "l": "received_late", "u": "upcoming", "d": "due", "o": "overdue"}
    statuses = [(Awaited(str(at), day(at)), words[letter]) for at, letter in enumerate(letters)]
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
    statuses = [(Awaited("weekly/e/1", day(7)), "missed")]
    assert missed_causes(statuses, 1) == (AlertCause(MISSED, None, None, "weekly/e/1", None, day(7)),)


def test_two_that_close_together_are_ordered_by_key() -> None:
    """Two instruments asked in one window: their order is the same every time."""
    statuses = [(Awaited(key, day(7)), "missed") for key in ("phq/e/1", "pcl/e/1")]
    assert [cause.key for cause in missed_causes(statuses, 2)] == ["phq/e/1"]


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
    return [replace(each, point=replace(each.point, id=f"f{place}")) for place, each in enumerate(made)]


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


# --- What happened to an alert ----------------------------------------------------------------------------------------


def facts_of(story: str) -> list[AlertFact]:
    """One fact a day: +a raised, -a withdrawn, ! acknowledged, . resolved; joined by = when in the same moment."""
    words: dict[str, AlertFactKind] = {"+": "raised", "-": "withdrawn", "!": "acknowledged", ".": "resolved"}
    moments = [step.split("=") for step in story.split()]
    return [
        AlertFact(words[word[0]], day(at), word[1:] or None) for at, moment in enumerate(moments) for word in moment
    ]


@pytest.mark.parametrize(
    ("story", "status", "raised", "acknowledged", "resolved", "reopened"),
    [
        ("+a", OPEN, 0, None, None, 0),
        ("+a !", ACKNOWLEDGED, 0, 1, None, 0),
        ("+a .", RESOLVED, 0, None, 1, 0),
        ("+a ! .", RESOLVED, 0, 1, 2, 0),
        ("+a -a", WITHDRAWN, 0, None, None, 0),
        ("+a ! +b", OPEN, 0, None, None, 0),  # b was not seen
        ("+a ! +b !", ACKNOWLEDGED, 0, 3, None, 0),
        ("+a ! +b -b", ACKNOWLEDGED, 0, 1, None, 0),
        ("+a ! . +b", OPEN, 3, None, None, 1),
        ("+a ! . +b !", ACKNOWLEDGED, 3, 4, None, 1),
        ("+a ! . +b . +c", OPEN, 5, None, None, 2),
        ("+a ! . +b -b", RESOLVED, 0, 1, 2, 1),  # the resolution holds as before
        ("+a ! . +b -b +c", OPEN, 5, None, None, 2),
        ("+a ! . -a", WITHDRAWN, 0, 1, 2, 0),
        ("+a . -a +a", OPEN, 3, None, None, 1),  # raised again at its new time
        ("+a1 -a1=+a2", OPEN, 0, None, None, 0),  # a correction goes on with its span
        ("+a1 ! -a1=+a2", OPEN, 0, None, None, 0),  # and the new answer was not seen
        ("+a1 ! . -a1=+a2", OPEN, 3, None, None, 1),  # a corrected answer opens what was resolved
        ("+a -a +b", OPEN, 2, None, None, 0),  # withdrawn for a day: a new span, never resolved
        ("+a ! -a", WITHDRAWN, 0, 1, None, 0),
        ("! . +a", OPEN, 2, None, None, 0),  # nothing there yet to see or to do
        ("+a . !", RESOLVED, 0, None, 1, 0),  # to acknowledge what is resolved changes nothing
        ("+a . .", RESOLVED, 0, None, 1, 0),
        ("+a ! !", ACKNOWLEDGED, 0, 1, None, 0),
        ("+a -b", OPEN, 0, None, None, 0),
        ("+a . +a", RESOLVED, 0, None, 1, 0),  # active all along: nothing new
    ],
)
def test_what_an_alert_amounts_to(
    story: str, status: AlertStatus, raised: int, acknowledged: int | None, resolved: int | None, reopened: int
) -> None:
    """Story by story: status, the times of its span, and how often it came again."""
    state = alert_state(facts_of(story))
    times = (state.acknowledged_at, state.resolved_at)
    expected = tuple(None if at is None else day(at) for at in (acknowledged, resolved))
    assert (state.status, state.raised_at, times, state.reopened) == (status, day(raised), expected, reopened)


def test_what_was_withdrawn_together_may_be_written_in_any_order() -> None:
    """Two causes withdrawn at once, one resolved and one not, leave the same alert whichever is named first."""
    first, second = (alert_state(facts_of(f"+a . +b {both}")) for both in ("-a=-b", "-b=-a"))
    assert first == second
    assert (first.status, first.raised_at) == (WITHDRAWN, day(2))


@pytest.mark.parametrize("story", ["", "!", ". !", "-a"])
def test_without_a_cause_there_is_no_alert(story: str) -> None:
    """An alert begins with a raise; without one there is nothing to tell the state of."""
    with pytest.raises(ValueError, match="begins with a cause"):
        alert_state(facts_of(story))


steps: Final = st.sampled_from(["+a", "+b", "+c", "-a", "-b", "-c", "!", "."])


def as_defined(story: Sequence[str]) -> tuple[AlertStatus, frozenset[str]]:
    """Give the status by its definition: where each active cause was raised, against the last of each act."""
    raised: dict[str, int] = {}
    for place, step in enumerate(story):
        if step[0] == "+":
            raised.setdefault(step[1:], place)
        elif step[0] == "-":
            raised.pop(step[1:], None)
    seen, done = (max((at for at, step in enumerate(story) if step == act), default=-1) for act in ("!", "."))
    unresolved = [at for at in raised.values() if at > done]
    if not raised:
        status = WITHDRAWN
    elif not unresolved:
        status = RESOLVED
    else:
        status = ACKNOWLEDGED if max(unresolved) < seen else OPEN
    return status, frozenset(raised)


@given(story=st.lists(steps, max_size=14))
@settings(max_examples=400, deadline=None)
def test_the_status_is_as_it_is_defined(story: list[str]) -> None:
    """From any sequence of facts, sensible or not; the times agree with the status."""
    facts = facts_of(" ".join(story))
    if not any(fact.kind == "raised" for fact in facts):
        return
    state = alert_state(facts)
    assert (state.status, state.active) == as_defined(story)
    assert (state.resolved_at is not None) or state.status is not RESOLVED
    assert (state.acknowledged_at is not None) or state.status is not ACKNOWLEDGED
    if state.status in (OPEN, ACKNOWLEDGED):
        assert state.resolved_at is None
    if state.status is OPEN:
        assert state.acknowledged_at is None
    assert all(state.raised_at < at for at in (state.acknowledged_at, state.resolved_at) if at is not None)


@given(story=st.lists(steps, max_size=14))
@settings(max_examples=200, deadline=None)
def test_a_reopening_is_counted_when_the_status_turns(story: list[str]) -> None:
    """Fact by fact: an alert that was once resolved and is opened by a raise has come again."""
    expected, was_resolved, status = 0, False, None
    for count in range(1, len(story) + 1):
        now, _ = as_defined(story[:count])
        if now is OPEN and status in (RESOLVED, WITHDRAWN) and was_resolved:
            expected += 1
        was_resolved = was_resolved or (story[count - 1] == "." and status in (OPEN, ACKNOWLEDGED))
        status = now
    facts = facts_of(" ".join(story))
    if any(fact.kind == "raised" for fact in facts):
        assert alert_state(facts).reopened == expected


@given(story=st.lists(steps, max_size=10), wanted=st.sets(st.sampled_from("abcd")))
@settings(max_examples=200, deadline=None)
def test_new_facts_are_enough_and_no_more(story: list[str], wanted: set[str]) -> None:
    """After them the active causes are the derived ones, written once; a second time adds nothing."""
    before = facts_of(" ".join(story))
    _, active = as_defined(story)
    added = new_facts(before, wanted, day(99))
    assert len(added) == len(active ^ wanted)
    assert [(fact.kind, fact.cause) for fact in added] == [
        *(("withdrawn", cause) for cause in sorted(active - wanted)),
        *(("raised", cause) for cause in sorted(wanted - active)),
    ]
    after = [*before, *added]
    assert new_facts(after, wanted, day(100)) == ()
    if any(fact.kind == "raised" for fact in after):
        assert alert_state(after).active == wanted


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


# --- How long it took -------------------------------------------------------------------------------------------------


def test_latency_of_nothing() -> None:
    """No waiting time, no figure: never 0 hours."""
    assert (latency([]).n, latency([]).p50, latency([]).p90, latency([]).maximum) == (0, None, None, None)


@pytest.mark.parametrize(
    ("n", "p50", "p90"), [(1, 1, 1), (2, 1, 2), (3, 2, 3), (10, 5, 9), (11, 6, 10), (20, 10, 18), (100, 50, 90)]
)
def test_nearest_rank(n: int, p50: float, p90: float) -> None:
    """Of 1 to n hours: exactly half, or nine tenths, do not exceed the figure where that many there are."""
    found = latency([float(hours) for hours in range(n, 0, -1)])
    assert (found.n, found.p50, found.p90, found.maximum) == (n, p50, p90, n)


@given(hours=st.lists(st.floats(0, 10_000), min_size=1, max_size=60))
def test_latency_agrees_with_numpy(hours: list[float]) -> None:
    """Nearest rank is numpy's inverted empirical distribution."""
    found = latency(hours)
    expected = [np.percentile(hours, percent, method="inverted_cdf") for percent in (50, 90, 100)]
    assert [found.p50, found.p90, found.maximum] == expected


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_waiting_time_is_a_number(odd: float) -> None:
    """What never ended has no length, and may not be sorted in among the others."""
    with pytest.raises(ValueError, match="finite"):
        latency([1.0, odd])
