"""The OpenAPI document: whole, true, and held to by every route. Most of it needs no database."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app import openapi, problems
from app.auth import ROLES_ALLOWED, Permission
from app.deps import permission_of
from app.main import create_app
from app.schemas.examples import PLACEHOLDER, example_of, restored
from app.scoring import get_instrument, score
from app.settings import Settings
from tests.api import schema_reader
from tests.conftest import Api

JSON: Final = "application/json"
METHODS: Final = ("get", "put", "post", "patch", "delete")

# Never started: the document and the refusal of strangers need no database.
APP: Final = create_app(Settings(data_dir=Path("unused")), "postgresql://nobody@localhost:1/none")
DOCUMENT: Final = APP.openapi()
ROUTES: Final = [route for route in APP.routes if isinstance(route, APIRoute) and route.include_in_schema]
V1_ROUTES: Final = [route for route in ROUTES if route.path.startswith("/v1/")]


@dataclass(frozen=True)
class Operation:
    """One method of one path, with its entry in the document."""

    method: str
    path: str
    entry: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_secured(self) -> bool:
        return self.path.startswith("/v1/")

    @property
    def body(self) -> dict[str, Any] | None:
        return self.entry["requestBody"]["content"][JSON] if "requestBody" in self.entry else None

    def made_up_address(self) -> str:
        return re.sub(r"\{.*?\}", str(UUID(int=7)), self.path)

    def json_answers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for status, response in self.entry["responses"].items():
            if JSON in response.get("content", {}):
                yield status, response["content"][JSON]


OPERATIONS: Final = [
    Operation(method, path, entry)
    for path, item in DOCUMENT["paths"].items()
    for method, entry in item.items()
    if method in METHODS
]
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
each_secured = pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.is_secured], ids=str)


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    return schema_reader.resolved(node, DOCUMENT)


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    return schema_reader.faults(value, schema, DOCUMENT)


@pytest.mark.parametrize(
    ("value", "schema", "is_sound"),
    [
        (3, {"type": "integer"}, True),
        (True, {"type": "integer"}, False),
        ("3", {"type": "integer"}, False),
        (None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}, True),
        ("x", {"enum": ["a", "b"]}, False),
        ("not one", {"type": "string", "format": "uuid"}, False),
        ([1, "2"], {"type": "array", "items": {"type": "integer"}}, False),
        ({}, {"type": "object", "required": ["a"], "properties": {"a": {"type": "null"}}}, False),
        ({"b": 1}, {"type": "object", "properties": {}}, False),
        ({"b": 1}, {"type": "object", "additionalProperties": {"type": "integer"}}, True),
        (201, {"type": "integer", "maximum": 200}, False),
        (0, {"type": "integer", "exclusiveMinimum": 0}, False),
    ],
)
def test_reader_of_schemas_tells_sound_from_unsound(value: object, schema: dict[str, Any], is_sound: bool) -> None:
    """The oracle of the tests below does object."""
    assert (faults(value, schema) == []) is is_sound


# --- The document -----------------------------------------------------------------------------------------------------


def test_document_says_what_it_is() -> None:
    """OpenAPI 3.1, a relative server, described tags that are all used, one way to authenticate."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["servers"] == [{"url": "/"}]
    assert "not a diagnosis" in DOCUMENT["info"]["description"]
    assert "not a crisis service" in DOCUMENT["info"]["description"]
    (scheme,) = DOCUMENT["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    used = {tag for operation in OPERATIONS for tag in operation.entry["tags"]}
    assert {tag["name"] for tag in DOCUMENT["tags"]} == used, "describe new tags in app.openapi.TAGS"
    assert all(tag["description"] for tag in DOCUMENT["tags"])


def test_every_reference_points_somewhere() -> None:
    """No `$ref` is broken."""

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            node = list(node.values())
        if isinstance(node, list):
            for part in node:
                yield from references(part)

    found = set(references(DOCUMENT))
    assert found
    for reference in found:
        assert resolved({"$ref": reference})


def test_operation_ids_are_the_function_names() -> None:
    """Stable names for generated clients, each used once."""
    ids = [operation.entry["operationId"] for operation in OPERATIONS]
    assert sorted(ids) == sorted(route.endpoint.__name__ for route in ROUTES)
    assert len(set(ids)) == len(ids)


@each_operation
def test_operation_introduces_itself(operation: Operation) -> None:
    """A written summary, one tag, and a schema for each parameter, none of which may be null."""
    entry = operation.entry
    assert entry["summary"] != entry["operationId"].replace("_", " ").title()
    assert not entry["summary"].endswith(".")
    assert len(entry["tags"]) == 1
    for parameter in entry.get("parameters", []):
        assert {"type": "null"} not in parameter["schema"].get("anyOf", [])
        assert parameter["schema"].keys() & {"type", "enum", "anyOf", "$ref"}


@each_operation
def test_request_example_is_accepted_by_its_model(operation: Operation) -> None:
    """What the reference shows can be sent as it stands."""
    if operation.body is None:
        return
    (route,) = (one for one in ROUTES if one.name == operation.entry["operationId"])
    assert route.body_field is not None
    model = route.body_field.field_info.annotation
    assert model is not None
    model.model_validate(operation.body["example"])
    assert faults(operation.body["example"], operation.body["schema"]) == []


@each_operation
def test_answer_examples_fit_their_schemas(operation: Operation) -> None:
    """Every answer in JSON has an example, and it is one."""
    answers = dict(operation.json_answers())
    statuses = [status for status in operation.entry["responses"] if status.startswith("2")]
    assert statuses
    assert all(
        operation.entry["responses"][status].get("content") for status in statuses if status not in {"204", "205"}
    )
    for status, media in answers.items():
        assert faults(media["example"], media["schema"]) == [], status
        assert PLACEHOLDER not in texts(media["example"]), "declare an example in the model"


def texts(value: Any) -> set[str]:
    """Every text in a JSON value."""
    if isinstance(value, (dict, list)):
        return {text for part in (value.values() if isinstance(value, dict) else value) for text in texts(part)}
    return {value} if isinstance(value, str) else set()


def test_assessment_example_is_scored_by_the_rules() -> None:
    """The score in the example is the score of its responses."""
    example = DOCUMENT["components"]["schemas"]["AssessmentAnswer"]["example"]
    expected = score(get_instrument(example["instrument"]), example["responses"])
    shown = openapi_score(expected)
    assert {name: example["score"][name] for name in shown} == shown


def openapi_score(result: Any) -> dict[str, Any]:
    return {
        "total": result.total,
        "minimum": result.minimum,
        "maximum": result.maximum,
        "validity": result.validity.value,
        "answered": result.answered,
        "missing": list(result.missing),
        "screens": [{"code": screen.code, "met": screen.met} for screen in result.screens],
        "functional_difficulty": result.functional_difficulty,
    }


@each_operation
def test_every_error_is_a_problem(operation: Operation) -> None:
    """All 4xx and 5xx are problems with examples that fit; only readiness answers 503 in its own shape."""
    for status, response in operation.entry["responses"].items():
        if status < "400" or (operation.path, status) == ("/readyz", "503"):
            continue
        media = response["content"][problems.MEDIA_TYPE]
        assert media["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert list(response["content"]) == [problems.MEDIA_TYPE]
        assert media["examples"]
        for example in map(resolved, media["examples"].values()):
            assert faults(example["value"], media["schema"]) == []
            assert str(example["value"]["status"]) == status
        assert set(response["headers"]) >= {"X-Request-Id"}


@each_secured
def test_secured_operations_declare_how_they_refuse(operation: Operation) -> None:
    """401, 403 and 429 everywhere; 404 where something is named; 400, 413, 415, 422 where something is sent.

    412 and 428 where a change says what it is based on.
    """
    declared = set(operation.entry["responses"])
    assert declared >= {"401", "403", "429", "500", "503"}
    assert operation.entry["security"]
    if "{" in operation.path:
        assert declared >= {"404", "422"}
    if operation.body is not None:
        assert declared >= {"400", "413", "415", "422"}
    if any(parameter["name"] == "If-Match" for parameter in operation.entry.get("parameters", [])):
        assert declared >= {"412", "428"}
    assert "WWW-Authenticate" in operation.entry["responses"]["401"]["headers"]
    for status in ("429", "503"):
        assert "Retry-After" in operation.entry["responses"][status]["headers"]


def test_every_change_says_what_it_is_based_on() -> None:
    """The header is named as it is written everywhere, so that the errors of it are declared."""
    names = {parameter["name"] for one in OPERATIONS for parameter in one.entry.get("parameters", [])}
    assert "If-Match" in names
    assert not {name for name in names if name.lower() == "if-match"} - {"If-Match"}
    for one in OPERATIONS:
        if one.method == "patch":
            assert set(one.entry["responses"]) >= {"412", "428"}, str(one)


def test_every_problem_is_told_where_it_may_be_met() -> None:
    """The catalogue, the list of kinds and the document name the same problems; no operation has a 405."""
    kinds = {kind for kind in vars(problems).values() if isinstance(kind, problems.Kind)}
    assert set(problems.KINDS) == kinds
    assert set(openapi.WHERE) == kinds - {problems.METHOD}
    assert set(DOCUMENT["components"]["examples"]) == {kind.slug for kind in openapi.WHERE}


# --- Permissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", V1_ROUTES, ids=lambda route: route.name)
def test_route_declares_exactly_one_permission(route: APIRoute) -> None:
    """Not none, and not two that could disagree; the document names it and who has it."""
    found = [
        permission
        for dependency in route.dependant.dependencies
        if isinstance(permission := getattr(dependency.call, "permission", None), Permission)
    ]
    assert found == [permission_of(route)]
    for method in route.methods or ():
        entry = DOCUMENT["paths"][route.path_format][method.lower()]
        assert entry["x-permission"] == found[0].value
        assert entry["x-roles"] == sorted(ROLES_ALLOWED[found[0]])


def test_roles_table_covers_every_permission() -> None:
    """Each permission is somebody's, and each is asked for by some route."""
    assert set(ROLES_ALLOWED) == set(Permission)
    assert all(ROLES_ALLOWED.values())
    assert {permission_of(route) for route in V1_ROUTES} == set(Permission)


def stranger(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test")


@each_secured
@pytest.mark.parametrize("body", ["sound", "unreadable", "absent"])
@pytest.mark.anyio
async def test_anonymous_is_refused_everywhere(operation: Operation, body: str) -> None:
    """401 for whoever sends no token, whatever else is wrong with the request."""
    sent: dict[str, Any] = {}
    if operation.body is not None and body == "sound":
        sent = {"json": operation.body["example"]}
    if body == "unreadable":
        sent = {"content": b"{", "headers": {"Content-Type": JSON}}
    async with stranger(APP) as http:
        answer = await http.request(operation.method.upper(), operation.made_up_address(), **sent)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == problems.UNAUTHENTICATED.type


@pytest.mark.parametrize("path", sorted(DOCUMENT["paths"]))
@pytest.mark.anyio
async def test_wrong_method_is_told_the_right_ones(path: str) -> None:
    """405 with all methods of the path in `Allow`, whichever route has them."""
    address = Operation("", path, {}).made_up_address()
    async with stranger(APP) as http:
        answer = await http.request("TRACE", address)
    assert answer.status_code == 405
    expected = {method.upper() for method in DOCUMENT["paths"][path] if method in METHODS}
    assert set(answer.headers["allow"].split(", ")) == expected
    assert answer.headers["content-type"] == problems.MEDIA_TYPE


# --- Against the running service --------------------------------------------------------------------------------------


def declared_faults(answer: httpx2.Response, method: str, path: str) -> list[str]:
    """How an answer differs from what the document says of its operation."""
    return schema_reader.answer_faults(answer, DOCUMENT["paths"][path][method], DOCUMENT)


@pytest.mark.anyio
async def test_answers_are_what_the_document_says(api: Api) -> None:
    """Status, media type, body and headers of real answers, good and bad, are the declared ones."""
    patient = await api.add_patient()
    example = DOCUMENT["components"]["schemas"]["AssessmentSubmit"]["example"] | {"patient_id": patient}
    example["id"] = str(uuid4())
    calls: list[tuple[str, str, str, Any]] = [
        ("get", "/v1/instruments", "/v1/instruments", None),
        ("get", "/v1/instruments/{reference}", "/v1/instruments/pcl-5-month", None),
        ("get", "/v1/instruments/{reference}", "/v1/instruments/none", None),
        ("post", "/v1/instruments/{reference}/score", "/v1/instruments/phq-9/score", {"responses": [0] * 8 + [None]}),
        ("post", "/v1/patients", "/v1/patients", {"external_ref": "a"}),
        ("post", "/v1/patients", "/v1/patients", {"external_ref": "a"}),
        ("get", "/v1/patients", "/v1/patients?limit=1", None),
        ("get", "/v1/patients", "/v1/patients?limit=0", None),
        ("get", "/v1/patients/{patient_id}", f"/v1/patients/{patient}", None),
        ("post", "/v1/assessments", "/v1/assessments", example),
        ("post", "/v1/assessments", "/v1/assessments", example),
        ("post", "/v1/assessments", "/v1/assessments", example | {"mode": "proxy"}),
        ("get", "/v1/assessments", f"/v1/assessments?patient_id={patient}", None),
        ("get", "/v1/assessments/{assessment_id}", f"/v1/assessments/{example['id']}", None),
        ("get", "/v1/assessments/{assessment_id}", f"/v1/assessments/{uuid4()}", None),
        ("get", "/livez", "/livez", None),
        ("get", "/readyz", "/readyz", None),
    ]
    statuses, sent = [], set()
    for method, path, address, body in calls:
        answer = await api.http.request(method.upper(), address, json=body)
        assert schema_reader.answer_faults(answer, DOCUMENT["paths"][path][method], DOCUMENT) == [], (
            f"{method} {address}"
        )
        statuses.append(answer.status_code)
        sent |= {name for name in openapi.HEADERS if name in answer.headers}
    assert statuses == [200, 200, 404, 200, 201, 409, 200, 422, 200, 201, 201, 422, 200, 200, 404, 200, 200]
    assert sent == {"X-Request-Id", "Location", "Link", "Idempotency-Replayed"}


# --- Examples put together from parts ---------------------------------------------------------------------------------


def test_example_is_put_together_from_parts() -> None:
    """Where a model declares none, its fields' examples make one."""
    schemas = {
        "Page": {
            "type": "object",
            "properties": {
                "data": {"type": "array", "items": {"$ref": "#/components/schemas/Row"}},
                "next_cursor": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
        },
        "Row": {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}, "n": {"enum": [3]}}},
    }
    built = example_of({"$ref": "#/components/schemas/Page"}, schemas)
    assert built == {"data": [{"at": "2026-11-20T19:30:00Z", "n": 3}], "next_cursor": None}


def test_declared_example_is_restored() -> None:
    """Order is the schema's, all the way down; nulls that must be there are; nothing gets lost."""
    nullable = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    row = {"type": "object", "properties": {"b": nullable, "a": {"type": "integer"}, "c": nullable}, "required": ["b"]}
    schema = {"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/Row"}, {"type": "null"}]}}
    found = restored([{"a": 1, "z": 3}, None], schema, {"Row": row})
    assert found == [{"b": None, "a": 1, "z": 3}, None]
    assert list(found[0]) == ["b", "a", "z"]
