"""Who may make which call: every endpoint of managers and brokers against every kind of caller.

The endpoints come from the URLs themselves. What each needs is written down here once more, so that
a new one has no entry and fails, and a weaker need does not pass unseen. Handlers are replaced by
ones that succeed: what answers is what stands before them.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

import msgspec
import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler
from django.urls import URLResolver, get_resolver
from msgspec.structs import replace

import broker_app.urls
import manager_app.urls
from http_base import guard
from http_base.access import RIGHTS, AccessIndex, AccessTable, Holder, Role, TopicRight, hash_of
from http_base.apidoc import CLIENT_TOKEN, doc_of, sample_of
from http_base.guard import Guard
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.tokens import ClientToken, cluster_token, sign_client
from myqueue.contract.answers import DONE
from myqueue.contract.errors import UnauthorizedException
from myqueue.contract.inputs import JSON
from tests.http_base.asgi_client import call

NOW_MS = 1_000_000
SERVERS = {"manager": manager_app.urls, "broker": broker_app.urls}
UNKNOWN = ("anonymous", "nonsense", "foreign", "expired", "revoked")
ROLES = ("viewer", "operator", "administrator")
RIGHTFUL = ("everything", "produces", "consumes")
"""Who has rights to the topic."""
CALLERS = (*UNKNOWN, *ROLES, *RIGHTFUL, "elsewhere", "client", "cluster")

MAY = {
    "open": CALLERS,
    "known": (*ROLES, *RIGHTFUL, "elsewhere", "client", "cluster"),
    "viewer": (*ROLES, "cluster"),
    "operator": ("operator", "administrator", "cluster"),
    "administrator": ("administrator", "cluster"),
    "viewer or a right": (*ROLES, *RIGHTFUL, "client", "cluster"),
    "produce": ("everything", "produces", "client", "cluster"),
    "consume": ("everything", "consumes", "cluster"),
    "consume anything": ("everything", "consumes", "elsewhere", "cluster"),
    "operator or manage": ("operator", "administrator", "everything", "cluster"),
    "administrator or manage": ("administrator", "everything", "cluster"),
    "administrator always": ("administrator", "cluster"),
    "cluster": ("cluster",),
    "client's token": CALLERS,
}
"""Need -> who may. Tokens of registrations are the handlers' affair; see the tests of each."""

BOTH = {
    "GET /": "open",
    "GET /healthz": "open",
    "GET /readyz": "open",
    "GET /metrics": "viewer",
    "GET /fetch": "client's token",
    "POST /fetch": "client's token",
    "GET /offsets": "client's token",
    "GET /offsets/by-time": "client's token",
    "POST /offsets/commit": "client's token",
    "POST /messages/receive": "client's token",
    "POST /messages/ack": "client's token",
    "POST /messages/nack": "client's token",
    "POST /messages/extend": "client's token",
}
NEEDS = {
    "broker": BOTH
    | {
        "GET /health": "open",
        "POST /producer/produce": "client's token",
        "GET /consumer/consume": "client's token",
        "POST /consumer/consume": "client's token",
        "GET /size": "client's token",
        "POST /cursors/reset": "client's token",
        "POST /cursors/open": "cluster",
        "POST /messages/purge": "cluster",
        "POST /clients/forget": "cluster",
        "GET /groups": "cluster",
        "POST /groups/forget": "cluster",
        "GET /standing": "cluster",
        "GET /partitions": "viewer or a right",
        "POST /partitions": "cluster",
        "DELETE /partitions/{group_id}": "cluster",
        "POST /partitions/{group_id}/leader": "cluster",
        "GET /partitions/{group_id}/replicas": "cluster",
        "POST /partitions/{group_id}/replicas": "cluster",
        "GET /partitions/{group_id}/stored": "cluster",
        "POST /partitions/{group_id}/stored": "cluster",
    },
    "manager": BOTH
    | {
        "GET /health": "known",
        "POST /health": "known",
        "GET /topics": "viewer",
        "POST /topics": "administrator or manage",
        "GET /topics/{topic}": "viewer or a right",
        "PATCH /topics/{topic}": "administrator or manage",
        "DELETE /topics/{topic}": "administrator or manage",
        "POST /topics/{topic}/purge": "administrator or manage",
        "POST /topics/{topic}/redrive": "operator",
        "GET /topics/{topic}/partitions/{partition}/loss": "cluster",
        "POST /topics/{topic}/partitions/{partition}/loss": "cluster",
        "GET /brokers": "viewer",
        "POST /brokers": "administrator",
        "POST /brokers/heartbeat": "cluster",
        "DELETE /brokers/{broker_id}": "operator",
        "PATCH /brokers/{broker_id}": "operator",
        "POST /brokers/{broker_id}/hand-over": "operator",
        "GET /dead-letters": "viewer",
        "GET /topics/{topic}/dead-letters": "consume",
        "GET /tokens": "administrator always",
        "POST /tokens": "administrator always",
        "DELETE /tokens/{token_name}": "administrator always",
        "GET /events": "viewer",
        "GET /rebalance": "viewer",
        "POST /rebalance": "operator",
        "DELETE /rebalance": "operator",
        "POST /producer/register": "produce",
        "POST /consumer/register": "consume",
        "POST /clients/signs": "cluster",
        "GET /producers": "viewer",
        "GET /consumers": "viewer",
        "DELETE /producers/{client_id}": "client's token",
        "DELETE /consumers/{client_id}": "client's token",
        "GET /groups": "viewer",
        "GET /groups/{group}": "viewer",
        "DELETE /groups/{group}": "administrator",
        "POST /groups/{group}/join": "consume",
        "POST /groups/{group}/heartbeat": "consume anything",
        "POST /groups/{group}/leave": "consume anything",
        "PUT /groups/{group}/offsets": "operator or manage",
        "POST /producer/produce": "produce",
        "GET /consumer/consume": "consume",
        "POST /consumer/consume": "consume",
        "GET /size": "consume",
        "POST /cursors/reset": "consume",
    },
}
FUNCTIONS = {"/favicon.ico": "open", "/schema": "known", "/docs": "known"}
"""Views that are no classes of the API; those below /admin/ and /console/ are pages for people."""


