"""The messages that are sent: each of 100 bytes and different from every other."""

from __future__ import annotations

MESSAGE_BYTES = 100


def message(number: int, origin: int = 0) -> bytes:
    """Return a message of 100 bytes that no other number and origin give."""
    return f"{origin:04d}/{number:012d}/".encode().ljust(MESSAGE_BYTES, b".")
