"""One bound on what a process holds in memory of what others send.

The budget is cut into shares, one for each place where bytes wait. The place counts its bytes in
its share. Bytes that wait in two places count in both, so that the process holds less than the sum.

`MemoryShare.admits` only tells whether there is room. Each place refuses in its own way: a body or
a proposal with OVERLOADED; an AppendEntries is dropped, which Raft sends again; a cache drops its
oldest.
"""

from __future__ import annotations

_MIB = 1 << 20

BUDGET_BYTES = 1_024 * _MIB
"""The budget where none is given."""
BUDGET_BYTES_MIN = 256 * _MIB
"""Smallest budget: each share holds the largest record batch, and leaves as much for others."""
_EIGHTH = 8
"""Most shares have an eighth of the budget; the newest batches, which most reads want, have two."""


class MemoryShare:
    """The bytes held in one place. Used in one event loop.

    Attributes:
        name: as `/metrics` shows it.
        limit_bytes: most of them.
        used_bytes: held at the moment.
        refusals: how often something was not admitted.
    """

    __slots__ = ("limit_bytes", "name", "refusals", "used_bytes")

    def __init__(self, name: str, limit_bytes: int) -> None:
        self.name = name
        self.limit_bytes = limit_bytes
        self.used_bytes = self.refusals = 0

    def admits(self, size_bytes: int, *, held_bytes: int = 0) -> bool:
        """Tell whether an owner may hold more; counts nothing.

        An owner leaves at least as much free for others as it then holds itself. So one alone gets
        half of the share, `n` greedy ones get 1 / (n + 1) each, and small requests of others always
        find room.

        Args:
            size_bytes: what it wants in addition.
            held_bytes: what it holds here already.
        """
        if held_bytes + 2 * size_bytes <= self.limit_bytes - self.used_bytes:
            return True
        self.refusals += 1
        return False

    def move(self, change_bytes: int) -> None:
        """Count bytes that are held from now on, or released when the change is negative."""
        self.used_bytes += change_bytes
        assert self.used_bytes >= 0, f"{self.name}: more was given back than taken"


class MemoryBudget:
    """The shares of one process.

    Attributes:
        bodies: bodies of requests under way, until they are answered.
        answers: answers that their clients have not read yet; half an eighth.
        pending: entries in the logs of all replicas that are not applied yet.
        recent: applied entries that logs keep for followers that lag a little.
        unwritten: what waits for the storage thread, or is in its transaction.
        queues: frames that wait for peers.
        decoded: batches kept decoded, and batches that wait for their predecessor; half an eighth.
        tails: the newest batches of all partitions, for consumers that keep up.
    """

    def __init__(self, limit_bytes: int = BUDGET_BYTES) -> None:
        """Cut a budget into its shares.

        Raises:
            ValueError: it is below `BUDGET_BYTES_MIN`.
        """
        if limit_bytes < BUDGET_BYTES_MIN:
            raise ValueError(f"a budget has at least {BUDGET_BYTES_MIN} bytes, not {limit_bytes}")
        eighth = limit_bytes // _EIGHTH
        self.limit_bytes = limit_bytes
        self.bodies = MemoryShare("bodies", eighth)
        self.answers = MemoryShare("answers", eighth // 2)
        self.pending = MemoryShare("pending", eighth)
        self.recent = MemoryShare("recent", eighth)
        self.unwritten = MemoryShare("unwritten", eighth)
        self.queues = MemoryShare("queues", eighth)
        self.decoded = MemoryShare("decoded", eighth - eighth // 2)
        self.tails = MemoryShare("tails", 2 * eighth)

    @property
    def shares(self) -> tuple[MemoryShare, ...]:
        """All shares."""
        return (
            self.bodies,
            self.answers,
            self.pending,
            self.recent,
            self.unwritten,
            self.queues,
            self.decoded,
            self.tails,
        )