def views(patterns, prefix="/"):
    """Return (path, view) of each URL but those of pages for people."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if path not in ("/admin/", "/console/"):
                yield from views(pattern.url_patterns, path)
        else:
            yield re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path), pattern.callback


def endpoints(server):
    """Return {"METHOD /path": view class} of a server's API."""
    found = {}
    for path, view in views(get_resolver(f"queuesite.urls_{server}").url_patterns):
        view_class = getattr(view, "view_class", None)
        if view_class is None:
            assert path in FUNCTIONS, path
            continue
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            if hasattr(view_class, method.lower()):
                found[f"{method} {path}"] = view_class
    return found


@pytest.mark.parametrize("server", SERVERS)
def test_every_endpoint_is_in_the_table_and_says_what_it_needs(server):
    found = endpoints(server)
    assert found.keys() == NEEDS[server].keys()
    for name, view_class in found.items():
        doc = doc_of(view_class, name.split()[0])
        assert doc is not None, name
        needs_client = NEEDS[server][name] == "client's token"
        assert needs_client == (doc.token == CLIENT_TOKEN), name


class Tokens:
    """What a server knows of tokens."""

    def __init__(self, holders):
        self.index = AccessIndex(AccessTable.of(holders))

    def access(self):
        return self.index

    def verify(self, text):
        if text == token_of("client"):
            return CLIENT
        raise UnauthorizedException("of another cluster")

    def now_ms(self):
        return NOW_MS

    def used(self, _):
        pass


CLIENT = ClientToken("producer", 1, "logs", NOW_MS, "token-produces")


def token_of(caller):
    if caller == "client":
        return sign_client(django_settings.QUEUE.cluster_secret, CLIENT)
    if caller == "cluster":
        return cluster_token(django_settings.QUEUE.cluster_secret)
    if caller == "foreign":
        return sign_client("the secret of another cluster", CLIENT)
    return {"anonymous": "", "nonsense": "x"}.get(caller, f"qs_{caller}")


def holder(name, *rights, role=Role.NONE, expires_ms=0):
    return Holder(
        origin=f"token-{name}",
        name=name,
        role=role,
        rights=rights,
        hash=hash_of(f"qs_{name}"),
        expires_ms=expires_ms,
    )


