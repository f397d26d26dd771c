"""The commands of a partition, their results, and how commands are encoded in the log.

A record batch travels as it is, in a DATA entry. Everything else travels in a COMMAND entry: one
version byte, then a MessagePack array `[partition clock, [tag, field, ...]]`. Tags are stored and
sent: never reuse one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from myqueue.contract.rules.work import Receipt, SettleKind

if TYPE_CHECKING:
    from myqueue.contract.records import BatchHeader

VERSION = 2
"""First byte of every encoded command. Version 1, without the clients of groups, is still read."""


class Start(StrEnum):
    """Where a new cursor or a new consumer group begins."""

    EARLIEST = "earliest"
    """At the log start offset."""
    LATEST = "latest"
    """After the last message that is in the log before the command."""


class AppendBatch(Struct, frozen=True):
    """Appends a record batch."""

    batch: bytes
    """Verified by `read_header`."""
    header: BatchHeader


class PopMessages(Struct, frozen=True, array_like=True, tag=1):
    """Moves a consumer's cursor over a range, if it is still where the range begins.

    All messages of the range are in the log before the command: it is never applied before them.
    """

    consumer_id: int
    from_offset: int
    to_offset: int
    """Exclusive, above `from_offset`."""
    request_digest: bytes = b""
    """`request_digest` of the request id; empty when there was none."""


class OpenCursor(Struct, frozen=True, array_like=True, tag=2):
    """Creates a consumer's cursor; an existing one stays where it is."""

    consumer_id: int
    start: Start


class ResetCursor(Struct, frozen=True, array_like=True, tag=3):
    """Moves a consumer's cursor to an offset."""

    consumer_id: int
    offset: int
    expected: int | None = None
    """Where the cursor must be; None for anywhere."""


class ForgetClient(Struct, frozen=True, array_like=True, tag=4):
    """Drops a producer's sequences or a consumer's cursor; 0 for neither."""

    producer_id: int = 0
    consumer_id: int = 0


class ForgetIdle(Struct, frozen=True, array_like=True, tag=5):
    """Drops producers and request ids that were last used before a time of the partition clock."""

    before_ms: int = 0
    """Set by the leader when it proposes the command."""


class CommitOffsets(Struct, frozen=True, array_like=True, tag=6):
    """Commits a consumer group's offset, or only fences earlier generations.

    A generation below the known one changes nothing. An unknown group is created.
    """

    group: str
    """Its name."""
    generation: int
    """Of the member that commits; 0 or above."""
    offset: int | None = None
    """Everything below is read; None leaves it where it is, and a new group at `start`."""
    start: Start = Start.EARLIEST
    client_id: int = 0
    """The consumer that commits; 0 for the cluster."""


class Truncate(Struct, frozen=True, array_like=True, tag=7):
    """Deletes the messages below an offset: retention."""

    to_offset: int
    """Ends a record batch; at most the high watermark when the command is applied."""


class SetRetention(Struct, frozen=True, array_like=True, tag=8):
    """Sets the partition's retention. 0 is no limit."""

    retention_ms: int = 0
    """Age in milliseconds after which messages may go."""
    retention_bytes: int = 0
    """What remains of the partition, in bytes of its batches, when older messages may go."""


KEEPS_ALL = SetRetention()
"""No message goes, however old it is."""


class ForgetGroup(Struct, frozen=True, array_like=True, tag=9):
    """Drops a consumer group and its offset."""

    group: str
    """Its name."""


class ReceiveMessages(Struct, frozen=True, array_like=True, tag=10):
    """Delivers messages to a worker of a group, those that are still deliverable when applied.

    An unknown group is created.
    """

    group: str
    again: tuple[int, ...]
    """Offsets that were delivered before and whose time is over."""
    new_from: int
    new_to: int
    """Exclusive; the messages between were never delivered."""
    visibility_ms: int
    """How long the messages are invisible to other workers."""
    delivery_limit: int
    dead_letter_topic: str = ""
    """Empty for the usual name."""
    start: Start = Start.EARLIEST
    """Where a new group begins."""
    skip_to: int = 0
    """Above `new_from`: the messages between cannot be read and are passed over."""
    client_id: int = 0
    """The consumer that works; 0 for the cluster."""


