"""What a proxy in front says of its clients: believed where a proxy is in front, and only there."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http_base.hotpaths import App, Receive, Scope, Send

SCHEMES = (b"http", b"https")


class BehindProxy:
    """Takes a client's address and scheme from what the proxy next to this server added.

    Of several, the last: it is the proxy's own, and those before are whatever the client sent.
    """

    def __init__(self, app: App) -> None:
        """Stand before an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            scope = _as_told(scope)
        await self._app(scope, receive, send)


def _as_told(scope: Scope) -> Scope:
    told = dict(scope)
    last = {name: value.rpartition(b",")[2].strip() for name, value in scope["headers"]}
    scheme = last.get(b"x-forwarded-proto", b"").lower()
    if scheme in SCHEMES:
        told["scheme"] = scheme.decode()
    with suppress(ValueError):
        told["client"] = (str(ip_address(last.get(b"x-forwarded-for", b"").decode("latin1"))), 0)
    return told
