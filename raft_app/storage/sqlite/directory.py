"""A broker's data directory: its names, and the lock that keeps a second process out of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from raft_app.storage.protocol import StorageRefusal

LOCK_NAME = ".lock"
HOLDER_BYTES = 20
"""Length of the lock file: the holder's process id on a line."""


class DirectoryLock:
    """An advisory lock on `directory/.lock`, held until released or until the process ends."""

    def __init__(self, directory: Path) -> None:
        """Remember the directory; nothing is touched yet."""
        self.directory = directory
        self._descriptor = -1

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor >= 0

    def acquire(self) -> None:
        """Make the directory if there is none and lock it.

        Raises:
            StorageRefusal: another holder has it, or the directory cannot be used.
        """
        assert not self.held, f"{self.directory} is locked already"
        try:
            make_durable_directory(self.directory)
            descriptor = os.open(self.directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageRefusal(f"{self.directory} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Overwritten where it lies, so that a full disk refuses no start.
            os.pwrite(descriptor, f"{os.getpid()}\n".rjust(HOLDER_BYTES).encode(), 0)
        except BlockingIOError:
            holder = (
                os.pread(descriptor, HOLDER_BYTES, 0).decode("ascii", "replace").strip()
                or "unknown"
            )
            os.close(descriptor)
            raise StorageRefusal(f"{self.directory} is in use by process {holder}") from None
        except OSError as error:
            os.close(descriptor)
            raise StorageRefusal(f"{self.directory} cannot be locked: {error.strerror}") from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another process in. Does nothing when the lock is not held."""
        if self.held:
            os.close(self._descriptor)
            self._descriptor = -1


def sync_directory(directory: Path) -> None:
    """Make the names of the files in `directory` durable.

    Raises:
        OSError: the disk refused.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_durable_directory(directory: Path) -> None:
    """Create the directory and its missing parents; their names survive a power cut.

    Raises:
        OSError: the disk refused, or something else has the name.
    """
    if directory.is_dir():
        return
    if directory.parent != directory:
        make_durable_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    sync_directory(directory.parent)
