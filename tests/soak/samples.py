"""What the processes of a cluster take of memory, descriptors, threads and disk, over time."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIB = 1 << 20
FIGURES = ("memory_mib", "descriptors", "threads", "wal_mib", "disk_mib")
ALLOWANCES = {"memory_mib": 24.0, "descriptors": 24.0, "threads": 3.0, "wal_mib": 16.0}
"""What the last quarter may have above the second one, beside `GROWTH`; the disk has its own."""
GROWTH = 1.1
GONE = (FileNotFoundError, ProcessLookupError)
"""What is raised about a process that ended, or a file that was deleted."""


class Sample(NamedTuple):
    """What one process takes at one moment."""

    seconds: float
    """Since the start."""
    memory_mib: float
    """In RAM."""
    descriptors: int
    threads: int
    wal_mib: float
    """Of SQLite's write-ahead log."""
    disk_mib: float
    """Of all files in its folder."""


def take(seconds: float, pid: int, folder: Path) -> Sample | None:
    """Return what a process takes now; None when it is gone.

    Args:
        seconds: since the start.
        pid: of the process.
        folder: of its data.
    """
    with suppress(*GONE):
        status = Path(f"/proc/{pid}/status").read_text()
        found = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
        if "VmRSS" not in found:
            return None  # killed, and not yet buried
        kib, threads = int(found["VmRSS"]), int(found["Threads"])
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        sizes = {path: size_of(path) for path in folder.rglob("*") if path.is_file()}
        wal = sum(size for path, size in sizes.items() if path.name.endswith("-wal"))
        disk = sum(sizes.values())
        return Sample(seconds, kib / 1024, descriptors, threads, wal / MIB, disk / MIB)
    return None


def size_of(path: Path) -> int:
    """Return the bytes of a file, 0 when it was deleted meanwhile."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def growing(samples: Mapping[str, Sequence[Sample]], *, disk_allowance_mib: float) -> list[str]:
    """Return one line per figure whose last quarter is above its second one; empty when flat.

    Args:
        samples: by process.
        disk_allowance_mib: what retention may leave more on the disk of one process at one time
            than at another.
    """
    allowed = {**ALLOWANCES, "disk_mib": disk_allowance_mib}
    lines = []
    for name, taken in samples.items():
        quarter = len(taken) // 4
        if not quarter:
            lines.append(f"{name}: {len(taken)} samples say nothing")
            continue
        for figure in FIGURES:
            before = median(getattr(one, figure) for one in taken[quarter : 2 * quarter])
            after = median(getattr(one, figure) for one in taken[-quarter:])
            if after > GROWTH * before + allowed[figure]:
                lines.append(f"{name}: {figure} grew from {before:.0f} to {after:.0f}")
    return lines
