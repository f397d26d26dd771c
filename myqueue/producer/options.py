"""What a producer is made with besides its address, and the keys and values of its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import checked
from myqueue.contract.records import Record
from myqueue.transport.settings import FURTHER_NAMES, AddressNames

Serializer = Callable[[Any], str | bytes]
Connect = Literal["now", "lazy"]


class ProducerOptions(AddressNames, total=False):
    """What a producer takes besides."""

    serializer: Literal["json", "msgpack"] | Serializer | None
    """Turns what is sent into a text or bytes; without one, that is what is sent."""
    create: bool
    """False to raise TopicDoesNotExist for a missing topic; True, the default, creates it."""
    connect: Connect
    """lazy to ask a manager with the first call, not when the producer is made."""


PRODUCER_OPTIONS = ("serializer", "create", "connect", *FURTHER_NAMES)


def to_json(value: Any) -> str:
    """Return a value as JSON: whatever msgspec encodes, such as dictionaries and dataclasses."""
    return msgspec.json.encode(value).decode()


_SERIALIZERS: dict[str, Serializer] = {"json": to_json, "msgpack": msgspec.msgpack.encode}


def serializer_of(given: str | Serializer | None) -> Serializer | None:
    """Return the function that an option names.

    Raises:
        InvalidRequest: there is none of this name.
    """
    if given is None or callable(given):
        return given
    if given not in _SERIALIZERS:
        raise InvalidRequest(
            f"serializer must be json, msgpack or a function, not {given!r}", field="serializer"
        )
    return _SERIALIZERS[given]


def serialized(items: Iterable[Any], serialize: Serializer) -> Iterator[Any]:
    """Yield messages with their values as texts or bytes."""
    for item in items:
        if isinstance(item, Record):
            yield item._replace(value=serialize(item.value))
        else:
            yield serialize(item)


def checked_options(options: ProducerOptions) -> tuple[bool, Connect]:
    """Return whether missing topics are created, and when managers are asked first.

    Raises:
        InvalidRequest: one of the two is something else.
    """
    create = checked("create", options.get("create", True), bool)
    connect = checked("connect", options.get("connect", "now"), Connect)
    return create, connect
