"""The data directory of a cluster: recognised, locked, emptied, and described by `cluster.json`."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from queuesite.conf import BROKER, DATA_ROOT, SECRET_FILE, ConfigError, default_data_dir
from raft_app.storage.sqlite.directory import LOCK_NAME, DirectoryLock

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER_FILE = "cluster.json"
LOGS = "logs"
FORMAT_VERSION = 1
OWN_NAMES = re.compile(
    rf"manager|broker-[0-9]+|{LOGS}|{re.escape(CLUSTER_FILE)}(\.new)?"
    rf"|{re.escape(SECRET_FILE)}(\.\w+\.new)?|{re.escape(LOCK_NAME)}"
)
"""What a cluster makes in its directory."""


class ClusterDirectory:
    """Where `manage.py cluster` keeps everything; one process at a time."""

    def __init__(self, path: Path) -> None:
        """Take a directory; nothing is touched before `acquire`."""
        self.path = path.absolute()
        self._lock = DirectoryLock(self.path)

    @property
    def file(self) -> Path:
        """The file that describes the running cluster."""
        return self.path / CLUSTER_FILE

    def acquire(self) -> None:
        """Make the directory, lock it.

        Raises:
            ConfigError: it holds something else than a cluster's data.
            StorageRefusal: another process uses it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} is no directory")
        foreign = self.foreign_names()
        if foreign:
            raise ConfigError(
                f"{self.path} is no data directory of a cluster: it holds {foreign[0]!r}"
            )
        self._lock.acquire()
        (self.path / LOGS).mkdir(exist_ok=True)

    def release(self) -> None:
        """Give up the lock, so that another process may use the directory."""
        self._lock.release()

    def foreign_names(self) -> list[str]:
        """Return the names in the directory that no cluster made."""
        if not self.path.is_dir():
            return []
        return sorted(
            entry.name for entry in self.path.iterdir() if not OWN_NAMES.fullmatch(entry.name)
        )

    def reset(self) -> None:
        """Delete what a cluster made, and nothing else. The lock is held by this process.

        Raises:
            StorageRefusal: a process that was started by hand uses a folder; nothing is deleted.
        """
        made = [
            entry
            for entry in self.path.iterdir()
            if entry.name != LOCK_NAME and OWN_NAMES.fullmatch(entry.name)
        ]
        with ExitStack() as locks:
            for entry in made:
                if (entry / LOCK_NAME).exists():
                    lock = DirectoryLock(entry)
                    lock.acquire()
                    locks.callback(lock.release)
        for entry in made:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        (self.path / LOGS).mkdir(exist_ok=True)

    def read(self) -> dict[str, Any]:
        """Return what the file says of the last start; empty when there is none."""
        try:
            facts = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def write(self, facts: dict[str, Any]) -> None:
        """Replace the file at once: a reader sees the old or the new, never half."""
        new = self.file.with_name(f"{CLUSTER_FILE}.new")
        new.write_text(json.dumps({"version": FORMAT_VERSION, **facts}, indent=2) + "\n")
        os.replace(new, self.file)


def broker_directory(root: Path, name: str, port: int) -> Path:
    """Return the folder of a broker of a cluster: that of a broker started by hand before it."""
    own, by_hand = root / name, root / f"{BROKER}-{port}"
    return by_hand if by_hand.is_dir() and not own.is_dir() else own


def directory_by_hand(port: int) -> Path:
    """Return the folder of a broker started by hand: that of a cluster's broker before it."""
    own = default_data_dir(BROKER, port)
    names = [
        str(broker["name"])
        for broker in ClusterDirectory(DATA_ROOT).read().get("brokers", ())
        if str(broker["address"]).endswith(f":{port}")
    ]
    made = [DATA_ROOT / name for name in names if (DATA_ROOT / name).is_dir()]
    return made[0] if made and not own.is_dir() else own
