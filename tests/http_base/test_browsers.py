"""Pages of others cannot use somebody's browser here; programs and our own pages go on."""

from __future__ import annotations

import pytest

from http_base.browsers import HOST_LENGTH_MAX, HOSTS_KEPT_MAX, BrowserRules
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from tests.http_base.asgi_client import call

HOSTS = ["queue.example.org", "localhost", "127.0.0.1", ".inside.test"]
POP = "/consumer/consume"


async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def hot(request):
    from django.http import HttpResponse

    return HttpResponse(b"{}")


@pytest.fixture
def app():
    rules = BrowserRules(HOSTS, ["pages.example.org"], {POP})
    return HotPaths(page, {POP: hot}, bodies=MemoryBudget().bodies, rules=rules)


async def status(app, method, path, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await call(app, method, path, headers=given)).status


@pytest.mark.parametrize("path", ["/topics", POP])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_names_that_lead_here_but_are_not_ours_are_refused(app, method, path):
    for host in ("queue.example.org", "QUEUE.example.org:8000", "a.inside.test", "localhost:1"):
        assert await status(app, method, path, host=host) == 200, host
    for host in ("evil.test", "evil.test:8000", "queue.example.org.evil.test", "", "a b", "x,y"):
        assert await status(app, method, path, host=host) == 400, host


@pytest.mark.parametrize("path", ["/topics", POP])
async def test_addresses_and_names_without_dots_need_no_name_server_that_could_lie(app, path):
    for host in (
        "manager",
        "queue-1:8000",
        "127.0.0.1:8000",
        "10.1.2.3",
        "10.1.2.3:8000",
        "[::1]:8000",
        "[fd00::1]",
    ):
        assert await status(app, "POST", path, host=host) == 200, host


async def test_programs_that_say_no_host_go_on(app):
    assert await status(app, "POST", POP) == 200


@pytest.mark.parametrize("path", ["/topics", POP])
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json"]
)
async def test_a_foreign_page_writes_nothing(app, path, content_type):
    ours = {"host": "localhost:8000", "content_type": content_type}
    for origin in ("http://localhost:8000", "https://pages.example.org"):
        assert await status(app, "POST", path, origin=origin, **ours) == 200, origin
    for origin in (
        *("http://evil.test", "http://localhost:3000", "null", "http://localhost", "", "http://["),
        *("http://localhost:8000.evil.test", "http://evil.test@localhost:8000"),
    ):
        assert await status(app, "POST", path, origin=origin, **ours) == 403, origin
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for site, expected in (
            ("cross-site", 403),
            ("same-site", 403),
            ("same-origin", 200),
            ("none", 200),
        ):
            found = await status(app, method, "/topics", host="localhost", sec_fetch_site=site)
            assert found == expected, (method, site)


async def test_an_image_on_a_foreign_page_pops_no_message(app):
    foreign = {"host": "localhost", "sec_fetch_site": "cross-site"}
    assert await status(app, "GET", POP, **foreign) == 403
    assert await status(app, "GET", "/admin/", **foreign) == 200, "a link to a page"


async def test_strange_hosts_fill_no_memory():
    rules = BrowserRules(["*"], [], set())
    app = HotPaths(page, {}, bodies=MemoryBudget().bodies, rules=rules)
    assert await status(app, "GET", "/", host="a" * (HOST_LENGTH_MAX + 1)) == 200
    assert rules.known_hosts == {None}
    for number in range(HOSTS_KEPT_MAX + 10):
        assert await status(app, "GET", "/", host=f"host-{number}") == 200
    assert len(rules.known_hosts) <= HOSTS_KEPT_MAX
