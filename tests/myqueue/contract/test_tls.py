"""Whom callers trust, and what a failure of TLS says: both clients against real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from myqueue.cli.main import main
from myqueue.contract.errors import BrokerUnreachable, InvalidRequest
from myqueue.contract.http1 import Request
from myqueue.contract.tls import calling_context
from myqueue.transport.aio import make_async_transport
from myqueue.transport.blocking import make_transport
from tests.certificates import Authority, Issued

ASKED = Request("GET", "/topics")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextlib.contextmanager
def served(issued: Issued | None, answer: bytes = ANSWER) -> Iterator[str]:
    """Serve one answer to one connection; with a certificate over TLS."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        with contextlib.suppress(OSError):
            plain, _ = listener.accept()
            plain.settimeout(10)
            with plain, _secured(plain, issued) as peer:
                peer.recv(65_536)
                peer.sendall(answer)

    thread = threading.Thread(target=talk)
    thread.start()
    scheme = "http" if issued is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _secured(plain: socket.socket, issued: Issued | None) -> socket.socket:
    if issued is None:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert, issued.key)
    return context.wrap_socket(plain, server_side=True)


async def ask_blocking(address: str, ca: str) -> int:
    transport = make_transport([address], connect_timeout_s=10, ca=ca)
    try:
        answer = await asyncio.to_thread(transport.request, address, ASKED, timeout_s=10)
    finally:
        transport.close()
    return answer.status


async def ask_async(address: str, ca: str) -> int:
    transport = make_async_transport([address], connect_timeout_s=10, ca=ca)
    try:
        answer = await (await transport.begin(address, ASKED, timeout_s=10)).answer()
    finally:
        transport.close()
    assert answer is not None
    return answer.status


CLIENTS = pytest.mark.parametrize("ask", [ask_blocking, ask_async])
Ask = Callable[[str, str], Awaitable[int]]


@CLIENTS
async def test_the_named_authority_is_trusted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    with served(authority.issue()) as address:
        assert await ask(address, str(authority.ca)) == 200
    monkeypatch.setenv("MYQUEUE_CA", str(authority.ca))
    with served(authority.issue()) as address:
        assert await ask(address, "") == 200


@CLIENTS
@pytest.mark.parametrize("case", ["another authority", "nobody named", "another host"])
async def test_a_server_that_cannot_prove_itself_is_not_asked(
    authority: Authority, tmp_path: Path, case: str, ask: Ask
) -> None:
    hosts = "DNS:other.test" if case == "another host" else "IP:127.0.0.1"
    known = Authority(tmp_path) if case == "another authority" else authority
    ca = "" if case == "nobody named" else str(known.ca)
    with (
        served(authority.issue("strange", hosts=hosts)) as address,
        pytest.raises(BrokerUnreachable, match="its certificate is not trusted, ") as raised,
    ):
        await ask(address, ca)
    assert "MYQUEUE_CA" in raised.value.message
    assert raised.value.outcome_known


@CLIENTS
async def test_https_to_a_port_without_tls_says_so(authority: Authority, ask: Ask) -> None:
    with (
        served(None, REFUSAL) as address,
        pytest.raises(BrokerUnreachable, match=r"does not speak TLS here.* http://"),
    ):
        await ask(address.replace("http:", "https:"), str(authority.ca))


def test_tls_1_1_is_too_old(authority: Authority) -> None:
    context = calling_context(str(authority.ca))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), ("words", "no certificate in PEM")]
)
def test_a_file_that_is_none_is_said_at_once(
    tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    for make in (make_transport, make_async_transport):
        with pytest.raises(InvalidRequest, match=said) as raised:
            make(["https://a:1"], connect_timeout_s=1, ca=str(path))
        assert str(path) in raised.value.message


def test_the_command_line_takes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MYQUEUE_CA", "")  # put back afterwards
    path = tmp_path / "none.pem"
    assert main(["topics", "--address", "https://127.0.0.1:1", "--ca", str(path)]) == 1
    assert f"the authorities in {path} cannot be read: No such file" in capsys.readouterr().err
