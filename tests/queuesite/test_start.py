"""What a server has imported when it says ready, and that what came later works all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from queuesite.ports import choose_base, ports_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
STOP_S = 15.0
FOR_LATER = {
    "django.contrib.postgres.fields",
    "django.test",
    "drf_spectacular.openapi",
    "drf_spectacular.views",
    "jinja2",
    "psycopg2",
    "requests",
    "rest_framework.test",
}
"""Modules that a server on SQLite needs for the documentation's pages, if at all."""
OF_OTHERS = {
    "manager": {"broker_app.process", "raft_app.engine", "raft_app.models"},
    "broker": {
        "django.contrib.auth.models",
        "django.contrib.contenttypes.models",
        "django.contrib.sessions.models",
        "manager_app.models",
        "manager_app.process",
    },
}
"""Role -> modules that another role needs."""
REPORTER = """
import gc, json, sys
from queuesite import command_line, ready_pipe
def tell(_facts):
    modules = [name for name, module in sys.modules.items() if module is not None]
    frozen, collects = gc.get_freeze_count(), gc.isenabled()
    print("\\n" + json.dumps({"modules": modules, "frozen": frozen, "collects": collects}))
    sys.stdout.flush()
    return True
ready_pipe.tell_supervisor = tell
sys.argv[0] = "manage.py"
command_line.main()
"""
"""`manage.py` that tells on standard output what it is like when it is ready."""


class Server(NamedTuple):
    """A server that runs."""

    port: int
    report: dict[str, Any]

    def get(self, path: str, accept: str = "*/*") -> tuple[int, str]:
        """Return (status, body) of a GET."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def running(role: str, directory: Path, **environ: str) -> Iterator[Server]:
    _, port, raft_port = ports_of(choose_base(0, 1), 1)
    own = {
        "QUEUE_PORT": str(port),
        "QUEUE_RAFT_PORT": str(raft_port),
        "QUEUE_DATA_DIR": str(directory / role),
    }
    given = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    log = directory / f"{role}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", REPORTER, role],
            cwd=ROOT,
            env={**given, **own, "QUEUE_CLUSTER_SECRET": "s" * 32, **environ},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        report = next((line for line in process.stdout if line.startswith("{")), None)
        assert report is not None, log.read_text()
        yield Server(port, json.loads(report))
    finally:
        process.terminate()
        process.communicate(timeout=STOP_S)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("start")
    with running("manager", directory) as manager:
        address = f"http://127.0.0.1:{manager.port}"
        with running("broker", directory, QUEUE_MANAGER_ADDRESS=address) as broker:
            yield {"manager": manager, "broker": broker}


@pytest.fixture(params=["manager", "broker"])
def role(request):
    return request.param


def test_server_is_ready_before_it_imports_what_few_requests_need(servers, role):
    modules = set(servers[role].report["modules"])
    assert {"django.http", "rest_framework.views"} <= modules
    assert not modules & (FOR_LATER | OF_OTHERS[role])


def test_what_was_imported_is_out_of_the_garbage_collectors_sight(servers, role):
    report = servers[role].report
    assert report["collects"]
    assert report["frozen"] > 100_000


@pytest.mark.parametrize(
    ("path", "accept", "content"),
    [
        ("/schema", "application/json", '"openapi": "3.1.1"'),
        ("/docs", "text/html", "swagger-ui"),
        ("/health", "text/html", "<html"),
        ("/metrics", "*/*", "process_resident_memory_bytes"),
        ("/", "application/json", '"links"'),
    ],
)
def test_pages_that_come_later_are_there(servers, role, path, accept, content):
    status, body = servers[role].get(path, accept)
    assert status == 200
    assert content in body
