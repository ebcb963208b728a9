"""Research releases: what is asked for, what was decided, and the manifest of what was made."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from app.privacy.cells import SMALLEST_CELL
from app.privacy.columns import Tier
from app.release_files.model import Format
from app.release_files.odds import odds
from app.release_files.package import NOTICE
from app.schemas.cohorts import Month
from app.schemas.episodes import Modality
from app.schemas.fields import Answer, Body, Id, InstrumentId, ShortText, Timestamp
from app.schemas.treatment_sessions import Route

MOST_DAYS = 90
ReleaseShape = Literal["long", "wide", "omop", "cdisc"]
ReleaseStatus = Literal["requested", "approved", "rejected", "building", "ready", "failed", "revoked", "expired"]
ColumnName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_]{1,40}\.[a-z_]{1,40}$"),
    Field(description="Table and column, `scores.total`", examples=["scores.total"]),
]
Sentence = Annotated[str, StringConstraints(min_length=10, max_length=1_000, strip_whitespace=True)]
Note = Annotated[str, StringConstraints(max_length=1_000, strip_whitespace=True)]


class ReleaseFailure(StrEnum):
    """Why nothing came of a release that was approved."""

    TOO_FEW_PEOPLE = "too_few_people"
    NOBODY_CAN_BE_HIDDEN = "nobody_can_be_hidden"
    TOO_NEAR_AN_EARLIER_RELEASE = "too_near_an_earlier_release"
    DEFECT = "defect"


FAILURES: Final[Mapping[ReleaseFailure, str]] = {
    ReleaseFailure.TOO_FEW_PEOPLE: "Too few people who consent are in this cohort. Choose a wider one.",
    ReleaseFailure.NOBODY_CAN_BE_HIDDEN: "The people of this cohort cannot be hidden among each other. "
    "Ask for fewer columns.",
    ReleaseFailure.TOO_NEAR_AN_EARLIER_RELEASE: "A few people of an earlier release are missing in this one, and would "
    "be told by it. Choose the same people, or a cohort that differs by more.",
    ReleaseFailure.DEFECT: "Building this release failed again and again. Whoever runs the service finds why in the "
    "worker's log: report the defect.",
}


class ReleaseEnd(StrEnum):
    """Why a release is there no more."""

    EXPIRED = "expired"
    REVOKED = "revoked"
    CONSENT = "consent"


ENDED: Final[Mapping[ReleaseEnd, str]] = {
    ReleaseEnd.EXPIRED: "This release has expired, and its files are destroyed. Ask for a new one.",
    ReleaseEnd.REVOKED: "This release was revoked, and its files are destroyed. Ask for a new one if still needed.",
    ReleaseEnd.CONSENT: "Somebody in this release has withdrawn consent or was erased since. Ask for a new one without "
    "them.",
}

_ID = "019a9c40-0000-7000-8000-000000000001"
_ASKED: dict[str, Any] = {
    "purpose": "Durability of response after the first course, protocol 2026-07",
    "recipient": "University of Example, Dr. Example's group",
    "tier": "safe_harbor",
    "agreement": None,
    "determination": None,
    "instruments": ["phq-9"],
    "cohort": {"first_dose_from": "2026-01", "first_dose_to": None, "modality": None, "route": None},
    "columns": None,
    "formats": ["csv", "parquet"],
    "shapes": ["long", "wide"],
    "disclosure": {"k": 11, "l": 2, "most_left_out_rate": 0.05},
    "expires_in_days": 90,
}
_MANIFEST: dict[str, Any] = {
    "words": "de-identified, not anonymous",
    "notice": NOTICE,
    "part_2_notice": None,
    "known_at": "2026-11-20T19:33:00Z",
    "persons_in": 412,
    "persons_out": 405,
    "persons_left_out": 7,
    "rows_in": 5190,
    "rows_out": 5101,
    "rows_left_out": 89,
    "k": 11,
    "highest_risk": 0.0909,
    "mean_risk": 0.041,
    "l": 2,
    "t": 0.31,
    "loss_rate": 0.27,
    "rungs": {"age": 1, "index_year": 0},
    "unique_by_weeks": {"alone_rate": 0.02, "small_rate": 0.11},
    "unique_by_sessions": {"alone_rate": 0.04, "small_rate": 0.17},
    "unique_by_two_totals": {"alone_rate": 0.93, "small_rate": 1.0},
    "beside_earlier_releases": {"releases": 2, "k": 3, "alone_rate": 0.0, "small_rate": 0.08, "others_k": None},
    "columns": [
        {"table": "persons", "name": "age", "type": "string", "says": "years at the first dose", "made_by": "band"},
        {
            "table": "scores",
            "name": "week",
            "type": "integer",
            "says": "week since the first dose",
            "made_by": "*",
        },
        {"table": "scores", "name": "total", "type": "number", "says": "points", "made_by": "as scored"},
    ],
    "versions": {"tidemark": "0.1.0", "rules": 1},
    "instruments": ["phq-9@1"],
    "files": [{"name": "scores.csv", "bytes": 181203, "sha256": "9f" * 32, "rows": 4696, "persons": 405}],
}
_MANIFEST["odds"] = odds(_MANIFEST)


class ReleaseCohort(Body):
    """Whose rows are asked for. Everybody in it has had a first dose and has consented to research."""

    first_dose_from: Month | None = None
    first_dose_to: Month | None = None
    modality: Modality | None = None
    route: Route | None = Field(default=None, description="Of the first dose")


class Disclosure(Body):
    """How much each person has to look like others. Only ever stricter than the defaults."""

    k: int = Field(default=SMALLEST_CELL, ge=SMALLEST_CELL, le=1_000, description="Persons who look alike, at least.")
    l: int = Field(default=2, ge=2, le=5, description="Different outcomes among them, at least.")  # noqa: E741  # its name
    most_left_out_rate: float = Field(
        default=0.05, ge=0, le=0.05, strict=False, description="Share that may be left out rather than told coarser."
    )


class ReleaseCreate(Body):
    """What is wanted, for what, for whom, and on what ground."""

    model_config = ConfigDict(json_schema_extra={"example": _ASKED})

    purpose: Sentence = Field(description="For what. Stands in the manifest; write nothing about a person here.")
    recipient: ShortText = Field(
        description="Who will have the files. A consent that names a recipient has to name it."
    )
    tier: Tier = Field(strict=False)
    agreement: ShortText | None = Field(
        default=None, description="Reference of the data use agreement; `limited_data_set` needs one."
    )
    determination: ShortText | None = Field(
        default=None, description="Reference of the expert's determination; `expert` needs one."
    )
    instruments: list[InstrumentId] = Field(
        min_length=1, max_length=10, description="The first is the one the category of change is of."
    )
    cohort: ReleaseCohort = ReleaseCohort()
    columns: list[ColumnName] | None = Field(
        default=None, max_length=50, description="null: all that the tier gives unasked. The pseudonym is always there."
    )
    formats: list[Format] = Field(default=["csv"], min_length=1, max_length=3)
    shapes: list[ReleaseShape] = Field(
        default=["long"],
        min_length=1,
        max_length=4,
        description="How the forms are told: `long`, one row for each (`scores`); `wide`, one row for each person and "
        "point in time (`scores_wide`, with a data dictionary for REDCap); `omop`, rows of OBSERVATION by source code "
        "(`omop_observation`); `cdisc`, the QS domain of SDTM (`cdisc_qs`). `persons` and `sessions` are there in any "
        "case. Each goes as far as `columns` do; `wide` needs instrument and a time, `omop` and `cdisc` instrument and "
        "total.",
    )
    disclosure: Disclosure = Disclosure()
    expires_in_days: int = Field(default=MOST_DAYS, ge=1, le=MOST_DAYS, description="Counted from the approval.")


class ReleaseDecision(Body):
    """Yes or no, by an administrator who is not the one who asked."""

    model_config = ConfigDict(json_schema_extra={"example": {"decision": "approved", "note": "agreement seen"}})

    decision: Literal["approved", "rejected"]
    note: Note = Field(default="", description="Write nothing about a person here.")


class ReleaseFile(Answer):
    name: str
    bytes: int
    sha256: str = Field(description="Of the file; the `ETag` of its download, too.")
    rows: int | None = Field(description="null: a document, not a table")
    persons: int | None = Field(description="Of whom there are rows")


class Uniqueness(Answer):
    alone_rate: float | None = Field(description="Share of persons whom the attacker finds alone")
    small_rate: float | None = Field(description="Share of persons in a group below 11")


class BesideEarlierReleases(Uniqueness):
    releases: int = Field(description="Earlier ones with persons of this one in them")
    k: int | None = Field(description="Persons who look alike in all of them together, at least")
    others_k: int | None = Field(
        description="The same of those in earlier releases who looked like somebody in here, and are not in here. "
        "null: there are none"
    )


class ManifestColumn(Answer):
    table: str
    name: str
    type: str
    says: str
    made_by: str


class Manifest(Answer):
    """What the files are, what was done to the data, and what that leaves.

    `manifest.json` says the same under the same names, with the release's `id` and `request`, and not of itself.
    """

    words: str
    notice: str = Field(description="What whoever has the files has to know and keep to")
    odds: list[str] = Field(description="In sentences: whom somebody who knows a little of a friend would find")
    part_2_notice: str | None = Field(description="Goes with the files when it is there: 42 CFR 2.32.")
    known_at: Timestamp = Field(description="The record as it stood then.")
    persons_in: int = Field(description="Consented, dosed, in the cohort")
    persons_out: int = Field(description="In the files")
    persons_left_out: int = Field(description="Because they could not be hidden among others")
    rows_in: int
    rows_out: int
    rows_left_out: int
    k: int | None
    highest_risk: float | None = Field(description="1 / k: of being picked out by a guess, by what stands in `persons`")
    mean_risk: float | None
    l: int | None = Field(description="null when the outcome is not in the release")  # noqa: E741  # its name
    t: float | None
    loss_rate: float
    rungs: dict[str, int] = Field(description="How coarsely each quasi-identifier is told, 0 the finest")
    unique_by_weeks: Uniqueness = Field(
        description="The attacker knows all forms of a friend, which and in which week; or day, where days are told."
    )
    unique_by_sessions: Uniqueness = Field(description="The same of all treatment sessions.")
    unique_by_two_totals: Uniqueness = Field(
        description="The attacker knows two totals, each with its week; or day, where days are told."
    )
    beside_earlier_releases: BesideEarlierReleases | None = Field(
        default=None,
        description="The attacker has all earlier releases of these persons, finds the same persons in them by equal "
        "courses, and knows of a friend in which they are and what `persons` tells in each. null: there are none, or "
        "the release is older than this measure",
    )
    columns: list[ManifestColumn]
    instruments: list[str] = Field(description="With their versions; `instruments.json` has wording and rules.")
    versions: dict[str, str | int] = Field(description="Of this program, and of the clinic's own rules")
    files: list[ReleaseFile]


class ReleaseProgress(Answer):
    attempts: int
    persons_read: int
    rows_written: int


class ReleaseAnswer(Answer):
    """A release as it stands."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": _ID,
                "status": "ready",
                "request": _ASKED,
                "requested_at": "2026-11-20T19:30:00Z",
                "requested_by": "019a9c1e-0000-7000-8000-00000000000b",
                "decided_at": "2026-11-20T19:32:00Z",
                "decided_by": "019a9c1e-0000-7000-8000-00000000000a",
                "decision_note": "agreement seen",
                "expires_at": "2027-02-18T19:32:00Z",
                "progress": {"attempts": 1, "persons_read": 412, "rows_written": 5101},
                "ready_at": "2026-11-20T19:33:04Z",
                "failure": None,
                "ended_at": None,
                "ended_because": None,
                "manifest": _MANIFEST,
            }
        }
    )

    id: Id
    status: ReleaseStatus
    request: ReleaseCreate
    requested_at: Timestamp
    requested_by: Id
    decided_at: Timestamp | None
    decided_by: Id | None
    decision_note: str | None
    expires_at: Timestamp | None
    progress: ReleaseProgress
    ready_at: Timestamp | None
    failure: ReleaseFailure | None = Field(description=" ".join(f"`{why}`: {FAILURES[why]}" for why in ReleaseFailure))
    ended_at: Timestamp | None
    ended_because: ReleaseEnd | None = Field(description=" ".join(f"`{why}`: {ENDED[why]}" for why in ReleaseEnd))
    manifest: Manifest | None = Field(description="null until it is ready")
