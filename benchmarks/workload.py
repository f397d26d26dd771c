"""The shape that all workloads share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from benchmarks.peers.session import Session

if TYPE_CHECKING:
    from benchmarks.floor import FloorKind
    from benchmarks.measurement import Figure, Measurement
    from benchmarks.target import Target

S = TypeVar("S", bound=Session, contravariant=True)
"""What it needs: any `Session`, or the `Site` of this system alone."""


class Workload(Protocol[S]):
    """Something that a client does to a system that runs.

    The harness calls `prepare` once, then `run` and `check` for the warm-up and for each run that
    counts, then `close`; all in the client's process.
    """

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def summary(self) -> str:
        """What is done, in one line."""
        ...

    @property
    def runs(self) -> int:
        """How many runs count."""
        ...

    @property
    def warms_up(self) -> bool:
        """Whether a run that does not count goes before."""
        ...

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Those worth showing."""
        ...

    @property
    def targets(self) -> tuple[Target, ...]:
        """What has to be reached."""
        ...

    @property
    def floor(self) -> FloorKind | None:
        """The kind of bare write that it is compared with; None when it writes nothing."""
        ...

    def prepare(self, session: S) -> None:
        """Set the scene; nothing of it is timed."""
        ...

    def run(self, seconds: float) -> Measurement:
        """Do it for about so many seconds and return what that showed."""
        ...

    def check(self) -> int:
        """Compare what the last run did with what is stored.

        Returns:
            How many messages were compared.

        Raises:
            CheckFailed: something was lost, doubled, changed, invented or out of order.
        """
        ...

    def close(self) -> None:
        """Let go of connections and threads."""
        ...
