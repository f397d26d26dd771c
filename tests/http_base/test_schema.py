from __future__ import annotations

import pytest

from http_base.schema import StructSchema
from myqueue.contract import inputs as protocol
from tests.http_base.asgi_client import call
from tests.http_base.views_for_tests import EchoView


@pytest.fixture
async def document(hot_app):
    answer = await call(hot_app, "GET", "/schema", headers={"accept": "application/json"})
    assert answer.status == 200
    return answer.json


async def test_schema_lists_every_view(document):
    assert {"/echo", "/failing", "/plain/{name}", "/metrics"} <= document["paths"].keys()


async def test_body_of_a_call_is_described_by_its_struct(document):
    body = document["paths"]["/echo"]["post"]["requestBody"]["content"]
    assert set(body) == {protocol.JSON, protocol.MSGPACK, protocol.BATCH}
    assert body[protocol.JSON]["schema"] == {"$ref": "#/components/schemas/Produce"}
    assert "producer_id" in document["components"]["schemas"]["Produce"]["properties"]


async def test_query_of_a_call_is_described_by_parameters(document):
    get = document["paths"]["/echo"]["get"]
    required = {part["name"] for part in get["parameters"] if part["required"]}
    assert required == {"topic", "partition", "offset"}
    assert "requestBody" not in get


async def test_path_parameters_and_status_are_described(document):
    post = document["paths"]["/plain/{name}"]["post"]
    assert post["parameters"][0]["in"] == "path"
    assert "201" in post["responses"]
    assert post["tags"] == ["topics"]


async def test_failures_have_one_shape(document):
    assert document["paths"]["/echo"]["post"]["responses"]["default"]["content"][protocol.JSON] == {
        "schema": {"$ref": "#/components/schemas/Failure"},
        "example": {
            "status": "failure",
            "code": "OVERLOADED",
            "message": "64 calls wait at this broker already",
            "retry_after_ms": 100,
        },
    }


async def test_docs_page_uses_local_files_only(hot_app):
    answer = await call(hot_app, "GET", "/docs", headers={"accept": "text/html"})
    page = answer.body.decode()
    assert answer.status == 200
    assert "/static/drf_spectacular_sidecar/swagger-ui-dist" in page
    assert "https://" not in page


def test_views_are_described_by_structs():
    assert isinstance(EchoView.schema, StructSchema)
