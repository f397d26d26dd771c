"""The command `myqueue`: topics, brokers, messages, lag, speed and status.

Exit status: 0 done, 1 the queue refused or did not answer, 2 wrong arguments, 130 Ctrl-C, 141 the
reader of the output went away. SIGTERM is the orderly end of `consume`, `tail` and `work`, with 0.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from myqueue.cli import (
    alter,
    brokers,
    clients,
    completion,
    consume,
    dead_letters,
    demo,
    drain,
    events,
    groups,
    lag,
    moving,
    perf,
    produce,
    rebalance,
    status,
    tail,
    tokens,
    topics,
    work,
)
from myqueue.cli.commands import Commands
from myqueue.cli.connection import NOBODY_THERE
from myqueue.contract.errors import ManagerNotFound, QueueError
from myqueue.contract.http1 import CA_VARIABLE

INTERRUPTED = 130
BROKEN_PIPE = 141
SUBJECTS = (
    *(topics, alter, produce, consume, tail, groups, lag, work, dead_letters, clients),
    *(brokers, drain, rebalance, tokens, status, events, moving, perf, demo, completion),
)
"""Modules that add commands, in the order in which `--help` names them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: without the program's name; those of the process when left out.
    """
    options = all_commands().read(sys.argv[1:] if arguments is None else arguments)
    if options.ca is not None:
        os.environ[CA_VARIABLE] = options.ca
    try:
        if options.token_file is not None:
            os.environ["MYQUEUE_TOKEN"] = Path(options.token_file).read_text("ascii").strip()
        options.run(options)
        sys.stdout.flush()
    except QueueError as error:
        sys.stderr.write(f"myqueue: {error.code}: {error.message}\n")
        if isinstance(error, ManagerNotFound):
            sys.stderr.write(NOBODY_THERE)
        return 1
    except BrokenPipeError:
        # What is still buffered must not fail again when the interpreter closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        sys.stderr.write(f"myqueue: {error}\n")
        return 1
    return 0


def all_commands() -> Commands:
    """Return the tree of all commands."""
    commands = Commands()
    for subject in SUBJECTS:
        subject.add_commands(commands)
    return commands


if __name__ == "__main__":
    sys.exit(main())
