"""Consumer groups under fire: members in processes of their own that come, go and are killed."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from myqueue import Client, Producer
from tests.cluster.processes import ROOT, popen, wait_until
from tests.cluster.rounds import ROUNDS
from tests.cluster.test_client import PARTITIONS, TOPIC, Threads, stored_count
from tests.cluster.waited import Waited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.fault_cluster import FaultCluster

pytestmark = pytest.mark.cluster

SEED = int(os.environ.get("CLUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
MEMBERS = 3
KILL_EVERY_SECONDS = 2.0
SESSION_SECONDS = 6.0
DRAIN_SECONDS = 120.0
FILES_SECONDS = 0.25
"""Between two looks into the files of all members, which take a while."""


@pytest.fixture
def cluster(fault_cluster: FaultCluster) -> FaultCluster:
    fault_cluster.create_topic(TOPIC, partitions=PARTITIONS)
    return fault_cluster


class Handed(NamedTuple):
    """A message that a member was handed."""

    seconds: float
    partition: int
    offset: int
    value: str


class Members:
    """Processes that read as members of one group, which no other test has."""

    def __init__(self, address: str, directory: Path):
        self.address = address
        self.directory = directory
        self.group = f"billing-{directory.name}"
        self.session_s = SESSION_SECONDS
        self.messages_max = 3_000
        """After so many at the latest, a member closes its consumer and opens another."""
        self._numbers = itertools.count()
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def launch(self) -> int:
        """Start one and return its number."""
        number = next(self._numbers)
        session_ms = str(int(self.session_s * 1000))
        arguments = [
            self.address,
            TOPIC,
            self.group,
            session_ms,
            str(self.messages_max),
            str(SEED + number),
        ]
        with self.errors(number).open("wb") as errors:
            self.running[number] = popen(
                [
                    *(sys.executable, "-m", "tests.cluster.group_member"),
                    *arguments,
                    str(self.file(number)),
                ],
                cwd=ROOT,
                stderr=errors,
            )
        return number

    def file(self, number: int) -> Path:
        return self.directory / f"member-{number}.txt"

    def errors(self, number: int) -> Path:
        return self.directory / f"member-{number}.errors"

    def end(self, number: int, how: signal.Signals) -> None:
        """Kill one, or have it end by itself, which must succeed."""
        process = self.running.pop(number)
        assert process.poll() is None, self.errors(number).read_text()
        # It is there from when the member takes signals.
        wait_until(self.file(number).exists, what=f"member {number} runs")
        process.send_signal(how)
        status = process.wait(60)
        if how is not signal.SIGKILL:
            assert status == 0, self.errors(number).read_text()

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()

    def lines(self, kind: str) -> list[list[str]]:
        """Return the lines of a kind of all members, without their kinds, in the order of time."""
        found = []
        for path in self.directory.glob("member-*.txt"):
            # The last line of one that was killed may be cut off.
            complete = path.read_text().rpartition("\n")[0]
            for line in complete.splitlines():
                head, *fields = line.split(" ", 4)
                if head == kind:
                    found.append(fields)
        return sorted(found, key=lambda fields: float(fields[0]))

    def handed(self) -> list[Handed]:
        return [Handed(float(s), int(p), int(o), v) for s, p, o, v in self.lines("H")]

    def partitions_of(self, number: int) -> int:
        """Return how many partitions a member said last that it has."""
        if not self.file(number).exists():
            return 0
        told = [line for line in self.file(number).read_text().splitlines() if line[:1] == "A"]
        return int(told[-1].split()[2]) if told else 0


@pytest.fixture
def members(cluster: FaultCluster, tmp_path: Path) -> Iterator[Members]:
    members = Members(cluster.manager.address, tmp_path)
    yield members
    members.close()


def check_order(handed: list[Handed]) -> int:
    """Check that no partition was skipped over anywhere; return how many were handed out again."""
    following: dict[int, int] = defaultdict(int)
    repeated = 0
    for one in handed:
        assert one.offset <= following[one.partition], f"a gap before {one}"
        repeated += one.offset < following[one.partition]
        following[one.partition] = max(following[one.partition], one.offset + 1)
    return repeated


def check_committed(handed: list[Handed], commits: list[list[str]]) -> None:
    """Check that nothing was handed out again after it was known to be committed."""
    events: list[tuple[float, int, int, int]] = [
        *((float(s), 0, int(p), int(o)) for s, p, o in commits),
        *((one.seconds, 1, one.partition, one.offset) for one in handed),
    ]
    committed: dict[int, int] = defaultdict(int)
    for seconds, is_handed, partition, offset in sorted(events):
        if not is_handed:
            committed[partition] = max(committed[partition], offset)
        else:
            assert offset >= committed[partition], (
                f"{partition}/{offset} was handed out at {seconds} after {committed[partition]}"
                " was committed"
            )


def test_members_under_kills_and_a_restart_of_the_manager(
    cluster: FaultCluster, members: Members, say: Callable[[str], None]
) -> None:
    chance = random.Random(SEED)
    for _ in range(MEMBERS):
        members.launch()
    with Producer(TOPIC, cluster.manager.address) as producer:
        threads = Threads(producer)
        threads.start()
        for number in range(ROUNDS):
            time.sleep(KILL_EVERY_SECONDS)
            broker = cluster.brokers[chance.choice(sorted(cluster.brokers))]
            broker.kill()
            broker.launch()
            how = signal.SIGTERM if number % 2 else signal.SIGKILL
            members.end(chance.choice(sorted(members.running)), how)
            if number == ROUNDS // 2:
                cluster.manager.kill()
                cluster.manager.start()
            members.launch()
            broker.wait_healthy()
        threads.wait_for_more()
        threads.end()
    count = stored_count(cluster)

    def all_read() -> bool:
        return len({one[1:3] for one in members.handed()}) >= count

    what = f"{count} messages are read"
    wait_until(all_read, what=what, seconds=DRAIN_SECONDS, pause_s=FILES_SECONDS)
    for member in list(members.running):
        members.end(member, signal.SIGTERM)
    handed = members.handed()
    repeated = check_order(handed)
    check_committed(handed, members.lines("C"))
    read = {(one.partition, one.offset): one.value for one in handed}
    assert len(read) == count
    for one in handed:
        assert read[one.partition, one.offset] == one.value
    acknowledged = {value: place for one in threads.acknowledged for value, place in one.items()}
    for value, place in acknowledged.items():
        assert read.get(place) == value, f"{value} was acknowledged at {place} and not read"
    say(
        f"kill -9 every {KILL_EVERY_SECONDS:g} s of a broker and every other time of a member,"
        f" {ROUNDS} rounds, and the manager: {count} stored and read, lost: 0, handed out again"
        f" (uncommitted): {repeated}, told of a loss: {len(members.lines('L'))}; seed {SEED}"
    )


def test_a_dead_members_partitions_move_within_the_session_timeout(
    cluster: FaultCluster, members: Members, say: Callable[[str], None]
) -> None:
    members.session_s = 3.0
    first, second = members.launch(), members.launch()
    with Producer(TOPIC, cluster.manager.address) as producer:
        producer.produce_many(TOPIC, [str(number) for number in range(300)])

    def shared() -> bool:
        return (
            members.partitions_of(first) > 0
            and members.partitions_of(first) + members.partitions_of(second) == PARTITIONS
        )

    wait_until(shared, what="both have partitions")
    pids = [members.running[second].pid, *cluster.pids()]
    waited, killed = Waited(pids), time.monotonic()
    members.end(first, signal.SIGKILL)
    wait_until(lambda: members.partitions_of(second) == PARTITIONS, what="the other has all")
    seconds, for_processor = time.monotonic() - killed, waited.seconds
    say(
        f"kill -9 of a member with a session timeout of {members.session_s:g} s: its partitions"
        f" are with the other after {seconds:.2f} s"
    )
    assert seconds - for_processor <= members.session_s


def test_members_go_on_without_a_manager(
    cluster: FaultCluster, members: Members, say: Callable[[str], None]
) -> None:
    members.session_s, members.messages_max = 2.0, 10_000_000
    for _ in range(2):
        members.launch()

    def last_commit() -> float:
        commits = members.lines("C")
        return float(commits[-1][0]) if commits else 0.0

    with Producer(TOPIC, cluster.manager.address) as producer:
        producer.enqueue(TOPIC, "first")
        threads = Threads(producer)
        threads.start()
        wait_until(last_commit, what="something is committed", pause_s=FILES_SECONDS)
        cluster.manager.kill()
        stopped = time.monotonic()
        until = stopped + members.session_s * 2.5
        wait_until(
            lambda: last_commit() > until,
            what="commits go on without a manager",
            pause_s=FILES_SECONDS,
        )
        away = time.monotonic() - stopped
        cluster.manager.start()
        threads.end()
    count = stored_count(cluster)
    wait_until(
        lambda: len({one[1:3] for one in members.handed()}) >= count,
        what=f"{count} messages are read",
        seconds=DRAIN_SECONDS,
        pause_s=FILES_SECONDS,
    )
    for member in list(members.running):
        members.end(member, signal.SIGTERM)
    handed = members.handed()
    check_committed(handed, members.lines("C"))
    say(
        f"no manager for {away:.1f} s with sessions of {members.session_s:g} s: members read and"
        f" commit; {count} read, {check_order(handed)} of them again"
    )


def test_a_group_is_forgotten_and_begins_anew(cluster: FaultCluster, members: Members) -> None:
    with Producer(TOPIC, cluster.manager.address) as producer:
        producer.produce_many(TOPIC, ["a", "b", "c"], partition=0)
    for count in (3, 6):
        member = members.launch()
        wait_until(partial(read_so_many, members, count), what="all are read")
        members.end(member, signal.SIGTERM)
        with Client(cluster.manager.address) as client:
            client.delete_group(members.group)


def read_so_many(members: Members, count: int) -> bool:
    return len(members.handed()) == count
