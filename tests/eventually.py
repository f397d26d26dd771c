"""Waiting in an event loop for what another task does, with an end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_S = 60.0
"""On the busiest machine."""


async def eventually(holds: Callable[[], object], what: str) -> None:
    """Let others run until something holds.

    Raises:
        AssertionError: it does not hold after a minute; says what.
    """
    ends_s = asyncio.get_running_loop().time() + LONGEST_S
    while not holds():
        assert asyncio.get_running_loop().time() < ends_s, f"never: {what}"
        await asyncio.sleep(0)
