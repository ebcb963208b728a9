"""What an alert amounts to after all that happened to it, and how long that took."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.alerting import AlertFact, AlertFactKind, AlertStatus, alert_state, latency, new_facts

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
OPEN, ACKNOWLEDGED, RESOLVED, WITHDRAWN = AlertStatus


def day(count: float) -> datetime:
    return DAY_ZERO + timedelta(days=count)


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
        ("+a . +b . +c -c", RESOLVED, 2, None, 3, 2),  # the last of two resolutions
        ("+a . +b ! -b", RESOLVED, 0, None, 1, 1),  # what was resolved stays so when something else is seen
        ("+a -a=+b=.=+c", OPEN, 1, None, None, 1),  # corrected, resolved and raised again in one moment
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
