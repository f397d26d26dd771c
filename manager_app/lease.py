"""The lease of the primary: one manager renews it in the database, the others watch it do so.

No clocks of two machines are compared. The holder counts from before it asked for a renewal, each
other manager from when it saw one, both by monotonic clocks of their own: when somebody takes the
lease over, its holder has stopped to act as the primary. The lease of each holder has an epoch of
its own, so that even one who does not know that it was superseded can be told from its successor.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manager_app import selectors
from manager_app.last_seen import LastSeen
from manager_app.services.cluster import lease_renew, lease_take, primary_announce
from myqueue.contract.errors import ReadOnlyManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from manager_app.metadata import MetadataCopy

logger = logging.getLogger(__name__)

HELD_S = 10.0
"""How long the primary trusts a renewal: five times `process.LEASE_INTERVAL_S`, so that a slow
answer of the database costs nothing. It has to end before another manager takes over: the 5 s
between the two are for the renewal that is seen late, and for clocks that run at different
speeds."""
TAKE_OVER_AFTER_S = 15.0
"""How long another manager sees no renewal before it takes the lease over. Meanwhile members of
groups cannot join or rebalance; produce and consume go on."""
_PRIMARY = "primary"


@dataclass(frozen=True, slots=True)
class _HeldLease:
    epoch: int
    asked_s: float
    """Monotonic time just before the last renewal that succeeded: the earliest that it may have
    held."""


class Lease:
    """The primary's lease as this manager knows it; any thread may ask, changes of it block."""

    def __init__(
        self, *, address: str, metadata: MetadataCopy, monotonic_s: Callable[[], float]
    ) -> None:
        """Hold no lease yet.

        Args:
            address: of this manager.
            metadata: the copy that names the primary.
            monotonic_s: clock, in seconds.
        """
        self._address = address
        self._metadata = metadata
        self._monotonic_s = monotonic_s
        self._keeping = threading.Lock()
        self._held: _HeldLease | None = None
        self._renewals: LastSeen[str] = LastSeen(TAKE_OVER_AFTER_S)

    @property
    def epoch(self) -> int | None:
        """The epoch of the lease while this manager is the primary, as far as it knows."""
        held = self._held
        if held is None or self._metadata.current.primary_address != self._address:
            return None
        return held.epoch if self._monotonic_s() - held.asked_s <= HELD_S else None

    def require(self) -> int:
        """Return the epoch of the lease.

        Raises:
            ReadOnlyManager: this manager is not the primary.
        """
        epoch = self.epoch
        if epoch is None:
            named = self._metadata.current.primary_address
            primary = named if named != self._address else None
            raise ReadOnlyManager(
                f"this manager does not coordinate groups: send this to {primary or 'the primary'}",
                primary=primary or None,
            )
        return epoch

    def announce(self) -> None:
        """Become the primary, whoever is it now. Blocks; the copy of the metadata is not loaded."""
        with self._keeping:
            asked_s = self._monotonic_s()
            self._held = _HeldLease(primary_announce(self._address), asked_s)

    def keep(self) -> None:
        """Renew the lease if it is held, else take it over from a silent primary. Blocks."""
        with self._keeping:
            if self._held is not None:
                self._renew(self._held.epoch)
            else:
                self._watch()

    def _renew(self, epoch: int) -> None:
        asked_s = self._monotonic_s()
        if lease_renew(self._address, epoch=epoch):
            self._held = _HeldLease(epoch, asked_s)
            return
        self._held = None
        logger.warning("another manager has become the primary")
        self._metadata.poll()

    def _watch(self) -> None:
        asked_s = self._monotonic_s()
        seen = selectors.cluster_find()
        if seen is None:
            return
        marker = (seen.primary_address, seen.epoch, seen.primary_renewals)
        self._renewals.observe(_PRIMARY, marker, self._monotonic_s())
        if not self._renewals.is_dead(_PRIMARY, asked_s):
            return
        epoch = lease_take(self._address, seen=seen)
        if epoch is not None:
            self._held = _HeldLease(epoch, asked_s)
            logger.warning("the primary %s was silent: its lease is taken", seen.primary_address)
            self._metadata.poll()
