"""Which forms of a course are needed to judge its newest ones: a dozen, however long the course.

Judging all of a long course again with each form would cost more than storing the form. The rules look at few places:
the baseline, the forms before, what was known when a dose started, the first check-ins after it, the worst of all.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from app.scoring.model import Direction
from app.scoring.on_track import FOURTH_CHECK_IN

_BEFORE: Final = 2  # forms with a total before the newest ones: the last change, and the state before it


def essential(
    times: Sequence[datetime],
    totals: Sequence[float | None],
    answered: Callable[[int], bool],
    starts: Sequence[datetime],
    newest: int,
    direction: Direction,
) -> tuple[int, ...]:
    """Places of the forms by which those from `newest` on are judged as by all.

    What holds by them as by all: the usual baseline; the alerts raised by the forms from `newest` on
    (`alerting.form_causes`); the standing but for its count of forms. Why there is no baseline may differ.

    Units and range: `times` of one course in order, in UTC, with their `totals`; `answered(place)` tells whether the
    critical items of a form were answered; `starts` of the doses in order. Places count from 0.
    Missing data: forms without a total stand where they are.
    Source: arithmetic; a test holds the answers by all and by these forms equal.

    >>> from datetime import UTC, timedelta
    >>> days = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(100)]
    >>> places = essential(days, [10] * 100, lambda place: True, [days[20]], 99, Direction.LOWER_IS_BETTER)
    >>> len(places), places[-3:]
    (8, (97, 98, 99))
    """
    scored = [place for place, total in enumerate(totals) if total is not None]
    chosen = {*range(newest, len(times)), *_last(scored, newest, _BEFORE), *_answered_before(answered, newest)}
    if not starts:
        chosen.update(scored[:1])
        begins = scored[0] + 1 if scored else 0
    else:
        begins = bisect_right(times, starts[0])
        chosen.update(_last(scored, begins, 1))
    for start in _doses_before(starts, times[newest:]):
        known = bisect_right(times, start)
        chosen.update(_last(scored, known, 1), _answered_before(answered, known))
    later = scored[bisect_right(scored, begins - 1) :]
    chosen.update(later[: FOURTH_CHECK_IN.by_check_in])
    if later:
        worst = max if direction is Direction.LOWER_IS_BETTER else min
        chosen.add(worst(later, key=lambda place: totals[place] or 0))
    return tuple(sorted(chosen))


def _last(scored: Sequence[int], before: int, count: int) -> Sequence[int]:
    end = bisect_right(scored, before - 1)
    return scored[max(0, end - count) : end]


def _answered_before(answered: Callable[[int], bool], before: int) -> tuple[int, ...]:
    """The last form whose critical items were answered."""
    return next(((place,) for place in range(before - 1, -1, -1) if answered(place)), ())


def _doses_before(starts: Sequence[datetime], times: Sequence[datetime]) -> set[datetime]:
    """Each form's nearest preceding dose."""
    found = (bisect_right(starts, at) for at in times)
    return {starts[count - 1] for count in found if count}
