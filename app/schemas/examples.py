"""An example for a JSON schema: the one its model declares, or one put together from its parts."""

from collections.abc import Mapping
from typing import Any, Final

_FORMATS: Final = {"uuid": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a", "date-time": "2026-11-20T19:30:00Z"}
PLACEHOLDER: Final = "text"  # no published example may have it: a test asks for a declared one instead
_TYPES: Final[Mapping[str, Any]] = {"null": None, "boolean": True, "integer": 1, "number": 1.0, "string": PLACEHOLDER}


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """`schemas` is what references point into. Schemas that contain themselves are not supported: we have none."""
    match schema:
        case {"example": declared} | {"examples": [declared, *_]} | {"const": declared} | {"enum": [declared, *_]}:
            return declared
        case {"$ref": str(reference)}:
            return example_of(schemas[reference.rsplit("/", 1)[1]], schemas)
        case {"anyOf": [first, *_]}:
            return example_of(first, schemas)
        case {"type": "array", "items": items}:
            return [example_of(items, schemas)]
        case {"type": "object"}:
            return {name: _property(name, part, schemas) for name, part in schema.get("properties", {}).items()}
        case {"type": kind, **rest}:
            return _FORMATS.get(rest.get("format", ""), _TYPES[kind])
    raise LookupError(f"no example can be put together from {sorted(schema)}")


def restored(value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """A declared example as it was meant: pydantic sorts its fields by name, and FastAPI drops those that are null."""
    match schema:
        case {"$ref": str(reference)}:
            return restored(value, schemas[reference.rsplit("/", 1)[1]], schemas)
        case {"anyOf": [first, *_]} if value is not None:
            return restored(value, first, schemas)
        case {"items": items} if isinstance(value, list):
            return [restored(element, items, schemas) for element in value]
        case {"properties": parts} if isinstance(value, dict):
            required = schema.get("required", ())
            known = {
                name: restored(value.get(name), part, schemas)
                for name, part in parts.items()
                if name in value or (name in required and {"type": "null"} in part.get("anyOf", ()))
            }
            return known | {name: rest for name, rest in value.items() if name not in known}
        case {"additionalProperties": dict(part)} if isinstance(value, dict):
            return {name: restored(element, part, schemas) for name, element in value.items()}
    return value


def _property(name: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    return None if name == "next_cursor" else example_of(schema, schemas)  # the shortest list has one page
