"""Data directories as a process leaves them that is killed, or whose machine loses power."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from raft_app.storage.protocol import BrokerIdentity, SaveIdentity
from raft_app.storage.sqlite.storage import SqliteStorage
from raft_app.storage.wal.scan import WAL_HEADER_BYTES
from tests.raft_app.storage.storage_harness import append, create, data_entry

if TYPE_CHECKING:
    from pathlib import Path

    from raft_app.storage.protocol import Operation

GROUP_IDS = (1, 2, 3)
WAL = "broker.sqlite3-wal"
DATABASE = "broker.sqlite3"
RECEIPT = "wal-receipt"
WRITES = 8
FRAME_BYTES = 24 + 4096


def without_zeros(wal: bytes) -> bytes:
    """Return a WAL up to the end of the last frame with something in it."""
    frames = -(-(len(wal.rstrip(b"\0")) - WAL_HEADER_BYTES) // FRAME_BYTES)
    return wal[: WAL_HEADER_BYTES + max(0, frames) * FRAME_BYTES]


@dataclass(frozen=True)
class Files:
    """The content of a directory at one moment, but for what only a running process needs.

    The WAL ends with its last frame: what `test_scan` shows of zeros behind it.
    """

    content: dict[str, bytes]

    @classmethod
    def of(cls, directory: Path) -> Files:
        content = {
            path.name: path.read_bytes()
            for path in directory.iterdir()
            if path.is_file() and not path.name.endswith("-shm")
        }
        if WAL in content:
            content[WAL] = without_zeros(content[WAL])
        return cls(content)

    def placed(self, directory: Path) -> Path:
        directory.mkdir()
        for name, content in self.content.items():
            (directory / name).write_bytes(content)
        return directory

    def changed(self, **by_name: bytes | None) -> Files:
        """Return files with other content; keys are the constants above, `None` is no file."""
        names = {"wal": WAL, "database": DATABASE, "receipt": RECEIPT, "manifest": "manifest"}
        content = dict(self.content)
        for name, new in by_name.items():
            if new is None:
                del content[names[name]]
            else:
                content[names[name]] = new
        return replace(self, content=content)

    @property
    def wal(self) -> bytes:
        return self.content[WAL]


@dataclass(frozen=True)
class Life:
    """What a broker's directory held after each acknowledged transaction."""

    identity: BrokerIdentity
    moments: list[Files] = field(default_factory=list)
    """The last is that of the last transaction; entry i is acknowledged in the i-th from 1."""

    @property
    def before(self) -> Files:
        return self.moments[-2]

    @property
    def last(self) -> Files:
        return self.moments[-1]


def write_of(index: int) -> list[Operation]:
    return [
        append(data_entry(index, data=b"%d-%d" % (group_id, index) * 50), group_id=group_id)
        for group_id in GROUP_IDS
    ]


def make_life(directory: Path) -> Life:
    """Live, and die without closing."""
    storage = SqliteStorage(directory)
    identity = replace(storage.open(), broker_id=7, cluster_id="c1")
    life = Life(identity)
    storage.write([SaveIdentity(identity), *(create(group_id) for group_id in GROUP_IDS)])
    life.moments.append(Files.of(directory))
    for index in range(1, WRITES + 1):
        storage.write(write_of(index))
        life.moments.append(Files.of(directory))
    storage.close()
    return life
