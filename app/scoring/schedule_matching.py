"""Which form answers which expected check-in, and how an expected check-in stands."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Final

from app.scoring.schedule import Expected
from app.scoring.timeline import instant

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# A cost is three numbers in one. Each has 16 bits to spare, so that sums of 65,536 costs still compare one by one.
_LOT_BITS: Final = 64
_EARLY_SHIFT: Final = _LOT_BITS + 16
_DISTANCE_SHIFT: Final = _EARLY_SHIFT + 60 + 16  # two times since year 1 in microseconds are below 2 ** 60


@dataclass(frozen=True, slots=True)
class Form:
    """A form that came, in its current version."""

    id: str
    instrument: str  # id, without a version
    taken_at: datetime


class DueStatus(StrEnum):
    """How one expected check-in stands at one time."""

    UPCOMING = "upcoming"  # not open yet
    DUE = "due"
    OVERDUE = "overdue"  # still open
    MISSED = "missed"  # closed, and nothing came
    RECEIVED = "received"
    RECEIVED_LATE = "received_late"  # filled in when it was overdue already


def match(expected: Sequence[Expected], forms: Sequence[Form]) -> dict[str, Form]:
    """The form that answers each expected check-in, by key; what no form answers is not in it.

    A form can answer what asks for its instrument and is open when the form is filled in, and it answers one at most.
    As many as possible are answered; then the sum of the squared distances from the targets is least, which keeps forms
    in the order of their targets; then earlier forms and earlier targets come first; then a lot decides that is drawn
    from key and id. So neither the order in which things are given nor that in which they came changes anything, and
    one form more never takes an answer away.

    Units and range: times carry an offset; windows are [opens_at, closes_at). Keys and ids are unique.
    Missing data: a form without a total is a form that came.

    Raises:
        ValueError: a time has no offset.

    Source: judgement. The method: Kuhn 1955, Nav Res Logist Q 2:83-97, by shortest augmenting paths.

    >>> noon = datetime(2026, 3, 9, 12, tzinfo=UTC)
    >>> def asked(key, at):
    ...     return Expected(key, key, "phq-9", None, at, at - timedelta(3), at + timedelta(2), at + timedelta(6), None)
    >>> weekly = [asked("week-1", noon), asked("week-2", noon + timedelta(7))]
    >>> late, on_time = Form("a", "phq-9", noon + timedelta(5)), Form("b", "phq-9", noon + timedelta(8))
    >>> {key: form.id for key, form in match(weekly, [late, on_time]).items()}
    {'week-1': 'a', 'week-2': 'b'}
    """
    by_instrument: dict[str, list[Form]] = defaultdict(list)
    for form in sorted(forms, key=lambda form: (instant(form.taken_at), form.id)):
        by_instrument[form.instrument].append(form)
    wanted: dict[str, list[Expected]] = defaultdict(list)
    for each in sorted(expected, key=lambda each: each.key):
        wanted[each.instrument].append(each)
    found: dict[str, Form] = {}
    for instrument, came in by_instrument.items():
        found |= _best(wanted.get(instrument, ()), came)
    return {key: found[key] for key in sorted(found)}


def due_status(expected: Expected, answered_at: datetime | None, now: datetime) -> DueStatus:
    """How one expected check-in stands now.

    Units and range: times carry an offset; each state begins with its own instant.
    Missing data: `answered_at` is None while no form answers it.

    Raises:
        ValueError: a time has no offset.

    Source: judgement.

    >>> at = datetime(2026, 3, 9, 12, tzinfo=UTC)
    >>> form = Expected("k", "c", "phq-9", None, at, at, at + timedelta(1), at + timedelta(2), None)
    >>> [due_status(form, None, at + timedelta(days)).value for days in (-1, 0, 1, 2)]
    ['upcoming', 'due', 'overdue', 'missed']
    """
    if answered_at is not None:
        return DueStatus.RECEIVED if instant(answered_at) < expected.overdue_at else DueStatus.RECEIVED_LATE
    at = instant(now)
    if at < expected.opens_at:
        return DueStatus.UPCOMING
    if at < expected.overdue_at:
        return DueStatus.DUE
    return DueStatus.OVERDUE if at < expected.closes_at else DueStatus.MISSED


def _best(expected: Sequence[Expected], forms: Sequence[Form]) -> dict[str, Form]:
    """The matching of one instrument's forms, which are in order of time."""
    times = [instant(form.taken_at) for form in forms]
    costs: list[dict[int, int]] = [{} for _ in forms]
    for column, each in enumerate(expected):
        for row in range(bisect_left(times, each.opens_at), bisect_left(times, each.closes_at)):
            costs[row][column] = _cost(each, forms[row].id, times[row])
    useful = [row for row, cost in enumerate(costs) if cost]
    if not useful:
        return {}
    columns = _assign([costs[row] for row in useful])
    return {expected[column].key: forms[row] for row, column in zip(useful, columns, strict=True) if column is not None}


