"""OpenAPI as our clients generate code from it: stable names, an example for every body, and the truth about errors."""

from collections.abc import Mapping
from copy import deepcopy
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app import problems
from app.auth import ROLES_ALLOWED, Purpose
from app.deps import permission_of
from app.schemas.examples import example_of, restored
from app.schemas.problems import Problem

JSON: Final = "application/json"

TAGS: Final = {
    "instruments": "The questionnaires: wording, answers, rules, thresholds with their sources, licence. "
    "Scoring without storing.",
    "patients": "The people a clinic treats. No other clinic can tell that they exist.",
    "assessments": "Check-ins: one filled form each, scored when it is stored, never changed afterwards.",
    "trajectories": "Scores in order, and what they amount to since baseline. Time order is not cause.",
    "episodes": "Courses of treatment: opened, corrected, closed, with every version kept.",
    "schedules": "What a patient is asked and when: ready-made protocols, schedules of episodes, what is due.",
    "treatment sessions": "Preparation, dosing, integration: planned, moved, done, cancelled.",
    "observations": "Vital signs and dissociation over a session.",
    "adverse events": "What went wrong in or after a session, how bad, and when it was over.",
    "alerts": "What waits for a person, who saw it, what was done, how long it took. No crisis service: no alert "
    "never means no risk.",
    "suitability": "A clinic's own checklists and the decisions clinicians took by them. Nothing is decided here.",
    "thresholds": "A clinic's own rules for judging change, beside the published ones.",
    "webhooks": "Addresses of a clinic's own programs that are told, signed and in ids alone, when something waits.",
    "clinic": "The clinic itself and what it has decided: quiet hours, corrections by patients, words on safety.",
    "caseload": "Every patient's latest state, worst first. That nothing is flagged is no all-clear.",
    "cohorts": "What became of a cohort, told in figures that no single person stands behind. Nothing of causes.",
    "check-in links": "Addresses that let one person answer what is due without a login, and nothing else.",
    "enrolments": "How a patient's own telephone is let in: a code to type, tokens that renew themselves, their end.",
    "tokens": "What lets people and programs in: made, listed, revoked. Its secret is shown once and stored nowhere.",
    "care teams": "Patients that are hidden from clinicians of other care teams, and who saw them in an emergency.",
    "consents": "What patients have consented to, to whom and until when, and the flag of 42 CFR Part 2. "
    "What is not on record is no consent.",
    "releases": "De-identified research data sets: asked for, approved by somebody else, built, and forgotten in time. "
    "De-identified, not anonymous.",
    "erasure": "People who are gone for good, and the certificates that say so.",
    "audit": "Who did what to which, in rows that are only ever added and are chained by hashes.",
    "health": "Is the process alive, and can it serve? No token, no patient data.",
}

# Which operations can meet which problem, by the facts `_facts` finds. 405 is left out: no declared operation has it.
WHERE: Final[Mapping[problems.Kind, str]] = {
    problems.MALFORMED: "body",
    problems.UNAUTHENTICATED: "secured",
    problems.FORBIDDEN: "secured",
    problems.NOT_FOUND: "reference",
    problems.CONFLICT: "write",
    problems.GONE: "file",
    problems.TOO_LARGE: "body",
    problems.UNSUPPORTED: "body",
    problems.INVALID: "input",
    problems.KEY_REUSED: "write",
    problems.STALE: "change",
    problems.PRECONDITION_REQUIRED: "change",
    problems.TOO_MANY: "secured",
    problems.INTERNAL: "operation",
    problems.UNAVAILABLE: "secured",
}

HEADERS: Final = {
    "X-Request-Id": "Names this request in the service's log; quote it in a report.",
    "WWW-Authenticate": "`Bearer`",
    "Retry-After": "Seconds to wait before the request is repeated.",
    "Location": "Address of what was made.",
    "Idempotency-Replayed": "`true` when this is the answer to an earlier request with the same key or id.",
    "Cohort-Questions-Left": "How many different cohort questions a researcher may still ask in these 30 days.",
    "Link": 'Address of the next page, `rel="next"` (RFC 8288); absent on the last.',
}
PURPOSE: Final[Mapping[str, Any]] = {
    "name": "Purpose",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "enum": [purpose.value for purpose in Purpose]},
    "description": "Why you ask, for the trail.",
}
_ERROR_HEADERS: Final = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}


