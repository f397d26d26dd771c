"""`python -m myqueue.cli`: the command `myqueue`."""

from __future__ import annotations

import sys

from myqueue.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