def _cost(expected: Expected, form: str, taken_at: datetime) -> int:
    """The squared distance, then the order in time, then the lot, as one number, of which sums keep that order.

    The lot makes one matching the best. Were several equally good, which of them is found could change with one form
    more, and an answer could go.
    """
    distance = (taken_at - expected.target_at) // _MICROSECOND
    early = (taken_at - _BEGINNING + (expected.target_at - _BEGINNING)) // _MICROSECOND
    lot = blake2b(f"{expected.key}\n{form}".encode(), digest_size=_LOT_BITS // 8).digest()
    return (distance * distance << _DISTANCE_SHIFT) + (early << _EARLY_SHIFT) + int.from_bytes(lot)


def _assign(costs: Sequence[Mapping[int, int]]) -> list[int | None]:
    """For each row a column of its own, or None: as many as possible, at the least sum of costs.

    Rows come in one by one, each by the shortest augmenting path. A row may stay without a column at a price that no
    sum of costs reaches, which is what makes their number come first; that way out is the row's own column below 0.
    """
    alone = 1 + len(costs) * max(max(cost.values()) for cost in costs)
    choices = [{**cost, -1 - row: alone} for row, cost in enumerate(costs)]
    chosen: dict[int, int] = {}  # column of each row
    owner: dict[int, int] = {}  # row of each column
    row_price, column_price = [0] * len(costs), dict.fromkeys((c for choice in choices for c in choice), 0)
    for root in range(len(costs)):
        reached_by, column = _shortest_path(root, choices, owner, row_price, column_price)
        while True:
            row = reached_by[column]
            owner[column], before = row, chosen.get(row)
            chosen[row] = column
            if row == root or before is None:
                break
            column = before
    return [chosen[row] if chosen[row] >= 0 else None for row in range(len(costs))]


def _shortest_path(
    root: int,
    choices: Sequence[Mapping[int, int]],
    owner: Mapping[int, int],
    row_price: list[int],
    column_price: dict[int, int],
) -> tuple[dict[int, int], int]:
    """By which row each column was reached, and the free column that is nearest; prices are brought up to date."""
    reached_by: dict[int, int] = {}
    distance: dict[int, int] = {}
    settled: set[int] = set()
    queue: list[tuple[int, int]] = []
    row, so_far = root, 0
    while True:
        for column, cost in choices[row].items():
            length = so_far + cost - row_price[row] - column_price[column]
            if column not in settled and (column not in distance or length < distance[column]):
                distance[column], reached_by[column] = length, row
                heappush(queue, (length, column))
        so_far, column = heappop(queue)
        while column in settled:
            so_far, column = heappop(queue)
        if column not in owner:
            break
        settled.add(column)
        row = owner[column]
    _raise_prices(root, so_far, {each: distance[each] for each in settled}, owner, row_price, column_price)
    return reached_by, column


def _raise_prices(
    root: int,
    length: int,
    settled: Mapping[int, int],
    owner: Mapping[int, int],
    row_price: list[int],
    column_price: dict[int, int],
) -> None:
    row_price[root] += length
    for column, distance in settled.items():
        column_price[column] -= length - distance
        row_price[owner[column]] += length - distance
