"""How commands reach the managers, and what they say when none answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import myqueue

if TYPE_CHECKING:
    import argparse


MANAGER_TIMEOUT_MS = 1_000
"""How long a manager is looked for: with the second that a connection may take, an address where
there is none is named within two."""
NOBODY_THERE = """\
myqueue: is a manager running there? `queuesite cluster` starts one; --address or MYQUEUE_ADDRESS \
says where it is
"""


def patience(**further: Any) -> myqueue.ClientConfig:
    """Return settings of a client at which somebody waits, with further ones."""
    return myqueue.ClientConfig(manager_timeout_ms=MANAGER_TIMEOUT_MS, **further)


def connect(options: argparse.Namespace) -> myqueue.Client:
    """Return an administrator's client of the managers that were named."""
    return myqueue.Client(options.address, config=patience())


def confirm(options: argparse.Namespace, question: str) -> None:
    """Ask before something is destroyed, unless `--yes` was given.

    Raises:
        SystemExit: the answer is no (1), or nobody can be asked (2).
    """
    if options.yes:
        return
    if not sys.stdin.isatty():
        options.refuse(f"{question} Nobody can be asked here: say --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        sys.stderr.write("myqueue: nothing was done\n")
        raise SystemExit(1)


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add the option that a command which destroys something has."""
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
