"""What a cohort shows, as clients see it: every figure with its rule and its n, or the reason why it is not told."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.schemas.episodes import Modality
from app.schemas.fields import Answer
from app.schemas.treatment_sessions import Route
from app.scoring.cohort_course import DOSE_BANDS, DOSE_COUNTS

Month = Annotated[
    str,
    StringConstraints(pattern=r"^(199|20[0-9])[0-9]-(0[1-9]|1[0-2])$"),
    Field(description="Month of the first dose in UTC, 2026-03; both ends belong to the cohort."),
]
DoseBand = Literal["under_50_mg", "50_to_149_mg", "150_mg_or_more"]
DoseCount = Literal["1", "2_to_3", "4_to_6", "7_or_more"]
assert (*DOSE_BANDS,) == DoseBand.__args__  # type: ignore[attr-defined]  # noqa: S101  # one list of bands
assert (*DOSE_COUNTS,) == DoseCount.__args__  # type: ignore[attr-defined]  # noqa: S101  # same
SeverityGroup = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9_:]{1,60}$"),
    Field(description="Band of the baseline, `moderate`; without bands `at:` or `not:` with the default cut-point."),
]


class SuppressedAnswer(Answer):
    """In place of a figure behind which too few people stand, none among them."""

    suppressed: Literal[True] = True
    reason: str = Field(description="`too_few`, `all_alike`, or `no_rule`: the instrument has none for it.")


class ShareAnswer(Answer):
    """A share of persons made of two counts with noise, with Wilson's interval of these."""

    count: int
    n: int
    rate: float = Field(description="0 to 1")
    low: float | None
    high: float | None


class MeanAnswer(Answer):
    """A mean in steps of half a point, with the interval of its t distribution."""

    n: int
    mean: float
    sd: float
    low: float
    high: float


class EffectAnswer(Answer):
    """Hedges' g for change from before to after."""

    n: int
    g: float = Field(description="standard deviations; negative when totals fell")
    low: float
    high: float
    standardiser: str = Field(description="`sd_before`: the spread of the baselines")


class CurvePointAnswer(Answer):
    """The curve at a time at which enough has happened since the point before it."""

    day: float
    at_risk: int | SuppressedAnswer
    survival: float = Field(description="Share still in response just after this day.")
    low: float
    high: float


Cell = int | SuppressedAnswer
Share = ShareAnswer | SuppressedAnswer
Mean = MeanAnswer | SuppressedAnswer


CohortPersons = Literal["consenting", "in_view"]


class CohortChoice(Answer):
    """Whom it was chosen from and by what; null leaves a trait open."""

    of: CohortPersons = Field(
        description="`consenting`: those who consent to research, for researchers. `in_view`: everybody whom you may "
        "see, for the clinic's own figures."
    )
    first_dose_from: Month | None
    first_dose_to: Month | None
    modality: Modality | None
    route: Route | None
    dose_band: DoseBand | None
    doses: DoseCount | None
    severity: SeverityGroup | None


class FlowAnswer(Answer):
    """Who came into treatment: those below belong to the cohort from their first dose on."""

    not_dosed: Cell | None = Field(
        description="Opened a course in these months and never had a dose; null when the filter speaks of doses."
    )
    dosed: Cell = Field(description="The cohort.")
    with_baseline: Cell


class CohortOutcomeAnswer(Answer):
    """One outcome twice: of those observed, and of all treated with the unknown counted as the worse."""

    outcome: str
    rule: str | None = Field(description="Code of the instrument's threshold; null where it has none.")
    threshold: float | None
    source: str | None
    of_observed: Share
    of_treated: Share


class CohortTimePointAnswer(Answer):
    """The cohort at one time since the first dose."""

    code: str
    from_days: float
    to_days: float
    due: Cell = Field(description="Persons whose window has closed: observed, missed or ended.")
    observed: Cell
    missed: Cell = Field(description="No form with a total; dropping out is missing.")
    ended: Cell = Field(description="No form, and the person's next course began before the window closed.")
    not_yet_due: Cell
    observed_rate: Share
    judged: Cell = Field(
        description="Observed, with a baseline, and at least half of the recall window after the dose."
    )
    total: Mean
    change: Mean
    effect: EffectAnswer | SuppressedAnswer
    outcomes: list[CohortOutcomeAnswer]


class CohortDurabilityAnswer(Answer):
    """How long a first response lasts: Kaplan-Meier of those who responded, censored at their last form in response."""

    rule: str
    persons: Cell
    lost: Cell
    median_days: float | SuppressedAnswer
    curve: list[CurvePointAnswer]


class CohortDoseAnswer(Answer):
    """Change around the nth dose in one window: association in time, never an effect of that dose."""

    dose_number: int
    window: str
    persons: Cell = Field(description="Who had an nth dose.")
    change: Mean


class CohortEventAnswer(Answer):
    """Persons and doses with at least one such event. The interval of doses takes a person's doses as independent."""

    term: str
    persons: Share
    doses: Share


class CohortMeasureAnswer(Answer):
    """A quality measure in the style of a published one, and how it differs from it."""

    code: str
    rate: Share
    unknown: Cell
    source: str
    differs: str


class DisclosureAnswer(Answer):
    minimum: int
    rule: str


class CohortAnswer(Answer):
    """What became of a cohort. Describes who was treated here; nobody was randomised, so it says nothing of causes."""

    instrument: str
    as_of: datetime = Field(description="Data as they stood then; the same question keeps its answer for a while.")
    cohort: CohortChoice
    disclosure: DisclosureAnswer
    flow: FlowAnswer
    baseline: Mean
    time_points: list[CohortTimePointAnswer]
    durability: CohortDurabilityAnswer
    doses: list[CohortDoseAnswer]
    adverse_events: list[CohortEventAnswer]
    measures: list[CohortMeasureAnswer]
    notes: list[str]
