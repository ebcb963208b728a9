"""PHQ-9: depression over the last two weeks. PHQ-2 and PHQ-8 take their items from here."""

from typing import Final

from app.scoring.model import (
    Answer,
    Criterion,
    CriticalItem,
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

KROENKE_2001: Final = "Kroenke, Spitzer & Williams 2001, J Gen Intern Med 16:606-613"
SPITZER_1999: Final = "Spitzer, Kroenke & Williams 1999, JAMA 282:1737-1744"
NHS: Final = "NHS Talking Therapies, as in BMC Psychiatry 2018, s12888-018-1987-1, Table 1, and Clark 2018, PMC5942544"

COPYRIGHT: Final = "Copyright (c) Pfizer Inc. Developed by Drs. Robert L. Spitzer, Janet B.W. Williams, Kurt Kroenke and colleagues, with an educational grant from Pfizer Inc."
LICENCE: Final = "No permission required to reproduce, translate, display or distribute."
STEM: Final = "Over the last 2 weeks, how often have you been bothered by any of the following problems?"
RECALL_DAYS: Final = 14  # days; the form says 2 weeks
RECALL_LABEL: Final = "the last 2 weeks"

FREQUENCY: Final = (  # LOINC answer list LL358-3
    Answer(0, "Not at all", "LA6568-5"),
    Answer(1, "Several days", "LA6569-3"),
    Answer(2, "More than half the days", "LA6570-1"),
    Answer(3, "Nearly every day", "LA6571-9"),
)
DIFFICULTY: Final = (  # LOINC answer list LL359-1; the codes of the last two do not run with the numbers
    Answer(0, "Not difficult at all", "LA6572-7"),
    Answer(1, "Somewhat difficult", "LA6573-5"),
    Answer(2, "Very difficult", "LA6575-0"),
    Answer(3, "Extremely difficult", "LA6574-3"),
)

SYMPTOMS: Final = (
    Item(1, "Little interest or pleasure in doing things", FREQUENCY, "44250-9"),
    Item(2, "Feeling down, depressed, or hopeless", FREQUENCY, "44255-8"),
    Item(3, "Trouble falling or staying asleep, or sleeping too much", FREQUENCY, "44259-0"),
    Item(4, "Feeling tired or having little energy", FREQUENCY, "44254-1"),
    Item(5, "Poor appetite or overeating", FREQUENCY, "44251-7"),
    Item(
        6,
        "Feeling bad about yourself - or that you are a failure or have let yourself or your family down",
        FREQUENCY,
        "44258-2",
    ),
    Item(
        7, "Trouble concentrating on things, such as reading the newspaper or watching television", FREQUENCY, "44252-5"
    ),
    Item(
        8,
        "Moving or speaking so slowly that other people could have noticed? Or the opposite - being so fidgety or restless that you have been moving around a lot more than usual",
        FREQUENCY,
        "44253-3",
    ),
    Item(9, "Thoughts that you would be better off dead or of hurting yourself in some way", FREQUENCY, "44260-8"),
)
DIFFICULTY_ITEM: Final = Item(
    10,
    "If you checked off any problems, how difficult have these problems made it for you to do your work, take care of things at home, or get along with other people?",
    DIFFICULTY,
    "69722-7",
    scored=False,
    required=False,
)

CORE: Final = {1: 2, 2: 2}  # item -> smallest answer that counts: interest and mood, more than half the days
ENDORSED: Final = {**dict.fromkeys(range(1, 9), 2), 9: 1}  # item 9 counts from "several days"; Spitzer 1999


def syndromes(endorsed: dict[int, int], source: str) -> tuple[Screen, Screen]:
    """The diagnostic algorithm over some of the symptoms; PHQ-8 has it without item 9."""
    return (
        Screen(
            code="major_depressive_syndrome",
            label="Major depressive syndrome: five or more symptoms, one of them low interest or low mood",
            source=source,
            criteria=(Criterion(endorsed, at_least=5), Criterion(CORE, at_least=1)),
        ),
        Screen(
            code="other_depressive_syndrome",
            label="Other depressive syndrome: two to four symptoms, one of them low interest or low mood",
            source=source,
            criteria=(Criterion(endorsed, at_least=2, at_most=4), Criterion(CORE, at_least=1)),
        ),
    )


def bands(maximum: int) -> tuple[SeverityBand, ...]:
    """The published bands; PHQ-8 has the same, ending at its own maximum."""
    return (
        SeverityBand("minimal", "None to minimal", 0, 4),
        SeverityBand("mild", "Mild", 5, 9),
        SeverityBand("moderate", "Moderate", 10, 14),
        SeverityBand("moderately_severe", "Moderately severe", 15, 19),
        SeverityBand("severe", "Severe", 20, maximum),
    )


INSTRUMENT: Final = Instrument(
    id="phq-9",
    version=1,
    title="Patient Health Questionnaire, 9 items (PHQ-9)",
    measures="depression",
    instruction=STEM,
    items=(*SYMPTOMS, DIFFICULTY_ITEM),
    recall_days=RECALL_DAYS,
    recall_label=RECALL_LABEL,
    direction=Direction.LOWER_IS_BETTER,
    functional_item=DIFFICULTY_ITEM.number,
    copyright=COPYRIGHT,
    licence=LICENCE,
    source=KROENKE_2001,
    loinc_panel="44249-1",
    loinc_total="44261-6",
    bands=bands(27),
    missing=MissingRule(
        at_most=2,
        source="Convention: Arrieta 2017, J Clin Psychol, doi 10.1002/jclp.22390, as quoted by the qscorer documentation; no rule of the authors was found",
    ),
    critical_items=(
        CriticalItem(9, at_least=1, code="self_harm", label="Thoughts of being better off dead or of self-harm"),
    ),
    screens=(
        Screen(
            code="cut_point_10",
            label="Total of 10 or more",
            source=f"{KROENKE_2001}: sensitivity 88 %, specificity 88 %; Arroll 2010, PMC2906530: 74 % and 91 %",
            total_at_least=10,
            is_default=True,
        ),
        *syndromes(ENDORSED, SPITZER_1999),
    ),
    thresholds=(
        Threshold(
            rule="reliable_change",
            code="reliable_change_6",
            kind=ThresholdKind.CHANGE_POINTS,
            inequality=Inequality.AT_LEAST,
            value=6,
            population="adults in psychological therapy in England",
            source=NHS,
            is_default=True,
        ),
        Threshold(
            rule="reliable_change",
            code="reliable_change_jacobson_truax",
            kind=ThresholdKind.CHANGE_POINTS,
            inequality=Inequality.MORE_THAN,
            value=6.76,
            population="primary care patients with major depression",
            source=f"Computed here: 1.96 * 6.1 * sqrt(2 * (1 - .84)), sd and retest reliability of {KROENKE_2001}",
        ),
        Threshold(
            rule="minimal_important_difference",
            code="minimal_important_difference_5",
            kind=ThresholdKind.CHANGE_POINTS,
            inequality=Inequality.AT_LEAST,
            value=5,
            population="primary care patients treated for depression",
            source="Loewe 2004, Med Care 42:1194-1201: two standard errors of measurement",
            is_default=True,
        ),
        Threshold(
            rule="minimal_important_difference",
            code="minimal_important_difference_20_percent",
            kind=ThresholdKind.CHANGE_RATE,
            inequality=Inequality.AT_LEAST,
            value=0.20,
            population="adults with depressive symptoms in UK primary care",
            source="Kounali 2020/2022: smallest change that people notice themselves, about 1.7 points at moderate severity",
        ),
        Threshold(
            rule="response",
            code="response_50_percent",
            kind=ThresholdKind.CHANGE_RATE,
            inequality=Inequality.AT_LEAST,
            value=0.50,
            population="adults treated for depression",
            source="ICSI adult depression guideline; MNCM 1884 and 1885",
            is_default=True,
        ),
        Threshold(
            rule="partial_response",
            code="partial_response_25_percent",
            kind=ThresholdKind.CHANGE_RATE,
            inequality=Inequality.AT_LEAST,
            value=0.25,
            population="adults treated for depression whose fall is below 50 %: from there on it is a response",
            source="ICSI adult depression guideline: a fall of 25 to 50 %",
            is_default=True,
        ),
        Threshold(
            rule="remission",
            code="remission_5",
            kind=ThresholdKind.SCORE,
            inequality=Inequality.LESS_THAN,
            value=5,
            population="adults treated for depression",
            source="CMS159; MNCM 0710; ICSI speaks of full remission when it is held for two months",
            is_default=True,
        ),
    ),
    psychometrics=(
        Psychometrics(
            population="primary care patients with major depression",
            source=f"{KROENKE_2001}, as quoted by NovoPsych",
            n=41,
            mean=17.1,
            sd=6.1,
            role="clinical",
            is_default=True,
        ),
        Psychometrics(
            population="primary care patients with other depressive disorder",
            source=f"{KROENKE_2001}, as quoted by NovoPsych",
            n=65,
            mean=10.4,
            sd=5.4,
            role="clinical",
        ),
        Psychometrics(
            population="primary care patients without depressive disorder",
            source=f"{KROENKE_2001}, as quoted by NovoPsych",
            n=474,
            mean=3.3,
            sd=3.8,
            role="functional",
            is_default=True,
        ),
        Psychometrics(
            population="primary care patients, second time by telephone",
            source=f"{KROENKE_2001}; the retest figure as commonly quoted, not re-read. The .89 is alpha: used as retest it would lower the reliable change from 6.76 to 5.61",
            alpha=0.89,
            retest=0.84,
            retest_days=2,
            is_default=True,
        ),
        Psychometrics(
            population="inpatients with major depression in China",
            source="PMC7525967",
            alpha=0.892,
            retest=0.737,
        ),
    ),
    notes=(
        "The difficulty question is not part of the total; it is asked only when one of the nine items is above 0, so nine or ten responses may be sent.",
        "Printings differ in punctuation: item 8 with or without the question mark, item 9 with or without a comma after 'dead'.",
        "A screen is not a diagnosis: impairment, bereavement, a history of mania and medical or drug causes are for a clinician to rule on.",
        "An item 9 answered with 0 does not mean no risk: 71.6 % of those who died by suicide had answered 0 (Louzon 2016).",
        "SNOMED CT 720433000 is the PHQ-9 score. CDISC: QSCAT PHQ-9 (C103519), codelist PHQ01TC, items PHQ0101 to PHQ0110, total PHQ0111.",
    ),
    examples=(
        WorkedExample(
            (2, 1, 3, 2, 0, 1, 1, 0, 0, 1),
            10,
            Validity.VALID,
            "moderate",
            {"cut_point_10": True, "major_depressive_syndrome": False, "other_depressive_syndrome": True},
        ),
        WorkedExample(
            (2, 2, 2, 2, 0, 0, 0, 0, 1),  # the fifth symptom is item 9 at "several days"
            9,
            Validity.VALID,
            "mild",
            {"cut_point_10": False, "major_depressive_syndrome": True, "other_depressive_syndrome": False},
        ),
        WorkedExample(
            (1, 1, 3, 3, 3, 3, 3, 3, 3),  # severe, and no syndrome: neither item 1 nor item 2 reaches 2
            23,
            Validity.VALID,
            "severe",
            {"cut_point_10": True, "major_depressive_syndrome": False, "other_depressive_syndrome": False},
        ),
        WorkedExample(
            (2, None, 3, 2, 0, 1, 1, 0, 0),  # 9 points from 8 items; a cut-point is open between 9 and 12
            10.125,
            Validity.PRORATED,
            "moderate",
            {"cut_point_10": None, "major_depressive_syndrome": False, "other_depressive_syndrome": True},
        ),
        WorkedExample(
            (2, 3, 2, 2, 2, 1, None, None, 1),  # 13 points from 7 items, prorated to 16.71; both missing change nothing
            16.714285714285715,
            Validity.PRORATED,
            "moderately_severe",
            {"cut_point_10": True, "major_depressive_syndrome": True, "other_depressive_syndrome": False},
        ),
        WorkedExample(
            (3, 3, 3, 3, None, None, None, 0, 1),  # three missing: no total, and yet the screens are settled
            None,
            Validity.INCOMPLETE,
            None,
            {"cut_point_10": True, "major_depressive_syndrome": True, "other_depressive_syndrome": False},
        ),
        WorkedExample(
            (None,) * 10,
            None,
            Validity.INCOMPLETE,
            None,
            {"cut_point_10": None, "major_depressive_syndrome": None, "other_depressive_syndrome": None},
        ),
    ),
)
