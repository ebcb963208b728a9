"""What becomes of dates: weeks since the first dose, ages, and bands of the time since a dose.

No calendar date survives. A date shifted by a constant is still derived from the date, and the distances between a
person's check-ins, to the day, point to that person; weeks from the first dose do so far less.
"""

from datetime import date, datetime, timedelta
from typing import Final

from app.scoring.timeline import elapsed

WEEK: Final = timedelta(days=7)  # 7 times 24 hours of elapsed time
OLDEST_TOLD: Final = 90  # years; ages over 89 are one category, 45 CFR 164.514(b)(2)(i)(C)

_SINCE_DOSE: Final = ((1, "0 days"), (3, "1-2 days"), (7, "3-6 days"), (14, "7-13 days"), (28, "14-27 days"))
_LONG_SINCE: Final = "28+ days"
SINCE_DOSE_BANDS: Final = (*(words for _, words in _SINCE_DOSE), _LONG_SINCE)


def week_index(start: datetime | None, at: datetime) -> int | None:
    """In which week after the start something happened: 0 for the first seven days, -1 for the seven before.

    Units and range: weeks of 168 hours from the instant of the start, any integer. Both times have an offset.
    Missing data: None without a start; nothing else is taken in its place.

    Raises:
        ValueError: a time has no offset.

    Source: judgement; elapsed intervals in place of the dates that 45 CFR 164.514(b)(2)(i)(C) strikes.

    >>> from datetime import UTC
    >>> dose = datetime(2026, 3, 2, 9, tzinfo=UTC)
    >>> [week_index(dose, dose + timedelta(days=days)) for days in (-8, -1, 0, 6, 7, 30)]
    [-2, -1, 0, 0, 1, 4]
    """
    return None if start is None else elapsed(start, at) // WEEK


def age_on(born_on: date | None, day: date) -> int | None:
    """Completed years of life on a day. Who is born on 29 February is a year older on 1 March of other years.

    Units and range: years, at least 0. Missing data: None when the date of birth is not known.

    Raises:
        ValueError: the day is before the birth.

    Source: counting; what is done with 29 February is a convention.

    >>> age_on(date(1990, 6, 15), date(2026, 6, 14)), age_on(date(2004, 2, 29), date(2026, 3, 1))
    (35, 22)
    """
    if born_on is None:
        return None
    if day < born_on:
        raise ValueError("nobody has an age before birth")
    return day.year - born_on.year - ((day.month, day.day) < (born_on.month, born_on.day))


def since_dose_band(hours: float | None) -> str | None:
    """How long after a dose, in days of 24 hours: finer at first, where most changes, and never to the hour.

    Units and range: hours from 0. Missing data: None before any dose.

    Raises:
        ValueError: the hours are negative.

    Source: judgement: a day, three days, then the weeks at which check-ins are planned.

    >>> [since_dose_band(hours) for hours in (0, 23.9, 24, 100, 24 * 28, None)]
    ['0 days', '0 days', '1-2 days', '3-6 days', '28+ days', None]
    """
    if hours is None:
        return None
    if hours < 0:
        raise ValueError("a form before a dose has no time since it")
    return next((words for days, words in _SINCE_DOSE if hours < 24 * days), _LONG_SINCE)
