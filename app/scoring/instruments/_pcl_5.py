"""What the monthly and the weekly PCL-5 have in common: all but the window they ask about."""

from typing import Final

from app.scoring.model import (
    Answer,
    Criterion,
    Direction,
    Inequality,
    Instrument,
    Item,
    MissingRule,
    Psychometrics,
    Screen,
    Subscale,
    Threshold,
    ThresholdKind,
    Validity,
    WorkedExample,
)

NCPTSD: Final = "National Center for PTSD, Using the PTSD Checklist for DSM-5 (as copied elsewhere)"
BLEVINS_2015: Final = "Blevins 2015, J Trauma Stress 28:489-498"
BOVIN_2016: Final = "Bovin 2016, Psychol Assess 28:1379-1391"
MARX_2022: Final = "Marx 2022, Psychol Assess 34:197-203"
BLANCHARD_2023: Final = "Blanchard 2023: 9 to 12 points in 971 veterans in primary care"
NYS_COCM: Final = "New York State Collaborative Care guide, for a baseline of 33 or more"

INTENSITY: Final = (
    Answer(0, "Not at all"),
    Answer(1, "A little bit"),
    Answer(2, "Moderately"),
    Answer(3, "Quite a bit"),
    Answer(4, "Extremely"),
)
ENDORSED_AT: Final = 2  # "Moderately"; NCPTSD

WORDING: Final = (
    "Repeated, disturbing, and unwanted memories of the stressful experience?",
    "Repeated, disturbing dreams of the stressful experience?",
    "Suddenly feeling or acting as if the stressful experience were actually happening again (as if you were actually back there reliving it)?",
    "Feeling very upset when something reminded you of the stressful experience?",
    "Having strong physical reactions when something reminded you of the stressful experience (for example, heart pounding, trouble breathing, sweating)?",
    "Avoiding memories, thoughts, or feelings related to the stressful experience?",
    "Avoiding external reminders of the stressful experience (for example, people, places, conversations, activities, objects, or situations)?",
    "Trouble remembering important parts of the stressful experience?",
    "Having strong negative beliefs about yourself, other people, or the world (for example, having thoughts such as: I am bad, there is something seriously wrong with me, no one can be trusted, the world is completely dangerous)?",
    "Blaming yourself or someone else for the stressful experience or what happened after it?",
    "Having strong negative feelings such as fear, horror, anger, guilt, or shame?",
    "Loss of interest in activities that you used to enjoy?",
    "Feeling distant or cut off from other people?",
    "Trouble experiencing positive feelings (for example, being unable to feel happiness or have loving feelings for people close to you)?",
    "Irritable behavior, angry outbursts, or acting aggressively?",
    "Taking too many risks or doing things that could cause you harm?",
    'Being "superalert" or watchful or on guard?',
    "Feeling jumpy or easily startled?",
    "Having difficulty concentrating?",
    "Trouble falling or staying asleep?",
)

CLUSTERS: Final = (
    Subscale("B", "Intrusion", (1, 2, 3, 4, 5), missing_allowed=1),
    Subscale("C", "Avoidance", (6, 7), missing_allowed=0),
    Subscale("D", "Negative alterations in cognitions and mood", (8, 9, 10, 11, 12, 13, 14), missing_allowed=1),
    Subscale("E", "Alterations in arousal and reactivity", (15, 16, 17, 18, 19, 20), missing_allowed=1),
)
SYMPTOMS_NEEDED: Final = {"B": 1, "C": 1, "D": 2, "E": 2}  # symptoms per cluster for a provisional diagnosis; NCPTSD

SCREENS: Final = (
    Screen(
        code="cut_point_33",
        label="Total of 33 or more",
        source=f"{NCPTSD}, and {BOVIN_2016}: 31 to 33, depending on the population; lower to screen, higher to diagnose",
        total_at_least=33,
        is_default=True,
    ),
    Screen(
        code="provisional_ptsd",
        label="Provisional PTSD: one B, one C, two D and two E symptoms, each at least moderate",
        source=NCPTSD,
        criteria=tuple(
            Criterion(dict.fromkeys(cluster.items, ENDORSED_AT), at_least=SYMPTOMS_NEEDED[cluster.code])
            for cluster in CLUSTERS
        ),
    ),
)

