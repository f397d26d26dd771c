"""Every example that `/docs` shows works on a new cluster, and the answers are as described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from http_base.apidoc import API_TOKEN, CLIENT_TOKEN, INTERNAL
from http_base.tokens import cluster_token
from myqueue.contract.inputs import JSON
from tests.cluster.processes import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import requests

pytestmark = pytest.mark.cluster

PRODUCE = ("post", "/producer/produce")
READING = [
    ("get", "/fetch"),
    ("post", "/fetch"),
    ("get", "/offsets/by-time"),
    ("post", "/offsets/commit"),
    ("get", "/offsets"),
    ("post", "/messages/receive"),
    ("post", "/messages/extend"),
    ("post", "/messages/nack"),
    ("post", "/messages/receive"),
    ("post", "/messages/ack"),
]
MANAGER_ORDER = [
    ("get", "/"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("post", "/topics"),
    ("get", "/topics"),
    ("get", "/topics/{topic}"),
    ("patch", "/topics/{topic}"),
    ("post", "/producer/register"),
    ("get", "/producers"),
    ("post", "/consumer/register"),
    ("get", "/consumers"),
    ("get", "/health"),
    ("post", "/health"),
    ("get", "/events"),
    PRODUCE,
    ("get", "/size"),
    ("get", "/consumer/consume"),
    PRODUCE,
    ("post", "/consumer/consume"),
    PRODUCE,
    ("post", "/cursors/reset"),
    *READING,
    ("post", "/groups/{group}/join"),
    ("post", "/groups/{group}/heartbeat"),
    ("get", "/groups"),
    ("get", "/groups/{group}"),
    ("post", "/groups/{group}/leave"),
    ("put", "/groups/{group}/offsets"),
    ("post", "/brokers"),
    ("get", "/brokers"),
    ("patch", "/brokers/{broker_id}"),
    ("post", "/brokers/{broker_id}/hand-over"),
    ("delete", "/brokers/{broker_id}"),
    ("get", "/dead-letters"),
    ("get", "/tokens"),
    ("post", "/tokens"),
    ("delete", "/tokens/{token_name}"),
    ("get", "/rebalance"),
    ("delete", "/rebalance"),
    ("post", "/rebalance"),
]
MANAGER_END = [
    ("get", "/topics/{topic}/dead-letters"),
    ("post", "/topics/{topic}/redrive"),
    ("post", "/topics/{topic}/purge"),
    ("delete", "/groups/{group}"),
    ("delete", "/producers/{client_id}"),
    ("delete", "/consumers/{client_id}"),
    ("delete", "/topics/{topic}"),
]
BROKER_ORDER = [
    ("get", "/"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/health"),
    ("get", "/partitions"),
    PRODUCE,
    ("get", "/size"),
    ("get", "/consumer/consume"),
    ("post", "/consumer/consume"),
    ("post", "/cursors/reset"),
    *READING,
]


class Presser:
    """Somebody who presses *Execute* on the page of a server, one example after the other.

    What only an earlier answer can tell (a token, the id of a member, a receipt) is filled in.
    """

    def __init__(self, http: requests.Session, address: str, learned: dict[str, Any]) -> None:
        self.http, self.address, self.learned = http, address, learned
        self.document = http.get(f"{address}/schema", headers={"Accept": JSON}).json()
        self.pressed: set[tuple[str, str]] = set()

    def press(self, method: str, path: str, **query: Any) -> None:
        """Send an example as documented; it must succeed, with an answer as described."""
        operation = self.document["paths"][path][method]
        parameters = {
            (parameter["in"], parameter["name"]): parameter["example"]
            for parameter in operation["parameters"]
            if "example" in parameter
        }
        url = path
        for (place, name), value in parameters.items():
            url = url.replace(f"{{{name}}}", str(value)) if place == "path" else url
            query |= {name: value} if place == "query" else {}
        body = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("example")
        if body is not None:
            body = {name: self.learned.get(name, value) for name, value in body.items()}
        headers = {}
        if {} not in operation["security"] and {API_TOKEN: []} in operation["security"]:
            headers = {"Authorization": f"Bearer {self.learned['api token']}"}
        if {CLIENT_TOKEN: []} in operation["security"]:
            kind = "producer" if path.startswith("/producer") else "consumer"
            headers = {"Authorization": f"Bearer {self.learned[f'{kind} token']}"}
        answer = self.http.request(
            method,
            f"{self.address}{url}",
            params=query,
            json=body,
            headers=headers,
            timeout=60,
        )
        assert str(answer.status_code) in operation["responses"], (method, path, answer.text)
        self.pressed.add((method, path))
        content = operation["responses"][str(answer.status_code)]["content"]
        if JSON in content:
            self.check(content[JSON]["schema"], answer.json(), where=f"{method} {path}")
            self.learn(path, answer.json())

    def check(self, schema: dict[str, Any], body: Any, *, where: str) -> None:
        """Fail unless a body is as a schema says, without a field that it does not name."""
        components = self.document["components"]
        named = {**components, "schemas": _closed(components["schemas"])}
        validator = Draft202012Validator({**schema, "components": named})
        assert [error.message for error in validator.iter_errors(body)] == [], (where, body)

    def learn(self, path: str, body: dict[str, Any]) -> None:
        """Keep what later examples need."""
        if path.endswith("/register"):
            self.learned[f"{path.split('/')[1]} token"] = body["token"]
        if path.endswith("/join"):
            self.learned |= {name: body[name] for name in ("member_id", "generation")}
        if path.endswith("/receive"):
            self.learned["receipts"] = [message["receipt"] for message in body["messages"]]

    def documented(self) -> set[tuple[str, str]]:
        """Return every call that is not between managers and brokers alone."""
        return {
            (method, path)
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
            if INTERNAL not in operation["tags"]
        }


def _closed(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return schemas that refuse fields which they do not name."""
    return {
        name: {**schema, "additionalProperties": False} if "properties" in schema else schema
        for name, schema in schemas.items()
    }


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Give a new cluster: the examples name its first clients, and change its brokers."""
    with Cluster(tmp_path / "data") as cluster:
        yield cluster


def test_every_example_of_the_docs_works_when_its_button_is_pressed(cluster: Cluster) -> None:
    secret = (cluster.data_dir / "cluster.secret").read_text().strip()
    learned: dict[str, Any] = {"api token": cluster_token(secret)}
    manager = Presser(cluster.http, cluster.manager, learned)
    for method, path in MANAGER_ORDER:
        manager.press(method, path)
    for path in ("/topics", "/brokers", "/groups"):
        manager.press("get", path, detail=1)

    learned = dict(learned)
    broker = Presser(cluster.http, cluster.leader_of("logs", 0), learned)
    for method, path in BROKER_ORDER:
        broker.press(method, path)
    assert broker.documented() - broker.pressed == set()

    # Made by the first dead letter; the example of the call that sends them back needs it.
    cluster.http.post(f"{cluster.manager}/topics", json={"topic": "logs.dead"}).raise_for_status()
    for method, path in MANAGER_END:
        manager.press(method, path)
    assert manager.documented() - manager.pressed == set()
