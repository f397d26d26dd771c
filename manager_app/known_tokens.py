"""What a manager knows of tokens: what its guard judges by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.guard import Guard
from http_base.tokens import verify_client
from manager_app.access_rows import token_id_of
from manager_app.people import person_of

if TYPE_CHECKING:
    from http_base.access import AccessIndex, Holder
    from http_base.tokens import ClientToken
    from manager_app.runtime import ManagerRuntime


class KnownTokens:
    """The table of holders in memory, and which of them were used."""

    def __init__(self, runtime: ManagerRuntime) -> None:
        """Look at what a manager has in memory."""
        self._runtime = runtime

    def access(self) -> AccessIndex:
        """Return who may do what."""
        return self._runtime.metadata.current.access

    def verify(self, text: str) -> ClientToken:
        """Return what the token of a registration says; whether it was removed is asked later."""
        return verify_client(self._runtime.secret, text, now_ms=self._runtime.now_ms)

    def now_ms(self) -> int:
        """Return the wall clock, in milliseconds since 1970."""
        return self._runtime.now_ms

    def used(self, holder: Holder) -> None:
        """Note that an API token was used; stored with others, once a minute."""
        self._runtime.tokens_used.add(token_id_of(holder.origin))


def guard_of(runtime: ManagerRuntime) -> Guard:
    """Return what judges the calls of a manager."""
    return Guard(KnownTokens(runtime), secret=runtime.secret, person=person_of)
