"""Addresses where nobody answers, each in its way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

KINDS = ("refuses", "never answers", "cannot be reached")


@contextmanager
def dead_end(kind: str, port: int = 0) -> Iterator[str]:
    """Give the address of such a place, which lasts as long as the block.

    Args:
        kind: one of `KINDS`: connections are refused; are taken and nothing is ever answered; or
            do not come about, as with a host that is switched off (a listener's queue that is
            full: the kernel answers no further connection).
        port: of it; a free one when left out.
    """
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        place = taken.getsockname()
        if kind == "never answers":
            taken.listen(1_000)
        elif kind == "cannot be reached":
            taken.listen(0)
            while True:
                one = stack.enter_context(socket.socket())
                one.settimeout(0.05)
                try:
                    one.connect(place)
                except TimeoutError:
                    break
        yield f"http://127.0.0.1:{place[1]}"
