#!/usr/bin/env python
"""Command line of the servers in a checkout; what is installed has `queuesite` for it."""

from __future__ import annotations

from queuesite.command_line import main

if __name__ == "__main__":
    main()
