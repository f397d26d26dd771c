"""API tokens: where a client has them from, and which of its requests carry them."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager

import pytest

from myqueue import ClientConfig
from myqueue.client import Client
from myqueue.contract.errors import Forbidden, InvalidRequest, UnauthorizedException
from myqueue.contract.http1 import Request
from myqueue.producer.producer import Producer
from myqueue.transport.aio_settings import AsyncSettings
from myqueue.transport.settings import Settings, token_of, with_token
from myqueue.worker.worker import Worker


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("MYQUEUE_TOKEN", raising=False)


def test_a_token_comes_from_the_call_then_the_settings_then_the_environment(monkeypatch):
    assert token_of(ClientConfig()) == ""
    monkeypatch.setenv("MYQUEUE_TOKEN", " qs_env\n")
    assert token_of(ClientConfig()) == "qs_env"
    assert token_of(ClientConfig(token="qs_config")) == "qs_config"
    assert with_token(ClientConfig(token="a", batch_bytes=7), {"token": "b"}) == ClientConfig(
        token="b", batch_bytes=7
    )
    assert with_token(None, {"token": None}) is None


@pytest.mark.parametrize("token", ["a b", "a\nb", "\xe9", "x" * 1_025, 5])
def test_what_cannot_be_a_token_is_refused(token, monkeypatch):
    with pytest.raises(InvalidRequest):
        ClientConfig(token=token)
    if isinstance(token, str):
        monkeypatch.setenv("MYQUEUE_TOKEN", token)
        with pytest.raises(InvalidRequest):
            token_of(ClientConfig())


def test_a_token_is_not_shown():
    assert "secret" not in repr(ClientConfig(token="qs_secret"))


@contextmanager
def server(status=200, body=b'{"status": "success", "topics": []}'):
    """Answer every request alike; yield the address and the heads of requests that came."""
    heads = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    data = b""
                    while b"\r\n\r\n" not in data and (part := connection.recv(65_536)):
                        data += part
                    heads.append(data.decode("latin1"))
                    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
                    connection.sendall(
                        f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
                        + body
                    )

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", heads
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def authorizations(heads):
    return [
        line.partition(": ")[2]
        for head in heads
        for line in head.splitlines()
        if line.lower().startswith("authorization")
    ]


def test_requests_carry_the_token_unless_they_have_one_of_a_registration():
    with server() as (address, heads):
        settings = Settings(address, ClientConfig(token="qs_mine"), None, None)
        plain = Request("GET", "/topics", accept="application/json")
        for request in (plain, plain._replace(token="registered")):
            settings.transport.request(address, request, timeout_s=10)
        settings.transport.close()

        async def ask():
            found = AsyncSettings(address, ClientConfig(token="qs_mine"), None, None)
            exchange = await found.transport.begin(address, plain, timeout_s=10)
            assert (await exchange.answer()).status == 200
            found.transport.close()

        asyncio.run(ask())
        with Client(address, token="qs_other") as client:
            assert client.list_topics() == []
    assert authorizations(heads) == [
        *("Bearer qs_mine", "Bearer registered", "Bearer qs_mine", "Bearer qs_other")
    ]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(401, "UNAUTHORIZED", UnauthorizedException), (403, "FORBIDDEN", Forbidden)],
)
def test_a_refusal_is_raised_at_once(status, code, error):
    body = f'{{"status": "failure", "code": "{code}", "message": "no"}}'.encode()
    with server(status, body) as (address, heads):
        for make in (
            lambda: Producer("logs", address, token="qs_bad"),
            lambda: Worker("logs", address, group="g", token="qs_bad"),
        ):
            with pytest.raises(error, match="no"):
                make()
    assert len(heads) == 2
