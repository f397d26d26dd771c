"""A cluster with TLS everywhere: every process proves itself, and every kind of traffic goes on."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import requests

from http_base.cluster_http import ClusterCall, ClusterHttp
from http_base.tls import Tls
from http_base.tokens import cluster_token
from myqueue import AsyncConsumer, Client, Consumer, Producer, Worker
from myqueue.config import ClientConfig
from myqueue.contract.errors import UnauthorizedException
from myqueue.contract.inputs import JSON
from myqueue.contract.tls import calling_context
from tests.certificates import Authority
from tests.cluster.processes import ROOT, Cluster, inherited

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cluster

CLUSTER_SECRET = "the secret of a cluster with TLS"
PASSWORD = "the-password-of-the-admin"
COUNT = 20


class Secured(NamedTuple):
    """A cluster, and who signed its certificates."""

    cluster: Cluster
    ca: str

    @property
    def config(self) -> ClientConfig:
        """What its clients are made with."""
        return ClientConfig(ca=self.ca, connect_timeout_ms=5_000)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    place = tmp_path_factory.mktemp("secured")
    authority = Authority(place / "authority")
    issued = authority.issue()
    variables = {
        "QUEUE_TLS_CERT": str(issued.cert),
        "QUEUE_TLS_KEY": str(issued.key),
        "QUEUE_TLS_CA": str(authority.ca),
        "QUEUE_TLS_CLIENT_CERTS": "1",
        "QUEUE_CLUSTER_SECRET": CLUSTER_SECRET,
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }
    before = {path: path.stat() for path in (issued.cert, issued.key, authority.ca)}
    cluster = Cluster(place / "data", variables=variables)
    cluster.http.verify = str(authority.ca)
    cluster.http.trust_env = False  # the environment's authorities would count in its place
    with cluster:
        yield Secured(cluster, str(authority.ca))
    after = {path: path.stat() for path in before}
    assert [(one.st_mode, one.st_mtime_ns) for one in before.values()] == [
        (one.st_mode, one.st_mtime_ns) for one in after.values()
    ], "certificates and keys are only read"


def test_every_kind_of_traffic_passes_also_when_the_leader_dies(secured: Secured) -> None:
    cluster, config = secured.cluster, secured.config
    with Client(cluster.manager, config=config) as client:
        client.create_topic("logs", number_of_partitions=1)
        addresses = client.list_brokers()
    assert addresses
    assert all(address.startswith("https://") for address in [cluster.manager, *addresses])
    texts = [f"line {number}" for number in range(COUNT)]
    with Producer("logs", cluster.manager, config=config) as producer:
        for text in texts[: COUNT // 2]:
            producer.enqueue("logs", text)
        leader = cluster.leader_of("logs", 0)
        killed = cluster.kill(leader)
        for text in texts[COUNT // 2 :]:
            producer.enqueue("logs", text)
    with Consumer("logs", cluster.manager, config=config, start="earliest") as consumer:
        popped = [str(consumer.dequeue("logs")) for _ in texts]
    assert popped == texts

    with Consumer(
        "logs", cluster.manager, config=config, group="readers", start="earliest"
    ) as member:
        polled: list[object] = []
        while len(polled) < COUNT:
            polled += [message.value for message in member.poll(max_messages=COUNT, timeout=20)]
    assert polled == texts

    with Worker("logs", cluster.manager, config=config, group="workers") as worker:
        worked = 0
        while worked < COUNT:
            for delivery in worker.receive(max_messages=COUNT, timeout=20):
                worker.ack(delivery)
                worked += 1

    async def fetched() -> int:
        async with AsyncConsumer(
            "logs", cluster.manager, config=config, start="earliest"
        ) as reader:
            return len((await reader.fetch("logs", 0, 0)).messages)

    assert asyncio.run(fetched()) == COUNT
    cluster.wait_restarted(leader, killed)


def test_the_command_line_reaches_it(secured: Secured) -> None:
    command = [sys.executable, "-m", "myqueue.cli", "brokers", "--address", secured.cluster.manager]
    asked = {"capture_output": True, "text": True, "cwd": ROOT, "env": inherited(), "check": False}
    known = subprocess.run([*command, "--ca", secured.ca], **asked)
    assert known.returncode == 0, known.stderr


def test_no_secret_shows_in_logs_answers_and_lists_of_processes(secured: Secured) -> None:
    cluster = secured.cluster
    http, token = cluster.http, cluster_token(CLUSTER_SECRET)
    shown: dict[str, bytes] = {}
    for address in (cluster.manager, *cluster.broker_addresses()):
        for path in ("/", "/metrics", "/docs", "/schema", "/topics", "/healthz", "/readyz"):
            shown[f"{address}{path}"] = http.get(f"{address}{path}", timeout=40).content
        for bearer in ("wrong", token + "x"):
            refused = http.get(
                f"{address}/groups", headers={"Authorization": f"Bearer {bearer}"}, timeout=40
            )
            shown[f"{address} refuses {bearer}"] = refused.content.replace(bearer.encode(), b"")
    login = f"{cluster.manager}/admin/login/"
    form = {"username": "admin", "password": PASSWORD, "next": "/admin/"}
    form["csrfmiddlewaretoken"] = http.get(login, timeout=40).cookies["csrftoken"]
    entered = http.post(login, data=form, headers={"Referer": login}, timeout=40)
    assert entered.url.endswith("/admin/"), "the password is right"
    assert {cookie.secure for cookie in http.cookies} == {True}
    shown["the admin"] = entered.content
    http.cookies.clear()
    files = [cluster.output, cluster.data_dir / "cluster.json"]
    files += sorted((cluster.data_dir / "logs").iterdir())
    shown |= {str(path): path.read_bytes() for path in files}
    for pid in cluster.pids():
        shown[f"arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
    for place in cluster.state()["brokers"]:
        environ = Path(f"/proc/{place['pid']}/environ").read_bytes()
        assert b"QUEUE_TLS_CERT=" in environ
        assert PASSWORD.encode() not in environ, "a broker does not need it"
    assert all(shown.values())
    for secret in (CLUSTER_SECRET, PASSWORD, token):
        assert [where for where, text in shown.items() if secret.encode() in text] == []


def test_who_speaks_without_tls_is_told(secured: Secured) -> None:
    for address in (secured.cluster.manager, secured.cluster.broker_addresses()[0]):
        plain = requests.get(address.replace("https:", "http:") + "/topics", timeout=10)
        assert plain.status_code == 400
        assert plain.json()["message"].startswith("this port speaks TLS")


def test_a_process_without_a_certificate_is_none_of_the_cluster(secured: Secured) -> None:
    async def ask(address: str) -> None:
        http = ClusterHttp(CLUSTER_SECRET, tls=Tls(calling_context(secured.ca)))
        try:
            await http.call(address, ClusterCall("GET", "/partitions", accept=JSON), timeout_s=10)
        finally:
            await http.close()

    for broker in secured.cluster.state()["brokers"]:
        with pytest.raises(UnauthorizedException, match="needs a certificate of QUEUE_TLS_CA"):
            asyncio.run(ask(broker["address"]))
        host, _, port = broker["raft_address"].partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as plain:
            secure = ssl.create_default_context(cafile=secured.ca)
            with (
                secure.wrap_socket(plain, server_hostname=host) as stranger,
                suppress(ssl.SSLError, ConnectionError),
            ):
                assert stranger.recv(1) == b"", "the broker hangs up at once"
