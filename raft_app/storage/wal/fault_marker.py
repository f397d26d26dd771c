"""The note that a broker's disk failed, left for the next start.

A fixed place in a file that is made in advance and overwritten where it lies: that needs no free
space, no new file and no open descriptor when nothing else works any more.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from raft_app.failpoints import reach
from raft_app.storage.protocol import StorageRefusal
from raft_app.storage.sqlite.directory import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

MARKER_NAME = "fault"
MARKER_BYTES = 512
"""One disk sector, which is written whole or not at all."""


class FaultMarker:
    """The file `directory/fault`: blank, or why everything in the directory is in doubt."""

    def __init__(self, directory: Path) -> None:
        """Remember the directory; nothing is touched yet."""
        self.path = directory / MARKER_NAME
        self._descriptor = -1

    def open(self) -> str:
        """Make the file if there is none, keep it open, return the reason in it or nothing.

        Raises:
            StorageRefusal: it cannot be made or read.
        """
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            content = os.pread(self._descriptor, MARKER_BYTES, 0)
            if len(content) < MARKER_BYTES:
                self._overwrite(content.strip())
                sync_directory(self.path.parent)
        except OSError as error:
            self.close()
            raise StorageRefusal(f"{self.path} cannot be used: {error.strerror}") from error
        return content.decode(errors="replace").strip()

    def mark(self, reason: str) -> None:
        """Write down why nothing in the directory may be trusted; durable when this returns.

        Raises:
            OSError: the disk refused that, too.
        """
        assert reason.strip(), "a marker needs a reason"
        self._overwrite(reason.replace("\n", " ").encode()[: MARKER_BYTES - 1])
        reach("doubt.marked")

    def clear(self) -> None:
        """Take the reason back, durably.

        Raises:
            OSError: the disk refused.
        """
        self._overwrite(b"")

    def close(self) -> None:
        """Close the file. Does nothing when it is not open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _overwrite(self, content: bytes) -> None:
        os.pwrite(self._descriptor, content.ljust(MARKER_BYTES - 1) + b"\n", 0)
        reach("marker.written")
        os.fsync(self._descriptor)
