"""What is taken for a clock that runs ahead, and what is refused as not having happened."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from app.errors import Fault, InvalidError

CLOCK_TOLERANCE: Final = timedelta(minutes=5)  # how far ahead of ours a sender's clock may run


def future_faults(now: datetime, **times: datetime | None) -> Iterator[Fault]:
    """One for each time that lies further ahead; the name of the argument is the field's."""
    for name, time in times.items():
        if time is not None and time > now + CLOCK_TOLERANCE:
            yield Fault(f"/{name}", "in_the_future", "The time lies more than 5 minutes in the future.")


def refuse_future_form(now: datetime, taken_at: datetime) -> None:
    """Raises InvalidError for a form that cannot have been filled in yet."""
    if faults := tuple(future_faults(now, taken_at=taken_at)):
        raise InvalidError("The form is from the future.", faults=faults)