HOLDERS = [
    *(holder(name, role=Role[name.upper()]) for name in ROLES),
    holder("everything", TopicRight("lo*", RIGHTS)),
    holder("produces", TopicRight("logs", ("produce",))),
    holder("consumes", TopicRight("logs", ("consume",))),
    holder("elsewhere", TopicRight("orders.*", RIGHTS)),
    holder("expired", TopicRight("*", RIGHTS), role=Role.ADMINISTRATOR, expires_ms=NOW_MS),
]


@pytest.fixture
def required(settings):
    settings.QUEUE = replace(settings.QUEUE, auth="required")
    guard.install(Guard(Tokens(HOLDERS), secret=settings.QUEUE.cluster_secret))
    yield
    guard.install(None)


def stub_of(handler):
    """Return a handler with the same description that succeeds."""

    async def operation(_):
        return DONE

    async def hot(self, request, **_):
        return self.respond(DONE)

    def plain(self, request, **_):
        return self.respond(DONE)

    stub = hot if iscoroutinefunction(handler) else plain
    for made in (stub, operation):
        made.api_doc = handler.api_doc
    if hasattr(handler, "operation"):
        stub.operation = operation
    return stub


def app_of(server, way, monkeypatch, settings):
    """Return an application whose handlers all succeed, and of whose changes no event tells."""
    for name in ("note_act", "note_refusal"):
        monkeypatch.setattr(f"manager_app.apis.base.{name}", lambda *_: None)
    settings.ROOT_URLCONF = f"queuesite.urls_{server}"
    for name, view_class in endpoints(server).items():
        method = name.split()[0].lower()
        monkeypatch.setattr(view_class, method, stub_of(getattr(view_class, method)))
    django = ASGIHandler()
    if way == "django":
        return django
    return HotPaths(django, SERVERS[server].HOT_PATHS, bodies=MemoryBudget().bodies)


async def ask(app, name, caller, *, with_input=True):
    """Make a call with its example; return (status, body)."""
    method, path = name.split()
    path = re.sub(r"\{(\w+)\}", lambda part: str(sample_of(part[1])), path)
    doc = DOCS[app_server(app), name]
    body, headers = b"", {"accept": JSON}
    if doc is not None and doc.input is not None and with_input:
        example = {**doc.example, "topic": "logs"} if path == "/partitions" else doc.example
        if doc.query:
            path += f"?{urlencode(example)}"
        else:
            body, headers["content-type"] = msgspec.json.encode(example), JSON
    if token := token_of(caller):
        headers["authorization"] = f"Bearer {token}"
    answer = await call(app, method, path, body=body, headers=headers)
    return answer.status, answer.json if answer.body.startswith(b"{") else {}


DOCS = {
    (server, name): doc_of(view_class, name.split()[0])
    for server in SERVERS
    for name, view_class in endpoints(server).items()
}


def app_server(_):
    return django_settings.ROOT_URLCONF.removeprefix("queuesite.urls_")


@pytest.mark.parametrize("way", ["hot paths", "django"])
@pytest.mark.parametrize("server", SERVERS)
async def test_each_caller_may_make_the_calls_that_the_table_says(
    server, way, required, monkeypatch, settings
):
    app = app_of(server, way, monkeypatch, settings)
    wrong = []
    for name, need in NEEDS[server].items():
        for caller in CALLERS:
            status, body = await ask(app, name, caller)
            if caller in MAY[need]:
                expected = DOCS[server, name].status if status < 300 else 200
                fits = status in (200, expected)
            elif caller in UNKNOWN:
                fits = (status, body.get("code")) == (401, "UNAUTHORIZED")
            else:
                fits = (status, body.get("code")) == (403, "FORBIDDEN") and body["missing"]
            if not fits:
                wrong.append((name, need, caller, status, body.get("message")))
    assert wrong == []


async def test_whoever_may_have_logged_in_is_asked_of_django(required, settings):
    settings.ROOT_URLCONF = "queuesite.urls_manager"
    passed_on = []

    async def django(scope, _receive, send):
        passed_on.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = HotPaths(django, manager_app.urls.HOT_PATHS, bodies=MemoryBudget().bodies)
    bearer = {"authorization": f"Bearer {token_of('viewer')}"}
    for headers, status in (
        ({"cookie": "sessionid=x"}, 204),
        ({"cookie": "sessionid=x", **bearer}, 403),
        ({}, 401),
    ):
        path = "/size?topic=logs&consumer_id=1"
        assert (await call(app, "GET", path, headers=headers)).status == status
    assert len(passed_on) == 1


