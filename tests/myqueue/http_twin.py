"""The twin behind real sockets on 127.0.0.1: one server per manager and broker."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from myqueue.contract.http1 import Answer, Request
from tests.myqueue.cluster_twin import ClusterTwin, DroppedError


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # Head and body leave in one write: of two, the second waits for an ACK.
    server: _Server
    chunked: ClassVar[bool] = False

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        request = Request(
            self.command,
            self.path,
            body=self.rfile.read(length),
            content_type=self.headers.get("Content-Type", ""),
            accept=self.headers.get("Accept", ""),
            token=self.headers.get("Authorization", "").removeprefix("Bearer "),
        )
        try:
            answer = self.server.cluster.answer(self.server.address, request)
        except DroppedError:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, cluster: HttpCluster) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cluster = cluster
        self.connections: set[object] = set()
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self.thread.start()

    def handle_error(self, *args: object) -> None:
        """A client that went away is no error."""


class HttpCluster:
    """Servers and the twin that they share; one request at a time changes it."""

    def __init__(self, brokers: int = 3) -> None:
        self.changed = threading.Condition()
        self._taken: list[socket.socket] = []
        self._servers = [_Server(self) for _ in range(brokers + 1)]
        addresses = [server.address for server in self._servers]
        self.twin = ClusterTwin(manager=addresses[0], brokers=addresses[1:])

    @property
    def address(self) -> str:
        return self.twin.manager

    def answer(self, address: str, request: Request) -> Answer:
        """Hold a request as long as it wants to be held, then answer it."""
        with self.changed:
            wait_ms = self.twin.is_held(address, request)
            end_s = time.monotonic() + wait_ms / 1000
            # What it waits for may come sooner than it seemed at first.
            while wait_ms and time.monotonic() < end_s:
                self.changed.wait(min(wait_ms / 1000, end_s - time.monotonic()))
                wait_ms = self.twin.is_held(address, request)
            answer = self.twin.handle(address, request)
            self.changed.notify_all()
        return answer

    def put(self, topic: str, partition: int, *values: str | bytes) -> None:
        with self.changed:
            self.twin.topics[topic][partition].put(*values)
            self.changed.notify_all()

    def hide_brokers(self) -> None:
        """Let clients reach the manager alone, which reaches the brokers as before.

        Their ports stay taken, so that connections to them are refused.
        """
        for address in self.twin.brokers:
            self.stop(address)
            taken = socket.socket()
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
            self._taken.append(taken)

    def stop(self, address: str | None = None) -> None:
        """Close one server with its connections, or all."""
        while address is None and self._taken:
            self._taken.pop().close()
        for server in list(self._servers):
            if address in (None, server.address):
                server.shutdown()
                server.server_close()
                server.thread.join()
                for connection in list(server.connections):
                    _close(connection)
                self._servers.remove(server)


def _close(connection: object) -> None:
    assert isinstance(connection, socket.socket)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
