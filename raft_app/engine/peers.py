"""Where other brokers are, as managers say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from raft_app.transport.transport import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_app.storage.storage import PeerAddress

logger = logging.getLogger(__name__)


def take_peers(
    known: dict[int, PeerAddress], told: Iterable[PeerAddress]
) -> tuple[PeerAddress, ...]:
    """Take over where brokers are; return what is new.

    An address belongs to one broker, of several that are told to have it to the latest: whose disk
    was replaced comes back under a new id, and nobody is at that place under the old one. What
    cannot be an address is passed over.

    Args:
        known: by broker id; changed in place.
        told: some brokers, or all.
    """
    owners = {peer.raft_address: peer for peer in sorted(told, key=_broker_id) if _is_valid(peer)}
    for peer in list(known.values()):
        if owners.get(peer.raft_address, peer).broker_id != peer.broker_id:
            del known[peer.broker_id]
    changed = tuple(peer for peer in owners.values() if known.get(peer.broker_id) != peer)
    known.update((peer.broker_id, peer) for peer in changed)
    return changed


def _broker_id(peer: PeerAddress) -> int:
    return peer.broker_id


def _is_valid(peer: PeerAddress) -> bool:
    try:
        parse_address(peer.raft_address)
    except ValueError as error:
        logger.warning("broker %d cannot be reached: %s", peer.broker_id, error)
        return False
    return True
