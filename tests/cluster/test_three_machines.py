"""What docs/how-to/three-machines.md sets up works: three addresses stand for the machines."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from myqueue import ClientConfig, Consumer, Producer
from tests.cluster.pages import Reader, blocks_of
from tests.cluster.processes import READY_SECONDS, ROOT, inherited, popen, wait_until
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.cluster

PAGE = ROOT / "docs/how-to/three-machines.md"
MACHINES = (1, 2, 3)
PROGRAM = (sys.executable, str(ROOT / "manage.py"))
PATIENT = ClientConfig(manager_timeout_ms=1_000 * READY_SECONDS, connect_timeout_ms=5_000)
"""On a machine that tests keep busy."""
_FENCE = re.compile(r"^```(\w*).*?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Machines:
    """Three addresses of this machine, each with what the page installs on one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manager, broker, raft = free_ports(3)
        self._here = {"10.0.0.": "127.0.0.", "8000": manager, "8001": broker, "9001": raft}
        self.manager = f"https://127.0.0.11:{manager}"
        self.brokers = [f"https://127.0.0.1{number}:{broker}" for number in MACHINES]
        self._ports = {"manager": manager, "broker": broker}
        self._raft = raft
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """Return what the page says with the addresses, ports and folders of the test."""
        for name, value in self._here.items():
            text = text.replace(name, str(value))
        return text

    def plain(self, word: str) -> str:
        """Return the block without a language that has a word."""
        found = _FENCE.findall(PAGE.read_text())
        [block] = [text for language, text in found if not language and word in text]
        return self.here(block)

    def settings(self, number: int, role: str) -> dict[str, str]:
        """Return the environment that a unit of deploy/systemd gives a process."""
        installed = self.folder / f"queue-{number}"
        text = (installed / f"{role}.env").read_text().replace("/etc/queuesite", str(installed))
        told = dict(line.split("=", 1) for line in text.splitlines())
        data = self.folder / "stored" / f"{role}-{number}"
        own = {"QUEUE_PORT": str(self._ports[role]), "QUEUE_DATA_DIR": str(data)}
        return {**inherited(), **told, **own, "QUEUE_RAFT_PORT": str(self._raft)}

    def start(self, number: int, role: str) -> None:
        """Start what one unit starts."""
        name = f"{role}-{number}"
        with (self.folder / f"{name}.out").open("ab") as output:
            self.processes[name] = popen(
                [*PROGRAM, role],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.settings(number, role),
            )

    def stop(self, name: str, signum: signal.Signals = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(signum)
        process.wait(timeout=READY_SECONDS)

    def is_ready(self, address: str) -> bool:
        """Tell whether the page's `curl` would say so; all processes must run."""
        for name, process in self.processes.items():
            assert process.poll() is None, (self.folder / f"{name}.out").read_text()
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.get(
                    f"{address}/readyz", timeout=5, verify=str(self.folder / "ca.pem")
                )
            except requests.ConnectionError:
                return False
            return answer.json()["status"] == "success"

    def takes(self, token: str) -> bool:
        """Tell whether the manager has seen an API token that was made beside it."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(
                f"{self.manager}/topics",
                headers={"Authorization": f"Bearer {token}"},
                timeout=20,
                verify=str(self.folder / "ca.pem"),
            )
        return answer.status_code != 401

    def run(self, script: str, **more: str) -> str:
        """Run a script in the folder; return what it printed."""
        paths = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            env={**inherited(), "PYTHONPATH": str(ROOT), "PATH": paths, **more},
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("machines")
    machines = Machines(folder)
    reader = Reader(folder, "", ROOT, data=folder / "nowhere")
    [block, _] = blocks_of(PAGE)
    reader.run(block._replace(text=machines.here(block.text)))
    try:
        machines.start(1, "manager")
        for number in MACHINES:
            machines.start(number, "broker")
        for address in (machines.manager, *machines.brokers):
            wait_until(
                lambda address=address: machines.is_ready(address),
                what=f"{address} is ready",
                seconds=READY_SECONDS,
            )
        yield machines
    finally:
        for process in machines.processes.values():
            process.terminate()
        for process in machines.processes.values():
            process.wait(timeout=READY_SECONDS)


def test_what_the_page_sets_up_serves_also_without_one_machine(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = machines.plain("queuesite token create").partition("/queuesite token")[2]
    printed = machines.run(f"{' '.join(PROGRAM)} token{token}", **machines.settings(1, "manager"))
    [key] = re.findall(r"qs_\S+", printed)
    wait_until(lambda: machines.takes(key), what="the manager takes the token")
    told = dict(re.findall(r"(MYQUEUE_\w+)=(\S+)", machines.plain("export MYQUEUE_ADDRESS")))
    assert told.keys() == {"MYQUEUE_ADDRESS", "MYQUEUE_CA", "MYQUEUE_TOKEN"}
    for name, value in (told | {"MYQUEUE_TOKEN": key}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(machines.folder)

    with Producer("first-orders", config=PATIENT) as producer:
        producer.enqueue("first-orders", "two apples")
        machines.stop("broker-2", signal.SIGKILL)
        producer.enqueue("first-orders", "two pears")
    with Consumer("first-orders", config=PATIENT) as consumer:
        found = [consumer.dequeue("first-orders") for _ in range(2)]
    assert set(found) == {"two apples", "two pears"}


def test_nobody_gets_in_without_what_the_page_makes(machines: Machines) -> None:
    with requests.Session() as session:
        session.trust_env = False
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"{machines.manager}/topics", timeout=20)
        answer = session.get(
            f"{machines.manager}/topics", timeout=20, verify=str(machines.folder / "ca.pem")
        )
    assert answer.status_code == 401
    for path in machines.folder.glob("queue-*/*"):
        assert path.stat().st_mode & 0o077 == 0, path
