"""What the directory of one broker goes through: writes, its first start, doubt, an upgrade."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from raft_app.core.types import HardState
from raft_app.storage.protocol import AdoptGroup, SaveIdentity, SetFaulty
from raft_app.storage.sqlite.manifest import ManifestFile
from raft_app.storage.sqlite.storage import SqliteStorage
from raft_app.storage.wal.fault_marker import FaultMarker
from tests.raft_app.storage.snapshot_child import verify
from tests.raft_app.storage.snapshot_writes import WRITES_PER_CYCLE, models, writes
from tests.raft_app.storage.storage_harness import (
    append,
    create,
    data_entry,
    noop,
    only_group,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FILE = "broker.sqlite3"
FIRST = 1 + WRITES_PER_CYCLE
END = 1 + 2 * WRITES_PER_CYCLE
OLDER = (
    "ALTER TABLE raft_app_raftgroup DROP COLUMN acknowledged_index",
    "ALTER TABLE raft_app_raftgroup DROP COLUMN acknowledged_term",
    "DELETE FROM django_migrations WHERE name = '0002_acknowledged_end'",
    "UPDATE raft_app_brokeridentity SET format_version = 1",
)


def opened(place: Path) -> SqliteStorage:
    storage = SqliteStorage(place, wal_limit_bytes=64 << 10)
    storage.open()
    return storage


class Writes:
    """One cycle of appends, votes, a checkpoint, a snapshot, a compaction, a truncation."""

    samples = 2
    points: Sequence[str] = ()

    @cached_property
    def expected(self) -> list[dict[str, Any]]:
        return models(FIRST, END + 1)

    def prepare(self, place: Path) -> None:
        storage = opened(place)
        for operations in islice(writes(), FIRST):
            storage.write(operations)

    def live(self, place: Path, done: int, tell: Callable[[str], None]) -> None:
        storage = opened(place)
        for operations in islice(writes(), FIRST + done, END):
            storage.write(operations)
            tell("written")
        storage.close()

    def check(self, place: Path, done: int, _told: list[str]) -> int:
        return verify(place, self.expected, first=FIRST, done=done)


class FirstStart:
    """A directory comes to be, gets a replica, and a broker id; then the replica goes."""

    samples = 2
    points: Sequence[str] = (
        *("identity.tables-made", "identity.stored", "marker.written"),
        *("manifest.written", "manifest.renamed", "manifest.appended", "write.listed"),
        "close.connections-closed",
    )

    def prepare(self, place: Path) -> None:
        pass

    def live(self, place: Path, done: int, tell: Callable[[str], None]) -> None:
        storage = SqliteStorage(place)
        identity = storage.open()
        if not done:
            tell(identity.incarnation)
        named = replace(identity, broker_id=7, cluster_id="c1", epoch=3)
        for operation in [create(), SaveIdentity(named), create(2)][max(0, done - 1) :]:
            storage.write([operation])
            tell("written")
        storage.close()

    def check(self, place: Path, done: int, told: list[str]) -> int:
        storage = SqliteStorage(place)
        identity = storage.open()
        replicas = {group.spec.group_id for group in storage.load_groups()}
        steps = [bool(told), 1 in replicas, identity.broker_id == 7, 2 in replicas]
        there = steps.index(False) if False in steps else len(steps)
        assert not any(steps[there:])
        assert there in (done, done + 1)
        assert not told or identity.incarnation == told[0]
        manifest = ManifestFile(place).read()
        assert manifest is not None
        assert (manifest.identity, manifest.replicas.keys()) == (identity, replicas)
        storage.close()
        return there


class Doubt:
    """A directory whose disk failed: the database is put aside, its replicas become faulty."""

    samples = 2
    points: Sequence[str] = (
        *("doubt.marked", "doubt.set-aside", "doubt.started-over", "identity.stored"),
        *("aside.made", "aside.moved", "aside.named", "marker.written"),
    )

    def prepare(self, place: Path) -> None:
        storage = SqliteStorage(place)
        storage.open()
        storage.write([create(1), create(2, replica_id=5), append(data_entry(1))])
        storage.close()
        marker = FaultMarker(place)
        marker.open()
        marker.mark("the disk failed")
        shutil.copy(place / FILE, place / "kept")

    def live(self, place: Path, _done: int, tell: Callable[[str], None]) -> None:
        storage = SqliteStorage(place)
        storage.open()
        storage.close()
        tell("started")

    def check(self, place: Path, done: int, _told: list[str]) -> int:
        storage = SqliteStorage(place)
        storage.open()
        groups = storage.load_groups()
        assert [(group.spec.group_id, group.spec.replica_id) for group in groups] == [
            (1, 1),
            (2, 5),
        ]
        assert all("the disk failed" in group.faulty for group in groups)
        assert storage.used_replica_ids(2) == {5}
        assert (place / "damaged-1" / FILE).read_bytes() == (place / "kept").read_bytes()
        storage.close()
        return done


class Upgrade:
    """A directory of an older program is opened."""

    samples = 2
    points: Sequence[str] = ("upgrade.tables-changed", "manifest.written", "manifest.renamed")

    def prepare(self, place: Path) -> None:
        storage = SqliteStorage(place)
        storage.open()
        storage.write([create(), append(data_entry(1))])
        storage.close()
        with closing(sqlite3.connect(place / FILE, isolation_level=None)) as connection:
            for statement in OLDER:
                connection.execute(statement)
        file = ManifestFile(place)
        manifest = file.read()
        assert manifest is not None
        file.write(replace(manifest, identity=replace(manifest.identity, format_version=1)))

    def live(self, place: Path, _done: int, tell: Callable[[str], None]) -> None:
        storage = SqliteStorage(place)
        storage.open()
        storage.close()
        tell("opened")

    def check(self, place: Path, done: int, _told: list[str]) -> int:
        storage = SqliteStorage(place)
        assert storage.open().format_version == 2
        group = only_group(storage)
        assert (group.faulty, group.initial.entries) == ("", (data_entry(1),))
        storage.close()
        return done


class Adoption:
    """A faulty replica goes on under another id."""

    samples = 2
    points: Sequence[str] = ("adopt.row", "manifest.appended", "write.listed", "manifest.renamed")

    def prepare(self, place: Path) -> None:
        storage = SqliteStorage(place)
        storage.open()
        storage.write([create(), append(data_entry(1)), SetFaulty(1, "an older copy")])
        storage.close()

    def live(self, place: Path, done: int, tell: Callable[[str], None]) -> None:
        storage = SqliteStorage(place)
        storage.open()
        if not done:
            spec = replace(create().spec, replica_id=99)
            storage.write([AdoptGroup(spec, HardState(5, 0, 0), (noop(2, term=5),))])
            tell("written")
        storage.close()

    def check(self, place: Path, done: int, _told: list[str]) -> int:
        storage = SqliteStorage(place)
        storage.open()
        group = only_group(storage)
        there = int(group.spec.replica_id == 99)
        assert there >= done
        assert group.faulty == ("" if there else "an older copy")
        assert group.initial.last_index == (2 if there else 0)
        assert storage.used_replica_ids(1) == ({1, 99} if there else {1})
        manifest = ManifestFile(place).read()
        assert manifest is not None
        assert manifest.replicas[1] == group.spec
        storage.close()
        return there
