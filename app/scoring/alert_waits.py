"""How long alerts waited for people, told from what happened to them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.scoring.alerting import AlertFact, AlertFactKind, AlertStatus, alert_state

UNSEEN: Final = frozenset({AlertStatus.OPEN})
UNRESOLVED: Final = frozenset({AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED})

_DERIVED: Final = ("raised", "withdrawn")


@dataclass(frozen=True, slots=True)
class Wait:
    """A stretch of time without a gap in which an alert waited for somebody."""

    began_at: datetime
    ended_at: datetime | None  # None: it still waits
    ended_by: AlertFactKind | None  # withdrawn: nobody had to do it any more


def waits(facts: Sequence[AlertFact], statuses: Collection[AlertStatus]) -> tuple[Wait, ...]:
    """The stretches in which an alert had one of these statuses, oldest first.

    With `UNSEEN`, how long it waited to be seen: a new cause after an acknowledgement begins another wait, so that the
    days in between, in which nothing was new, count for none. With `UNRESOLVED`, how long it waited to be dealt with.
    What a correction takes back and raises in one moment does not end a wait.

    Units and range: times as given, in the order they were written down.
    Missing data: no facts, no waits. A wait that has not ended has no end.
    Source: judgement.

    >>> from datetime import UTC
    >>> def fact(kind, day, cause=None):
    ...     return AlertFact(kind, datetime(2026, 3, day, tzinfo=UTC), cause)
    >>> facts = [fact("raised", 1, "a"), fact("acknowledged", 2), fact("raised", 8, "b"), fact("resolved", 9)]
    >>> [(wait.began_at.day, wait.ended_at.day) for wait in waits(facts, UNSEEN)]
    [(1, 2), (8, 9)]
    >>> [(wait.began_at.day, wait.ended_at.day) for wait in waits(facts, UNRESOLVED)]
    [(1, 9)]
    """
    return tuple(_waits(facts, statuses))


def _waits(facts: Sequence[AlertFact], statuses: Collection[AlertStatus]) -> Iterator[Wait]:
    began_at: datetime | None = None
    for number, fact in enumerate(facts, start=1):
        if facts[number:] and _is_one_moment(fact, facts[number]):
            continue
        is_waiting = alert_state(facts[:number]).status in statuses
        if is_waiting and began_at is None:
            began_at = fact.at
        elif began_at is not None and not is_waiting:
            yield Wait(began_at, fact.at, fact.kind)
            began_at = None
    if began_at is not None:
        yield Wait(began_at, None, None)


def _is_one_moment(fact: AlertFact, following: AlertFact) -> bool:
    """What the program derives at once is one event; what people do never is."""
    return fact.at == following.at and fact.kind in _DERIVED and following.kind in _DERIVED
