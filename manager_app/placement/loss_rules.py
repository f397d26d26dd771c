"""Which replica a partition without a quorum may go on with, and what is lost then; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from myqueue.contract.errors import StalePlacement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from http_base.cluster import StoredReplica

OFFSETS_LEFT_OUT = 1_000_000
"""Offsets after the last known message that are never given: messages that were acknowledged after
the last report had some of them, and a consumer may have read these."""


@dataclass(frozen=True)
class LossFacts:
    """One replica of the partition."""

    replica_id: int
    broker_id: int
    gone: bool
    """Its broker lost it, or is removed for good."""
    faulty: bool
    """As last reported; one that never takes part again."""
    kept_term: int
    kept_offset: int
    """The highest that it ever reported."""
    found: StoredReplica | None
    """What its broker says now; None when it does not answer, or has another replica."""

    @property
    def may_vote(self) -> bool:
        """Whether it may elect a leader without being asked."""
        if self.found is not None:
            return not self.found.faulty
        return not (self.gone or self.faulty)


@dataclass(frozen=True)
class LossPlan:
    """How a partition can go on."""

    survivor: LossFacts
    above_term: int
    end_offset: int
    known_offset: int
    next_offset: int


def plan_loss(replicas: Sequence[LossFacts], *, term: int) -> LossPlan:
    """Return how a partition goes on with the one of its replicas that has most.

    Args:
        replicas: all of its database rows.
        term: the highest that a leader of it reported.

    Raises:
        StalePlacement: it has a leader, or may get one; or no replica has anything to go on with.
    """
    found = [one for one in replicas if one.found is not None]
    if any(one.found.hears_leader for one in found if one.found is not None):
        raise StalePlacement("the partition has a leader: there is no loss to accept")
    sound = [one for one in found if one.may_vote]
    if 2 * len(sound) > len(replicas):
        raise StalePlacement(
            "a majority of the replicas has all that it acknowledged and will elect a leader:"
            " there is no loss to accept"
        )
    usable = [one for one in found if one.found is not None and not one.found.unusable]
    if not usable:
        raise StalePlacement(
            "no replica can be gone on with: none is reached whose entries are whole; start the"
            " brokers that have one, or delete the topic"
        )
    survivor = max(usable, key=_age)
    others = [one for one in replicas if one is not survivor and one.may_vote]
    if 2 * len(others) > len(replicas):
        brokers = ", ".join(str(one.broker_id) for one in others)
        raise StalePlacement(
            f"the replicas on brokers {brokers} may come back and go on by themselves: start these"
            " brokers, or, when they are gone for good, remove them with DELETE /brokers/{id}"
        )
    assert survivor.found is not None
    ends = [one.found.end_offset for one in found if one.found is not None]
    known = max([*ends, *(one.kept_offset for one in replicas)])
    terms = [one.found.term for one in found if one.found is not None]
    return LossPlan(
        survivor=survivor,
        above_term=max([term, *terms, *(one.kept_term for one in replicas)]),
        end_offset=survivor.found.end_offset,
        known_offset=known,
        next_offset=known + OFFSETS_LEFT_OUT,
    )


def _age(replica: LossFacts) -> tuple[int, int, int]:
    """Return what the replica that has most has most of, as voters compare logs."""
    assert replica.found is not None
    return replica.found.last_term, replica.found.last_index, -replica.replica_id