THRESHOLDS: Final = (
    Threshold(
        rule="reliable_change",
        code="reliable_change_10",
        kind=ThresholdKind.CHANGE_POINTS,
        inequality=Inequality.AT_LEAST,
        value=10,
        population="a clinical convention, called improved; expected from the DSM-IV checklist",
        source=f"{NCPTSD}: 10 is the least to call clinically meaningful; {BLANCHARD_2023}",
    ),
    Threshold(
        rule="reliable_change",
        code="reliable_change_12",
        kind=ThresholdKind.CHANGE_POINTS,
        inequality=Inequality.AT_LEAST,
        value=12,
        population="adults in collaborative care in New York State",
        source=NYS_COCM,
    ),
    Threshold(
        rule="reliable_change",
        code="reliable_change_15",
        kind=ThresholdKind.CHANGE_POINTS,
        inequality=Inequality.AT_LEAST,
        value=15,
        population="male veterans, first sample, n 198",
        source=MARX_2022,
        is_default=True,
    ),
    Threshold(
        rule="reliable_change",
        code="reliable_change_18",
        kind=ThresholdKind.CHANGE_POINTS,
        inequality=Inequality.AT_LEAST,
        value=18,
        population="male veterans, second sample, n 102; the cautious choice",
        source=MARX_2022,
    ),
    Threshold(
        rule="minimal_important_difference",
        code="minimal_important_difference_10",
        kind=ThresholdKind.CHANGE_POINTS,
        inequality=Inequality.AT_LEAST,
        value=10,
        population="veterans in primary care",
        source=f"{BLANCHARD_2023}, by anchors 9.8 to 11.7; {NCPTSD} names the same number",
        is_default=True,
    ),
    Threshold(
        rule="response",
        code="response_10",
        kind=ThresholdKind.CHANGE_POINTS,
        inequality=Inequality.AT_LEAST,
        value=10,
        population="adults treated for PTSD",
        source="Judgement: the clinical convention of 10 points",
        is_default=True,
    ),
    Threshold(
        rule="clinically_significant",
        code="clinically_significant_28",
        kind=ThresholdKind.SCORE,
        inequality=Inequality.AT_MOST,
        value=28,
        population="male veterans; to be read together with a reliable change",
        source=MARX_2022,
        is_default=True,
    ),
    Threshold(
        rule="remission",
        code="remission_33",
        kind=ThresholdKind.SCORE,
        inequality=Inequality.LESS_THAN,
        value=33,
        population="adults in collaborative care in New York State",
        source=NYS_COCM,
        is_default=True,
    ),
)

PSYCHOMETRICS: Final = (
    Psychometrics(
        population="adults treated for PTSD, a working value",
        source="Judgement: with the retest reliability of .84 it gives a reliable change of 15.5, in line with the published 15 and 18",
        sd=14.0,
        role="clinical",
        is_default=True,
    ),
    Psychometrics(population="veterans", source=BOVIN_2016, n=468, alpha=0.96, retest=0.84, is_default=True),
    Psychometrics(
        population="trauma-exposed college students",
        source=BLEVINS_2015,
        n=278,
        alpha=0.94,
        retest=0.82,
        retest_days=7,
    ),
    Psychometrics(
        population="trauma-exposed patients in Germany",
        source="Krueger-Gottschalk 2017, BMC Psychiatry 17:379",
        n=352,
        alpha=0.95,
        retest=0.91,
    ),
)

