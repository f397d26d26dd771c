"""What is on its way to each peer, of all groups led here: bounded, and shared in turns.

Each group bounds by itself what it has under way to a follower. Of hundreds of groups that makes
gigabytes, which wait before the connection here, or before the disk there. So there is one more
bound for each peer. While there is room nobody notices it. Once it is reached, the groups that have
something to send wait in a row; with each acknowledgement that makes room the first one sends one
AppendEntries and goes to the end of the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from raft_app.core.progress import Progress
    from raft_app.core.rawnode import RawNode

UNCOUNTED_BYTES = 4 << 10
"""A group with no more on its way to any follower is not counted, unless groups wait for room. That
is about turns alone: the memory of all entries is counted in the budget, wherever they wait."""


class PeerWindow:
    """Entries on their way to one peer that it has not acknowledged."""

    def __init__(self) -> None:
        self.used_bytes = 0
        self.turn: int | None = None
        """The group that may send one AppendEntries now, though others wait too."""
        self.waiting: dict[int, None] = {}
        """Groups with more to send than there is room for, which has waited longest first."""
        self._held: dict[int, int] = {}
        """Bytes by group."""

    def limit_of(self, group_id: int, max_bytes: int) -> int:
        """Return with how many bytes under way a group sends no more.

        Args:
            group_id: the group.
            max_bytes: of the window.
        """
        held = self._held.get(group_id, 0)
        if group_id == self.turn:
            return held + 1
        return held if self.waiting else held + max(0, max_bytes - self.used_bytes)

    def hold(self, group_id: int, size_bytes: int) -> None:
        """Take in what a group has under way now."""
        self.used_bytes += size_bytes - self._held.pop(group_id, 0)
        if size_bytes:
            self._held[group_id] = size_bytes

    def count(self, group_id: int, size_bytes: int, *, waits: bool) -> None:
        """Take in what a group has under way after it could send, and whether it waits for room."""
        self.hold(group_id, size_bytes)
        if group_id == self.turn:
            self.turn = None
            del self.waiting[group_id]
        if not waits:
            self.waiting.pop(group_id, None)
        elif group_id not in self.waiting:
            self.waiting[group_id] = None

    def give_turn(self, max_bytes: int) -> int | None:
        """Let the group that has waited longest send, if there is room; return it."""
        if self.turn is not None or not self.waiting or self.used_bytes >= max_bytes:
            return None
        self.turn = next(iter(self.waiting))
        return self.turn


class PeerWindows:
    """The windows of one broker, by the broker id of the peer; lives in the engine's loop."""

    def __init__(self, *, peer_bytes_max: int, total_bytes_max: int, group_bytes_max: int) -> None:
        """Make them.

        Args:
            peer_bytes_max: most bytes on their way to one peer, but for the AppendEntries that
                reaches the bound.
            total_bytes_max: of all peers together.
            group_bytes_max: what one group has on its way to one peer by its own configuration.
        """
        self._peer_bytes_max = peer_bytes_max
        self._total_bytes_max = total_bytes_max
        self._group_bytes_max = group_bytes_max
        self.peer_bytes = min(peer_bytes_max, total_bytes_max)
        """Most bytes on their way to one peer."""
        self._windows: dict[int, PeerWindow] = {}
        self._counted: dict[int, set[int]] = {}
        """By group: the peers to whom something is on its way, or would be."""
        self.is_tight = False
        """Some group could exceed the bound by what its own configuration allows."""

    @classmethod
    def unbounded(cls) -> PeerWindows:
        """Return windows that are never full."""
        return cls(peer_bytes_max=1 << 62, total_bytes_max=1 << 62, group_bytes_max=0)

    def used_bytes(self, broker_id: int) -> int:
        """Return what is on its way to a peer."""
        window = self._windows.get(broker_id)
        return window.used_bytes if window else 0

    def limits(self, group_id: int, peers: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        """Return what a group may have on its way, for `RawNode.limit_inflight`.

        Args:
            group_id: led here.
            peers: replica id of a follower -> (its broker id, bytes on their way to it now).
        """
        limits: dict[int, int] = {}
        counted = self._counted.setdefault(group_id, set())
        for replica_id, (broker_id, size_bytes) in peers.items():
            window = self._window(broker_id)
            window.hold(group_id, size_bytes)
            counted.add(broker_id)
            limits[replica_id] = window.limit_of(group_id, self.peer_bytes)
        return limits

    def count(self, group_id: int, under_way: Iterable[tuple[int, int, bool]]) -> None:
        """Take in what a group has on its way after it could send.

        Args:
            group_id: of this broker, led here or not.
            under_way: (broker id, bytes on their way or being read for it, whether more waits for
                room); none when not led here.
        """
        before = self._counted.pop(group_id, set())
        now: set[int] = set()
        for broker_id, size_bytes, waits in under_way:
            if size_bytes or waits:
                now.add(broker_id)
                window = self._windows.get(broker_id) or self._window(broker_id)
                if waits or window.waiting:
                    window.count(group_id, size_bytes, waits=waits)
                else:
                    window.hold(group_id, size_bytes)
        for broker_id in before - now:
            self._windows[broker_id].count(group_id, 0, waits=False)
        if now:
            self._counted[group_id] = now
        if now or before:
            self._look()

    def turns(self) -> list[int]:
        """Return the groups whose turn it is to send now; they are to be drained."""
        if not self.is_tight:
            return []
        peer_bytes = self.peer_bytes
        turns = (window.give_turn(peer_bytes) for window in self._windows.values())
        return [group_id for group_id in turns if group_id is not None]

    def _look(self) -> None:
        room = self.peer_bytes - self._group_bytes_max
        self.is_tight = False
        for window in self._windows.values():
            if window.waiting or window.used_bytes > room:
                self.is_tight = True

    def _window(self, broker_id: int) -> PeerWindow:
        window = self._windows.get(broker_id)
        if window is None:
            window = self._windows[broker_id] = PeerWindow()
            self.peer_bytes = min(self._peer_bytes_max, self._total_bytes_max // len(self._windows))
        return window


class UnderWay:
    """What one replica has on its way to its followers, as the windows know it."""

    def __init__(
        self,
        windows: PeerWindows,
        group_id: int,
        node: RawNode,
        broker_of: Callable[[int], int],
    ) -> None:
        """Count nothing yet.

        Args:
            windows: of the broker.
            group_id: of the replica.
            node: the replica's.
            broker_of: returns the broker of a replica.
        """
        self._windows = windows
        self._group_id = group_id
        self._node = node
        self._broker_of = broker_of
        self._counted: list[tuple[int, int, bool]] = []
        self._followers: list[tuple[int, Progress]] = []
        """By broker id, of `_followers_of`."""
        self._followers_of: dict[int, Progress] | None = None

    def limit(self) -> None:
        """Let the node know how much it may send, as long as peers have more than enough."""
        node = self._node
        limits: Mapping[int, int] = {}
        if self._windows.is_tight:
            peers = {
                peer: (self._broker_of(peer), self._bytes_of(progress))
                for peer, progress in node.progress.items()
            }
            limits = self._windows.limits(self._group_id, peers)
        if limits != node.inflight_limits:
            node.limit_inflight(limits)

    def count(self) -> None:
        """Tell the windows, once it is worth counting."""
        node = self._node
        if not (node.progress or self._counted or node.inflight_limits):
            return
        if node.progress is not self._followers_of:
            self._followers_of = node.progress
            self._followers = [(self._broker_of(peer), one) for peer, one in node.progress.items()]
        followers: Sequence[tuple[int, Progress]] = self._followers
        is_held_back = bool(node.inflight_limits)
        if not (is_held_back or self._windows.is_tight):
            for _, one in followers:
                if one.inflight_bytes > UNCOUNTED_BYTES or one.wanted:
                    break
            else:
                if not self._counted:
                    return
                followers = ()
        counted = [
            (
                broker_id,
                self._bytes_of(one),
                is_held_back and node.is_held(one.peer),
            )
            for broker_id, one in followers
        ]
        if is_held_back or counted != self._counted:
            self._counted = counted
            self._windows.count(self._group_id, counted)

    def _bytes_of(self, progress: Progress) -> int:
        """Return what is on its way to a follower, or being read for it.

        A learner may wait for long until it is its turn to be read for; nobody waits for that.
        """
        if progress.wanted and progress.peer in self._node.memberships.voters:
            return progress.under_way_bytes
        return progress.inflight_bytes

    def forget(self) -> None:
        """Tell the windows that nothing is on its way any more."""
        self._counted = []
        self._windows.count(self._group_id, ())
