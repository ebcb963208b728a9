"""What pydantic finds wrong, said in our words: its own may quote the input."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.errors import Fault, InvalidError

_MESSAGES: Final = {
    "missing": "This is required.",
    "extra_forbidden": "There is a field here that nobody knows.",
    "int_type": "Write a whole number, without quotes or decimal point.",
    "string_type": "Write a text.",
    "list_type": "Write a list.",
    "model_type": "Write an object.",
    "model_attributes_type": "Write an object.",
    "dict_type": "Write an object.",
    "too_long": "The list is too long.",
    "string_too_long": "The text is too long.",
    "string_too_short": "The text is empty.",
    "string_pattern_mismatch": "The text is not of the expected form.",
    "literal_error": "This is not one of the choices.",
    "enum": "This is not one of the choices.",
    "float_type": "Write a number, without quotes.",
    "bool_type": "Write true or false.",
    "too_short": "The list is too short.",
    "int_parsing": "Write a whole number.",
    "greater_than_equal": "The number is too small.",
    "less_than_equal": "The number is too large.",
    "greater_than": "The number is too small.",
}


class FieldError(ValueError):
    """Raised by our own kinds of field; pydantic carries it along."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(found: Sequence[Any]) -> InvalidError:
    """The application's error for pydantic's list of errors; none of the input is carried over."""
    return refusal([_fault(entry) for entry in found])


def refusal(faults: Sequence[Fault]) -> InvalidError:
    """The application's error for faults, which it counts."""
    things = "thing is" if len(faults) == 1 else "things are"
    return InvalidError(f"{len(faults)} {things} wrong with the content.", faults=tuple(faults))


def _fault(entry: Mapping[str, Any]) -> Fault:
    code, location = str(entry["type"]), list(entry["loc"])
    own = entry.get("ctx", {}).get("error")
    if isinstance(own, FieldError):
        return Fault(_pointer(location), own.code, own.message)
    if code == "extra_forbidden":  # the last part of the location is a name the client made up
        return Fault(_pointer(location[:-1]), "unknown_field", _MESSAGES[code])
    return Fault(_pointer(location), code, _MESSAGES.get(code, "This value is not accepted here."))


def _pointer(location: list[str | int]) -> str:
    """A JSON pointer into the body; parameters are named by where they stand."""
    if location and location[0] in {"path", "query", "header"}:
        return "/".join(str(part) for part in location)
    return "".join(f"/{part}" for part in (location[1:] if location[:1] == ["body"] else location))
