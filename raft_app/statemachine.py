"""What the engine replicates for: the protocol of a state machine, registered by the owner.

`raft_app` does not know what a command means. One state machine belongs to one replica of one
group; the engine calls it from its loop only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from raft_app.core.types import Entry, Proposal
    from raft_app.storage.protocol import GroupSpec


class Propose(Struct, frozen=True):
    """Append `proposal`; `token` is handed back to `proposed` with the index it got."""

    proposal: Proposal
    token: Any = None


class Join(Struct, frozen=True):
    """The same request is in the log, not applied yet: wait for that entry's result."""

    index: int
    term: int


class CommandAnswer(Struct, frozen=True):
    """The same request was applied already: this is its result."""

    result: Any


Decision = Propose | Join | CommandAnswer


class StateMachine(Protocol):
    """Deterministic state of one partition, with a speculative view on the leader."""

    @property
    def log_start_offset(self) -> int:
        """Oldest offset whose message is still wanted; never goes back."""

    @property
    def next_offset(self) -> int:
        """Offset after the last applied message."""

    def prepare(self, request: Any, *, now_ms: int, clock_ms: int) -> Decision:
        """Decide, on the leader, what to do with a request. Changes nothing.

        The view contains every entry before the new one: what is applied and what `proposed`
        told since.

        Args:
            request: what the owner gave to `Engine.propose`.
            now_ms: wall clock of the leader, milliseconds since 1970.
            clock_ms: monotonic clock of the leader, milliseconds.

        Raises:
            myqueue.contract.errors.QueueError: refused before it was proposed.
        """

    def proposed(self, token: Any, index: int, term: int) -> None:
        """The proposal of `prepare` is in the log at (index, term): extend the speculative view."""

    def abandon_speculation(self) -> None:
        """Leadership was lost or won anew: the speculative view becomes the applied state."""

    def apply(self, entry: Entry) -> Any:
        """Apply one committed DATA or COMMAND entry and return its result.

        Other kinds never come here. Results depend on the entries applied so far alone.

        Raises:
            InconsistentEntry: the entry contradicts the state; the replica becomes faulty.
        """

    def snapshot(self) -> bytes:
        """Encode the applied state."""

    def restore(self, snapshot: bytes) -> None:
        """Replace the applied state by one that another replica encoded.

        Raises:
            InconsistentEntry: the snapshot cannot be read; nothing was replaced.
        """


class InconsistentEntry(Exception):
    """A committed entry contradicts the applied state: this replica cannot be trusted."""


class StateMachineFactory(Protocol):
    """Makes the state machine of a local replica."""

    def __call__(self, spec: GroupSpec, snapshot: bytes) -> StateMachine:
        """Return it in the state that `snapshot` encodes, or the initial one when that is empty.

        Raises:
            InconsistentEntry: the snapshot cannot be read.
        """
