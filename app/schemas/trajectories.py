"""One patient's course on one instrument, as clients see it. Field by field what the core found."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from app.schemas.fields import Answer, Id, Total, parse_id
from app.schemas.instruments import SeverityAnswer
from app.scoring.change import ChangeCategory
from app.scoring.model import Inequality, ThresholdKind, Validity


def _parse_baseline(value: Any) -> Any:
    return value if value in {"pre_treatment", "first"} else parse_id(value)


BaselineChoice = Annotated[
    Literal["pre_treatment", "first"] | UUID,
    BeforeValidator(_parse_baseline),
    Field(description="`pre_treatment`, `first`, or the id of an assessment"),
]


IdText = Annotated[str, Field(json_schema_extra={"format": "uuid"})]  # an id of ours, already written out


class BaselineAnswer(Answer):
    """What change is measured from, and the rule that chose it."""

    assessment_id: Id
    rule: Literal["pre_treatment", "first", "named"]
    taken_at: datetime
    total: Total


class FormAnswer(Answer):
    """One form in short."""

    assessment_id: Id
    taken_at: datetime
    total: Total | None


@dataclass(slots=True)  # points are many and come from typed values: checking and freezing each would only cost
class PointAnswer:
    assessment_id: IdText
    taken_at: datetime
    total: Total | None
    validity: Validity
    severity: SeverityAnswer | None
    sem: Annotated[float | None, Field(description="Standard error of measurement, points; null where none is known.")]
    dose_number: Annotated[int | None, Field(description="of the nearest preceding dose, from 1")]
    hours_since_dose: float | None
    recall_after_dose: Annotated[float | None, Field(description="Share of the recall window after that dose, 0 to 1.")]
    change: Annotated[Total | None, Field(description="Points since baseline; negative is lower than at baseline.")]
    percent_change: Annotated[float | None, Field(description="null where the baseline is 0")]


class VerdictAnswer(Answer):
    """One rule's judgement. Where sources disagree, all stand side by side."""

    rule: str
    code: str
    kind: ThresholdKind
    inequality: Inequality
    threshold: float
    met: bool | None
    direction: Literal["improved", "worsened", "none"] | None
    population: str
    source: str
    version: int
    reason: str | None = Field(description="Why there is no judgement.")


class CategoryRule(Answer):
    """The two rules the category rests on."""

    reliable_code: str | None
    reliable_value: float | None = Field(description="points that count as reliable change")
    cutoff_code: str | None
    cutoff_value: int | None = Field(description="total where the clinical range begins")
    reason: str | None = Field(description="Why there is no category.")


class LatestAnswer(Answer):
    assessment_id: Id
    taken_at: datetime
    total: Total
    change: Total
    percent_change: float | None
    verdicts: list[VerdictAnswer]
    category: ChangeCategory | None
    category_rule: CategoryRule


class SlopeAnswer(Answer):
    """Points per week, with bounds where there are any."""

    per_week: float
    low: float | None
    high: float | None
    level: float
    reason: str | None = Field(description="Why there are no bounds.")


class MannKendallAnswer(Answer):
    s: int
    z: float
    p: float
    method: Literal["exact", "normal"]


class WithheldAnswer(Answer):
    quantity: str
    reason: str


class TrendAnswer(Answer):
    """How totals move from the baseline on. No arrow without n and dates."""

    n: int
    left_out: int = Field(description="forms without a total")
    first_at: datetime | None
    last_at: datetime | None
    span_days: float
    theil_sen: SlopeAnswer | None
    ols: SlopeAnswer | None
    mann_kendall: MannKendallAnswer | None
    reasons: list[WithheldAnswer]


class SuddenChangeAnswer(Answer):
    """A sudden gain or loss between two neighbouring forms (Tang and DeRubeis 1999)."""

    kind: Literal["gain", "loss"]
    before_id: Id
    after_id: Id
    magnitude: float
    days: float
    reversed_by: Id | None


