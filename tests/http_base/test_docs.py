from __future__ import annotations

import pytest

from tests.http_base.asgi_client import call


@pytest.mark.parametrize(
    ("path", "accept", "content"),
    [("/schema", "application/json", b'"openapi"'), ("/docs", "text/html", b"swagger-ui")],
)
async def test_documentation_is_given_again_and_again(hot_app, path, accept, content):
    for _ in range(2):
        answer = await call(hot_app, "GET", path, headers={"accept": accept})
        assert answer.status == 200
        assert content in answer.body


async def test_browser_shows_the_description_and_does_not_store_it(hot_app):
    answer = await call(hot_app, "GET", "/schema", headers={"accept": "text/html,*/*;q=0.8"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"].startswith("inline")


async def test_documentation_is_only_read(hot_app):
    answer = await call(hot_app, "POST", "/schema", headers={"accept": "application/json"})
    assert (answer.status, answer.json["code"]) == (405, "METHOD_NOT_ALLOWED")
    page = await call(hot_app, "POST", "/docs", headers={"accept": "text/html"})
    assert page.status == 405
