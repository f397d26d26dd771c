"""What the kernel says of a process."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS, _STARTED_TICKS = 11, 12, 19
"""Positions in `/proc/PID/stat`, counted after the process's name."""


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has taken, user and system, in seconds."""
    fields = _fields(pid)
    return (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS_PER_SECOND


def exact_processor_seconds(pid: int) -> float:
    """Return the same to a microsecond or less, of a process of the same user."""
    clock = ~pid << 3 | 2  # as clock_getcpuclockid(3) makes it
    return time.clock_gettime(clock)


def seconds_since_start(pid: int) -> float:
    """Return how long ago a process was started; exact to a hundredth of a second."""
    started_s = int(_fields(pid)[_STARTED_TICKS]) / _TICKS_PER_SECOND
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s


def resident_mb(pid: int) -> float:
    """Return how much memory of a process is in RAM, in millions of bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
