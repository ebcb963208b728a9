"""One patient's course on one instrument."""

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


class BaselineAnswer(Answer):
    """What change is measured from, and the rule that chose it."""

    assessment_id: Id
    rule: Literal["pre_treatment", "first", "named"]
    taken_at: datetime
    total: Total


class PointAnswer(Answer):
    assessment_id: Id
    taken_at: datetime
    total: Total | None
    validity: Validity
    severity: SeverityAnswer | None
    sem: float | None = Field(
        description="Standard error of measurement in points; null where no reliability is known."
    )
    change: Total | None = Field(description="Points since baseline; negative is lower than at baseline.")
    percent_change: float | None = Field(description="null where the baseline is 0")


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


class TrajectoryAnswer(Answer):
    """Scores in order with what they amount to since baseline. Not a diagnosis; time order is not cause."""

    patient_id: Id
    instrument: str
    known_at: datetime
    baseline: BaselineAnswer | None
    no_baseline: str | None = Field(description="Why there is no baseline.")
    points: list[PointAnswer]
    latest: LatestAnswer | None = Field(description="null until there is a scored form after the baseline.")
