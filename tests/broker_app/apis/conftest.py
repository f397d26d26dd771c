"""The broker's API, called as JSON by `HotPaths` and Django alone, and as the library calls it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
import pytest
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler

from broker_app.urls import DOOR, HOT_PATHS
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.tokens import ClientToken, cluster_token, sign_client
from myqueue.contract.inputs import JSON, MSGPACK
from tests.http_base.asgi_client import Answer, call, call_plainly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import ReplicaTwin


@pytest.fixture(autouse=True)
def urls_of_a_broker(settings: Any) -> None:
    settings.ROOT_URLCONF = "queuesite.urls_broker"


def token_of(kind: str, client_id: int, topic: str = "logs", age_ms: int = 0) -> str:
    """Return the token that a manager would have given."""
    issued_ms = time.time_ns() // 1_000_000 - age_ms
    secret = django_settings.QUEUE.cluster_secret
    return sign_client(secret, ClientToken(kind, client_id, topic, issued_ms))


class Api:
    """Calls the broker; by default in the name of the cluster."""

    is_direct = False
    """True where all that is sent as JSON is sent as MessagePack in truth."""

    def __init__(self, app: Any, call: Callable[..., Awaitable[Answer | None]] = call) -> None:
        self._app = app
        self._call = call

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: Any = None,
        raw: bytes | None = None,
        bearer: str | None = "cluster",
        accept: str = JSON,
        content_type: str = JSON,
        origin: str = "",
    ) -> Answer:
        """Send one request; `origin` is the address that a manager says it passes it on for."""
        headers = {"accept": accept, "content-type": content_type}
        if origin:
            headers["x-queue-origin"] = origin
        if bearer == "cluster":
            bearer = cluster_token(django_settings.QUEUE.cluster_secret)
        if bearer:
            headers["authorization"] = f"Bearer {bearer}"
        data = raw if raw is not None else (b"" if body is None else msgspec.json.encode(body))
        headers["content-length"] = str(len(data))
        target = f"{path}?{urlencode(query)}" if query else path
        answer = await self._call(self._app, method, target, body=data, headers=headers)
        assert answer is not None
        return answer

    async def get(self, path: str, bearer: str | None = "cluster", **query: Any) -> Answer:
        """Send a GET with a query."""
        return await self.send("GET", path, query=query, bearer=bearer)

    async def post(self, path: str, bearer: str | None = "cluster", **body: Any) -> Answer:
        """Send a POST with a JSON body."""
        return await self.send("POST", path, body=body, bearer=bearer)


class DirectApi(Api):
    """Calls as the library does: in MessagePack and record batches, which no view has to answer."""

    is_direct = True

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        """Send what is JSON as MessagePack, and give the answer back as JSON."""
        sends_json = options.get("content_type", JSON) == JSON and options.get("raw") is None
        if sends_json and options.get("body") is not None:
            with contextlib.suppress(OverflowError):  # a number that MessagePack has no way to say
                raw = msgspec.msgpack.encode(options["body"])
                options |= {"raw": raw, "content_type": MSGPACK}
        if options.get("accept", JSON) != JSON:
            return await super().send(method, path, **options)
        answer = await super().send(method, path, **options | {"accept": MSGPACK})
        if answer.headers.get("content-type") != MSGPACK:
            return answer
        body = msgspec.json.encode(msgspec.msgpack.decode(answer.body))
        return answer._replace(body=body, headers=answer.headers | {"content-type": JSON})


@pytest.fixture(params=["hot paths", "django alone", "direct", "plain"])
def api(request: Any, runtime: BrokerRuntime, replica: ReplicaTwin) -> Api:
    """The API of a broker that leads partition 0 of topic logs."""
    app = ASGIHandler()
    if request.param == "direct":
        return DirectApi(HotPaths(app, HOT_PATHS, bodies=MemoryBudget().bodies, door=DOOR))
    if request.param == "plain":
        hot = HotPaths(app, HOT_PATHS, bodies=MemoryBudget().bodies, door=DOOR)
        return DirectApi(hot, call_plainly)
    return Api(
        HotPaths(app, HOT_PATHS, bodies=MemoryBudget().bodies, door=DOOR)
        if request.param == "hot paths"
        else app
    )


@pytest.fixture
def failure() -> Callable[[Answer], tuple[int, str]]:
    """Return (status, code) of an answer that must be a failure body."""

    def check(answer: Answer) -> tuple[int, str]:
        assert answer.json["status"] == "failure", answer
        assert answer.json["message"]
        return answer.status, answer.json["code"]

    return check
