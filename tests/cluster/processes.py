"""A real cluster of processes for a test: started, watched, killed by pid, stopped."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests

from myqueue import Client
from tests.cluster.waited import Waited
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60
STOP_SECONDS = 5
"""A cluster promises to stop within this time."""
MANAGER_BACK_MS = 1_000 * READY_SECONDS
"""How long a client looks for a manager that the test starts again; by default it is a mistake in
the address after 5 seconds, in which none starts on a busy machine."""
POLL_SECONDS = 0.02
DELETED_AT_ONCE = 8
SERVERS_OWN = ("DJANGO_", "QUEUESITE_", "QUEUE_", "PYTEST_")
"""Variables that a server is not to inherit from the test."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_starter = ThreadPoolExecutor(1, "starter")
"""The kernel watches over the thread that starts a process: this one ends with the tests."""


def popen(
    command: Sequence[str | Path], *, at_end: signal.Signals = signal.SIGKILL, **options: Any
) -> subprocess.Popen[Any]:
    """Start a process that gets the signal `at_end` when the tests end, however that happens."""
    tie = partial(_tie_to, os.getpid(), at_end)
    start = partial(subprocess.Popen, command, preexec_fn=tie, **options)
    return _starter.submit(start).result()


def _tie_to(parent: int, at_end: signal.Signals) -> None:
    """Make the kernel send a signal to this process when its parent ends. Runs in the child."""
    _libc.prctl(_PR_SET_PDEATHSIG, at_end)
    if os.getppid() != parent:
        os._exit(1)


def inherited() -> dict[str, str]:
    """Return the environment without what would lead a server elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SERVERS_OWN)}


def wait_until(
    holds: Callable[[], Any], *, what: str, seconds: float = 30, pause_s: float = POLL_SECONDS
) -> Any:
    """Return the first true value of `holds`; fail after a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = holds()
        if value:
            return value
        time.sleep(pause_s)
    raise AssertionError(f"not within {seconds} s: {what}")


def knows_group(cluster: Cluster, group: str) -> bool:
    """Tell whether the manager has heard of a group of workers, which brokers tell it."""
    return bool(cluster.get(f"/groups/{group}")["http_status"] == 200)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def replicas_at(http: requests.Session, address: str, topic: str) -> list[dict[str, Any]]:
    """Return what a broker says about its replicas of a topic; nothing when it does not answer."""
    try:
        answer = http.get(f"{address}/partitions", params={"topic": topic}, timeout=5)
    except requests.RequestException:
        return []
    replicas: list[dict[str, Any]] = answer.json()["partitions"]
    return replicas


def clear(manager: str, brokers: Sequence[str]) -> None:
    """Delete every topic; then all servers must be ready, and the brokers hold nothing.

    Raises:
        AssertionError: something did not become so in time.
    """
    with Client(manager) as client, ThreadPoolExecutor(DELETED_AT_ONCE) as pool:
        list(pool.map(client.delete_topic, client.list_topics()))

    def is_as_new() -> bool:
        with contextlib.suppress(requests.RequestException):
            held = [requests.get(f"{one}/partitions", timeout=5).json() for one in brokers]
            ready = [requests.get(f"{one}/readyz", timeout=5).ok for one in (manager, *brokers)]
            return all(ready) and not any(one["partitions"] for one in held)
        return False

    wait_until(is_as_new, what="all servers are ready, without a partition")


