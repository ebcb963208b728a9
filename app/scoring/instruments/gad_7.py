"""GAD-7: anxiety over the last two weeks."""

from typing import Final

from app.scoring.instruments import phq_9
from app.scoring.model import (
    Direction,
    Inequality,
    Instrument,
    Item,
    MissingRule,
    Psychometrics,
    Screen,
    SeverityBand,
    Threshold,
    ThresholdKind,
    Validity,
    WorkedExample,
)

SPITZER_2006: Final = "Spitzer, Kroenke, Williams & Loewe 2006, Arch Intern Med 166:1092-1097"
LOEWE_2008: Final = "Loewe 2008, Med Care 46:266-274"

INSTRUMENT: Final = Instrument(
    id="gad-7",
    version=1,
    title="Generalized Anxiety Disorder scale, 7 items (GAD-7)",
    measures="anxiety",
    instruction="Over the last 2 weeks, how often have you been bothered by the following problems?",
    items=(
        Item(1, "Feeling nervous, anxious, or on edge", phq_9.FREQUENCY, "69725-0"),
        Item(2, "Not being able to stop or control worrying", phq_9.FREQUENCY, "68509-9"),
        Item(3, "Worrying too much about different things", phq_9.FREQUENCY, "69733-4"),
        Item(4, "Trouble relaxing", phq_9.FREQUENCY, "69734-2"),
        Item(5, "Being so restless that it is hard to sit still", phq_9.FREQUENCY, "69735-9"),
        Item(6, "Becoming easily annoyed or irritable", phq_9.FREQUENCY, "69689-8"),
        Item(7, "Feeling afraid as if something awful might happen", phq_9.FREQUENCY, "69736-7"),
    ),
    recall_days=phq_9.RECALL_DAYS,
    recall_label=phq_9.RECALL_LABEL,
    direction=Direction.LOWER_IS_BETTER,
    copyright=phq_9.COPYRIGHT,
    licence=phq_9.LICENCE,
    source=SPITZER_2006,
    loinc_panel="69737-5",
    loinc_total="70274-6",
    bands=(
        SeverityBand("minimal", "Minimal", 0, 4),
        SeverityBand("mild", "Mild", 5, 9),
        SeverityBand("moderate", "Moderate", 10, 14),
        SeverityBand("severe", "Severe", 15, 21),
    ),
    missing=MissingRule(
        at_most=1, source="Judgement: at most one item in five, as for the PCL-5; no rule of the authors was found"
    ),
    screens=(
        Screen(
            code="cut_point_8",
            label="Total of 8 or more",
            source=f"{phq_9.NHS}: caseness is a first score above 7",
            total_at_least=8,
            is_default=True,
        ),
        Screen(
            code="cut_point_10",
            label="Total of 10 or more",
            source=f"{SPITZER_2006}: sensitivity 89 %, specificity 82 % for generalized anxiety disorder",
            total_at_least=10,
        ),
    ),
    thresholds=(
        Threshold(
            rule="reliable_change",
            code="reliable_change_4",
            kind=ThresholdKind.CHANGE_POINTS,
            inequality=Inequality.AT_LEAST,
            value=4,
            population="adults in psychological therapy in England",
            source=phq_9.NHS,
            is_default=True,
        ),
        Threshold(
            rule="reliable_change",
            code="reliable_change_6",
            kind=ThresholdKind.CHANGE_POINTS,
            inequality=Inequality.AT_LEAST,
            value=6,
            population="332 clinical and 116 online community participants",
            source="Bischoff 2020, doi 10.5964/pch.v8i1.309",
        ),
        Threshold(
            rule="minimal_important_difference",
            code="minimal_important_difference_4",
            kind=ThresholdKind.CHANGE_POINTS,
            inequality=Inequality.AT_LEAST,
            value=4,
            population="261 patients of a trial of chronic depression",
            source="Toussaint 2020, J Affect Disord 265:395-401",
            is_default=True,
        ),
        Threshold(
            rule="response",
            code="response_50_percent",
            kind=ThresholdKind.CHANGE_RATE,
            inequality=Inequality.AT_LEAST,
            value=0.50,
            population="adults treated for anxiety",
            source="Convention: the rule of depression measures carried over",
            is_default=True,
        ),
    ),
    psychometrics=(
        Psychometrics(
            population="general population of Germany",
            source=f"{LOEWE_2008}; women 3.2 (sd 3.5) and men 2.7 (sd 3.2), pooled here by arithmetic at 53.6 % women",
            n=5030,
            mean=2.97,
            sd=3.37,
            alpha=0.89,
            role="functional",
            is_default=True,
        ),
        Psychometrics(
            population="primary care patients in the United States",
            source=f"{SPITZER_2006}; both coefficients as commonly quoted, not re-read",
            alpha=0.92,
            retest=0.83,
            retest_days=7,
            is_default=True,
        ),
    ),
    notes=(
        "Where verdicts pair caseness with reliable change, 8 and 4 are the two numbers of one NHS rule; 10 is the cut-point of the development study.",
        "No remission threshold is declared: none with a source was found.",
        "Printings differ in punctuation: item 7 with or without a comma after 'afraid', the stem with or without 'any of'.",
    ),
    examples=(
        WorkedExample((0,) * 7, 0, Validity.VALID, "minimal", {"cut_point_8": False, "cut_point_10": False}),
        WorkedExample((2, 2, 1, 1, 1, 1, 0), 8, Validity.VALID, "mild", {"cut_point_8": True, "cut_point_10": False}),
        WorkedExample((3,) * 7, 21, Validity.VALID, "severe", {"cut_point_8": True, "cut_point_10": True}),
        WorkedExample(
            (2, 2, 2, None, 1, 1, 0),  # 8 points from 6 items, prorated to 9.33; the screen looks at 8 to 11
            9.333333333333334,
            Validity.PRORATED,
            "mild",
            {"cut_point_8": True, "cut_point_10": None},
        ),
        WorkedExample(
            (2, 2, 2, None, 2, 2, 2),  # 12 points from 6 items: exactly 14
            14,
            Validity.PRORATED,
            "moderate",
            {"cut_point_8": True, "cut_point_10": True},
        ),
        WorkedExample(
            (1, 0, None, None, 0, 0, 0),
            None,
            Validity.INCOMPLETE,
            None,
            {"cut_point_8": False, "cut_point_10": False},
        ),
    ),
)