class AfterAnswer(Answer):
    """The form found in one window after a dose."""

    form: FormAnswer | None
    hours_after: float | None
    recall_after_dose: float | None
    effect: Total | None
    standard_error: float | None = Field(description="of the difference in a person who did not change, points")
    not_estimable: str | None


class SessionAnswer(Answer):
    """What came before and after one dose. Time order is not cause."""

    treatment_session_id: Id
    dose_number: int
    started_at: datetime
    rules: str
    before: FormAnswer | None
    hours_before: float | None
    after: dict[str, AfterAnswer]
    effect: Total | None
    standard_error: float | None
    effect_window: str | None
    not_estimable: str | None


class WorseItemAnswer(Answer):
    item: int
    before: int | None
    after: int
    reason: str


class WorseAnswer(Answer):
    """A form within days after a dose that is reliably worse, or has a critical answer that is new or higher."""

    treatment_session_id: Id
    dose_number: int
    before: FormAnswer | None
    after: FormAnswer
    hours_after: float
    change: Total | None
    rule: str | None
    reasons: list[str]
    items: list[WorseItemAnswer]


class RemissionAnswer(Answer):
    rule: str | None
    first_remission_at: datetime | None
    last_without_at: datetime | None
    hours_to_remission: float | None
    doses_to_remission: int | None
    relapse_at: datetime | None
    days_sustained: float | None
    days_sustained_low: float | None
    days_sustained_high: float | None
    censored: bool | None
    censored_at: datetime | None
    reason: str | None


class DurabilityAnswer(Answer):
    """How long a response lasts. Onset and end lie between two forms; a missed form is never a success."""

    rule: str
    response_rule: str | None
    first_response_at: datetime | None
    last_without_at: datetime | None = Field(description="last form before it that was no response")
    hours_to_response: float | None = Field(description="from the start of the first dose")
    doses_to_response: int | None
    lost_at: datetime | None = Field(description="first form that was a response no longer")
    days_sustained: float | None = Field(description="a lower bound while censored")
    days_sustained_low: float | None
    days_sustained_high: float | None
    censored: bool | None = Field(description="no loss was seen up to the last form")
    censored_at: datetime | None
    reason: str | None
    remission: RemissionAnswer
    judged: int
    kept_out_by_recall: int = Field(description="forms whose recall window speaks mostly of the time before a dose")
    incomplete: int
    observed_until: datetime | None


class OnTrackAnswer(Answer):
    rule: str
    statement: str
    met: bool | None
    reason: str
    check_ins: int
    flagged_at: datetime | None
    worsening_rule: str | None
    latest_improved: bool | None


class CountsAnswer(Answer):
    expected: int
    received: int
    late: int
    missing: int
    pending: int
    unexpected: int
    received_rate: float | None


class StageCompletenessAnswer(CountsAnswer):
    code: str = Field(description="of the schedule's entry; without a schedule baseline, 24h, weekly, months")


class CompletenessAnswer(CountsAnswer):
    """What came of what was asked.

    By the schedule of the episode; without one by what is usual: baseline, 24 hours, weekly to week 8, months 3 and 6
    (our judgement).
    """

    rule: str = Field(description="`schedule@` and its version, or `default_time_points@1`")
    stages: list[StageCompletenessAnswer]


class TrajectoryAnswer(Answer):
    """Scores in order with what they amount to since baseline. Not a diagnosis; time order is not cause."""

    patient_id: Id
    instrument: str
    episode_id: Id | None
    known_at: datetime
    baseline: BaselineAnswer | None
    no_baseline: str | None = Field(description="Why there is no baseline.")
    points: list[PointAnswer]
    latest: LatestAnswer | None = Field(description="null until there is a scored form after the baseline.")
    trend: TrendAnswer
    sudden_changes: list[SuddenChangeAnswer]
    sessions: list[SessionAnswer]
    worse_after_dose: list[WorseAnswer]
    durability: DurabilityAnswer
    completeness: CompletenessAnswer | None = Field(description="null without a schedule and a dose")
    on_track: OnTrackAnswer
