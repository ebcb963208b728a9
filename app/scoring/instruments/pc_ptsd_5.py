"""PC-PTSD-5: five yes-or-no questions of primary care, a screen before the PCL-5."""

from typing import Final

from app.scoring.model import Answer, Direction, Instrument, Item, MissingRule, Screen, Validity, WorkedExample

PRINS_2016: Final = "Prins 2016, J Gen Intern Med 31:1206-1211, PMC5023594"
BOVIN_2021: Final = "Bovin 2021, JAMA Netw Open 4:e2036733, PMC7862990"

YES_NO: Final = (Answer(0, "No"), Answer(1, "Yes"))

INSTRUMENT: Final = Instrument(
    id="pc-ptsd-5",
    version=1,
    title="Primary Care PTSD Screen for DSM-5 (PC-PTSD-5)",
    measures="ptsd",
    instruction=(
        "Sometimes things happen to people that are unusually or especially frightening, horrible, or traumatic. "
        "For example: a serious accident or fire; a physical or sexual assault or abuse; an earthquake or flood; a war; "
        "seeing someone be killed or seriously injured; having a loved one die through homicide or suicide. "
        "Have you ever experienced this kind of event? If no, screen total = 0. Please stop here. "
        "If yes, please answer the questions below. In the past month, have you:"
    ),
    items=(
        Item(1, "Had nightmares about the event(s) or thought about the event(s) when you did not want to?", YES_NO),
        Item(
            2,
            "Tried hard not to think about the event(s) or went out of your way to avoid situations that reminded you of the event(s)?",
            YES_NO,
        ),
        Item(3, "Been constantly on guard, watchful, or easily startled?", YES_NO),
        Item(4, "Felt numb or detached from people, activities, or your surroundings?", YES_NO),
        Item(
            5,
            "Felt guilty or unable to stop blaming yourself or others for the event(s) or any problems the event(s) may have caused?",
            YES_NO,
        ),
    ),
    recall_days=30,  # days; the form says the past month
    recall_label="the past month",
    direction=Direction.LOWER_IS_BETTER,
    copyright="None: a work of the United States government (National Center for PTSD).",
    licence="Public domain.",
    source=PRINS_2016,
    missing=MissingRule(at_most=0, source="Judgement: each answer is a fifth of the total, so none is guessed"),
    screens=(
        Screen(
            code="cut_point_3",
            label="Three or more answered yes",
            source=f"{PRINS_2016}: the most sensitive cut-point; {BOVIN_2021}: may suit women better",
            total_at_least=3,
        ),
        Screen(
            code="cut_point_4",
            label="Four or more answered yes",
            source=f"{BOVIN_2021}: best balance of false positives and false negatives in 396 veterans",
            total_at_least=4,
            is_default=True,
        ),
    ),
    notes=(
        "The question about exposure is part of the instruction, not an item: the five answers are only asked of someone who said yes. For a no send five zeros, which is the total of 0 that the form prescribes; five nulls would read as unanswered.",
        "A screen, not a measure of change: no bands and no thresholds for change are declared. Monitor with the PCL-5.",
        "The national centre calls for a structured interview after a positive screen.",
        "No LOINC code was verified.",
    ),
    examples=(
        WorkedExample((0, 0, 0, 0, 0), 0, Validity.VALID, None, {"cut_point_3": False, "cut_point_4": False}),
        WorkedExample((1, 0, 1, 0, 1), 3, Validity.VALID, None, {"cut_point_3": True, "cut_point_4": False}),
        WorkedExample((1, 1, 1, 1, 1), 5, Validity.VALID, None, {"cut_point_3": True, "cut_point_4": True}),
        WorkedExample((1, 1, 1, None, 0), None, Validity.INCOMPLETE, None, {"cut_point_3": True, "cut_point_4": None}),
        WorkedExample(
            (1, None, 0, 0, 0), None, Validity.INCOMPLETE, None, {"cut_point_3": False, "cut_point_4": False}
        ),
        WorkedExample((None,) * 5, None, Validity.INCOMPLETE, None, {"cut_point_3": None, "cut_point_4": None}),
    ),
)
