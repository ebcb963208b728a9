"""WHO-5: well-being over the last two weeks. The one instrument here on which more is better."""

from typing import Final

from app.scoring.model import (
    Answer,
    Direction,
    Inequality,
    Instrument,
    Item,
    MissingRule,
    Psychometrics,
    Screen,
    Threshold,
    ThresholdKind,
    Validity,
    WorkedExample,
)

TOPP_2015: Final = "Topp, Oestergaard, Soendergaard & Bech 2015, Psychother Psychosom 84:167-176"
EPILEPSY_2018: Final = "Danish test-retest study 2018, Health Qual Life Outcomes, doi 10.1186/s12955-018-1001-0"

FREQUENCY: Final = (  # in the order of the form, best first
    Answer(5, "All of the time"),
    Answer(4, "Most of the time"),
    Answer(3, "More than half of the time"),
    Answer(2, "Less than half of the time"),
    Answer(1, "Some of the time"),
    Answer(0, "At no time"),
)

INSTRUMENT: Final = Instrument(
    id="who-5",
    version=1,
    title="World Health Organization Well-Being Index, 5 items (WHO-5)",
    measures="well_being",
    instruction="Please respond to each item by marking one box per row, regarding how you felt in the last two weeks.",
    items=(
        Item(1, "I have felt cheerful and in good spirits.", FREQUENCY),
        Item(2, "I have felt calm and relaxed.", FREQUENCY),
        Item(3, "I have felt active and vigorous.", FREQUENCY),
        Item(4, "I woke up feeling fresh and rested.", FREQUENCY),
        Item(5, "My daily life has been filled with things that interest me.", FREQUENCY),
    ),
    recall_days=14,  # days; the form says the last two weeks
    recall_label="the last two weeks",
    direction=Direction.HIGHER_IS_BETTER,
    multiplier=4,  # raw 0 to 25 becomes 0 to 100
    copyright="Copyright (c) World Health Organization 1998; Psychiatric Research Unit, Mental Health Centre North Zealand, Denmark.",
    licence="Free of charge, no permission needed, source to be named (CORC; INSPQ). The 2024 edition of the WHO is said to be under CC BY-NC-SA 3.0 IGO; that text was not read: check it before commercial use.",
    source=TOPP_2015,
    missing=MissingRule(
        at_most=1, source="Judgement: at most one item in five, as for the PCL-5; no rule of the authors was found"
    ),
    screens=(
        Screen(
            code="cut_point_50",
            label="Total of 50 or less: low well-being",
            source=f"{TOPP_2015}: screening for depression",
            total_at_most=50,
            is_default=True,
        ),
        Screen(
            code="cut_point_28",
            label="Total of 28 or less: possible depression",
            source=f"{TOPP_2015}, as cited by a later review of the use of the WHO-5: possible clinical depression",
            total_at_most=28,
        ),
    ),
    thresholds=(
        Threshold(
            rule="reliable_change",
            code="reliable_change_24",
            kind=ThresholdKind.CHANGE_POINTS,
            inequality=Inequality.AT_LEAST,
            value=23.60,
            population="554 outpatients with epilepsy in Denmark",
            source=f"{EPILEPSY_2018}: minimal detectable change 23.60; totals go in steps of 4, so 24",
            is_default=True,
        ),
        Threshold(
            rule="minimal_important_difference",
            code="minimal_important_difference_10",
            kind=ThresholdKind.CHANGE_POINTS,
            inequality=Inequality.AT_LEAST,
            value=10,
            population="mixed; a convention",
            source=f"{TOPP_2015}, as commonly quoted: a change of 10 % of the scale is taken as relevant",
            is_default=True,
        ),
    ),
    psychometrics=(
        Psychometrics(
            population="outpatients with epilepsy in Denmark",
            source=f"{EPILEPSY_2018}; median 22 days apart; sd derived here: 23.60 / (1.96 * sqrt(2 * (1 - .81)))",
            n=554,
            sd=19.5,
            retest=0.81,
            retest_days=22,
            is_default=True,
        ),
    ),
    notes=(
        "A rise is an improvement. Every rule that asks for a fall asks for a rise here.",
        "The change taken as relevant (10) is far below the change that can be told from noise in one person (24).",
        "The English form exists with 'cheerful in good spirits' as well.",
        "No LOINC code was verified.",
    ),
    examples=(
        WorkedExample((5,) * 5, 100, Validity.VALID, None, {"cut_point_50": False, "cut_point_28": False}),
        WorkedExample((0,) * 5, 0, Validity.VALID, None, {"cut_point_50": True, "cut_point_28": True}),
        WorkedExample((3, 3, 2, 2, 2), 48, Validity.VALID, None, {"cut_point_50": True, "cut_point_28": False}),
        WorkedExample((2, 2, 1, 1, 1), 28, Validity.VALID, None, {"cut_point_50": True, "cut_point_28": True}),
        WorkedExample((3, 3, None, 2, 2), 50, Validity.PRORATED, None, {"cut_point_50": None, "cut_point_28": False}),
        WorkedExample(
            (5, 5, None, None, 3), None, Validity.INCOMPLETE, None, {"cut_point_50": False, "cut_point_28": False}
        ),
    ),
)
