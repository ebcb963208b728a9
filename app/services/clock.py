"""What is taken for a clock that runs wrong, and what is refused as not having happened."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.errors import Fault, InvalidError
from app.schemas.fields import EARLIEST

CLOCK_TOLERANCE: Final = timedelta(minutes=5)  # how far off ours a sender's clock may run and still be believed
LATE_AFTER: Final = timedelta(hours=24)  # from being filled in to arriving; judgement: the clinic's next working day
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What a request told of its sender's clock.

    A clock beyond the tolerance is not believed: times read off it are corrected by its error in whole minutes, so that
    the same form sent twice is the same form. That the clock was as wrong when the form was filled in is assumed.
    """

    skew_seconds: int | None = None  # how far it ran ahead of ours; None: the request did not tell
    correction_minutes: int = 0  # taken off the sender's times

    def ours(self, time: datetime) -> datetime:
        """The sender's time by our clock."""
        return time - self.correction_minutes * _MINUTE


def read_clock(device_time: datetime | None, received_at: datetime) -> ClockReading:
    if device_time is None:
        return ClockReading()
    skew = device_time - received_at
    correction = round(skew / _MINUTE) if abs(skew) > CLOCK_TOLERANCE else 0
    return ClockReading(round(skew.total_seconds()), correction)


def future_faults(now: datetime, **times: datetime | None) -> Iterator[Fault]:
    """One for each time that lies further ahead; the name of the argument is the field's."""
    for name, time in times.items():
        if time is not None and time > now + CLOCK_TOLERANCE:
            yield Fault(f"/{name}", "in_the_future", "The time lies more than 5 minutes in the future.")


def impossible_form(now: datetime, taken_at: datetime) -> InvalidError | None:
    """Why a form cannot have been filled in at that time; None when it can."""
    if taken_at < EARLIEST:
        fault = Fault("/taken_at", "too_long_ago", "The time lies before 1990; is the clock of the device right?")
        return InvalidError("The form is older than its instrument.", faults=(fault,))
    return _future_form(now, taken_at)


def refuse_future_form(now: datetime, taken_at: datetime) -> None:
    """Raises InvalidError for a form that cannot have been filled in yet."""
    if refusal := _future_form(now, taken_at):
        raise refusal


def _future_form(now: datetime, taken_at: datetime) -> InvalidError | None:
    faults = tuple(future_faults(now, taken_at=taken_at))
    return InvalidError("The form is from the future.", faults=faults) if faults else None
