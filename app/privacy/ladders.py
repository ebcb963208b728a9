"""The ladders of quasi-identifiers: how each is told, first finely, then coarser and coarser, at last not at all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from app.privacy.bands import band
from app.privacy.dates import OLDEST_TOLD

Value = str | int | float | None
Rung = Callable[[Value], Value]

ANYTHING: Final = "*"  # what a quasi-identifier is told as on the last rung


@dataclass(frozen=True, slots=True)
class Ladder:
    """A quasi-identifier and the ways to tell it, from fine to coarse. Not to tell it at all comes after the last."""

    name: str
    rungs: tuple[Rung, ...]  # each from the value itself; what one makes equal, no later one tells apart


def bands_of(name: str, widths: Sequence[int], top: int | None = None) -> Ladder:
    """A ladder of ever wider bands for a number, in the number's own unit.

    Units and range: widths rising, each a divisor of the next; `top`, from where all are one, a multiple of all.
    Missing data: None stays None.

    Raises:
        ValueError: by `generalise`, when the widths do not fit into each other or a value is negative.

    Source: arithmetic.

    >>> [rung(137) for rung in bands_of("dose_mg", (25, 50, 100)).rungs]
    ['125-149', '100-149', '100-199']
    """
    return Ladder(name, tuple(partial(_banded, width=width, top=top) for width in widths))


def groups_of(name: str, *groupings: Mapping[str, str]) -> Ladder:
    """A ladder for a category: as it is, then by each grouping; what a grouping does not name is `other`.

    Units and range: each grouping says for a category where it belongs.
    Missing data: None stays None.

    Raises:
        ValueError: by `generalise`, when a grouping tells apart what an earlier one put together.

    Source: the groupings name theirs.

    >>> [rung("intranasal") for rung in ROUTE.rungs], [rung(None) for rung in ROUTE.rungs]
    (['intranasal', 'mucosal'], [None, None])
    """
    return Ladder(name, (_as_it_is, *(partial(_grouped, grouping=grouping) for grouping in groupings)))


def _as_it_is(value: Value) -> Value:
    return value


def _banded(value: Value, width: int, top: int | None) -> Value:
    if isinstance(value, str):
        raise ValueError("a band is of a number")  # noqa: TRY004 - one error for whatever a ladder does not fit
    return band(value, width, top)


def _grouped(value: Value, grouping: Mapping[str, str]) -> Value:
    return None if value is None else grouping.get(str(value), "other")


AGE: Final = bands_of("age", (5, 10, 30), top=OLDEST_TOLD)  # years
DOSE_MG: Final = bands_of("dose_mg", (25, 50, 100), top=400)  # mg; judgement: few doses lie above
YEAR: Final = bands_of("index_year", (1, 2, 4))
MODALITY: Final = groups_of("modality")
MEDICINE: Final = groups_of("medicine")
ROUTE: Final = groups_of(
    "route",
    {  # pharmaceutical routes by the way in; judgement
        "intravenous": "injected",
        "intramuscular": "injected",
        "subcutaneous": "injected",
        "intranasal": "mucosal",
        "sublingual": "mucosal",
        "buccal": "mucosal",
        "oral": "oral",
    },
)

LADDERS: Final = (AGE, YEAR, MODALITY, MEDICINE, ROUTE, DOSE_MG)  # of the quasi-identifiers in columns.py, in order
