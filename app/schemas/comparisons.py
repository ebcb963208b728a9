"""A patient among comparable ones, as clients see it."""

from dataclasses import asdict, fields
from typing import Any, Final
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Id, Total
from app.schemas.trajectories import BaselineAnswer
from app.scoring.comparison import MAXIMUM_COURSES, MINIMUM, Comparison, Percentiles, WeekComparison
from app.scoring.model import Instrument
from app.scoring.treatment import Baseline, NoBaseline

_PERCENTILES: Final = tuple(field.name for field in fields(Percentiles))
NOTE: Final = "Describes patients of this clinic who came; no norm, and who was lost to follow-up is missing from it."
RULE: Final = (
    "Other patients of this clinic with a dose in an episode of the same modality and a pre_treatment baseline on the "
    "same instrument in the same severity band (without bands: on the same side of the default cut-point); each counts "
    f"with the newest such episode. At most the newest {MAXIMUM_COURSES} episodes of the modality are looked at."
)


class ComparableAnswer(Answer):
    """Whom the patient is set beside."""

    rule: str
    modality: str
    severity: str | None = Field(
        description="Band of all baselines; without bands `at:` or `not:` with the cut-point; null with neither."
    )
    patients: int = Field(description="comparable ones, whether or not they came in any week")


class WeekAnswer(Answer):
    """Nearest-rank percentiles of totals: each is the total of one of the n patients."""

    week: int = Field(description="since the first dose; a form counts within 3 days, from week 13 on within 14")
    n: int = Field(description="comparable patients with a total in that window")
    p10: Total | None
    p25: Total | None
    p50: Total | None
    p75: Total | None
    p90: Total | None
    reason: str | None = Field(description=f"`too_few`: fewer than {MINIMUM} patients, and so no percentiles.")
    own: Total | None = Field(description="This patient's total in that window.")


def _example() -> dict[str, Any]:
    enough: dict[str, Any] = dict(zip(_PERCENTILES, (5, 8, 11, 15, 18), strict=True))
    too_few: dict[str, Any] = dict.fromkeys(_PERCENTILES)
    return {
        "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
        "instrument": "phq-9@1",
        "episode_id": "019a9c1e-6b00-7000-8000-00000000000e",
        "baseline": {
            "assessment_id": "019a9c20-0000-7000-8000-000000000000",
            "rule": "pre_treatment",
            "taken_at": "2026-09-01T09:00:00Z",
            "total": 19,
        },
        "no_baseline": None,
        "comparable": {
            "rule": RULE,
            "modality": "ketamine_assisted_psychotherapy",
            "severity": "moderately_severe",
            "patients": 64,
        },
        "weeks": [
            {"week": 1, "n": 58, **enough, "reason": None, "own": 15},
            {"week": 26, "n": 21, **too_few, "reason": "too_few", "own": None},
        ],
        "note": NOTE,
    }


class ComparisonAnswer(Answer):
    """Where comparable patients of the clinic stood. A description, not a norm."""

    model_config = ConfigDict(json_schema_extra={"example": _example()})

    patient_id: Id
    instrument: str
    episode_id: Id | None
    baseline: BaselineAnswer | None
    no_baseline: str | None = Field(description="Why there is no baseline, and so nothing to compare by.")
    comparable: ComparableAnswer | None
    weeks: list[WeekAnswer]
    note: str


def comparison_answer(
    patient_id: UUID,
    instrument: Instrument,
    episode_id: str | None,
    baseline: Baseline | NoBaseline,
    modality: str | None,
    found: Comparison | None,
) -> ComparisonAnswer:
    comparable = None
    if found is not None and modality is not None:
        comparable = ComparableAnswer(rule=RULE, modality=modality, severity=found.severity, patients=found.patients)
    return ComparisonAnswer(
        patient_id=patient_id,
        instrument=instrument.key,
        episode_id=None if episode_id is None else UUID(episode_id),
        baseline=_baseline(baseline) if isinstance(baseline, Baseline) else None,
        no_baseline=baseline.reason if isinstance(baseline, NoBaseline) else None,
        comparable=comparable,
        weeks=[] if found is None else [_week(week) for week in found.weeks],
        note=NOTE,
    )


def _baseline(baseline: Baseline) -> BaselineAnswer:
    point = baseline.point
    assert point.total is not None  # noqa: S101  # a baseline is a scored form; narrows the type
    return BaselineAnswer(assessment_id=UUID(point.id), rule=baseline.rule.value, taken_at=point.at, total=point.total)


def _week(found: WeekComparison) -> WeekAnswer:
    percentiles = dict.fromkeys(_PERCENTILES) if found.percentiles is None else asdict(found.percentiles)
    return WeekAnswer(week=found.week, n=found.n, **percentiles, reason=found.reason, own=found.own)
