"""What the core speaks of: an instrument and its rules, one scored form, one point in time.

Everything here is a frozen value. Nothing here reads a clock, a setting or a database.
Items are numbered from 1, as they are printed on the form.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple


class Validity(StrEnum):
    """How far a total may be trusted."""

    VALID = "valid"  # every scored item answered
    PRORATED = (
        "prorated"  # few enough missing: total is the person mean of the answered items times the number of items
    )
    INCOMPLETE = "incomplete"  # too many missing: there is no total


class Direction(StrEnum):
    """Which way a falling score points."""

    LOWER_IS_BETTER = "lower_is_better"
    HIGHER_IS_BETTER = "higher_is_better"


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice of an item: the number that is summed, the words the person reads, its LOINC answer code."""

    value: int
    label: str
    loinc: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One question, verbatim. An unscored item (PHQ-9's difficulty question) is kept but never summed."""

    number: int  # from 1, as printed
    text: str
    answers: tuple[Answer, ...]
    loinc: str | None = None
    scored: bool = True
    required: bool = True  # False: the form may be sent without this item at all


@dataclass(frozen=True, slots=True)
class Subscale:
    """A named sum over some items; it exists while at most `missing_allowed` of them are unanswered."""

    code: str
    label: str
    items: tuple[int, ...]
    missing_allowed: int  # items; the rest is prorated by the person mean of this subscale


@dataclass(frozen=True, slots=True)
class SeverityBand:
    """A named range of totals, both ends included."""

    code: str
    label: str
    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Criterion:
    """How many of some items are endorsed; an item is endorsed at its own threshold, inclusive."""

    endorsed_at: dict[int, int]  # item number -> smallest value that counts
    at_least: int
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class Screen:
    """A rule over a form that is met, not met, or cannot be told because of missing items. Not a diagnosis.

    Either `total_at_least`, `total_at_most` (inclusive, on the total) or `criteria` (all of them) is set.
    """

    code: str
    label: str
    source: str
    total_at_least: int | None = None
    total_at_most: int | None = None
    criteria: tuple[Criterion, ...] = ()
    is_default: bool = False  # the cut-point that verdicts and caseness use when nothing else is asked


@dataclass(frozen=True, slots=True)
class CriticalItem:
    """An item that needs a person's eyes from a certain answer on, whatever the total."""

    item: int
    at_least: int
    code: str
    label: str


@dataclass(frozen=True, slots=True)
class MissingRule:
    """Up to `at_most` unanswered scored items the total is prorated; beyond it there is no total."""

    at_most: int
    source: str


@dataclass(frozen=True, slots=True)
class Psychometrics:
    """One published sample. Which coefficient it is matters: alpha is not retest."""

    population: str
    source: str
    n: int | None = None
    mean: float | None = None  # points
    sd: float | None = None  # points
    alpha: float | None = None  # internal consistency, 0 to 1
    retest: float | None = None  # retest reliability, 0 to 1
    retest_days: float | None = None  # days between the two administrations
    role: Literal["clinical", "functional", "reliability"] = "reliability"
    is_default: bool = False  # used for SEM and cut-offs when nothing else is asked; one per role


class ThresholdKind(StrEnum):
    """What a threshold is compared with."""

    CHANGE_POINTS = "change_points"  # improvement in points since baseline (positive = better)
    CHANGE_RATE = "change_rate"  # improvement as a share of the baseline total, 0 to 1
    SCORE = "score"  # the latest total itself


class Inequality(StrEnum):
    """How the value is compared, always written out because sources differ exactly here."""

    AT_LEAST = ">="
    MORE_THAN = ">"
    AT_MOST = "<="
    LESS_THAN = "<"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One published rule for judging change: what is compared, how, with which number, said by whom, for whom."""

    rule: str  # reliable_change, minimal_important_difference, response, partial_response, remission, ...
    code: str  # unique within the instrument, e.g. reliable_change_15
    kind: ThresholdKind
    inequality: Inequality
    value: float
    population: str
    source: str
    version: int = 1
    is_default: bool = False  # of several rules of the same name, the one that categories use


@dataclass(frozen=True, slots=True)
class WorkedExample:
    """A form with its known result; the registry test scores it."""

    responses: tuple[int | None, ...]
    total: int | float | None
    validity: Validity
    severity: str | None = None  # code of the band
    screens: dict[str, bool | None] = field(default_factory=dict)
    subscales: dict[str, int | float | None] = field(default_factory=dict)
    source: str = "arithmetic"


@dataclass(
    frozen=True, slots=True, kw_only=True, eq=False
)  # equal to itself alone, so that results can be cached by it
class Instrument:
    """A questionnaire with everything that is true of it. One declaration per file, read by all else."""

    id: str  # phq-9
    version: int  # raised by anything that can move a number
    title: str
    measures: str  # depression, ptsd, anxiety, well_being
    instruction: str  # verbatim stem
    items: tuple[Item, ...]
    recall_days: int  # length of the window the questions ask about
    recall_label: str
    direction: Direction
    missing: MissingRule
    copyright: str
    licence: str
    source: str
    multiplier: int = 1  # the sum of the items times this is the total (WHO-5: 4)
    subscales: tuple[Subscale, ...] = ()
    bands: tuple[SeverityBand, ...] = ()  # empty where no empirical ones exist
    screens: tuple[Screen, ...] = ()
    critical_items: tuple[CriticalItem, ...] = ()
    psychometrics: tuple[Psychometrics, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    functional_item: int | None = None  # number of the unscored difficulty item
    languages: tuple[str, ...] = ("en",)
    loinc_panel: str | None = None
    loinc_total: str | None = None
    examples: tuple[WorkedExample, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Identity of this version, e.g. `phq-9@1`."""
        return f"{self.id}@{self.version}"

    @property
    def scored_items(self) -> tuple[Item, ...]:
        """The items that make the total, in order."""
        return tuple(item for item in self.items if item.scored)

    @property
    def minimum(self) -> int:
        """Smallest possible total."""
        return self.multiplier * sum(min(a.value for a in item.answers) for item in self.scored_items)

    @property
    def maximum(self) -> int:
        """Largest possible total."""
        return self.multiplier * sum(max(a.value for a in item.answers) for item in self.scored_items)


@dataclass(frozen=True, slots=True)
class ScreenResult:
    """Whether a screen is met; None when the missing items could change it."""

    code: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class CriticalFinding:
    """A critical item on this form: raised, not raised, or unanswered (None). Never imputed."""

    item: int
    code: str
    value: int | None
    raised: bool | None


@dataclass(frozen=True, slots=True)
class Score:
    """What one form says. `total` is an int when whole, else the unrounded decimal; None when incomplete."""

    instrument: str  # key, phq-9@1
    total: int | float | None
    minimum: int
    maximum: int
    validity: Validity
    answered: int  # scored items answered
    missing: tuple[int, ...]  # numbers of the scored items not answered
    subscales: dict[str, int | float | None]
    severity: SeverityBand | None
    screens: tuple[ScreenResult, ...]
    critical_items: tuple[CriticalFinding, ...]
    functional_difficulty: int | None


class Point(NamedTuple):  # of everything here the most are made of these, and tuples are made fastest
    """One scored form on the time line, as every longitudinal function takes it. `at` carries an offset."""

    id: str
    at: datetime
    total: int | float | None  # None: incomplete, shown but never judged
    validity: Validity
