from __future__ import annotations

from tests.http_base.asgi_client import call


async def test_program_is_told_where_everything_is(hot_app):
    answer = await call(hot_app, "GET", "/")
    assert answer.status == 200
    assert answer.json["status"] == "success"
    assert {"admin", "docs", "schema", "readyz", "metrics"} == set(answer.json["links"])
    assert answer.json["links"]["docs"].endswith("/docs")


async def test_browser_gets_a_page_with_links(hot_app):
    answer = await call(hot_app, "GET", "/", headers={"accept": "text/html,*/*;q=0.8"})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert '/admin/">admin</a>' in answer.body.decode()


async def test_server_without_people_has_no_link_to_a_dashboard(hot_app, settings):
    settings.INSTALLED_APPS = [
        app
        for app in settings.INSTALLED_APPS
        if not app.startswith(("django.contrib", "manager_app", "unfold"))
    ]
    answer = await call(hot_app, "GET", "/")
    assert "admin" not in answer.json["links"]


async def test_browser_gets_an_icon(hot_app):
    answer = await call(hot_app, "GET", "/favicon.ico", headers={"accept": "image/avif,*/*"})
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert answer.body.startswith(b"\x89PNG")
