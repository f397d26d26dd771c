"""The lease of the primary: one manager renews it in the database, the others watch it do so.

The primary alone writes metadata and coordinates groups. It keeps the lease for as long as it
renews it: who starts later watches. No clocks of two machines are compared. The holder counts from
before it asked for a renewal, each other manager from when it saw one, both by monotonic clocks of
their own: when somebody takes the lease over, its holder has stopped to answer as the primary. The
lease of each holder has an epoch of its own, which the database compares within each write: one who
does not know that it was superseded writes nothing.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from http_base.writes import DATABASE_FAILURES
from manager_app import selectors
from manager_app.database import answers_within
from manager_app.last_seen import LastSeen
from manager_app.services.cluster import lease_give_back, lease_renew, lease_take
from myqueue.contract import retry_after
from myqueue.contract.errors import DatabaseUnavailable, ReadOnlyManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from manager_app.metadata import MetadataCopy
    from manager_app.models import Cluster

logger = logging.getLogger(__name__)

HELD_S = 5.0
"""How long the primary answers from memory after a renewal: five of `tasks.keep_lease`, so that one
that got no answer costs nothing. It has to end before another manager takes over: the 2 s between
the two are for clocks that run at different speeds."""
TAKE_OVER_AFTER_S = 7.0
"""How long another manager sees no renewal before it takes the lease over. Meanwhile nothing of the
metadata can change; produce and consume go on."""
ANSWER_LIMIT_S = 2.0
"""For each answer of the database to this work, so that one more try fits into `HELD_S`."""
LOOKS_APART_MAX_S = 3.0
"""A manager that could not look for longer saw nothing of what the primary did: it begins anew."""
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
        self,
        *,
        address: str,
        metadata: MetadataCopy,
        monotonic_s: Callable[[], float],
        follows: bool = False,
    ) -> None:
        """Hold no lease yet.

        Args:
            address: of this manager.
            metadata: the copy that names the primary.
            monotonic_s: clock, in seconds.
            follows: this process does the tasks of whichever manager is the primary, and writes
                under that one's lease.
        """
        self._address = address
        self._follows = follows
        self._metadata = metadata
        self._monotonic_s = monotonic_s
        self._keeping = threading.Lock()
        self._held: _HeldLease | None = None
        self._is_over = False
        self._looked_s: float | None = None
        self._renewals: LastSeen[str] = LastSeen(TAKE_OVER_AFTER_S)

    @property
    def epoch(self) -> int | None:
        """The epoch of the lease while this manager may answer as the primary from memory."""
        held = self._held
        if held is None or self._metadata.current.primary_address != self._address:
            return None
        return held.epoch if self._monotonic_s() - held.asked_s <= HELD_S else None

    @property
    def left_s(self) -> float:
        """For how long this manager may answer as the primary without a renewal, in seconds."""
        held = self._held
        if held is None or self.epoch is None:
            return 0.0
        return max(0.0, held.asked_s + HELD_S - self._monotonic_s())

    @property
    def held_epoch(self) -> int | None:
        """The epoch to write under while this manager knows of no other primary, else None."""
        if self._follows:
            return self._metadata.current.epoch
        held = self._held
        return None if held is None else held.epoch

    @property
    def is_held(self) -> bool:
        """True while this manager knows of no other primary: it may write, as the database says."""
        return self.held_epoch is not None

    def write_epoch(self) -> int:
        """Return the epoch to write under; the database compares it within each write.

        Raises:
            ReadOnlyManager: this manager is not the primary.
        """
        epoch = self.held_epoch
        if epoch is None:
            raise self._elsewhere()
        return epoch

    def require(self) -> int:
        """Return the epoch of the lease, to answer under it from memory.

        Raises:
            ReadOnlyManager: this manager is not the primary.
            DatabaseUnavailable: it could not renew its lease in time.
        """
        epoch = self.epoch
        if epoch is not None:
            return epoch
        if self._held is None or self._metadata.current.primary_address != self._address:
            raise self._elsewhere()
        raise DatabaseUnavailable(
            "the primary could not renew its lease in the database; try again",
            retry_after_ms=retry_after.DATABASE_MS,
        )

    def begin(self, *, alone: bool) -> None:
        """Take the lease unless another manager may hold it. Blocks; the copy is not loaded.

        Args:
            alone: no other manager can be at work on this database.
        """
        with self._keeping:
            asked_s = self._monotonic_s()
            seen = selectors.cluster_find()
            # A lease of this address is that of an earlier process, whose port this one has.
            if seen is not None and (alone or seen.primary_address in ("", self._address)):
                self._take(seen, asked_s)

    def keep(self) -> None:
        """Renew the lease if it is held, else take it over from a silent primary. Blocks."""
        with self._keeping, answers_within(ANSWER_LIMIT_S):
            if self._is_over:
                return
            if self._held is not None:
                self._renew(self._held.epoch)
            else:
                self._watch()

    def give_back(self) -> None:
        """Let another manager take the lease at once; this one never holds it again. Blocks."""
        with self._keeping, answers_within(ANSWER_LIMIT_S):
            self._is_over = True
            held, self._held = self._held, None
            if held is None:
                return
            try:
                lease_give_back(self._address, epoch=held.epoch)
            except DATABASE_FAILURES as error:
                logger.warning("the lease is not given back, and runs out: %s", error)

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
        if self._looked_s is not None and asked_s - self._looked_s > LOOKS_APART_MAX_S:
            self._renewals.forget(_PRIMARY)
        self._looked_s = self._monotonic_s()
        marker = (seen.primary_address, seen.epoch, seen.primary_renewals)
        self._renewals.observe(_PRIMARY, marker, self._looked_s)
        is_free = not seen.primary_address
        if not is_free and not self._renewals.is_dead(_PRIMARY, asked_s):
            return
        if self._take(seen, asked_s):
            silent = f"the primary {seen.primary_address} was silent"
            logger.warning("%s: its lease is taken", "no primary" if is_free else silent)
            self._metadata.poll()

    def _take(self, seen: Cluster, asked_s: float) -> bool:
        epoch = lease_take(self._address, seen=seen)
        if epoch is not None:
            self._held = _HeldLease(epoch, asked_s)
        return epoch is not None

    def _elsewhere(self) -> ReadOnlyManager:
        """Return the error that names the primary, if it is another manager."""
        named = self._metadata.current.primary_address
        primary = named if named != self._address else None
        return ReadOnlyManager(
            f"this manager is not the primary: send this to {primary or 'the primary'}",
            primary=primary or None,
        )
