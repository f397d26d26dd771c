"""What answers look like: the types that the API's description is made of.

A success has `status` beside the fields of its type; a failure is a `Failure`. Nothing is encoded
from these types: tests hold the answers of a real cluster against them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Milliseconds = Annotated[int, Meta(description="Milliseconds since 1970.")]
Base64 = Annotated[str, Meta(extra_json_schema={"contentEncoding": "base64"})]


class Answer(Struct, frozen=True, kw_only=True):
    """Base of all types here."""


class BrokerAddress(Answer, frozen=True):
    """Where a broker is; `address` is null while no manager knows it."""

    broker_id: int
    address: str | None


class Failure(Answer, frozen=True):
    """The body of every failure; `code` is one of those in the reference of errors.

    `outcome` is there when the write may or may not have happened; `record` is the number of a
    message in a record batch; `corrupt` counts messages that an empty pop stepped over.
    """

    status: Literal["failure"]
    code: str
    message: str
    field: str | UnsetType = UNSET
    record: int | UnsetType = UNSET
    corrupt: int | UnsetType = UNSET
    leader: BrokerAddress | UnsetType = UNSET
    primary: str | UnsetType | None = UNSET
    retry_after_ms: int | UnsetType = UNSET
    outcome: Literal["unknown"] | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    reasons: list[str] | UnsetType = UNSET


class Message(Answer, frozen=True):
    """A message. Bytes that are no UTF-8 leave the text null and come in the base64 field."""

    topic: str
    partition: int
    offset: int
    timestamp: Milliseconds
    message: str | None
    key: str | None
    headers: dict[str, str | None] | None
    message_base64: Base64 | UnsetType = UNSET
    key_base64: Base64 | UnsetType = UNSET
    headers_base64: dict[str, Base64] | UnsetType = UNSET


class PoppedMessage(Message, frozen=True, kw_only=True):
    """The next message.

    `missed` were taken away right before it by retention, `corrupt` were stepped over because
    nobody can decode them.
    """

    missed: int
    corrupt: int


class CursorPlace(Answer, frozen=True):
    """Where a cursor is now."""

    topic: str
    partition: int
    offset: int


class Appended(Answer, frozen=True):
    """Where the messages are: `count` from `base_offset` on, stored on a quorum."""

    partition: int
    base_offset: int
    count: int
    term: int


class Fetched(Answer, frozen=True):
    """Messages from an offset on; go on at `next_offset`.

    `corrupt` between were stepped over because nobody can decode them.
    """

    topic: str
    partition: int
    messages: list[Message]
    corrupt: int
    next_offset: int
    high_watermark: int
    log_start_offset: int


class GroupCommitted(Answer, frozen=True):
    """What a group has committed; retention has taken `missed` messages before that."""

    topic: str
    partition: int
    group: str
    generation: int
    offset: int
    missed: int


class GroupOffset(Answer, frozen=True):
    """Where a group is; `unsettled` and `dead` count messages of queue workers."""

    topic: str
    partition: int
    group: str
    generation: int
    offset: int
    high_watermark: int
    log_start_offset: int
    lag: int
    unsettled: int
    dead: int


class Delivered(Message, frozen=True, kw_only=True):
    """A message for a worker; `receipt` is what ack, nack and extend take."""

    receipt: str
    delivery_count: int


class Received(Answer, frozen=True):
    """Messages for a worker."""

    topic: str
    partition: int
    group: str
    messages: list[Delivered]
    missed: int
    corrupt: int


class Settled(Answer, frozen=True):
    """What became of one receipt."""

    receipt: str
    done: bool
    reason: Literal["unknown", "superseded", "dead", "settled"] | UnsetType = UNSET


class SettledList(Answer, frozen=True):
    """What became of each receipt, in the order of the call."""

    results: list[Settled]


def with_status(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a success: that of its type, with `status`."""
    return {
        **schema,
        "properties": {
            "status": {"type": "string", "enum": ["success"]},
            **schema.get("properties", {}),
        },
        "required": ["status", *schema.get("required", ())],
    }
