"""Which form answers what, against a search of all matchings, and how a check-in stands."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.schedule import Expected
from app.scoring.schedule_matching import DueStatus, Form, due_status, match

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
NOON: Final = datetime(2026, 3, 9, 12, tzinfo=UTC)


def asked(
    key: str, target: float, opens: float = -12, closes: float = 12, instrument: str = "phq-9", overdue: float = 6
) -> Expected:
    """Hours from noon, and from the target."""
    at = NOON + target * HOUR
    return Expected(
        key, key, instrument, None, at, at + opens * HOUR, at + overdue * HOUR, at + closes * HOUR, remind_at=None
    )


def form(id_: str, at: float, instrument: str = "phq-9") -> Form:
    return Form(id_, instrument, NOON + at * HOUR)


def answered(expected: Sequence[Expected], forms: Sequence[Form]) -> dict[str, str]:
    return {key: found.id for key, found in match(expected, forms).items()}


# --- Cases ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "is_answered"), [(-12.001, False), (-12, True), (0, True), (11.999, True), (12, False)])
def test_a_form_counts_from_the_opening_up_to_the_close(at: float, is_answered: bool) -> None:
    """The opening is inside, the close is not."""
    assert bool(match([asked("a", 0)], [form("f", at)])) is is_answered


def test_only_the_same_instrument_answers() -> None:
    """The weekly PCL-5 is no answer to the monthly one."""
    expected = [asked("a", 0, instrument="pcl-5-month"), asked("b", 0, instrument="phq-9")]
    assert answered(expected, [form("f", 0, "pcl-5-week"), form("g", 1, "phq-9"), form("h", 2, "gad-7")]) == {"b": "g"}


def test_nothing_in_nothing_out() -> None:
    """Empty on either side, or without any form in any window."""
    assert match([], []) == match([asked("a", 0)], []) == match([], [form("f", 0)]) == {}
    assert match([asked("a", 0)], [form("f", 99)]) == {}


def test_the_nearest_of_several_forms() -> None:
    """The others answer nothing."""
    assert answered([asked("a", 0)], [form("f", -3), form("g", 2), form("h", 4)]) == {"a": "g"}


def test_as_many_as_possible_come_before_the_nearest() -> None:
    """The only form that can answer the second does so, though it is nearer to the first."""
    expected = [asked("a", 0), asked("b", 12)]
    assert answered(expected, [form("f", 1), form("g", -9)]) == {"a": "g", "b": "f"}


def test_forms_keep_the_order_of_their_targets() -> None:
    """Two late forms are two weeks' forms in their order, though either way round the days add up to the same."""
    expected = [asked("a", 0, closes=100), asked("b", 12, closes=100)]
    assert answered(expected, [form("z", 20), form("y", 30)]) == {"a": "z", "b": "y"}


def test_as_far_before_as_after() -> None:
    """The earlier form is taken; between two targets, the earlier target."""
    assert answered([asked("a", 0)], [form("f", 3), form("g", -3)]) == {"a": "g"}
    assert answered([asked("b", 6), asked("a", 0)], [form("f", 3)]) == {"a": "f"}


def test_a_long_window_around_a_short_one() -> None:
    """The short one can only be answered by the form inside it, which is then not there for the long one."""
    expected = [asked("long", 40, opens=-40, closes=40), asked("short", 40, opens=-1, closes=1)]
    assert answered(expected, [form("f", 40), form("g", 2)]) == {"long": "g", "short": "f"}


def test_twins() -> None:
    """Two forms of one moment and two entries of one time: each gets one, always the same."""
    expected, forms = [asked("a", 0), asked("b", 0)], [form("f", 1), form("g", 1)]
    found = answered(expected, forms)
    assert sorted(found) == ["a", "b"]
    assert sorted(found.values()) == ["f", "g"]
    assert answered(expected[::-1], forms[::-1]) == found
    assert list(match(expected[::-1], forms)) == ["a", "b"]  # the order of the answer too


def test_times_need_an_offset() -> None:
    """A time without one has no place between others."""
    with pytest.raises(ValueError, match="offset"):
        match([asked("a", 0)], [Form("f", "phq-9", NOON.replace(tzinfo=None))])
    with pytest.raises(ValueError, match="offset"):
        due_status(asked("a", 0), None, NOON.replace(tzinfo=None))


# --- Laws -------------------------------------------------------------------------------------------------------------

hours = st.integers(-24, 48)
expectations = st.lists(
    st.tuples(hours, st.integers(-24, 12), st.integers(1, 36), st.sampled_from(["phq-9", "gad-7"])), max_size=5
).map(
    lambda drawn: [asked(f"k{n}", at, opens, opens + length, name) for n, (at, opens, length, name) in enumerate(drawn)]
)
filled = st.lists(st.tuples(hours, st.sampled_from(["phq-9", "gad-7"])), max_size=5).map(
    lambda drawn: [form(f"f{n}", at, name) for n, (at, name) in enumerate(drawn)]
)


def matchings(expected: Sequence[Expected], forms: Sequence[Form]) -> Iterator[dict[str, Form]]:
    """Every way to answer, by trying each form, and none, for each in turn."""
    if not expected:
        yield {}
        return
    first, *rest = expected
    yield from matchings(rest, forms)
    for one in forms:
        if one.instrument == first.instrument and first.opens_at <= one.taken_at < first.closes_at:
            left = [other for other in forms if other is not one]
            yield from ({first.key: one, **more} for more in matchings(rest, left))


