"""Which systems there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.nats import Nats
from benchmarks.peers.python_floor import PythonFloor, PythonFloorGrowing
from benchmarks.peers.queuesite import Queuesite
from benchmarks.peers.rabbitmq import RabbitMQ
from benchmarks.peers.redis import Redis

if TYPE_CHECKING:
    from benchmarks.peers.system import System

OURS = Queuesite.name
FLOORS = (PythonFloor.name, PythonFloorGrowing.name)
"""What Python itself allows, the harder measure first."""
_SYSTEMS: dict[str, type[System]] = {
    one.name: one for one in (Queuesite, Nats, RabbitMQ, Redis, PythonFloor, PythonFloorGrowing)
}
PEERS = tuple(name for name in _SYSTEMS if name not in {OURS, *FLOORS})


class UnknownPeer(ValueError):
    """No peer has this name."""


class PeerMissing(RuntimeError):
    """A peer is not installed; the message says how to get it."""


def make_system(name: str) -> System:
    """Return a system by its name."""
    return _SYSTEMS[name]()


def peers_of(text: str) -> list[str]:
    """Return the peers in a list separated by commas.

    Raises:
        UnknownPeer: one of them is none.
        PeerMissing: one or several are not installed: a line for each.
    """
    names = list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    for name in names:
        if name not in PEERS:
            raise UnknownPeer(f"there is no peer {name!r}; there are {', '.join(PEERS)}")
    missing = [f"{name}: {what}" for name in names if (what := make_system(name).missing())]
    if missing:
        raise PeerMissing("\n".join(missing))
    return names
