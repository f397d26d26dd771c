"""Gathers what a process has allocated into large pages, where the system has them.

Python takes its memory in pieces of one MiB, which the kernel backs with pages of 4 KiB. A message
that comes alone touches some hundred of them, and each is looked up anew after another process had
the processor. One page of 2 MiB takes the place of 512.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_PATH = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
MAPS_PATH = Path("/proc/self/maps")
MADV_COLLAPSE = 25
"""Of Linux 6.1 and later; others refuse it."""
_OWN = ("", "[heap]")
"""How areas are called that no file is behind, and that are no stack."""


def gather_memory() -> int:
    """Gather what is allocated; takes some 20 ms of processor time, and may block.

    Returns:
        Bytes that are in large pages now; 0 where the system has none, or gives none.
    """
    try:
        page_bytes = int(SIZE_PATH.read_text())
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):  # another system
        return 0
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(
        end - start
        for start, end in areas_of(MAPS_PATH.read_text(), page_bytes)
        if madvise(start, end - start, MADV_COLLAPSE) == 0
    )


def areas_of(maps: str, page_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the whole large pages in memory that is a process's own.

    Args:
        maps: as in `/proc/self/maps`.
        page_bytes: size of a large page.
    """
    for line in maps.splitlines():
        addresses, rights, _, _, _, *path = line.split(maxsplit=5)
        if not rights.startswith("rw-p") or "".join(path) not in _OWN:
            continue
        start, end = (int(address, 16) for address in addresses.split("-"))
        start, end = -(-start // page_bytes) * page_bytes, end // page_bytes * page_bytes
        if start < end:
            yield start, end