def install(app: FastAPI) -> None:
    """Replaces the application's document by ours."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _document(app: FastAPI) -> dict[str, Any]:
    routes = [route for route in app.routes if isinstance(route, APIRoute) and route.include_in_schema]
    tags = {tag for route in routes for tag in route.tags}
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items() if name in tags],
        servers=[{"url": "/"}],
    )
    _add_components(document["components"])
    for route in routes:
        for method in route.methods or ():
            _complete(document["paths"][route.path_format][method.lower()], route, document["components"]["schemas"])
    return document


def _add_components(components: dict[str, Any]) -> None:
    """What operations refer to: the error shape, one example of each problem, and the headers."""
    schemas = components["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem | {"example": problems.example(problems.INVALID)}
    for schema in schemas.values():
        if "example" in schema:
            schema["example"] = restored(schema["example"], schema, schemas)
    components["examples"] = {
        kind.slug: {"summary": kind.title, "description": kind.cause, "value": problems.example(kind)} for kind in WHERE
    }
    components["headers"] = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()
    }


def _complete(operation: dict[str, Any], route: APIRoute, schemas: Mapping[str, Any]) -> None:
    operation["operationId"] = route.name
    if _is_secured(operation):
        permission = permission_of(route)
        operation["x-permission"] = permission.value
        operation["x-roles"] = sorted(role.value for role in ROLES_ALLOWED[permission])
        operation.setdefault("parameters", []).append(deepcopy(PURPOSE))
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _without_null(parameter["schema"])
    facts = _facts(operation, route, schemas)
    if "body" in facts:
        _add_example(operation["requestBody"]["content"], schemas)
    _declare_errors(operation["responses"], facts)
    operation["responses"] = dict(sorted(operation["responses"].items()))
    for status, response in operation["responses"].items():
        if status < "400":
            _complete_success(status, response, facts, schemas)
        headers = response.setdefault("headers", {})
        headers["X-Request-Id"] = _header("X-Request-Id")
        if status in _ERROR_HEADERS:
            headers[_ERROR_HEADERS[status]] = _header(_ERROR_HEADERS[status])


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """An optional parameter is left out: there is no way to send null in a query or a header."""
    if {"type": "null"} not in schema.get("anyOf", ()):
        return schema
    kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _is_secured(operation: Mapping[str, Any]) -> bool:
    return bool(operation.get("security"))


def _facts(operation: Mapping[str, Any], route: APIRoute, schemas: Mapping[str, Any]) -> set[str]:
    """What decides which problems and headers an operation can have."""
    parameters = operation.get("parameters", [])
    body = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
    fields = _resolved(body, schemas).get("properties", {})
    return {
        name
        for name, holds in {
            "operation": True,
            "secured": _is_secured(operation),
            "body": "requestBody" in operation,
            "input": bool(parameters) or "requestBody" in operation,
            "reference": bool(route.param_convertors) or any(name.endswith("_id") for name in fields),
            "file": any(parameter["name"] == "name" and parameter["in"] == "path" for parameter in parameters),
            "write": any(parameter["name"] == "Idempotency-Key" for parameter in parameters),
            "change": any(parameter["name"] == "If-Match" for parameter in parameters),
        }.items()
        if holds
    }


def _declare_errors(responses: dict[str, Any], facts: set[str]) -> None:
    responses.pop("422", None)  # FastAPI's own shape, which we never answer
    declared = frozenset(responses)
    for kind in sorted(WHERE, key=lambda kind: kind.status):
        if WHERE[kind] not in facts or str(kind.status) in declared:
            continue
        content = {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
        response = responses.setdefault(
            str(kind.status),
            {"description": HTTPStatus(kind.status).phrase, "content": {problems.MEDIA_TYPE: content}},
        )
        examples = response["content"][problems.MEDIA_TYPE]["examples"]
        examples[kind.slug] = {"$ref": f"#/components/examples/{kind.slug}"}


def _complete_success(status: str, response: dict[str, Any], facts: set[str], schemas: Mapping[str, Any]) -> None:
    if response["description"] == "Successful Response":
        response["description"] = HTTPStatus(int(status)).phrase
    schema = _add_example(response.get("content", {}), schemas)
    schema.pop("title", None)  # made from the path by FastAPI; generated clients would name classes after it
    headers = {
        "Location": status == "201",
        "Idempotency-Replayed": "write" in facts,
        "Link": "next_cursor" in _resolved(schema, schemas).get("properties", {}),
    }
    response.setdefault("headers", {}).update({name: _header(name) for name, sent in headers.items() if sent})


def _add_example(content: dict[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Puts an example beside the JSON schema of a body, which it returns."""
    media: dict[str, Any] = content.get(JSON, {})
    schema: dict[str, Any] = media.get("schema", {})
    if "example" in media:
        media["example"] = restored(media["example"], schema, schemas)
    elif schema and "examples" not in media:
        media["example"] = example_of(schema, schemas)
    return schema


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    return schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}
