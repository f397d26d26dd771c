from __future__ import annotations

from tests.http_base.asgi_client import call


async def test_metrics_are_prometheus_text_for_every_accept(hot_app):
    for accept in ("*/*", "text/plain", "application/openmetrics-text;q=0.5", "text/html"):
        answer = await call(hot_app, "GET", "/metrics", headers={"accept": accept})
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert b"# HELP" in answer.body
