"""Topics as a program names them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from myqueue.contract.errors import InvalidRequest

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
