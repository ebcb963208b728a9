"""What a clinic's own programs can be told of. A kind says that something is there to be read, never what."""

from enum import StrEnum
from typing import Final


class NotificationKind(StrEnum):
    CHECK_IN_DUE = "check_in.due"
    CHECK_IN_MISSED = "check_in.missed"
    ALERT_OPENED = "alert.opened"
    ALERT_REOPENED = "alert.reopened"
    EMERGENCY_ACCESS_OPENED = "emergency_access.opened"


# No symptom, no instrument, no word about how anybody is: a notification ends in logs and on locked screens.
DESCRIPTIONS: Final = {
    NotificationKind.CHECK_IN_DUE: "It is time to remind a patient of a check-in; `data.id` is the expected check-in.",
    NotificationKind.CHECK_IN_MISSED: "The time of a check-in has passed without an answer; "
    "`data.id` is the expected check-in.",
    NotificationKind.ALERT_OPENED: "An alert waits for somebody of the clinic; `data.id` is the alert.",
    NotificationKind.ALERT_REOPENED: "An alert that had been dealt with has a new cause; `data.id` is the alert.",
    NotificationKind.EMERGENCY_ACCESS_OPENED: "A clinician opened a restricted patient in an emergency; "
    "`data.id` is the access.",
}
