"""The data directory of a cluster: recognised, locked, emptied, and described by `cluster.json`."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

from queuesite.conf import SECRET_FILE, ConfigError
from raft_app.storage.directory import LOCK_NAME, DirectoryLock

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER_FILE = "cluster.json"
LOGS = "logs"
FORMAT_VERSION = 1
_OWN_NAMES = re.compile(
    rf"manager|broker-[0-9]+|{LOGS}|{re.escape(CLUSTER_FILE)}(\.new)?|{re.escape(SECRET_FILE)}"
    rf"|{re.escape(LOCK_NAME)}"
)


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
        """Let another process in."""
        self._lock.release()

    def foreign_names(self) -> list[str]:
        """Return the names in the directory that no cluster made."""
        if not self.path.is_dir():
            return []
        return sorted(
            entry.name for entry in self.path.iterdir() if not _OWN_NAMES.fullmatch(entry.name)
        )

    def reset(self) -> None:
        """Delete what a cluster made, and nothing else. The lock is held by this process."""
        for entry in self.path.iterdir():
            if entry.name == LOCK_NAME or not _OWN_NAMES.fullmatch(entry.name):
                continue
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