NOTES: Final = (
    "No empirically derived severity bands exist, so there are none here.",
    "The cut-point and the cluster rule disagree for real people: read both, and call neither a diagnosis. Criterion A, duration, impairment and other causes are for a clinician.",
    "The monthly form is for intake and follow-up, the weekly one for sessions. They are two instruments: a change is never computed across them.",
    "Coefficients differ in kind: alpha (.94 to .96) is not retest reliability (.82 to .84), and only the latter makes a reliable change.",
    "LOINC has codes for panel and total; none for items, clusters and answers were found, nor any that tells month from week. 70221-7 belongs to the DSM-IV checklist, which is not comparable.",
    "CDISC has no terminology for the PCL-5: PCL501 to PCL520 and PCL521 are sponsor codes.",
)

EXAMPLES: Final = (
    WorkedExample(
        (0,) * 20,
        0,
        Validity.VALID,
        None,
        {"cut_point_33": False, "provisional_ptsd": False},
        {"B": 0, "C": 0, "D": 0, "E": 0},
    ),
    WorkedExample(
        (4,) * 20,
        80,
        Validity.VALID,
        None,
        {"cut_point_33": True, "provisional_ptsd": True},
        {"B": 20, "C": 8, "D": 28, "E": 24},
    ),
    WorkedExample(  # six symptoms at "moderately" in the right places meet the cluster rule far below the cut-point
        (2, 0, 0, 0, 0, 2, 0, 2, 2, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0),
        12,
        Validity.VALID,
        None,
        {"cut_point_33": False, "provisional_ptsd": True},
        {"B": 2, "C": 2, "D": 4, "E": 4},
    ),
    WorkedExample(  # and a high total without avoidance does not
        (4, 4, 4, 4, 4, 1, 1, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2),
        55,
        Validity.VALID,
        None,
        {"cut_point_33": True, "provisional_ptsd": False},
        {"B": 20, "C": 2, "D": 21, "E": 12},
    ),
    WorkedExample(  # 34 points from 17 items; avoidance open, and with it the provisional diagnosis
        (2, 2, 2, 2, None, 1, None, 2, 2, 2, 2, 2, 2, 2, None, 2, 2, 2, 2, 3),
        40,
        Validity.PRORATED,
        None,
        {"cut_point_33": True, "provisional_ptsd": None},
        {"B": 10, "C": None, "D": 14, "E": 13.2},
    ),
    WorkedExample(  # five missing: no total, and yet no filling-in would reach either screen
        (0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, None, None, None, None, None),
        None,
        Validity.INCOMPLETE,
        None,
        {"cut_point_33": False, "provisional_ptsd": False},
        {"B": 0, "C": 0, "D": 7, "E": None},
    ),
    WorkedExample(
        (None,) * 20,
        None,
        Validity.INCOMPLETE,
        None,
        {"cut_point_33": None, "provisional_ptsd": None},
        {"B": None, "C": None, "D": None, "E": None},
    ),
)


def pcl_5(*, variant: str, version: int, window: str, recall_days: int) -> Instrument:
    """The PCL-5 that asks about one window, `the past month` or `the past week`."""
    return Instrument(
        id=f"pcl-5-{variant}",
        version=version,
        title=f"PTSD Checklist for DSM-5 (PCL-5), {window}",
        measures="ptsd",
        instruction=(
            "Below is a list of problems that people sometimes have in response to a very stressful experience. Please "
            "read each problem carefully and then select one of the numbers to indicate how much you have been "
            f"bothered by that problem in {window}. In {window}, how much were you bothered by:"
        ),
        items=tuple(Item(number, text, INTENSITY) for number, text in enumerate(WORDING, start=1)),
        recall_days=recall_days,
        recall_label=window,
        direction=Direction.LOWER_IS_BETTER,
        missing=MissingRule(
            at_most=4,
            source="Judgement after common practice: up to one item in five by person mean; no rule of the national centre was found",
        ),
        copyright="None: a work of the United States government (National Center for PTSD).",
        licence="Public domain.",
        source=f"Weathers 2013, National Center for PTSD; {BLEVINS_2015}",
        subscales=CLUSTERS,
        screens=SCREENS,
        psychometrics=PSYCHOMETRICS,
        thresholds=THRESHOLDS,
        loinc_panel="101697-1",
        loinc_total="101698-9",
        examples=EXAMPLES,
        notes=NOTES,
    )
