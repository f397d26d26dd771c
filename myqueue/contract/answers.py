"""The answers of calls: servers encode these types, and the OpenAPI description is made of them.

A success is one of the types with `status`; a failure is a `Failure`. UNSET fields are left out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Milliseconds = Annotated[int, Meta(description="Milliseconds since 1970.")]
Base64 = Annotated[str, Meta(extra_json_schema={"contentEncoding": "base64"})]
Text = Annotated[Any, Meta(extra_json_schema={"anyOf": [{"type": "string"}, {"type": "null"}]})]
"""`str | None`; in MessagePack also `bytes`, if bytes were sent."""
SettleReason = Literal["unknown", "superseded", "dead", "settled"]
"""Why a receipt was not settled."""


class AnswerPart(Struct, frozen=True, kw_only=True):
    """Base of parts of an answer."""


class Success(Struct, frozen=True, kw_only=True, tag_field="status", tag="success"):
    """Base of the answers of calls that succeeded."""


class SuccessPage(Success, frozen=True):
    """Base of the answers of lists."""

    next: str | None
    """What to send as `after` for the rows that follow; null when there are none."""


class Done(Success, frozen=True):
    """A success without further fields."""


DONE = Done()


class BrokerAddress(AnswerPart, frozen=True):
    """A broker and its address, null while it is not known."""

    broker_id: int
    address: str | None


class Failure(AnswerPart, frozen=True, tag_field="status", tag="failure"):
    """The body of every failure; `code` is one of those in the reference of errors.

    `outcome` is there when the write may or may not have happened; `record` is the number of a
    message in a record batch; `missed` and `corrupt` count messages before the end that an empty
    pop did not get, as in the answer of one that got something.
    """

    code: str
    message: str
    field: str | UnsetType = UNSET
    record: int | UnsetType = UNSET
    missed: int | UnsetType = UNSET
    corrupt: int | UnsetType = UNSET
    leader: BrokerAddress | UnsetType = UNSET
    primary: str | UnsetType | None = UNSET
    retry_after_ms: int | UnsetType = UNSET
    outcome: Literal["unknown"] | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    reasons: list[str] | UnsetType = UNSET


class Message(AnswerPart, frozen=True):
    """A message. Bytes that are no UTF-8 leave the text null and come in the base64 field."""

    topic: str
    partition: int
    offset: int
    timestamp: Milliseconds
    message: Text
    key: Text
    headers: dict[str, Text] | None
    message_base64: Base64 | UnsetType = UNSET
    key_base64: Base64 | UnsetType = UNSET
    headers_base64: dict[str, Base64] | UnsetType = UNSET


class PoppedMessage(Message, frozen=True, kw_only=True, tag_field="status", tag="success"):
    """The next message.

    `missed` messages before it were deleted by retention unread, `corrupt` ones were stepped over
    because no replica can decode them.
    """

    missed: int
    corrupt: int


class PartitionPopped(Success, frozen=True):
    """The next messages of the partition, in answer to `max_messages`."""

    topic: str
    partition: int
    messages: list[Message]
    missed: int
    corrupt: int


class PoppedPart(AnswerPart, frozen=True):
    """What was popped of one of several partitions; with `error`, a failure, why nothing was.

    Where no messages were asked for: that there are some.
    """

    topic: str
    partition: int
    messages: list[Message] | UnsetType = UNSET
    missed: int | UnsetType = UNSET
    corrupt: int | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET


class SeveralPopped(Success, frozen=True):
    """The next messages of several partitions; of those that are left out nothing was popped."""

    partitions: list[PoppedPart]


class SizeLeft(Success, frozen=True):
    """How many messages are left for the consumer."""

    topic: str
    partition: int
    size: int
    remembers: bool | UnsetType = UNSET
    """With a `request_id`: whether a pop with it was done here, or is under way."""


class CursorPlace(Success, frozen=True):
    """Offset of a cursor."""

    topic: str
    partition: int
    offset: int


class Appended(Success, frozen=True):
    """Offsets of appended messages: `count` from `base_offset` on, durable on a quorum."""

    partition: int
    base_offset: int
    count: int
    term: int


class PartitionFetched(Success, frozen=True):
    """Messages from an offset on; go on at `next_offset`.

    `corrupt` messages between were stepped over because no replica can decode them.
    """

    topic: str
    partition: int
    messages: list[Message]
    corrupt: int
    next_offset: int
    high_watermark: int
    log_start_offset: int


class FetchedPart(AnswerPart, frozen=True):
    """What one of several partitions has; with `error`, a failure, it could not be read.

    `batches` are record batches as stored, each preceded by its base offset and length.
    """

    topic: str
    partition: int
    messages: list[Message] | UnsetType = UNSET
    batches: bytes | UnsetType = UNSET
    corrupt: int | UnsetType = UNSET
    next_offset: int | UnsetType = UNSET
    high_watermark: int | UnsetType = UNSET
    log_start_offset: int | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET


class SeveralFetched(Success, frozen=True):
    """What there is of several partitions; those that have nothing yet are left out."""

    partitions: list[FetchedPart]


class GroupCommitted(Success, frozen=True):
    """Committed offset of a group; retention has deleted `missed` messages before it unread."""

    topic: str
    partition: int
    group: str
    generation: int
    offset: int
    missed: int


class GroupOffset(Success, frozen=True):
    """Committed offset and lag of a group; `unsettled` and `dead` count messages of workers.

    `visible`, `in_flight` and `delayed` do, too: what a worker would get now, what is out with one,
    and what was given back and is not due yet. `age_ms` is asked for with `age`: of the oldest
    message left, 0 when nothing is left, null when it cannot be told at the moment.
    """

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
    visible: int = 0
    in_flight: int = 0
    delayed: int = 0
    age_ms: int | UnsetType | None = UNSET


class OffsetMove(AnswerPart, frozen=True):
    """What a change of a group's offsets does in one partition.

    `before` is null where the group was not yet. `moved` is false after a dry run, and where
    `reason` says what went wrong; null when that is not known.
    """

    partition: int
    before: int | None
    after: int
    moved: bool | None
    reason: str | UnsetType = UNSET


class GroupOffsetsMoved(Success, frozen=True):
    """Where a group goes on in a topic; `members` had the group before."""

    group: str
    topic: str
    dry_run: bool
    members: int
    partitions: list[OffsetMove]


class DeliveredMessage(Message, frozen=True, kw_only=True):
    """A message for a worker; ack, nack and extend take its `receipt`."""

    receipt: str
    delivery_count: int


class PartitionReceived(Success, frozen=True):
    """Messages for a worker."""

    topic: str
    partition: int
    group: str
    messages: list[DeliveredMessage]
    missed: int
    corrupt: int


class WorkPart(AnswerPart, frozen=True):
    """A partition that has something for a group's workers; with `error` it could not be asked."""

    topic: str
    partition: int
    error: dict[str, Any] | UnsetType = UNSET


class SeveralWaiting(Success, frozen=True):
    """Of several partitions those that have something for a group's workers."""

    partitions: list[WorkPart]


class MemberAssignment(Success, frozen=True):
    """Answer to a member of a group: `assignment` is topic -> partitions that it may read now."""

    group: str
    member_id: str
    generation: int
    assignment: dict[str, list[int]]
    heartbeat_interval_ms: int
    session_timeout_ms: int


class Settled(AnswerPart, frozen=True):
    """Outcome of one receipt."""

    receipt: str
    done: bool
    reason: SettleReason | UnsetType = UNSET


class SettledList(Success, frozen=True):
    """Outcome of each receipt, in the order of the call."""

    results: list[Settled]
