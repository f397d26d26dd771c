"""A manager as a process of its own, started, asked and ended by a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import requests

from http_base.cluster import BrokerReport
from http_base.tokens import cluster_token
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a secret of this test alone"
READY_S = 30.0
ANSWER_S = 10.0
"""In which every call is answered, whatever the database does."""


class Manager:
    """A manager's process; as a context it runs until the end, where it is asked to stop."""

    def __init__(self, directory, name, database_url):
        [port] = free_ports(1)
        self.address = f"http://127.0.0.1:{port}"
        self.log = directory / f"{name}.log"
        kept = {
            one: of
            for one, of in os.environ.items()
            if not one.startswith(("DJANGO_", "QUEUE_", "PG"))
        }
        self.environment = {
            **kept,
            "QUEUE_ROLE": "manager",
            "QUEUE_PORT": str(port),
            "QUEUE_DATABASE_URL": database_url,
            "QUEUE_DATA_DIR": str(directory / name),
            "QUEUE_CLUSTER_SECRET": SECRET,
            "QUEUE_DISK_RESERVE_BYTES": "0",
        }
        self.process = None

    def start(self):
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "manager"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        until(self.is_ready, READY_S, self.log.read_text)
        return self

    def is_ready(self):
        return ask(self.address, "GET", "/readyz")[0] == 200

    def kill(self):
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


def until(holds, limit_s, what):
    """Wait until something holds; return the seconds it took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < limit_s, what()
        time.sleep(0.1)
    return time.monotonic() - begun


def ask(address, method, path, fields=None, *, headers=None):
    """Return status and fields of an answer; status 0 when none comes in time."""
    try:
        answer = requests.request(
            method, address + path, json=fields, headers=headers, timeout=ANSWER_S
        )
    except requests.RequestException as error:
        return 0, {"code": str(error)}
    return answer.status_code, answer.json()


def make_topic(address):
    """Make topic `logs`, with a broker that reported once and is not there."""
    report = BrokerReport(
        incarnation="f" * 32, address="http://127.0.0.1:1", raft_address="127.0.0.1:2", full=True
    )
    token = {"authorization": f"Bearer {cluster_token(SECRET)}"}
    fields = msgspec.to_builtins(report)
    assert ask(address, "POST", "/brokers/heartbeat", fields, headers=token)[0] == 200
    created = ask(address, "POST", "/topics", {"topic": "logs", "replication_factor": 1})
    assert created[0] == 201, created