class Cluster:
    """`manage.py cluster` on free ports in a directory of the test."""

    ready_s: float = READY_SECONDS
    """For its start, in seconds."""

    def __init__(
        self,
        data_dir: Path,
        *,
        brokers: int = 3,
        variables: dict[str, str] | None = None,
        program: Sequence[str | Path] = (sys.executable, "manage.py"),
        directory: Path = ROOT,
    ) -> None:
        self.data_dir = data_dir
        self.program = program
        self.directory = directory
        """Where it is started."""
        self.brokers = brokers
        self.variables = variables or {}
        """More of the environment of all its processes."""
        self.port = str(free_base(brokers))
        self.output = data_dir.parent / "cluster.out"
        self.process: subprocess.Popen[bytes] | None = None
        self.http = requests.Session()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs, and close what the test had open to it."""
        self.http.close()
        self.stop()

    # --- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start and wait for the line that says that it is ready."""
        with self.output.open("wb") as output:
            self.process = popen(
                self.command(),
                at_end=signal.SIGTERM,
                cwd=self.directory,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited(), **self.variables},
            )
        wait_until(self._is_ready, what="the cluster is ready", seconds=self.ready_s)

    def command(self) -> list[str | Path]:
        """Return what starts it."""
        command = [*self.program, "cluster", "--brokers", str(self.brokers)]
        return [*command, "--data-dir", str(self.data_dir), "--port", self.port]

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text()
        return any(line.startswith("ready") for line in self.output.read_text().splitlines())

    def stop(self) -> float:
        """Ask it to stop; nothing of it may stay.

        Returns:
            The seconds that it took, without those in which it waited for a processor.
        """
        if self.process is None:
            return 0.0
        process, pids, waited = self.process, self.pids(), self.waited()

        def ended() -> bool:
            waited.look()
            return process.poll() is not None

        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            wait_until(ended, what="the cluster has stopped")
            seconds = time.monotonic() - started - waited.seconds
        except AssertionError:
            process.kill()
            process.wait()
            raise
        finally:
            left = [pid for pid in pids if is_alive(pid)]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            self.process = None
        assert left == [], f"left running: {left}"
        return seconds

    def clear(self) -> None:
        """Delete every topic, and see that every process runs and is whole.

        Raises:
            AssertionError: one does not, or is not.
        """
        assert self.process is not None, "it was left stopped"
        assert self.process.poll() is None, self.output.read_text()
        wait_until(lambda: self.state()["ready"], what="every process runs")
        clear(self.manager, self.broker_addresses())

    # --- who is where -----------------------------------------------------------------------

    def places(self) -> list[dict[str, Any]]:
        """Return the manager, then the brokers: address and pid of each; nothing before a start."""
        if not (self.data_dir / "cluster.json").exists():
            return []
        state = self.state()
        return [state["manager"], *state["brokers"]]

    def pids(self) -> list[int]:
        """Return the pids of the supervisor and of what runs below it."""
        assert self.process is not None
        return [self.process.pid, *(place["pid"] for place in self.places() if place["pid"])]

    def waited(self) -> Waited:
        """Count how long this process and those of the cluster wait for a processor."""
        return Waited(self.pids())

    def state(self) -> dict[str, Any]:
        """Return what `cluster.json` says."""
        state: dict[str, Any] = json.loads((self.data_dir / "cluster.json").read_text())
        return state

    @property
    def manager(self) -> str:
        """Address of the manager."""
        return str(self.state()["manager"]["address"])

    def broker_addresses(self) -> list[str]:
        """Return the brokers' addresses."""
        return [place["address"] for place in self.state()["brokers"]]

    def pid_of(self, address: str) -> int:
        """Return the pid of the process that serves an address, as soon as one runs."""

        def pid() -> int:
            return next(int(one["pid"]) for one in self.places() if one["address"] == address)

        return int(wait_until(pid, what=f"a process runs at {address}"))

    # --- faults -----------------------------------------------------------------------------

    def kill(self, address: str) -> int:
        """Kill one process with -9 and return the pid that it had."""
        pid = self.pid_of(address)
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_all_brokers(self) -> list[int]:
        """Kill all brokers with -9 at once."""
        pids = [self.pid_of(address) for address in self.broker_addresses()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids

    def wait_restarted(self, address: str, old_pid: int) -> None:
        """Wait until the supervisor has started another process that serves an address."""
        wait_until(lambda: self.pid_of(address) != old_pid, what=f"{address} restarted")
        wait_until(lambda: self.is_healthy(address), what=f"{address} healthy")

    def is_healthy(self, address: str) -> bool:
        """Tell whether an address answers."""
        with contextlib.suppress(requests.RequestException):
            return self.http.get(f"{address}/healthz", timeout=1).status_code == 200
        return False

    # --- calls ------------------------------------------------------------------------------

    def get(self, path: str, *, address: str = "", **query: Any) -> dict[str, Any]:
        """GET from the manager, or from an address, and return the body."""
        answer = self.http.get(f"{address or self.manager}{path}", params=query, timeout=40)
        body: dict[str, Any] = answer.json()
        return {"http_status": answer.status_code, **body}

    def post(self, path: str, *, address: str = "", **body: Any) -> dict[str, Any]:
        """POST JSON to the manager, or to an address, and return the body."""
        answer = self.http.post(f"{address or self.manager}{path}", json=body, timeout=40)
        decoded: dict[str, Any] = answer.json()
        return {"http_status": answer.status_code, **decoded}

    def leader_of(self, topic: str, partition: int) -> str:
        """Return the broker that serves a partition in the highest term, once there is one."""

        def leader() -> str:
            serving = [
                (replica["term"], address)
                for address in self.broker_addresses()
                for replica in replicas_at(self.http, address, topic)
                if replica["partition"] == partition and replica["serves"]
            ]
            return str(max(serving, default=(0, ""))[1])

        return str(wait_until(leader, what=f"a leader of {topic}[{partition}]"))


def create_topic(cluster: Cluster, topic: str, partitions: int) -> None:
    """Make a topic through the client library."""
    with Client(cluster.manager) as client:
        client.create_topic(topic, number_of_partitions=partitions)
