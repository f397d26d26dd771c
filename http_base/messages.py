"""How a message looks in an answer: the one place that renders it for JSON and MessagePack."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from myqueue.contract.records import Record


def message_fields(
    record: Record, *, topic: str, partition: int, offset: int, binary: bool
) -> dict[str, Any]:
    """Return the fields of one message.

    Args:
        record: the message.
        topic: its topic.
        partition: its partition.
        offset: its offset.
        binary: True for MessagePack, which takes texts and bytes as they were sent. In JSON bytes
            that are UTF-8 become a text; other bytes leave `message` (or `key`) null and come as
            `message_base64` (`key_base64`; `headers_base64` holds the headers like that).
    """
    fields: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": record.timestamp,
    }
    if binary:
        fields |= {"message": record.value, "key": record.key, "headers": record.headers}
        return fields
    _put_text(fields, "message", record.value)
    _put_text(fields, "key", record.key)
    _put_headers(fields, record.headers)
    return fields


def _put_text(fields: dict[str, Any], name: str, value: str | bytes | None) -> None:
    text = as_text(value)
    fields[name] = text
    if text is None and isinstance(value, bytes):
        fields[f"{name}_base64"] = b64encode(value).decode()


def _put_headers(fields: dict[str, Any], headers: dict[str, str | bytes] | None) -> None:
    fields["headers"] = headers and {name: as_text(value) for name, value in headers.items()}
    opaque = {
        name: b64encode(value).decode()
        for name, value in (headers or {}).items()
        if isinstance(value, bytes) and as_text(value) is None
    }
    if opaque:
        fields["headers_base64"] = opaque


def as_text(value: str | bytes | None) -> str | None:
    """Return texts, and bytes that are valid UTF-8, as a text; else None."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
