"""The request ids of a partition: the last ones of each client, with the offsets they got."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from myqueue.contract.rules.aged_table import AgedTable

if TYPE_CHECKING:
    from collections.abc import Iterable

POP_REQUESTS_REMEMBERED = 16
"""Request ids of one consumer that a partition remembers: pops in flight at once, and their
retries."""

RequestKey = tuple[int, bytes]
"""(id of the client, digest of the request id)."""
Span = tuple[int, int, int]
"""(first offset, offset after the last, messages missed right before the first)."""


class RequestTable(AgedTable[RequestKey, Span]):
    """(client, digest of the request id) -> offsets of the answer; bounded for each client."""

    def __init__(self, per_client: int) -> None:
        """Make an empty table.

        Args:
            per_client: how many requests of one client are remembered.
        """
        super().__init__()
        self.per_client = per_client
        self._digests: dict[int, deque[bytes]] = {}
        """By client, oldest first."""

    def remember(self, client_id: int, digest: bytes, span: Span) -> None:
        """Store the offsets of an answer; the client's oldest request makes room."""
        key = (client_id, digest)
        digests = self._digests.setdefault(client_id, deque())
        if key in self:
            digests.remove(digest)
        elif len(digests) >= self.per_client:
            self.remove((client_id, digests[0]))
            digests = self._digests.setdefault(client_id, deque())
        digests.append(digest)
        self.put(key, span)

    def grows(self, client_id: int) -> bool:
        """Tell whether one more request of a client makes the table longer."""
        return len(self._digests.get(client_id, ())) < self.per_client

    def remove(self, key: RequestKey) -> None:
        """Drop a request; an unknown one is no error."""
        if key not in self:
            return
        super().remove(key)
        client_id, digest = key
        digests = self._digests[client_id]
        digests.remove(digest)
        if not digests:
            del self._digests[client_id]

    def forget_client(self, client_id: int) -> None:
        """Drop all requests of a client."""
        for digest in list(self._digests.get(client_id, ())):
            self.remove((client_id, digest))

    def load(self, rows: Iterable[tuple[RequestKey, int, Span]]) -> None:
        """Add what `rows` yielded, in that order."""
        kept = list(rows)
        super().load(kept)
        for (client_id, digest), _, _ in kept:
            self._digests.setdefault(client_id, deque()).append(digest)
