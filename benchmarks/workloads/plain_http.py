"""A program's own HTTP calls, as curl would make them: JSON, no client library."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit


class HttpFailure(Exception):
    """An answer that is no success."""


class PlainHttp:
    """One connection that is kept alive; requests go one after the other."""

    def __init__(self, address: str) -> None:
        """Connect at the first call.

        Args:
            address: `http://host:port`.
        """
        parts = urlsplit(address)
        assert parts.hostname, f"{address} has no host"
        self._connection = HTTPConnection(parts.hostname, parts.port, timeout=30)

    def post(self, path: str, fields: dict[str, Any], *, empty_code: str = "") -> dict[str, Any]:
        """Send a JSON body and return the answer's; an empty one for the code of an empty queue.

        Raises:
            HttpFailure: the answer is another failure.
        """
        self._connection.request(
            "POST", path, json.dumps(fields), {"Content-Type": "application/json"}
        )
        answer = self._connection.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
        if empty_code and body.get("code") == empty_code:
            return {}
        if body.get("status") != "success":
            raise HttpFailure(f"{path} was answered with {answer.status}: {body}")
        return body

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
