"""How much memory a process took at its peak, from `/proc`."""

from __future__ import annotations

import re
from pathlib import Path


class PeakMemory:
    """Measures from now on.

    Args:
        pid: of a process; this one when left out.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._directory = Path(f"/proc/{pid or 'self'}")
        (self._directory / "clear_refs").write_text("5")
        self._began = self._bytes("VmRSS")

    def grown(self) -> int:
        """Return how many bytes the peak since the beginning is above what was taken then."""
        return self._bytes("VmHWM") - self._began

    def _bytes(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB", (self._directory / "status").read_text(), re.M)
        assert found is not None, name
        return int(found[1]) * 1024
