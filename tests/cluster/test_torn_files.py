"""The write-ahead log of a killed broker, cut and changed at many places.

The broker is killed inside a sync that hangs: what it wrote since the sync before was promised to
nobody and may be lost in any part; everything before it was acknowledged and must be missed.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from myqueue import Producer
from raft_app.storage.sqlite.storage import SqliteStorage
from raft_app.storage.wal.doubt import doubt_about
from raft_app.storage.wal.scan import WAL_HEADER_BYTES
from tests.cluster.processes import wait_until
from tests.cluster.replicas import settled_replicas
from tests.cluster.rounds import MANY
from tests.cluster.stream import Stream, check_history
from tests.cluster.wal_files import WAL, receipt_in, synced_bytes, written_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cluster.disks import DisksCluster
    from tests.cluster.kept import Kept

pytestmark = pytest.mark.cluster

TOPIC = "values"
HANGING_MS = 600_000
SEED = int(os.environ.get("CLUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
STARTS = 200 if MANY else 12
"""Cuts after which the storage is really opened; of all others the verdict alone is asked."""
DAMAGES = 100 if MANY else 3
"""Places drawn by chance, of each kind of damage."""
STEP = 1 if MANY else 7
"""Between two lengths whose verdict is asked."""
ZEROS_STEP = 1_009 if MANY else 4_099
"""Between two of them in the zeros; no divisor of a frame, so that cuts are all over frames."""


@dataclass
class Torn:
    """What a broker left that was killed inside a sync."""

    directory: Path
    last_index: int
    """Of its replica, stored and acknowledged."""
    synced_bytes: int
    """The log up to the end of what was synced."""
    written_bytes: int
    """The log up to the end of what was written; the rest are zeros that make room."""
    wal: bytes

    def copy(self, place: Path, wal: bytes) -> Path:
        """Return a copy of the directory with another log."""
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.directory, place, ignore=shutil.ignore_patterns("*-shm", WAL))
        (place / WAL).write_bytes(wal)
        return place


class TornCluster:
    """A cluster one of whose followers is down, killed inside a sync."""

    def __init__(self, disks: DisksCluster, directory: Path) -> None:
        self.cluster = cluster = disks.cluster
        cluster.create_topic(TOPIC)
        leader = cluster.leader_id(TOPIC)
        self.victim = min(set(cluster.brokers) - {leader})
        self.broker = cluster.brokers[self.victim]
        disk = disks.disks[self.victim]
        self.broker.kill()
        self.broker.start()  # its log begins anew
        self.stream = Stream(cluster, TOPIC)
        with self.stream:
            self.stream.wait_for_more(5)
        [last_index] = {one["last_index"] for one in settled_replicas(cluster, TOPIC, 1)}
        syncs_before = disk.syncs
        disk.slow(HANGING_MS, HANGING_MS)
        with Producer(TOPIC, cluster.manager.address) as producer:
            producer.enqueue(TOPIC, "p0|1000000")  # the others are a quorum
        self.stream.histories[0].acknowledged.append("p0|1000000")
        wait_until(lambda: disk.syncs > syncs_before, what="the follower syncs")
        self.broker.kill()
        disk.heal()
        kept = shutil.copytree(self.broker.directory, directory / "left")
        self.left = Torn(
            kept, last_index, synced_bytes(kept), written_bytes(kept), (kept / WAL).read_bytes()
        )
        assert self.left.written_bytes > self.left.synced_bytes, "killed before it wrote"


@pytest.fixture(scope="module")
def broken(
    kept_bad_disks: Kept[DisksCluster], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TornCluster]:
    with kept_bad_disks.lent() as disks:
        broken = TornCluster(disks, tmp_path_factory.mktemp("torn"))
        yield broken
        if not broken.broker.runs:
            broken.broker.start()


@pytest.fixture
def storage_of(django_db_blocker) -> Iterator[Callable[[Path], tuple[str, int]]]:
    """Open a directory as a broker does; tell why its replica is faulty, and its last index."""

    def opened(directory: Path) -> tuple[str, int]:
        storage = SqliteStorage(directory)
        storage.open()
        try:
            [group] = storage.load_groups()
            return group.faulty, group.initial.last_index
        finally:
            storage.close()

    with django_db_blocker.unblock():
        yield opened


def test_log_cut_anywhere_after_the_last_sync_has_lost_nothing(
    broken: TornCluster,
    tmp_path: Path,
    storage_of: Callable[[Path], tuple[str, int]],
    say: Callable[[str], None],
) -> None:
    """The file ends there, or what was written does: how long a file is may outlive its bytes."""
    left = broken.left
    synced, written, whole = left.synced_bytes, left.written_bytes, len(left.wal)
    place = left.copy(tmp_path / "copy", left.wal)
    receipt = receipt_in(place)
    in_zeros, in_written = range(whole, written, -ZEROS_STEP), range(written, synced - 1, -STEP)
    with (place / WAL).open("r+b") as wal:
        for length in in_zeros:
            wal.truncate(length)
            assert doubt_about(place, None, receipt) == "", length
        for length in in_written:
            wal.truncate(length)
            assert doubt_about(place, None, receipt) == "", length
            wal.truncate(whole)
            assert doubt_about(place, None, receipt) == "", f"zeros from {length} on"
    chance = random.Random(SEED)
    cuts = [synced, synced + 1, written - 1, written]
    cuts += chance.sample(range(synced, written), min(STARTS, written - synced))
    lengths = [*cuts, whole - 1, whole]
    lengths += chance.sample(range(written, whole), min(DAMAGES, whole - written))
    logs = {f"cut at {at}": left.wal[:at] for at in lengths}
    logs |= {f"zeros from {at} on": left.wal[:at].ljust(whole, b"\0") for at in cuts}
    for damage, damaged in logs.items():
        faulty, last_index = storage_of(left.copy(place, damaged))
        assert faulty == "", damage
        assert last_index >= left.last_index, damage
    say(
        f"write-ahead log of {written} bytes and {whole - written} zeros, synced up to {synced},"
        f" cut at {len(in_written)} places of what was written and {len(in_zeros)} of the zeros: no"
        f" doubt; {len(logs)} opened: nothing lost; seed {SEED}"
    )


def flipped(wal: bytes, position: int) -> bytes:
    changed = bytearray(wal)
    changed[position] ^= 4
    return bytes(changed)


def test_log_cut_or_changed_before_the_last_sync_makes_the_replica_faulty(
    broken: TornCluster,
    tmp_path: Path,
    storage_of: Callable[[Path], tuple[str, int]],
    say: Callable[[str], None],
) -> None:
    left = broken.left
    chance = random.Random(SEED)
    ends = [0, 1, WAL_HEADER_BYTES, WAL_HEADER_BYTES + 1, left.synced_bytes - 1]
    cuts = [*ends, *chance.sample(range(left.synced_bytes), DAMAGES)]
    # The last eight bytes of its header tell of nothing that SQLite or the scan believes.
    flips = [0, 16, 24, WAL_HEADER_BYTES, left.synced_bytes - 1]
    flips += chance.sample(range(WAL_HEADER_BYTES, left.synced_bytes), DAMAGES)
    for damage, damaged in (
        *((f"cut at {at}", left.wal[:at]) for at in cuts),
        *((f"bit of {at} flipped", flipped(left.wal, at)) for at in flips),
    ):
        place = left.copy(tmp_path / "copy", damaged)
        faulty, _ = storage_of(place)
        assert faulty, damage
        assert (place / "damaged-1" / "broker.sqlite3").exists(), damage
    say(
        f"write-ahead log cut at {len(cuts)} places and changed at {len(flips)} before the last"
        f" sync: replica faulty each time, database kept aside; seed {SEED}"
    )


def test_broker_with_a_torn_log_comes_back_as_the_same_replica(
    broken: TornCluster, say: Callable[[str], None]
) -> None:
    left, cluster = broken.left, broken.cluster
    assert not broken.broker.runs
    length = (left.synced_bytes + left.written_bytes) // 2
    os.truncate(broken.broker.directory / WAL, length)
    broken.broker.start()
    replica = cluster.replica(broken.victim, TOPIC)
    assert not replica["faulty"]
    found = check_history(cluster, broken.stream)
    broken.broker.kill()
    say(
        f"broker started on a log cut {left.written_bytes - length} bytes before the end of what"
        f" was written: same replica; {found['acknowledged']} acknowledged; lost, doubled,"
        " invented, reordered: 0"
    )
