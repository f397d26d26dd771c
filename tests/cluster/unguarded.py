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
    import manage

    manage.prepare_environment(sys.argv[1:])
    from broker_app.decoding import Decoding
    from queuesite.supervisor import Supervisor

    Decoding.check = check_header  # type: ignore[method-assign, assignment]
    begin = Supervisor.__init__

    def begin_with_this(self: Supervisor, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **{**kwargs, "manage_py": Path(__file__).resolve()})

    Supervisor.__init__ = begin_with_this  # type: ignore[method-assign]
    manage.main()


if __name__ == "__main__":
    main()
