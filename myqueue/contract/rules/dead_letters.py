"""What a dead letter says of where it died, and the message that it is again when it goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

DEAD_LETTER_HEADERS = frozenset(
    f"dead-letter-{name}" for name in ("topic", "partition", "offset", "group", "deliveries")
)
REDRIVEN_FROM = "redriven-from"
"""Header of a message that came back: the dead letter's topic, partition and offset."""
REDRIVE_GROUP = "redrive"
"""The group whose runs share the work, unless another is named."""

Headers = dict[str, str | bytes]


class Death(NamedTuple):
    """Where and how a message died, as its copy says; anybody may have written it."""

    topic: str
    """Empty when it does not say."""
    partition: int
    """-1 when it does not say."""
    offset: int
    """-1 when it does not say."""
    group: str
    deliveries: int
    """0 when it does not say."""


def death_of(headers: Mapping[str, str | bytes] | None) -> Death:
    """Return what the headers of a dead letter say."""
    said = headers or {}
    return Death(
        topic=_text(said.get("dead-letter-topic")),
        partition=_number(said.get("dead-letter-partition"), -1),
        offset=_number(said.get("dead-letter-offset"), -1),
        group=_text(said.get("dead-letter-group")),
        deliveries=_number(said.get("dead-letter-deliveries"), 0),
    )


def mark_of(topic: str, partition: int, offset: int) -> str:
    """Return what tells a dead letter from all others."""
    return f"{topic}/{partition}/{offset}"


def returning_headers(headers: Mapping[str, str | bytes] | None, mark: str) -> Headers:
    """Return the headers that the message had, and where it comes back from."""
    kept = {name: one for name, one in (headers or {}).items() if name not in DEAD_LETTER_HEADERS}
    return {**kept, REDRIVEN_FROM: mark}


def _text(said: str | bytes | None) -> str:
    return said if isinstance(said, str) else (said or b"").decode(errors="replace")


def _number(said: str | bytes | None, otherwise: int) -> int:
    text = _text(said)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else otherwise