def worth(found: dict[str, Form], expected: Sequence[Expected]) -> tuple[int, float, timedelta]:
    """What is said of a matching, best first: how many, how near, how early."""
    target = {each.key: each.target_at for each in expected}
    squares = sum(((one.taken_at - target[key]) / HOUR) ** 2 for key, one in found.items())
    early = sum(((one.taken_at - NOON) + (target[key] - NOON) for key, one in found.items()), timedelta(0))
    return -len(found), squares, early


@settings(deadline=None, max_examples=300)
@given(expected=expectations, forms=filled)
def test_the_best_of_all_matchings(expected: list[Expected], forms: list[Form]) -> None:
    """No other way to answer is better, and the way found is one of them."""
    found = match(expected, forms)
    ways = list(matchings(expected, forms))
    assert found in ways
    assert worth(found, expected) == min(worth(way, expected) for way in ways)


@settings(deadline=None, max_examples=300)
@given(expected=expectations, forms=filled, data=st.data())
def test_the_order_changes_nothing_and_each_form_is_used_once(
    expected: list[Expected], forms: list[Form], data: st.DataObject
) -> None:
    """Permuted expectations and forms give the same answers."""
    found = match(expected, forms)
    assert match(data.draw(st.permutations(expected)), data.draw(st.permutations(forms))) == found
    assert len({one.id for one in found.values()}) == len(found)


@settings(deadline=None, max_examples=500)
@given(expected=expectations, forms=filled, at=hours, name=st.sampled_from(["phq-9", "gad-7"]))
def test_one_form_more_takes_no_answer_away(expected: list[Expected], forms: list[Form], at: int, name: str) -> None:
    """What was answered stays answered, perhaps by another form."""
    more = match(expected, [*forms, form("a-new-one", at, name)])
    assert match(expected, forms).keys() <= more.keys()


@settings(deadline=None, max_examples=200)
@given(expected=expectations, forms=filled, data=st.data())
def test_one_expectation_less_lets_no_form_answer_more(
    expected: list[Expected], forms: list[Form], data: st.DataObject
) -> None:
    """A withdrawn check-in frees its form; every form that was of use to the rest still is."""
    if expected:
        gone = data.draw(st.sampled_from(expected))
        left = match([each for each in expected if each is not gone], forms)
        assert {one.id for one in left.values()} <= {one.id for one in match(expected, forms).values()}


# --- Speed ------------------------------------------------------------------------------------------------------------


def quickest(expected: Sequence[Expected], forms: Sequence[Form]) -> float:
    """Best of five, because others use the machine too."""

    def taken() -> float:
        begin = perf_counter()
        match(expected, forms)
        return perf_counter() - begin

    return min(taken() for _ in range(5))


def test_a_hundred_forms_take_a_few_milliseconds() -> None:
    """Two years of weeks, windows that touch their neighbours, forms off by up to three days."""
    weekly = [asked(f"week-{week:03}", 168 * week, -48, 120) for week in range(100)]
    forms = [form(f"f{week:03}", 168 * week + 37 * week % 144 - 72) for week in range(100)]
    assert len(match(weekly, forms)) > 80
    assert quickest(weekly, forms) < 0.03


def test_the_worst_plan_is_still_answered() -> None:
    """Two hundred forms wanted at once over a year, and a hundred filled in: every pair is possible."""
    expected = [asked(f"k{n:03}", 24 * n, -9000, 9000) for n in range(200)]
    forms = [form(f"f{n:03}", 31 * n) for n in range(100)]
    assert len(match(expected, forms)) == 100
    assert quickest(expected, forms) < 3


# --- Status -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (-12.001, DueStatus.UPCOMING),
        (-12, DueStatus.DUE),
        (5.999, DueStatus.DUE),
        (6, DueStatus.OVERDUE),
        (11.999, DueStatus.OVERDUE),
        (12, DueStatus.MISSED),
        (999, DueStatus.MISSED),
    ],
)
def test_each_state_begins_with_its_own_instant(now: float, status: DueStatus) -> None:
    """Upcoming, due, overdue, missed."""
    assert due_status(asked("a", 0), None, NOON + now * HOUR) is status


@pytest.mark.parametrize(("at", "status"), [(5.999, DueStatus.RECEIVED), (6, DueStatus.RECEIVED_LATE)])
@pytest.mark.parametrize("now", [-99, 0, 99])
def test_what_came_stays_received(at: float, status: DueStatus, now: float) -> None:
    """Late by when it was filled in, whatever the time is now."""
    assert due_status(asked("a", 0), NOON + at * HOUR, NOON + now * HOUR) is status


def test_a_window_that_is_overdue_at_once_or_never() -> None:
    """Overdue at the opening: never due. Overdue at the close: never overdue."""
    assert due_status(asked("a", 0, overdue=-12), None, NOON - 12 * HOUR) is DueStatus.OVERDUE
    assert due_status(asked("a", 0, overdue=12), None, NOON + 11 * HOUR) is DueStatus.DUE
    assert due_status(asked("a", 0, overdue=12), None, NOON + DAY) is DueStatus.MISSED
