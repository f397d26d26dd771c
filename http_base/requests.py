"""Django's request on a hot path, made of what its view needs and completed when it needs more."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIRequest, get_script_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

_PUT_OFF = frozenset({"META", "content_type", "content_params"})


class HotRequest(ASGIRequest):
    """A request whose `META` is made when somebody asks for it.

    To make it takes longer than to read the body and to find the token; the views of the API read
    three headers.
    """

    def __init__(self, scope: dict[str, Any], headers: Mapping[bytes, bytes], body: bytes) -> None:
        """Take what came.

        Args:
            scope: of ASGI; its query string is ASCII.
            headers: those that `HotPaths` reads, by name in lower case.
            body: whole.
        """
        # What Django's own does, without `META` and what is made of it.
        self.scope = scope
        self.method = scope["method"].upper()
        self.path = scope["path"]
        self.script_name = get_script_prefix(scope)
        self.path_info = self.path.removeprefix(self.script_name)
        self.resolver_match = None
        self._post_parse_error = self._read_started = False
        self._stream = io.BytesIO(body)
        self.hot_headers = headers
        self.query_string: str = scope["query_string"].decode()

    def __getattr__(self, name: str) -> Any:
        """Make what was put off."""
        if name not in _PUT_OFF:
            raise AttributeError(name)
        whole = ASGIRequest(self.scope, io.BytesIO())
        self.META = whole.META
        self.content_type, self.content_params = whole.content_type, whole.content_params
        self._encoding = whole.encoding
        return getattr(self, name)


def client_address_of(scope: Mapping[str, Any]) -> str:
    """Return where a request of ASGI comes from, without the port; empty when that is not known."""
    client = scope.get("client")
    return str(client[0]) if client else ""
