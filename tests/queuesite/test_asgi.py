from __future__ import annotations

import pytest

from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.tokens import cluster_token
from http_base.worker_threads import WorkerThreads
from myqueue.contract.inputs import MAX_JSON_BODY_BYTES
from queuesite import urls_broker, urls_manager
from queuesite.asgi import make_application
from tests.http_base.asgi_client import call


@pytest.fixture(params=["manager", "broker"])
def app(request, settings, monkeypatch):
    monkeypatch.setenv("QUEUE_ROLE", request.param)
    settings.ROOT_URLCONF = f"queuesite.urls_{request.param}"
    threads = WorkerThreads(1, name="request")
    yield make_application(threads, memory=MemoryBudget())
    threads.close()


async def test_documentation_is_there_without_the_network(app):
    assert isinstance(app, HotPaths)
    page = await call(app, "GET", "/docs", headers={"accept": "text/html"})
    assert page.status == 200
    assert b"https://" not in page.body
    script = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
    assert script.encode() in page.body
    assert (await call(app, "GET", script)).status == 200


async def test_only_a_manager_takes_long_reports(app, settings):
    token = {"authorization": f"Bearer {cluster_token(settings.QUEUE.cluster_secret)}"}
    body = b" " * (MAX_JSON_BODY_BYTES + 1)
    answer = await call(app, "POST", "/brokers/heartbeat", body=body, headers=token)
    is_manager = settings.ROOT_URLCONF == "queuesite.urls_manager"
    assert (answer.status == 413) is not is_manager


async def test_schema_lists_the_calls_of_the_role(app):
    answer = await call(app, "GET", "/schema", headers={"accept": "application/json"})
    assert answer.status == 200
    assert "/producer/produce" in answer.json["paths"]


async def test_unknown_file_has_the_failure_shape(app):
    answer = await call(app, "GET", "/static/nothing.js")
    assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("urls", [urls_manager, urls_broker])
def test_both_roles_name_the_handlers_of_failures(urls):
    assert {urls.handler400, urls.handler403, urls.handler404, urls.handler500} == {
        f"http_base.exceptions.handler{status}" for status in (400, 403, 404, 500)
    }
