"""One patient's course on one instrument."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field

from app.schemas.fields import Answer, Id, Total, parse_id
from app.schemas.instruments import SeverityAnswer
from app.scoring import get_instrument, score
from app.scoring.change import ChangeCategory, change
from app.scoring.judgement import category_of, judge
from app.scoring.measurement import measurement_error
from app.scoring.model import Inequality, Instrument, ThresholdKind, Validity


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

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(example=_example().model_dump(mode="json"))
    )

    patient_id: Id
    instrument: str
    known_at: datetime
    baseline: BaselineAnswer | None
    no_baseline: str | None = Field(description="Why there is no baseline.")
    points: list[PointAnswer]
    latest: LatestAnswer | None = Field(description="null until there is a scored form after the baseline.")


def _example() -> TrajectoryAnswer:
    """Two forms, three weeks apart, judged by the rules as they stand."""
    phq_9 = get_instrument("phq-9")
    before = _example_point(phq_9, 1, datetime(2026, 11, 1, 9, tzinfo=UTC), [3, 3, 2, 2, 2, 2, 2, 2, 1], [])
    after = _example_point(phq_9, 2, datetime(2026, 11, 22, 9, tzinfo=UTC), [1, 1, 1, 1, 1, 1, 1, 1, 0], [before])
    assert before.total is not None  # noqa: S101  # both forms are whole; narrows the type
    assert after.total is not None  # noqa: S101  # same
    assert after.change is not None  # noqa: S101  # same
    category = category_of(phq_9, before.total, after.total)
    verdicts = [VerdictAnswer.model_validate(verdict) for verdict in judge(phq_9, before.total, after.total)]
    return TrajectoryAnswer(
        patient_id=UUID("019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a"),
        instrument=phq_9.key,
        known_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
        baseline=BaselineAnswer(
            assessment_id=before.assessment_id, rule="first", taken_at=before.taken_at, total=before.total
        ),
        no_baseline=None,
        points=[before, after],
        latest=LatestAnswer(
            assessment_id=after.assessment_id,
            taken_at=after.taken_at,
            total=after.total,
            change=after.change,
            percent_change=after.percent_change,
            verdicts=verdicts,
            category=category.category,
            category_rule=CategoryRule.model_validate(category),
        ),
    )


def _example_point(
    instrument: Instrument, number: int, taken_at: datetime, responses: list[int], before: list[PointAnswer]
) -> PointAnswer:
    scored, error = score(instrument, responses), measurement_error(instrument)
    since = change(instrument, before[0].total, scored.total) if before else None
    return PointAnswer(
        assessment_id=UUID(f"019a9c20-0000-7000-8000-{number:012d}"),
        taken_at=taken_at,
        total=scored.total,
        validity=scored.validity,
        severity=None if scored.severity is None else SeverityAnswer.model_validate(scored.severity),
        sem=None if error is None else error.sem,
        change=None if since is None else since.points,
        percent_change=None if since is None else since.percent_change,
    )