class SettleMessages(Struct, frozen=True, array_like=True, tag=11):
    """Settles messages that a worker received: ack, nack or extend."""

    group: str
    kind: SettleKind
    receipts: list[Receipt]
    delay_ms: int = 0
    """How long from now they are invisible; none for `ack`."""


class DeadCopied(Struct, frozen=True, array_like=True, tag=12):
    """Drops dead messages that were copied to the dead-letter topic."""

    group: str
    origin: int
    offsets: list[int]


class ExpireWork(Struct, frozen=True, array_like=True, tag=13):
    """Marks the messages of a group dead whose last delivery was not settled in time."""

    group: str


GroupCommand = (
    CommitOffsets | ForgetGroup | ReceiveMessages | SettleMessages | DeadCopied | ExpireWork
)
CommandBody = (
    PopMessages
    | OpenCursor
    | ResetCursor
    | ForgetClient
    | ForgetIdle
    | Truncate
    | SetRetention
    | GroupCommand
)
PartitionWrite = AppendBatch | CommandBody
"""What `Engine.propose` takes for a partition."""


class Command(Struct, frozen=True, array_like=True):
    """A command as it is replicated."""

    clock_ms: int
    """The partition clock when the leader proposed it, in milliseconds; never goes back."""
    body: CommandBody


class AppendResult(Struct, frozen=True):
    """Result of `AppendBatch`."""

    base_offset: int
    record_count: int


class PopResult(Struct, frozen=True):
    """Result of `PopMessages`: the range passed over, empty when the cursor was elsewhere."""

    from_offset: int
    to_offset: int
    """Exclusive."""
    missed: int = 0
    """Messages right before the range that retention took from the consumer."""

    @property
    def moved(self) -> bool:
        """False when the cursor was not where the range begins: nothing was popped."""
        return self.to_offset > self.from_offset


class CursorResult(Struct, frozen=True):
    """Result of `OpenCursor` and `ResetCursor`."""

    offset: int
    """Where the cursor is now."""
    moved: bool
    """False when `expected` did not hold, or when the cursor was there before it was opened."""


class CommitRefusal(StrEnum):
    """Why a `CommitOffsets` changed nothing."""

    GENERATION = "generation"
    """A later generation has the group."""
    OFFSET = "offset"
    """The offset is not one of the partition."""
    WORKERS = "workers"
    """Workers use the group and have messages out."""


class CommitResult(Struct, frozen=True):
    """Result of `CommitOffsets`: where the consumer group is now."""

    generation: int
    """The known one."""
    offset: int
    missed: int = 0
    """Messages right before `offset` that retention took from the group; told once."""
    refused: CommitRefusal | None = None
    """Why nothing changed; None when the command took effect."""


class ReceiveResult(Struct, frozen=True):
    """Result of `ReceiveMessages`."""

    origin: int
    """Of the group's work; part of each receipt."""
    deliveries: list[tuple[int, int]]
    """(offset, number of the delivery) of each message."""
    missed: int = 0
    """Messages that went before they were settled, since this was last told."""
    corrupt: int = 0
    """Messages that this receive stepped over because nobody can decode them."""
    refused: bool = False
    """Members of a generation share the group: workers get nothing of it."""


class TruncateResult(Struct, frozen=True):
    """Result of `Truncate`."""

    log_start_offset: int
    """Where the messages begin now."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Command)
_VERSION_BYTE = bytes([VERSION])
_READABLE = (b"\x01", _VERSION_BYTE)


def encode_command(command: Command) -> bytes:
    """Return the bytes that a COMMAND entry carries."""
    return _VERSION_BYTE + _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """Read what `encode_command` wrote.

    Raises:
        ValueError: the bytes are no command, or of an unknown version.
    """
    if data[:1] not in _READABLE:
        raise ValueError(f"command version {data[:1]!r} is unknown; this side knows 1 to {VERSION}")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a command: {error}") from error
