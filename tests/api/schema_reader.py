"""A small reader of JSON Schema, of the words our OpenAPI document uses: the oracle for its examples."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import httpx2

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
_FORMATS: Final[Mapping[str, Callable[[str], object]]] = {"uuid": UUID, "date-time": datetime.fromisoformat}
_BORDERS: Final = (
    ("minLength", "maxLength"),
    ("minimum", "maximum"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
)
_EXCLUDED: Final = ("exclusiveMinimum", "exclusiveMaximum")
_CHECKED: Final = frozenset(
    {
        *("$ref", "anyOf", "type", "const", "enum", "pattern", "format", "items"),
        *("properties", "required", "additionalProperties"),
        *(name for pair in (*_BORDERS, _EXCLUDED) for name in pair),
    }
)
_SAID: Final = frozenset({"title", "description", "default", "examples", "example"})


def resolved(node: dict[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """What a reference points to, or the node itself."""
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def faults(value: Any, schema: dict[str, Any], document: Mapping[str, Any], at: str = "") -> list[str]:
    """Where the value breaks the schema. Fields the schema does not name are faults too."""
    schema = resolved(schema, document)
    if schema == {}:  # a value of any kind
        return []
    assert schema.keys() <= _CHECKED | _SAID, f"teach the reader {schema.keys() - _CHECKED - _SAID}"
    if "anyOf" in schema:
        found = [faults(value, one, document, at) for one in schema["anyOf"]]
        return [] if [] in found else min(found, key=len)
    if schema.get("const", value) != value or value not in schema.get("enum", [value]):
        return [f"{at}: not a choice"]
    if "type" in schema and not _is_of(schema["type"], value):
        return [f"{at}: not {schema['type']}"]
    return [
        *_text_faults(value, schema, at),
        *_size_faults(value, schema, at),
        *_part_faults(value, schema, document, at),
    ]


def answer_faults(answer: httpx2.Response, operation: dict[str, Any], document: Mapping[str, Any]) -> list[str]:
    """How an answer differs from what the document says of its operation: status, media type, body, headers."""
    declared = operation["responses"].get(str(answer.status_code))
    if declared is None:
        return [f"{answer.status_code} is not declared"]
    known = document["components"]["headers"].keys() - declared["headers"].keys()
    silent = [f"{name} is not declared" for name in known if name in answer.headers]
    media_type = answer.headers.get("content-type", "")
    if media_type not in declared.get("content", {"": {}}):
        return [f"{media_type} is not declared"]
    if not media_type.endswith("json"):
        return silent
    return silent + faults(answer.json(), declared["content"][media_type]["schema"], document)


def _is_of(kind: str | list[str], value: Any) -> bool:
    if isinstance(kind, list):
        return any(_is_of(one, value) for one in kind)
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _text_faults(value: Any, schema: dict[str, Any], at: str) -> Iterator[str]:
    if not isinstance(value, str):
        return
    if not re.search(schema.get("pattern", ""), value):
        yield f"{at}: not of the pattern"
    try:
        _FORMATS.get(schema.get("format", ""), str)(value)
    except ValueError:
        yield f"{at}: not a {schema['format']}"


def _size_faults(value: Any, schema: dict[str, Any], at: str) -> Iterator[str]:
    size = len(value) if isinstance(value, (str, list, dict)) else value
    for low, high in (*_BORDERS, _EXCLUDED):
        if (low in schema and size < schema[low]) or (high in schema and size > schema[high]):
            yield f"{at}: too small or too large"
    if size in [schema[name] for name in _EXCLUDED if name in schema]:
        yield f"{at}: on an excluded border"


def _part_faults(value: Any, schema: dict[str, Any], document: Mapping[str, Any], at: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, element in enumerate(value):
            yield from faults(element, schema.get("items", {}), document, f"{at}/{index}")
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", False)
        yield from (f"{at}/{name}: missing" for name in schema.get("required", []) if name not in value)
        for name, part in value.items():
            inner = known.get(name, {} if rest is True else rest)
            if inner is False:
                yield f"{at}/{name}: unknown"
            else:
                yield from faults(part, inner, document, f"{at}/{name}")