async def test_a_right_to_a_topic_shows_no_others(required, monkeypatch, settings):
    app = app_of("broker", "hot paths", monkeypatch, settings)
    for caller, status in (("viewer", 200), ("everything", 403), ("client", 403)):
        headers = {"authorization": f"Bearer {token_of(caller)}"}
        assert (await call(app, "GET", "/partitions", headers=headers)).status == status


async def test_a_health_check_without_input_is_open(required, monkeypatch, settings):
    app = app_of("manager", "hot paths", monkeypatch, settings)
    assert (await ask(app, "GET /health", "anonymous", with_input=False))[0] == 200
    assert (await ask(app, "GET /health", "anonymous"))[0] == 401


@pytest.mark.parametrize("server", SERVERS)
async def test_pages_that_describe_the_calls_are_for_who_is_known(server, required, settings):
    settings.ROOT_URLCONF = f"queuesite.urls_{server}"
    for path in FUNCTIONS:
        for caller in CALLERS:
            token = token_of(caller)
            headers = {"authorization": f"Bearer {token}"} if token else {}
            status = (await call(ASGIHandler(), "GET", path, headers=headers)).status
            may = caller in MAY[FUNCTIONS[path]]
            assert status == (200 if may else 401), (path, caller)
            if path != "/docs" and may:
                break  # to make the document takes a second, and the same for all


@pytest.mark.parametrize("way", ["hot paths", "django"])
@pytest.mark.parametrize("server", SERVERS)
async def test_without_authentication_the_calls_of_the_cluster_and_of_tokens_alone_are_kept(
    server, way, required, monkeypatch, settings
):
    settings.QUEUE = replace(settings.QUEUE, auth="off")
    app = app_of(server, way, monkeypatch, settings)
    for name, need in NEEDS[server].items():
        for caller in ("anonymous", "nonsense"):
            status, _ = await ask(app, name, caller)
            assert (status == 401) == (need in ("cluster", "administrator always")), (name, caller)
        if need == "administrator always":
            assert (await ask(app, name, "operator"))[0] == 403
            assert (await ask(app, name, "administrator"))[0] < 300


@pytest.mark.parametrize("way", ["hot paths", "django"])
async def test_nobody_may_do_anything_while_no_guard_is_there(way, monkeypatch, settings):
    settings.QUEUE = replace(settings.QUEUE, auth="required")
    app = app_of("manager", way, monkeypatch, settings)
    for caller in ("anonymous", "administrator", "cluster"):
        assert (await ask(app, "POST /producer/produce", caller))[0] == 503
        assert (await ask(app, "GET /topics", caller))[0] == 503
    assert (await ask(app, "GET /healthz", "anonymous"))[0] == 200


@pytest.mark.parametrize(
    ("name", "caller", "status"),
    [
        ("POST /producer/produce", "anonymous", 401),
        ("POST /producer/produce", "revoked", 401),
        ("POST /producer/produce", "consumes", 403),
        ("POST /topics", "viewer", 403),
        ("PATCH /topics/{topic}", "anonymous", 401),
        ("POST /brokers/heartbeat", "administrator", 403),
        ("POST /no/such/path", "anonymous", 401),
    ],
)
async def test_a_long_body_is_not_read_for_who_may_not_send_it(
    name, caller, status, required, settings
):
    settings.ROOT_URLCONF = "queuesite.urls_manager"

    async def door(_path, _call):
        raise AssertionError("the guard comes first")

    app = HotPaths(
        ASGIHandler(), manager_app.urls.HOT_PATHS, bodies=MemoryBudget().bodies, door=door
    )
    method, path = name.split()
    sent = []

    async def receive():
        raise AssertionError("the body was read")

    async def send(event):
        sent.append(event)

    headers = [(b"content-length", b"100000"), (b"content-type", b"application/json")]
    if token := token_of(caller):
        headers.append((b"authorization", f"Bearer {token}".encode()))
    scope = {
        "type": "http",
        "method": method,
        "path": path.replace("{topic}", "logs"),
        "query_string": b"",
        "headers": headers,
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == status
