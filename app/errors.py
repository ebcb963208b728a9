"""What can go wrong, named for the fact. Knows no HTTP: `problems` decides how each is told.

AppError
├── MalformedError             the input could not be read at all
├── TooLargeError              the input is larger than we read
├── UnsupportedFormatError     the input is of a kind we do not read
├── InvalidError               the input was read and breaks a rule; `faults` says where
├── KeyReusedError             an idempotency key was used for other content
├── UnauthenticatedError       no caller, or none we know
├── ForbiddenError             a caller whose role may never do this
├── NotFoundError              absent, or another clinic's: nobody can tell which
├── GoneError                  it was here and has ended for good
├── ConflictError              it contradicts what is stored
├── PreconditionRequiredError  a change that does not say which version it is based on
├── StaleError                 a change based on a version that is no longer the newest
├── TooManyError               more than one caller's share: try again later
├── UnavailableError           try again in a moment
└── DefectError                our own fault, in one part of what was asked
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the input. `message` never repeats the input."""

    pointer: str  # JSON pointer into the body, or query/…, path/…, header/…
    code: str
    message: str


class AppError(Exception):
    """Base of everything a caller is told about. `detail` is for people and carries no patient data."""

    is_told = False  # in the trail, by whoever raised it

    def __init__(self, detail: str, *, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class MalformedError(AppError):
    pass


class TooLargeError(AppError):
    pass


class UnsupportedFormatError(AppError):
    pass


class InvalidError(AppError):
    pass


class KeyReusedError(AppError):
    pass


class UnauthenticatedError(AppError):
    pass


class ForbiddenError(AppError):
    pass


class NotFoundError(AppError):
    pass


class GoneError(AppError):
    pass


class ConflictError(AppError):
    pass


class PreconditionRequiredError(AppError):
    pass


class StaleError(AppError):
    pass


class TooManyError(AppError):
    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(AppError):
    retry_after_seconds = 1


class DefectError(AppError):
    pass
