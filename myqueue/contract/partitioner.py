"""Which partition a message goes to: one rule for the client and the servers.

The hash is CRC-32 as in librdkafka's "consistent" partitioner, so other clients can agree.
"""

from __future__ import annotations

from zlib import crc32

from myqueue.contract.errors import InvalidRequest

Key = int | str | bytes
"""A partition key: an integer is taken modulo the number of partitions, a text is hashed."""


def partition_for_key(key: Key, number_of_partitions: int) -> int:
    """Return the partition index of a key.

    Args:
        key: an integer is taken modulo the number of partitions; text (as UTF-8) and bytes are
            hashed.
        number_of_partitions: at least 1.

    Raises:
        InvalidRequest: the key is of another type, or a text that is not Unicode.
    """
    if isinstance(key, bool) or not isinstance(key, int | str | bytes):
        raise InvalidRequest(
            f"partition_key must be an integer or a string, not {key!r}", field="partition_key"
        )
    if isinstance(key, int):
        return key % number_of_partitions
    try:
        data = key.encode() if isinstance(key, str) else key
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"partition_key has a lone surrogate at character {error.start}", field="partition_key"
        ) from error
    return crc32(data) % number_of_partitions


class RoundRobin:
    """Hands out partition indexes in turn: 100 messages over 4 partitions are 25 each."""

    def __init__(self, start: int = 0) -> None:
        self._next = start

    def next(self, number_of_partitions: int) -> int:
        """Return the next index below `number_of_partitions`."""
        return self.first_of(1, number_of_partitions)

    def first_of(self, count: int, number_of_partitions: int) -> int:
        """Return the index for the first of `count` messages; the next ones have those after it."""
        index = self._next % number_of_partitions
        self._next = (index + count - 1) % number_of_partitions + 1
        return index
