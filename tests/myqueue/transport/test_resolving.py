from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.http1 import Request
from myqueue.contract.inputs import MSGPACK
from myqueue.transport import resolving
from myqueue.transport.blocking import HttpTransport
from tests.myqueue.http_twin import HttpCluster

HEALTH = Request("GET", "/topics", accept=MSGPACK)


def test_a_resolver_that_is_slow_holds_nobody_up(
    http_cluster: HttpCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = HttpTransport(connect_timeout_s=5)
    answers = threading.Event()
    look_up = socket.getaddrinfo

    def slow(host: str, *args: Any, flags: int = 0, **more: Any) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return look_up(host, *args, flags=flags, **more)
        answers.wait(30)
        if host == "unknown.test":
            raise socket.gaierror("no such name")
        return look_up("127.0.0.1", *args, flags=flags, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    port = http_cluster.address.rpartition(":")[2]
    known, unknown = (
        transport.begin(f"http://{name}.test:{port}", HEALTH, timeout_s=30)
        for name in ("known", "unknown")
    )
    assert known.answer(0.05) is None
    answers.set()
    answer = known.answer()
    assert answer is not None
    assert answer.status == 200
    with pytest.raises(BrokerUnreachable, match="no such name") as caught:
        unknown.answer()
    assert caught.value.outcome_known
    # What was found once is not looked up again.
    answers.clear()
    transport.close()
    again = HttpTransport(connect_timeout_s=5)
    assert again.request(f"http://known.test:{port}", HEALTH, timeout_s=5).status == 200
    again.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_is_no_name(host: str) -> None:
    (place,) = resolving.known_addresses(host, 80)
    assert place.address[:2] == (host, 80)
    assert resolving.known_addresses("a.name.test", 80) == []


def test_without_a_thread_there_is_no_connection(one_thread_fails: list[threading.Thread]) -> None:
    transport = HttpTransport(connect_timeout_s=5)
    with pytest.raises(BrokerUnreachable, match="new thread") as caught:
        transport.begin("http://a.name.test:1", HEALTH, timeout_s=5)
    assert caught.value.outcome_known
    assert one_thread_fails
