"""PHQ-2: the first two items of the PHQ-9, a screen."""

from typing import Final

from app.scoring.instruments import phq_9
from app.scoring.model import Direction, Instrument, MissingRule, Screen, Validity, WorkedExample

ARROLL_2010: Final = "Arroll 2010, Ann Fam Med 8:348-353, PMC2906530"

INSTRUMENT: Final = Instrument(
    id="phq-2",
    version=1,
    title="Patient Health Questionnaire, 2 items (PHQ-2)",
    measures="depression",
    instruction=phq_9.STEM,
    items=phq_9.SYMPTOMS[:2],
    recall_days=phq_9.RECALL_DAYS,
    recall_label=phq_9.RECALL_LABEL,
    direction=Direction.LOWER_IS_BETTER,
    copyright=phq_9.COPYRIGHT,
    licence=phq_9.LICENCE,
    source="Kroenke, Spitzer & Williams 2003, Med Care 41:1284-1292",
    loinc_panel="55757-9",
    loinc_total="55758-7",
    missing=MissingRule(at_most=0, source="Judgement: half of a two-item form cannot stand for the other half"),
    screens=(
        Screen(
            code="cut_point_2",
            label="Total of 2 or more",
            source=f"{ARROLL_2010}: sensitivity 86 %, specificity 78 %; finds more, at the price of more false alarms",
            total_at_least=2,
        ),
        Screen(
            code="cut_point_3",
            label="Total of 3 or more",
            source=f"The usual cut-point; {ARROLL_2010}: sensitivity 61 %, specificity 92 %",
            total_at_least=3,
            is_default=True,
        ),
    ),
    notes=(
        "A screen before the PHQ-9, not a measure of change: no bands and no thresholds for change are declared.",
        "No self-harm item is asked.",
    ),
    examples=(
        WorkedExample((0, 0), 0, Validity.VALID, None, {"cut_point_2": False, "cut_point_3": False}),
        WorkedExample((1, 1), 2, Validity.VALID, None, {"cut_point_2": True, "cut_point_3": False}),
        WorkedExample((3, 3), 6, Validity.VALID, None, {"cut_point_2": True, "cut_point_3": True}),
        WorkedExample((3, None), None, Validity.INCOMPLETE, None, {"cut_point_2": True, "cut_point_3": True}),
        WorkedExample((None, 2), None, Validity.INCOMPLETE, None, {"cut_point_2": True, "cut_point_3": None}),
        WorkedExample((None, None), None, Validity.INCOMPLETE, None, {"cut_point_2": None, "cut_point_3": None}),
    ),
)
