from __future__ import annotations

import pytest

from tests.http_base.asgi_client import call


async def test_program_is_told_where_everything_is(hot_app):
    answer = await call(hot_app, "GET", "/")
    assert answer.status == 200
    assert answer.json["status"] == "success"
    assert {"admin", "docs", "schema", "readyz", "metrics"} == set(answer.json["links"])
    assert answer.json["links"]["docs"].endswith("/docs")


BROWSER = {"accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def without_people(settings):
    settings.INSTALLED_APPS = [
        app
        for app in settings.INSTALLED_APPS
        if not app.startswith(("django.contrib", "manager_app", "unfold"))
    ]


async def test_browser_is_led_to_the_console(hot_app):
    answer = await call(hot_app, "GET", "/", headers=BROWSER)
    assert (answer.status, answer.headers["location"]) == (302, "/admin/")


async def test_browser_gets_a_page_with_links_where_there_is_no_console(hot_app, without_people):
    answer = await call(hot_app, "GET", "/", headers=BROWSER)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert '/docs">docs</a>' in answer.body.decode()
    assert "/admin/" not in answer.body.decode()


async def test_server_without_people_has_no_link_to_a_console(hot_app, without_people):
    answer = await call(hot_app, "GET", "/")
    assert "admin" not in answer.json["links"]


async def test_browser_gets_an_icon(hot_app):
    answer = await call(hot_app, "GET", "/favicon.ico", headers={"accept": "image/avif,*/*"})
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert answer.body.startswith(b"\x89PNG")
