"""`manage.py` for tests whose brokers take any batch with a right header, whatever is inside.

That is how batches that nobody can decode get into a log for others to meet.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


async def check_header(self: object, batch: bytes) -> Any:
    """Stand in for the check at the door."""
    from myqueue.contract.records import read_header

    return read_header(batch)


def main() -> None:
    """Run a subcommand; the children of `cluster` run this file too."""
    sys.path[0] = str(ROOT)
    from queuesite import command_line

    command_line.prepare_environment(sys.argv[1:])
    from broker_app.decoding import Decoding

    Decoding.check = check_header  # type: ignore[method-assign, assignment]
    command_line.main()


if __name__ == "__main__":
    main()
