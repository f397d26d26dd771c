"""Frames that wait for one peer: control frames first, each kind bounded, without any I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http_base.memory_budget import MemoryShare
    from raft_app.transport.frames import EncodedFrame


class SendQueue:
    """Two bounded queues; what does not fit is refused, never what already waits."""

    def __init__(
        self, *, max_control_bytes: int, max_append_bytes: int, share: MemoryShare
    ) -> None:
        """Start empty.

        Args:
            max_control_bytes: bound of control frames.
            max_append_bytes: bound of the others.
            share: counts the frames for all peers, and bounds those that are no control frames.
        """
        self._share = share
        self._max_control_bytes = max_control_bytes
        self._max_append_bytes = max_append_bytes
        self._control: deque[EncodedFrame] = deque()
        self._appends: deque[EncodedFrame] = deque()
        self._control_bytes = 0
        self._append_bytes = 0
        self.count = 0
        """Frames that wait."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all that waits."""
        return self._control_bytes + self._append_bytes

    def put_control(self, frame: EncodedFrame) -> bool:
        """Queue a frame that overtakes appends; false when there is no room for it."""
        size = self._control_bytes + frame.size_bytes
        if size > self._max_control_bytes:
            return False
        self._control_bytes = size
        self._control.append(frame)
        self.count += 1
        self._share.move(frame.size_bytes)
        return True

    def put_append(self, frame: EncodedFrame) -> bool:
        """Queue an AppendEntries frame; false when there is no room for it."""
        size = self._append_bytes + frame.size_bytes
        if size > self._max_append_bytes or not self._share.admits(
            frame.size_bytes, held_bytes=self._append_bytes
        ):
            return False
        self._append_bytes = size
        self._appends.append(frame)
        self.count += 1
        self._share.move(frame.size_bytes)
        return True

    def take(self, max_bytes: int) -> list[EncodedFrame]:
        """Remove and return the next frames: about `max_bytes`, at least one if any waits."""
        frames = []
        size = 0
        while self._control and size < max_bytes:
            frame = self._control.popleft()
            self._control_bytes -= frame.size_bytes
            size += frame.size_bytes
            frames.append(frame)
        while self._appends and size < max_bytes:
            frame = self._appends.popleft()
            self._append_bytes -= frame.size_bytes
            size += frame.size_bytes
            frames.append(frame)
        if frames:
            self.count -= len(frames)
            self._share.move(-size)
        return frames

    def clear(self) -> tuple[int, int]:
        """Drop everything; return how many control and how many append frames that were."""
        counts = len(self._control), len(self._appends)
        self._share.move(-self.size_bytes)
        self._control.clear()
        self._appends.clear()
        self._control_bytes = self._append_bytes = self.count = 0
        return counts
