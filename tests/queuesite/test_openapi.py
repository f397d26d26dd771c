"""What `/schema` says on both roles: valid, complete, with limits and described answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import queuesite
from http_base.apidoc import API_TOKEN, CLIENT_TOKEN, CLUSTER_TOKEN, INTERNAL, SESSION
from myqueue.contract import inputs as protocol
from myqueue.contract.inputs import JSON

NOTHING_TO_SAY = {"/healthz"}
"""Whose success is `status` alone."""


@pytest.fixture(scope="module", params=["queuesite.urls_manager", "queuesite.urls_broker"])
def document(request):
    generator = SchemaGenerator(urlconf=request.param)
    return generator.get_schema(request=None, public=True)


@pytest.fixture(scope="module")
def broker_document():
    return SchemaGenerator(urlconf="queuesite.urls_broker").get_schema(request=None, public=True)


def operations(document):
    """Return (path, method, operation) of every call."""
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def schemas_in(value):
    """Return every schema, at any depth, that says its type."""
    if isinstance(value, dict):
        if "type" in value and not isinstance(value["type"], dict):
            yield value
        for name, part in value.items():
            if name not in ("example", "examples"):
                yield from schemas_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from schemas_in(part)


def resolver(document, schema):
    """Return a validator of values, which have no fields that the schema does not name."""
    closed = {
        name: {**part, "additionalProperties": False} if "properties" in part else part
        for name, part in document["components"]["schemas"].items()
    }
    return Draft202012Validator({**schema, "components": {"schemas": closed}})


def success_of(operation):
    [body] = [body for status, body in operation["responses"].items() if status[0] == "2"]
    return body["content"]


def test_document_is_valid_openapi(document):
    assert document["openapi"] == "3.1.1"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_document_has_the_version_of_the_servers(document):
    assert document["info"]["version"] == queuesite.__version__


def test_every_array_says_what_is_in_it(document):
    arrays = [schema for schema in schemas_in(document) if "array" in schema["type"]]
    assert len(arrays) > 10
    assert [schema for schema in arrays if not schema.get("items")] == []


def test_every_success_is_described(document):
    bare = set()
    for path, _, operation in operations(document):
        content = success_of(operation)
        if "text/plain" in content:
            assert path == "/metrics"
            continue
        assert content[JSON]["schema"].keys() <= {"$ref", "anyOf"}, path
        if content[JSON]["schema"].get("$ref") == "#/components/schemas/Done":
            bare.add(path)
    assert bare == NOTHING_TO_SAY


def test_every_example_fits_its_schema(document):
    for path, method, operation in operations(document):
        contents = [success_of(operation), operation.get("requestBody", {}).get("content", {})]
        contents.append(operation["responses"]["default"]["content"])
        for content in contents:
            if "example" in content.get(JSON, {}):
                errors = resolver(document, content[JSON]["schema"]).iter_errors(
                    content[JSON]["example"]
                )
                assert [error.message for error in errors] == [], (method, path)
        for parameter in operation.get("parameters", ()):
            if "example" in parameter:
                resolver(document, parameter["schema"]).validate(parameter["example"])


def test_messages_of_a_produce_call_are_described(document):
    produce = document["components"]["schemas"]["Produce"]["properties"]
    assert {kind["type"] for kind in produce["messages"]["items"]["anyOf"]} == {"string", "object"}
    assert produce["messages"]["maxItems"] == 10_000
    assert produce["message"]["type"] == "string"


def test_limits_are_those_that_calls_check(document):
    produce = document["components"]["schemas"]["Produce"]["properties"]
    timeout = produce["timeout_ms"]
    assert (timeout["minimum"], timeout["maximum"]) == (1, protocol.MAX_TIMEOUT_MS)
    assert "x-minimum" not in str(document)
    register = document["components"]["schemas"].get("ConsumerRegister")
    if register:
        assert register["properties"]["start"]["enum"] == ["earliest", "latest"]


def test_ids_in_paths_are_integers(document):
    parameters = [
        parameter
        for _, _, operation in operations(document)
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "path"
    ]
    kinds = {parameter["name"]: parameter["schema"]["type"] for parameter in parameters}
    assert {kind for name, kind in kinds.items() if name.endswith("_id")} == {"integer"}
    assert all("example" in parameter for parameter in parameters)


def test_parameters_are_never_null(document):
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "null" not in str(parameter["schema"]), parameter


def test_who_may_call_is_said(document):
    schemes = {API_TOKEN, SESSION, CLIENT_TOKEN, CLUSTER_TOKEN}
    assert document["components"]["securitySchemes"].keys() == schemes
    for path, _, operation in operations(document):
        assert (operation["security"] == [{CLUSTER_TOKEN: []}]) == (
            INTERNAL in operation["tags"]
        ), path
        assert "QUEUE_AUTH=required" in operation["description"], path


def test_broker_says_that_it_needs_the_partition(broker_document):
    schemas = broker_document["components"]["schemas"]
    for name in ("Produce", "Consume"):
        assert "partition" in schemas[name]["required"]
        assert "null" not in str(schemas[name]["properties"]["partition"])
        assert "partition_key" not in schemas[name]["properties"]
    [partition] = [
        parameter
        for parameter in broker_document["paths"]["/size"]["get"]["parameters"]
        if parameter["name"] == "partition"
    ]
    assert partition["required"]


def test_reference_names_every_call(document):
    page = (Path(__file__).resolve().parents[2] / "docs/reference/http.md").read_text()
    own = {path for path, _, operation in operations(document) if INTERNAL not in operation["tags"]}
    assert {path for path in own if not re.search(rf"{re.escape(path)}[`?]", page)} == set()


def test_a_get_that_changes_something_says_what_to_call_instead(document):
    for path, method, operation in operations(document):
        parameters = operation["parameters"]
        old = operation.get("deprecated") or any(one.get("deprecated") for one in parameters)
        assert old == ("Kept for older programs" in operation["description"])
        if old:
            assert method == "get"
            assert f"POST {path}" in operation["description"]
            assert "post" in document["paths"][path]
    assert document["paths"]["/consumer/consume"]["get"]["deprecated"]
    assert not document["paths"]["/health"]["get"].get("deprecated")
