"""OpenAPI as our clients generate code from it: one error shape, declared on every operation."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import problems
from app.schemas.problems import Problem

_BODY_ERRORS = (400, 413, 415)
_CHANGE_ERRORS = (412, 428)
_EVERY_ERROR = (401, 403, 404, 409, 422, 500, 503)


def install(app: FastAPI) -> None:
    """Replaces the application's document by one that tells the truth about errors."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _declare_errors(operation, secured=path.startswith("/v1/"))
    return document


def _declare_errors(operation: dict[str, Any], *, secured: bool) -> None:
    operation["responses"].pop("422", None)
    codes = [
        *(_EVERY_ERROR if secured else (500, 503)),
        *(_BODY_ERRORS if "requestBody" in operation else ()),
        *(_CHANGE_ERRORS if _needs_if_match(operation) else ()),
    ]
    titles = {kind.status: kind.title for kind in vars(problems).values() if isinstance(kind, problems.Kind)}
    for code in sorted(codes):
        operation["responses"].setdefault(
            str(code),
            {
                "description": titles[code],
                "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )


def _needs_if_match(operation: dict[str, Any]) -> bool:
    return any(parameter["name"].lower() == "if-match" for parameter in operation.get("parameters", ()))
