"""A cluster whose brokers the test starts, kills, pauses and cuts off one by one.

Each broker lies behind a proxy on its Raft port, so every directed link can be cut, slowed or made
lossy. HTTP goes straight to the processes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests

from http_base.tokens import cluster_token
from queuesite.conf import older_spelling, variable_of
from tests.cluster.processes import (
    ROOT,
    clear,
    inherited,
    is_alive,
    popen,
    replicas_at,
    wait_until,
)
from tests.cluster.proxy import Network
from tests.cluster.waited import Waited
from tests.ports import free_ports

if TYPE_CHECKING:
    from io import BufferedWriter

SECRET = "the secret of a cluster under test"
STOP_SECONDS = 10
START_POLL_SECONDS = 0.05
"""Between two calls to a server that starts, which needs the processor itself."""
CLEARED_SECONDS = 10
REFILLED_SECONDS = 90


class ServerUnderTest:
    """One manager or broker process with a fixed port and directory."""

    def __init__(self, command: str, directory: Path, port: int, environment: dict[str, str]):
        self.command = command
        self.directory = directory
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self.environment = environment
        self.tree = ROOT
        """Which program it runs: this one, or an earlier version that was checked out there."""
        self.wrapper: list[str] = []
        """Command that the server's own is appended to."""
        self.process: subprocess.Popen[bytes] | None = None
        self._log: BufferedWriter | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait_healthy()

    def launch(self) -> None:
        """Start it."""
        assert self.process is None, f"{self.command} runs already"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log = (self.directory.parent / f"{self.directory.name}.log").open("ab")
        variables = {
            "QUEUE_PORT": str(self.port),
            "QUEUE_DATA_DIR": str(self.directory),
            "QUEUE_CLUSTER_SECRET": SECRET,
            **self.environment,
        }
        if self.tree != ROOT:
            variables = {older_spelling(name): value for name, value in variables.items()}
        self.process = popen(
            [*self.wrapper, sys.executable, str(self.tree / "manage.py"), self.command],
            cwd=self.tree,
            env={**inherited(), "PYTHONPATH": str(self.tree), **variables},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait_healthy(self, seconds: float = 60) -> None:
        """Wait until it answers."""

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            try:
                return requests.get(f"{self.address}/healthz", timeout=1).status_code == 200
            except requests.RequestException:
                return False

        try:
            what = f"{self.command} on {self.port} answers"
            wait_until(answers, what=what, seconds=seconds, pause_s=START_POLL_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}; it printed:\n{self.log()}") from error

    def log(self) -> str:
        """Return the end of what it printed."""
        path = self.directory.parent / f"{self.directory.name}.log"
        return path.read_text(errors="replace")[-4_000:]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.reap()

    def stop(self) -> int:
        """Ask it to stop and return its exit status."""
        self.signal(signal.SIGTERM)
        return self.reap()

    def reap(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end and return its exit status."""
        assert self.process is not None
        try:
            status = self.process.wait(seconds)
        finally:
            if is_alive(self.process.pid):
                self.process.kill()
                self.process.wait()
            self.process = None
            if self._log is not None:
                self._log.close()
        return status

    @property
    def pid(self) -> int:
        """Pid of its process, which runs."""
        assert self.process is not None
        return self.process.pid

    @property
    def runs(self) -> bool:
        """True while the process was started and not reaped."""
        return self.process is not None


MANAGERS_KNOW = ("QUEUE_DISK_RESERVE_BYTES",)
"""Variables that have the same value in managers and brokers."""


class FaultCluster:
    """A manager and brokers behind proxies; broker ids are 1 to n, whichever is which."""

    def __init__(self, directory: Path, *, brokers: int = 3, **limits: str) -> None:
        """Make a cluster; `start` starts it.

        Args:
            directory: of the test.
            brokers: how many.
            limits: environment of the brokers, such as `election_timeout_ticks="40"`, and of the
                manager, too, where it must know.
        """
        self.network = Network()
        self.http = requests.Session()
        manager_port, *ports = free_ports(1 + 3 * brokers)
        variables = {variable_of(name): value for name, value in limits.items()}
        known = {name: variables[name] for name in MANAGERS_KNOW if name in variables}
        self.manager = ServerUnderTest("manager", directory / "manager", manager_port, known)
        self.brokers: dict[int, ServerUnderTest] = {}
        for number in range(1, 1 + brokers):
            port, raft_port, proxy_port = ports[3 * number - 3 : 3 * number]
            self.network.add(raft_port, proxy_port)
            self.brokers[number] = ServerUnderTest(
                "broker",
                directory / f"broker-{number}",
                port,
                {
                    "QUEUE_RAFT_PORT": str(raft_port),
                    "QUEUE_RAFT_ADDRESS": f"127.0.0.1:{proxy_port}",
                    "QUEUE_MANAGER_ADDRESS": self.manager.address,
                    **variables,
                },
            )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start all at once; then `brokers` has them by the ids that the manager gave."""
        servers = (self.manager, *self.brokers.values())
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_healthy()
        places = self.http.get(f"{self.manager.address}/brokers?detail=1", timeout=10).json()
        id_at = {place["address"]: int(place["broker_id"]) for place in places["brokers"]}
        self.brokers = {id_at[broker.address]: broker for broker in self.brokers.values()}
        self.brokers = dict(sorted(self.brokers.items()))
        for broker_id, broker in self.brokers.items():
            self.network.name(int(broker.environment["QUEUE_RAFT_PORT"]), broker_id)

    def close(self) -> None:
        """End every process and every proxy."""
        for server in (*self.brokers.values(), self.manager):
            if server.runs:
                server.signal(signal.SIGCONT)
                server.kill()
        self.network.close()
        self.http.close()

    def clear(self) -> None:
        """Delete every topic, and see that every server runs and every link is whole.

        Raises:
            AssertionError: one does not, or is not.
        """
        assert self.network.is_whole, "a link was left with rules"
        for server in (self.manager, *self.brokers.values()):
            assert server.runs, f"{server.command} on {server.port} was left down"
            server.wait_healthy(CLEARED_SECONDS)
        clear(self.manager.address, self.broker_addresses())

    def create_topic(self, topic: str, *, partitions: int = 1) -> None:
        """Make a topic, as soon as enough brokers have room on their disks."""

        def is_made() -> bool:
            made = self.http.post(
                f"{self.manager.address}/topics",
                json={"topic": topic, "number_of_partitions": partitions},
                timeout=30,
            )
            assert made.status_code in {201, 503}, made.text
            return made.status_code == 201

        wait_until(is_made, what=f"topic {topic} is made")

    def waited(self) -> Waited:
        """Count how long this process and those of the cluster wait for a processor."""
        return Waited(self.pids())

    def pids(self) -> list[int]:
        """Return the pids of all servers that run."""
        return [one.pid for one in (self.manager, *self.brokers.values()) if one.runs]

    # --- what holds -------------------------------------------------------------------------

    def broker_addresses(self) -> list[str]:
        """Return the addresses of the brokers that run."""
        return [broker.address for broker in self.brokers.values() if broker.runs]

    def leader_id(self, topic: str, partition: int = 0, *, among: set[int] | None = None) -> int:
        """Return the broker that serves a partition in the highest term, once there is one."""

        def leader() -> int:
            best = (0, 0)
            for broker_id, broker in self.brokers.items():
                if not broker.runs or (among is not None and broker_id not in among):
                    continue
                for replica in replicas_at(self.http, broker.address, topic):
                    if replica["partition"] == partition and replica["serves"]:
                        best = max(best, (replica["term"], broker_id))
            return best[1]

        return int(wait_until(leader, what=f"a leader of {topic}[{partition}]"))

    def replica(self, broker_id: int, topic: str, partition: int = 0) -> dict[str, Any]:
        """Return what a broker says about its replica of a partition, as soon as it has one."""
        address = self.brokers[broker_id].address

        def said() -> dict[str, Any] | None:
            replicas = replicas_at(self.http, address, topic)
            return next((one for one in replicas if one["partition"] == partition), None)

        found: dict[str, Any] = wait_until(
            said, what=f"broker {broker_id} has a replica of {topic}[{partition}]"
        )
        return found

    def lead(self, broker_id: int, topic: str, partition: int = 0) -> None:
        """Let a broker lead a partition, as soon as it can."""

        def leads() -> bool:
            leader_id = self.leader_id(topic, partition)
            group_id = self.replica(leader_id, topic, partition)["group_id"]
            with suppress(requests.RequestException):  # it leads no more: who leads is asked below
                self.http.post(
                    f"{self.brokers[leader_id].address}/partitions/{group_id}/leader",
                    json={"broker_id": broker_id, "timeout_ms": 2_000},
                    headers={"Authorization": f"Bearer {cluster_token(SECRET)}"},
                    timeout=10,
                )
            return self.leader_id(topic, partition) == broker_id

        wait_until(leads, what=f"broker {broker_id} leads {topic}[{partition}]")

    def term(self, broker_id: int, topic: str, partition: int = 0) -> int:
        """Return the term of one replica."""
        return int(self.replica(broker_id, topic, partition)["term"])

    def wait_refilled(self, broker_id: int, topic: str, old_replica_id: int) -> int:
        """Wait until a new replica follows in place of a faulty one; return its id."""
        address = self.brokers[broker_id].address

        def refilled() -> int:
            for one in replicas_at(self.http, address, topic):
                is_new = one["replica_id"] != old_replica_id
                if is_new and one["role"] == "follower" and not one["faulty"]:
                    return int(one["replica_id"])
            return 0

        what = f"a new replica of {topic} follows on broker {broker_id}"
        return int(wait_until(refilled, what=what, seconds=REFILLED_SECONDS))
