"""A process that fills a manager's database and prints what a manager's work on it takes, as JSON.

The database is a file in the directory that is named, or the empty one of QUEUE_DATABASE_URL.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from benchmarks.scale.__main__ import set_up


def main(directory: Path, partitions: int) -> None:
    """Measure and print the figures."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)  # that of a test run names its own database
    set_up(directory)
    from benchmarks.scale.control_plane import measure_control_plane

    sys.stdout.buffer.write(msgspec.json.encode(measure_control_plane(partitions)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
