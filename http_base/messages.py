"""How a message looks in an answer: the one place that renders it for JSON and MessagePack."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, TypeVar

from msgspec import UNSET
from msgspec.structs import asdict, replace

from myqueue.contract.answers import Message, PoppedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msgspec import UnsetType

    from myqueue.contract.records import Record

_M = TypeVar("_M", bound=Message)


def message_answer(
    record: Record, *, topic: str, partition: int, offset: int, binary: bool
) -> Message:
    """Return a message as it is answered.

    Args:
        record: the message.
        topic: its topic.
        partition: its partition.
        offset: its offset.
        binary: True for MessagePack, see `as_asked`.
    """
    message = Message(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=record.timestamp,
        message=record.value,
        key=record.key,
        headers=record.headers,
    )
    return message if binary else as_asked(message, binary=False)


def message_answers(
    found: Iterable[tuple[int, Record]], *, topic: str, partition: int, binary: bool
) -> list[Message]:
    """Return messages of one partition, each with its offset, as they are answered."""
    return [
        message_answer(record, topic=topic, partition=partition, offset=offset, binary=binary)
        for offset, record in found
    ]


def as_asked(message: _M, *, binary: bool) -> _M:
    """Return a message whose texts and bytes are as they were sent in the form that is asked for.

    Args:
        message: of any kind.
        binary: True for MessagePack, which takes texts and bytes as they were sent. In JSON bytes
            that are UTF-8 become a text; other bytes leave `message` (or `key`) null and come as
            `message_base64` (`key_base64`; `headers_base64` holds the headers like that).
    """
    value, key, headers = message.message, message.key, message.headers
    if binary or not (isinstance(value, bytes) or isinstance(key, bytes) or headers):
        return message
    return replace(
        message,
        message=as_text(value),
        key=as_text(key),
        headers=headers and {name: as_text(one) for name, one in headers.items()},
        message_base64=_base64(value),
        key_base64=_base64(key),
        headers_base64=_opaque(headers or {}),
    )


def popped_answer(message: Message, *, missed: int, corrupt: int) -> PoppedMessage:
    """Return the answer of a pop that got this message."""
    return PoppedMessage(**asdict(message), missed=missed, corrupt=corrupt)


def _base64(value: str | bytes | None) -> str | UnsetType:
    """Return bytes that are no text as base64; UNSET for all else."""
    if not isinstance(value, bytes) or as_text(value) is not None:
        return UNSET
    return b64encode(value).decode()


def _opaque(headers: dict[str, str | bytes]) -> dict[str, str] | UnsetType:
    opaque = {name: _base64(value) for name, value in headers.items()}
    return {name: text for name, text in opaque.items() if text is not UNSET} or UNSET


def as_text(value: str | bytes | None) -> str | None:
    """Return texts, and bytes that are valid UTF-8, as a text; else None."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
