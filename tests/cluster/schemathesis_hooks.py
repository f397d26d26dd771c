"""What schemathesis has to know besides `/schema`: how MessagePack is written and read.

Also what keeps random calls short: they wait for little, and make small topics.

It is loaded by its commands, by the variable SCHEMATHESIS_HOOKS.
"""

from __future__ import annotations

from typing import Any

import msgspec
import schemathesis

MSGPACK = "application/msgpack"
BOUNDS = {"wait_ms": 10, "timeout_ms": 2_000, "number_of_partitions": 3, "partitions": 3}
"""Field -> the most that is sent, where it is a number."""


@schemathesis.hook
def map_query(_context: Any, query: Any) -> Any:
    """Bound the fields of a query."""
    return _bounded(query)


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    """Bound the fields of a body."""
    return _bounded(body)


def _bounded(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return fields
    return {
        name: min(value, BOUNDS[name]) if name in BOUNDS and type(value) is int else value
        for name, value in fields.items()
    }


@schemathesis.serializer(MSGPACK)
def write(_context: Any, value: Any) -> bytes:
    """Return the body of a request; a whole number that MessagePack lacks is the next it has."""
    return msgspec.msgpack.encode(_within_64_bits(value))


def _within_64_bits(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _within_64_bits(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_within_64_bits(part) for part in value]
    return min(max(value, -(2**63)), 2**64 - 1) if type(value) is int else value


@schemathesis.deserializer(MSGPACK)
def read(_context: Any, response: Any) -> Any:
    """Return the value in a response."""
    return msgspec.msgpack.decode(response.content)
