"""How many of the expected check-ins came, in time or late. Shown with every result, because absence is a finding."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.scoring.timeline import HOUR, instant


@dataclass(frozen=True, slots=True)
class CheckInWindow:
    """How far from its expected time a form still counts. Hours, ends included."""

    before_hours: float  # before the expected time
    after_hours: float  # after it, in time
    late_hours: float  # after it, late; not less than after_hours


# A weekly rhythm without overlap of what is in time: three days either side, and late until the next one is due.
WEEKLY_CHECK_IN: Final = CheckInWindow(before_hours=72, after_hours=72, late_hours=168)  # hours; judgement


@dataclass(frozen=True, slots=True)
class Completeness:
    """Counts of check-ins. `expected` is always `received + missing`."""

    expected: int  # those whose outcome is settled: a form came, or its last moment has passed
    received: int  # in time or late
    late: int  # of the received
    missing: int
    pending: int  # no form yet, and there is still time
    unexpected: int  # forms that fill no window
    received_rate: float | None  # received / expected, 0 to 1; None when nothing was expected yet


@dataclass(frozen=True, slots=True)
class _Span:
    """One expected check-in on the time line."""

    opens: datetime
    in_time_until: datetime
    late_until: datetime


def completeness(
    expected_at: Iterable[datetime],
    window: CheckInWindow,
    received_at: Iterable[datetime],
    *,
    as_of: datetime | None = None,
) -> Completeness:
    """Expected, received, late and missing check-ins, each form counted for one expected time at most.

    Forms and expected times are matched in order of time so that as many as possible are received and, among these
    matchings, as few as possible are late. A second form for one expected time is `unexpected`, not a second success.

    Units and range: counts; share 0 to 1; windows in hours of elapsed time around the expected instant, ends included.
    Missing data: an incomplete form is a form that came: whether it can be scored is another question. With `as_of`, an
    expected time whose window is still open then is `pending`; without it every window is taken as over.

    Raises:
        ValueError: a time has no offset, or the window's hours are negative or end late before in time.

    Source: judgement.

    >>> from datetime import UTC, timedelta
    >>> due = [datetime(2026, 1, day, 9, tzinfo=UTC) for day in (7, 14, 21)]
    >>> came = [due[0] + timedelta(hours=5), due[1] + timedelta(days=3)]
    >>> completeness(due, CheckInWindow(before_hours=48, after_hours=48, late_hours=120), came)
    Completeness(expected=3, received=2, late=1, missing=1, pending=0, unexpected=0, received_rate=0.6666666666666666)
    """
    _check(window)
    spans = tuple(_span(at, window) for at in sorted(instant(at) for at in expected_at))
    forms = sorted(instant(at) for at in received_at)
    received, in_time, still_open = _best_matching(spans, forms, instant(as_of) if as_of is not None else None)
    expected = len(spans) - still_open
    return Completeness(
        expected=expected,
        received=received,
        late=received - in_time,
        missing=expected - received,
        pending=still_open,
        unexpected=len(forms) - received,
        received_rate=received / expected if expected else None,
    )


def _check(window: CheckInWindow) -> None:
    if window.before_hours < 0 or not 0 <= window.after_hours <= window.late_hours:
        raise ValueError("window hours must not be negative, and late must not end before in time")


def _span(at: datetime, window: CheckInWindow) -> _Span:
    return _Span(at - window.before_hours * HOUR, at + window.after_hours * HOUR, at + window.late_hours * HOUR)


def _best_matching(spans: tuple[_Span, ...], forms: list[datetime], as_of: datetime | None) -> tuple[int, int, int]:
    """Received, in time, and still open: the best in this order of all matchings that keep the order of time.

    One window serves all expected times, so their spans end in the order they begin and no crossing could receive more.
    `row[i]` is the best of the spans so far with the first `begin + i` forms. A form before the span at hand is of no
    use to it or any later one, a form after it was of no use to an earlier one: only those inside are gone through.
    """
    begin, row = 0, [(0, 0, 0)]
    for span in spans:
        is_open = as_of is not None and as_of <= span.late_until
        first, end = bisect_left(forms, span.opens), bisect_right(forms, span.late_until)
        above = [row[min(count - begin, len(row) - 1)] for count in range(first, end + 1)]
        begin, row = first, [_unfilled(above[0], is_open=is_open)]
        for place, form in enumerate(forms[first:end], start=1):
            received, in_time, still_open = above[place - 1]
            filled = received + 1, in_time + (form <= span.in_time_until), still_open
            row.append(max(_unfilled(above[place], is_open=is_open), row[-1], filled))
    return row[-1]


def _unfilled(state: tuple[int, int, int], *, is_open: bool) -> tuple[int, int, int]:
    received, in_time, still_open = state
    return received, in_time, still_open + is_open
