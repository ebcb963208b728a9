"""Instruments as clients see them, and scores."""

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, StrictInt

from app.schemas.fields import Answer, Body, Total
from app.scoring import get_instrument, score
from app.scoring.model import Direction, Inequality, Instrument, Score, ThresholdKind, Validity


class AnswerChoice(Answer):
    value: int
    label: str
    loinc: str | None


class ItemAnswer(Answer):
    number: int
    text: str
    answers: list[AnswerChoice]
    loinc: str | None
    scored: bool
    required: bool


class SubscaleAnswer(Answer):
    code: str
    label: str
    items: list[int]
    missing_allowed: int


class SeverityAnswer(Answer):
    code: str
    label: str
    minimum: int
    maximum: int


class ScreenRule(Answer):
    code: str
    label: str
    source: str
    total_at_least: int | None
    total_at_most: int | None


class CriticalItemRule(Answer):
    item: int
    at_least: int
    code: str
    label: str


class MissingRuleAnswer(Answer):
    at_most: int
    source: str


class PsychometricsAnswer(Answer):
    population: str
    source: str
    n: int | None
    mean: float | None
    sd: float | None
    alpha: float | None
    retest: float | None
    retest_days: float | None
    role: str


class ThresholdAnswer(Answer):
    rule: str
    code: str
    kind: ThresholdKind
    inequality: Inequality
    value: float
    population: str
    source: str
    version: int
    is_default: bool


class InstrumentSummary(Answer):
    """One line of the list of instruments."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "phq-9",
                "version": 1,
                "title": "Patient Health Questionnaire-9",
                "measures": "depression",
                "recall_days": 14,
                "direction": "lower_is_better",
                "minimum": 0,
                "maximum": 27,
            }
        }
    )

    id: str
    version: int
    title: str
    measures: str
    recall_days: int
    direction: Direction
    minimum: int
    maximum: int


class InstrumentAnswer(InstrumentSummary):
    """A questionnaire whole: wording, rules, thresholds, sources, licence."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(example=_instrument_example()))

    instruction: str
    items: list[ItemAnswer]
    recall_label: str
    multiplier: int
    missing: MissingRuleAnswer
    subscales: list[SubscaleAnswer]
    bands: list[SeverityAnswer]
    screens: list[ScreenRule]
    critical_items: list[CriticalItemRule]
    thresholds: list[ThresholdAnswer]
    psychometrics: list[PsychometricsAnswer]
    functional_item: int | None
    languages: list[str]
    loinc_panel: str | None
    loinc_total: str | None
    copyright: str
    licence: str
    source: str
    notes: list[str]

    @classmethod
    def of(cls, instrument: Instrument) -> "InstrumentAnswer":
        return cls.model_validate(instrument)


class ScreenAnswer(Answer):
    code: str
    met: bool | None = Field(description="null when the missing items could change it")


class CriticalItemAnswer(Answer):
    item: int
    code: str
    raised: bool | None = Field(description="null when the item was not answered; never imputed")


class ScoreAnswer(Answer):
    """What one form says. A screen is not a diagnosis."""

    total: Total | None = Field(description="null when incomplete; the unrounded decimal when prorated")
    minimum: int
    maximum: int
    validity: Validity
    answered: int
    missing: list[int]
    subscales: dict[str, Total | None]
    severity: SeverityAnswer | None
    screens: list[ScreenAnswer]
    critical_items: list[CriticalItemAnswer]
    functional_difficulty: int | None

    @classmethod
    def of(cls, score: Score) -> "ScoreAnswer":
        return cls.model_validate(score)


EXAMPLE_RESPONSES: Final = [2, 1, 3, 2, 0, 1, 1, 0, 0, 1]  # of a PHQ-9 with its difficulty question

Responses = Annotated[
    list[StrictInt | None],
    Field(
        max_length=100,
        description="One integer or null (not answered) for each item, in item order.",
        examples=[EXAMPLE_RESPONSES],
    ),
]


class ScoreRequest(Body):
    """Answers to score without storing them."""

    model_config = ConfigDict(json_schema_extra={"example": {"responses": [*EXAMPLE_RESPONSES]}})

    responses: Responses


class ScoreResult(Answer):
    """A score, and the version of the rules that made it."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(example=_score_example()))

    instrument: str
    score: ScoreAnswer


def _instrument_example() -> dict[str, Any]:
    """The shortest instrument, whole."""
    return InstrumentAnswer.of(get_instrument("phq-2")).model_dump(mode="json")


def _score_example() -> dict[str, Any]:
    phq_9 = get_instrument("phq-9")
    result = ScoreResult(instrument=phq_9.key, score=ScoreAnswer.of(score(phq_9, EXAMPLE_RESPONSES)))
    return result.model_dump(mode="json")
