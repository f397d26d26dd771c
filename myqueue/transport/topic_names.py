"""What a program gives to calls: topics, how many messages, how long; refusals that help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.partitioner import Key

Several = list[str] | tuple[str, ...]
"""Several names where one name is meant too."""


def topic_names(topics: str | Sequence[str]) -> list[str]:
    """Return one name or several as a list.

    Raises:
        InvalidRequest: it is neither, or a name is no text.
    """
    if isinstance(topics, str) and topics:
        return [topics]
    if not isinstance(topics, Iterable):
        raise InvalidRequest(f"topics is a name or a list of names, not {topics!r}", field="topic")
    names = [topics] if isinstance(topics, str) else list(topics)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidRequest(f"a topic is a non-empty text, not {name!r}", field="topic")
    return names


def no_count(max_messages: object) -> InvalidRequest:
    """Return the refusal of what is no number of messages, as a time to wait in its place."""
    hint = "; the time to wait is timeout=" if isinstance(max_messages, float) else ""
    return InvalidRequest(
        f"max_messages must be a whole number from 1 on, not {max_messages!r}{hint}",
        field="max_messages",
    )


def older_key(key: Key | None, partition_key: Key, partition: int | None = None) -> Key:
    """Return the key that was given under its older name, `partition_key`.

    Raises:
        InvalidRequest: it was given under both, or beside the partition that it would pick.
    """
    if key is not None:
        raise InvalidRequest(
            "partition_key is an older name of key; give key alone", field="partition_key"
        )
    if partition is not None:
        raise InvalidRequest("give partition or partition_key, not both", field="partition")
    return partition_key


def milliseconds(field: str, seconds: float, *, longest_s: float | None = None) -> int:
    """Return a time of a call in the unit of requests.

    Raises:
        InvalidRequest: it is no number of seconds, negative, or longer than allowed.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidRequest(f"{field} is a number of seconds, not {seconds!r}", field=field)
    if not 0 <= seconds <= (float("inf") if longest_s is None else longest_s):
        upward = "at least 0" if longest_s is None else f"0 to {longest_s:.0f}"
        raise InvalidRequest(f"{field} must be {upward} seconds, not {seconds}", field=field)
    return round(seconds * 1000)
