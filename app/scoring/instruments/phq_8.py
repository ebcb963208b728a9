"""PHQ-8: the PHQ-9 without its item on self-harm. Choosing it is choosing not to ask."""

from typing import Final

from app.scoring.instruments import phq_9
from app.scoring.model import (
    Direction,
    Inequality,
    Instrument,
    MissingRule,
    Psychometrics,
    Screen,
    Threshold,
    ThresholdKind,
    Validity,
    WorkedExample,
)

KROENKE_2009: Final = "Kroenke 2009, J Affect Disord 114:163-173"

INSTRUMENT: Final = Instrument(
    id="phq-8",
    version=1,
    title="Patient Health Questionnaire, 8 items (PHQ-8)",
    measures="depression",
    instruction=phq_9.STEM,
    items=phq_9.SYMPTOMS[:8],
    recall_days=phq_9.RECALL_DAYS,
    recall_label=phq_9.RECALL_LABEL,
    direction=Direction.LOWER_IS_BETTER,
    copyright=phq_9.COPYRIGHT,
    licence=phq_9.LICENCE,
    source=KROENKE_2009,
    bands=phq_9.bands(24),
    missing=MissingRule(
        at_most=1, source="Convention of self-management programmes, not re-read; stricter than for the PHQ-9"
    ),
    screens=(
        Screen(
            code="cut_point_10",
            label="Total of 10 or more",
            source=f"{KROENKE_2009}: about as many found as by the algorithm, 8.6 % and 9.1 % of 198,678",
            total_at_least=10,
            is_default=True,
        ),
        *phq_9.syndromes({number: phq_9.ENDORSED[number] for number in range(1, 9)}, KROENKE_2009),
    ),
    thresholds=(
        Threshold(
            rule="response",
            code="response_50_percent",
            kind=ThresholdKind.CHANGE_RATE,
            inequality=Inequality.AT_LEAST,
            value=0.50,
            population="adults treated for depression",
            source="Judgement: the rule of the PHQ-9 carried over",
            is_default=True,
        ),
        Threshold(
            rule="remission",
            code="remission_5",
            kind=ThresholdKind.SCORE,
            inequality=Inequality.LESS_THAN,
            value=5,
            population="adults treated for depression",
            source="Judgement: the rule of the PHQ-9 carried over; below 5 is the lowest band of both",
            is_default=True,
        ),
    ),
    psychometrics=(
        Psychometrics(
            population="psychiatric outpatients in Korea",
            source="Shin 2019, Psychiatry Investig, comparison of the PHQ-8 and PHQ-9",
            n=567,
            alpha=0.892,
            is_default=True,
        ),
    ),
    notes=(
        "Without item 9 no critical item can be raised. Use the PHQ-9 wherever somebody can act on that answer.",
        "No published rule of reliable change was found; none is borrowed from the PHQ-9.",
        "No LOINC panel or total was verified; the items carry the codes of the PHQ-9.",
    ),
    examples=(
        WorkedExample(
            (2, 1, 3, 2, 0, 1, 1, 0),
            10,
            Validity.VALID,
            "moderate",
            {"cut_point_10": True, "major_depressive_syndrome": False, "other_depressive_syndrome": True},
        ),
        WorkedExample(
            (3,) * 8,
            24,
            Validity.VALID,
            "severe",
            {"cut_point_10": True, "major_depressive_syndrome": True, "other_depressive_syndrome": False},
        ),
        WorkedExample(
            (1, 1, 1, 1, None, 1, 1, 0),  # 6 points from 7 items
            6.857142857142857,
            Validity.PRORATED,
            "mild",
            {"cut_point_10": False, "major_depressive_syndrome": False, "other_depressive_syndrome": False},
        ),
        WorkedExample(
            (2, 2, 2, 2, None, 1, 0, 0),  # four symptoms; the missing one decides which syndrome, and the cut-point
            10.285714285714286,
            Validity.PRORATED,
            "moderate",
            {"cut_point_10": None, "major_depressive_syndrome": None, "other_depressive_syndrome": None},
        ),
        WorkedExample(
            (0, 0, None, None, 3, 3, 3, 3),  # two missing: no total; no syndrome without item 1 or 2
            None,
            Validity.INCOMPLETE,
            None,
            {"cut_point_10": True, "major_depressive_syndrome": False, "other_depressive_syndrome": False},
        ),
    ),
)
