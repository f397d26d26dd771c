"""Which ports a cluster on one machine uses: a base, and fixed distances from it."""

from __future__ import annotations

import random
import socket

from queuesite.conf import RAFT_PORT_DISTANCE, ConfigError

PORT_MAX = 65_535
BROKERS_MAX = RAFT_PORT_DISTANCE - 1
"""More would give HTTP and Raft the same ports."""
REFUSED_BY_BROWSERS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670)}
    | {6679, 6697, 10_080}
)
"""Above 1,023: a page there cannot be opened, as other protocols use them. Source: the Fetch
Standard, "Port blocking"."""
_FREE_RANGE = range(20_000, 30_000)
"""Below what systems give to outgoing connections."""
_TRIES = 50


def ports_of(base: int, brokers: int) -> list[int]:
    """Return every port: the manager's, the brokers', and their Raft ports."""
    http = range(base + 1, base + 1 + brokers)
    return [base, *http, *(port + RAFT_PORT_DISTANCE for port in http)]


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def can_be_picked(port: int) -> bool:
    """Tell whether a server whose port is all the same could listen there, and be browsed."""
    return port not in REFUSED_BY_BROWSERS and is_free(port)


def choose_base(wanted: int, brokers: int, *, remembered: int = 0) -> int:
    """Return the manager's port.

    Args:
        wanted: the port that was asked for; 0 for any whose companions are free as well.
        brokers: how many there are.
        remembered: the base of the last start, taken again when `wanted` is 0 and it can be.

    Raises:
        ConfigError: a port is out of range or in use.
    """
    if wanted:
        _check(wanted, brokers)
        return wanted
    chance = random.SystemRandom()
    candidates = [chance.choice(_FREE_RANGE) for _ in range(_TRIES)]
    for base in ([remembered] if remembered else []) + candidates:
        if all(port <= PORT_MAX and can_be_picked(port) for port in ports_of(base, brokers)):
            return base
    raise ConfigError(f"no {len(ports_of(1, brokers))} free ports found")


def _check(base: int, brokers: int) -> None:
    ports = ports_of(base, brokers)
    if ports[-1] > PORT_MAX:
        raise ConfigError(f"--port {base} is too high: port {ports[-1]} would be needed")
    for port in ports:
        if not is_free(port):
            raise ConfigError(f"port {port} is in use; choose another --port, or --port 0")
