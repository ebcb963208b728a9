"""Waits by hand, and what must hold of them whatever happened."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.scoring.alert_waits import UNRESOLVED, UNSEEN, Wait, waits
from app.scoring.alerting import AlertFact, AlertFactKind, alert_state

START = datetime(2026, 3, 2, tzinfo=UTC)


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def fact(kind: AlertFactKind, hour: float, cause: str | None = None) -> AlertFact:
    return AlertFact(kind, at(hour), cause)


def test_nothing_happened() -> None:
    """No facts, no waits."""
    assert waits([], UNSEEN) == ()


def test_one_that_nobody_has_seen() -> None:
    """It waits for both, and neither wait has ended."""
    facts = [fact("raised", 1, "a"), fact("raised", 4, "b")]
    assert waits(facts, UNSEEN) == waits(facts, UNRESOLVED) == (Wait(at(1), None, None),)


def test_seen_and_then_dealt_with() -> None:
    """The one ends by the acknowledgement, the other by the resolution."""
    facts = [fact("raised", 1, "a"), fact("acknowledged", 3), fact("resolved", 10)]
    assert waits(facts, UNSEEN) == (Wait(at(1), at(3), "acknowledged"),)
    assert waits(facts, UNRESOLVED) == (Wait(at(1), at(10), "resolved"),)


def test_dealt_with_at_once() -> None:
    """A resolution is an acknowledgement too."""
    facts = [fact("raised", 1, "a"), fact("resolved", 2)]
    assert waits(facts, UNSEEN) == waits(facts, UNRESOLVED) == (Wait(at(1), at(2), "resolved"),)


def test_a_correction_does_not_end_a_wait() -> None:
    """Withdrawn and raised in one moment: nobody was free of it."""
    facts = [fact("raised", 1, "a"), fact("withdrawn", 5, "a"), fact("raised", 5, "b"), fact("acknowledged", 6)]
    assert waits(facts, UNSEEN) == (Wait(at(1), at(6), "acknowledged"),)


def test_withdrawn_and_later_raised_again() -> None:
    """Two waits; the first was ended by nobody's doing."""
    facts = [fact("raised", 1, "a"), fact("withdrawn", 5, "a"), fact("raised", 7, "a"), fact("resolved", 9)]
    assert waits(facts, UNSEEN) == (Wait(at(1), at(5), "withdrawn"), Wait(at(7), at(9), "resolved"))


def test_a_resolution_that_comes_to_hold_again_is_no_second_one() -> None:
    """A new cause after a resolution, taken back before anybody looked."""
    facts = [fact("raised", 1, "a"), fact("resolved", 2), fact("raised", 8, "b"), fact("withdrawn", 9, "b")]
    assert waits(facts, UNRESOLVED) == (Wait(at(1), at(2), "resolved"), Wait(at(8), at(9), "withdrawn"))


def test_people_end_a_wait_in_the_very_moment_it_began() -> None:
    """What people do is never one event with what is derived, whatever the clocks say."""
    facts = [fact("raised", 1, "a"), fact("acknowledged", 1)]
    assert waits(facts, UNSEEN) == (Wait(at(1), at(1), "acknowledged"),)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("raised", "withdrawn", "acknowledged", "resolved")),
            st.sampled_from("abc"),
            st.integers(0, 3),
        ),
        max_size=20,
    )
)
def test_waits_follow_each_other(drawn: list[tuple[AlertFactKind, str, int]]) -> None:
    """They do not overlap, none has a later one while it lasts, and the last lasts just as long as the status does."""
    facts, hour = [fact("raised", 0, "a")], 0
    for kind, cause, hours in drawn:
        hour += hours
        facts.append(fact(kind, hour, cause if kind in ("raised", "withdrawn") else None))
    for statuses in (UNSEEN, UNRESOLVED):
        found = waits(facts, statuses)
        assert all(wait.ended_at is not None and wait.began_at <= wait.ended_at for wait in found[:-1])
        assert all(one.ended_at is not None and one.ended_at <= two.began_at for one, two in pairwise(found))
        assert bool(found and found[-1].ended_at is None) == (alert_state(facts).status in statuses)
