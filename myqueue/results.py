"""What the client hands out: messages, acknowledgements, fetched ranges."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, overload

import msgspec

T = TypeVar("T")
SHOWN_LENGTH = 80
"""How much of a value `repr` shows."""


def _shortened(value: object) -> str:
    if isinstance(value, str | bytes) and len(value) > SHOWN_LENGTH:
        unit = "characters" if isinstance(value, str) else "bytes"
        return f"{value[:SHOWN_LENGTH]!r}... ({len(value):,} {unit})"
    return repr(value)


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message as a consumer gets it."""

    topic: str
    partition: int
    offset: int
    """Position in the partition, from 0."""
    value: str | bytes
    """A text comes back as a text, bytes as bytes."""
    key: str | bytes | None = None
    headers: dict[str, str | bytes] | None = None
    timestamp: int = 0
    """Milliseconds since 1970, as the producer said."""

    @property
    def text(self) -> str:
        """The value as text; bytes that are not UTF-8 show as replacement characters."""
        return self.value if isinstance(self.value, str) else self.value.decode(errors="replace")

    def __str__(self) -> str:
        """Return the value as text."""
        return self.text

    @overload
    def json(self) -> Any: ...

    @overload
    def json(self, kind: type[T]) -> T: ...

    def json(self, kind: Any = Any) -> Any:
        """Return what the value says in JSON, as of a producer with `serializer="json"`.

        Args:
            kind: what it has to be, such as a dataclass, a TypedDict or a `msgspec.Struct`; what it
                is when left out.

        Raises:
            msgspec.DecodeError: it is no JSON.
            msgspec.ValidationError: it is something else.
        """
        return msgspec.json.decode(self.value, type=kind)

    @overload
    def msgpack(self) -> Any: ...

    @overload
    def msgpack(self, kind: type[T]) -> T: ...

    def msgpack(self, kind: Any = Any) -> Any:
        """Return what the value says in MessagePack, as of `serializer="msgpack"`; as `json`."""
        value = self.value.encode() if isinstance(self.value, str) else self.value
        return msgspec.msgpack.decode(value, type=kind)

    def __repr__(self) -> str:
        """Return the fields that are set; of a long value its beginning and its length."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        known = {
            name: one for name, one in fields.items() if one not in (None, "") or name == "value"
        }
        shown = ", ".join(f"{name}={_shortened(one)}" for name, one in known.items())
        return f"{type(self).__name__}({shown})"


class Delivery(Message, frozen=True, gc=False):
    """One message as a queue worker gets it, to be acknowledged.

    The same message may come several times, each time with another receipt.
    """

    receipt: str = ""
    """Names this delivery; opaque."""
    delivery_count: int = 1
    """How often the message was delivered by now, from 1."""


class DeadLetter(Message, frozen=True, gc=False):
    """A message that workers gave up, and where it died; None is what it does not say."""

    died_topic: str | None = None
    died_partition: int | None = None
    died_offset: int | None = None
    died_group: str | None = None
    deliveries: int | None = None
    """How often it was delivered before it died."""


class Settlement(NamedTuple):
    """The outcome of one delivery that was acked, nacked or extended."""

    delivery: Delivery
    done: bool
    """True when the partition did what was asked, or had done it before."""
    reason: str = ""
    """Empty, or why: `settled` (acknowledged before), `superseded` (delivered again meanwhile, so
    another worker may have it), `dead` (it goes to the dead-letter topic), `unknown` (the group
    knows no such delivery), else the code of the error that kept the call from its partition."""


class Delivered(NamedTuple):
    """Where a message is, durable on a quorum."""

    partition: int
    offset: int


class DeliveredBatch(NamedTuple):
    """Where the messages of a batch are: contiguous, durable on a quorum."""

    partition: int
    base_offset: int
    message_count: int

    @property
    def offsets(self) -> range:
        """The messages' offsets, in the order given."""
        return range(self.base_offset, self.base_offset + self.message_count)


class Fetched(NamedTuple):
    """Messages read from a replica."""

    messages: list[Message]
    next_offset: int
    """Where to go on."""
    high_watermark: int
    """The replica's own; -1 when it did not say."""
    log_start_offset: int
    """Oldest offset still stored; -1 when the replica did not say."""
    corrupt: int = 0
    """Messages between that were stepped over: stored like that, nobody can decode them."""


class Lag(NamedTuple):
    """How far a consumer is behind in a partition."""

    topic: str
    partition: int
    messages: int
    """Not handed out yet."""
    seconds: float
    """Age of the oldest of them by its timestamp; 0 when there is none."""


class Registration(NamedTuple):
    """A client's id in one topic and the token that proves it; give it back to re-attach."""

    client_id: int
    token: str
