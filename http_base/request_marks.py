"""What is known of the request that is answered: its id, and how long it waited for messages.

The id comes with the request (`X-Request-Id`) or is made when first somebody asks for it: a line of
the log, a call to another process in the name of the request, an answer that is an error. Whoever
runs in the context of a request finds its mark in `CURRENT`, in threads too. Standard library and
contract alone: the log of a process reads it.
"""

from __future__ import annotations

import re
import secrets
import time
from contextvars import ContextVar
from itertools import count
from math import inf
from typing import TYPE_CHECKING

from myqueue.contract.http1 import REQUEST_ID_HEADER

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from myqueue.contract.tracing import TraceContext

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}\Z")
"""What a request may give as its id; anything else is ignored."""
HEADER = REQUEST_ID_HEADER.lower().encode()
"""The header's name as ASGI has it."""

_PROCESS = secrets.token_hex(4)
_NUMBERS = count(1)


class RequestMark:
    """One request. It has no `__init__`: one is made for each, and most are never looked at."""

    known_id = ""
    """Its id; empty while there is none."""
    is_over = False
    """True once it is answered: what goes on after that is no longer its work."""
    begun_s = inf
    """When it was whole here, by the monotonic clock; endless before."""
    status = 0
    """HTTP status of its answer; 0 while there is none."""
    place: TraceContext | None = None
    """Where it belongs in a trace: to the caller's span, or to its own below that."""
    span: Span | None = None
    """Its own, where spans are recorded."""
    waited_s = 0.0
    """How long it has waited for messages, in seconds."""
    _waits = 0
    _since_s = 0.0

    def take_id(self, value: bytes) -> None:
        """Take the id that came with the request, if it is one."""
        if REQUEST_ID.match(value):
            self.known_id = value.decode("ascii")

    @property
    def id(self) -> str:
        """Its id, made now if there is none yet: 16 characters."""
        if not self.known_id:
            self.known_id = f"{_PROCESS}{next(_NUMBERS):08x}"
        return self.known_id

    def begin_wait(self) -> None:
        """Note that it waits; waits may overlap."""
        if not self._waits:
            self._since_s = time.monotonic()
        self._waits += 1

    def end_wait(self) -> None:
        """Note that one of its waits is over."""
        self._waits -= 1
        if not self._waits:
            self.waited_s += time.monotonic() - self._since_s


CURRENT: ContextVar[RequestMark | None] = ContextVar("CURRENT", default=None)
"""The request that is answered here; None for what a server does by itself."""


def request_id() -> str:
    """Return the id of the request that is answered, made if need be; empty outside of one."""
    mark = CURRENT.get()
    return "" if mark is None or mark.is_over else mark.id


class Waiting:
    """Entered while the request waits for what others do: the time is not counted as slow."""

    __slots__ = ("_mark",)

    def __enter__(self) -> None:
        """Begin to wait."""
        self._mark = CURRENT.get()
        if self._mark is not None:
            self._mark.begin_wait()

    def __exit__(self, *_: object) -> None:
        """End the wait."""
        if self._mark is not None:
            self._mark.end_wait()
