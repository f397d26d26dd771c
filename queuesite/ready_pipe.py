"""The pipe on which a supervisor waits for the line that says ready.

The supervisor names it in the environment of the child. That variable stays visible for as long as
the process lives, and whoever starts another process with a copy of the environment hands over a
number that means nothing there, or another file. So the number comes with the inode of the pipe,
and both are looked at before the process opens anything.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

logger = logging.getLogger(__name__)

READY_DESCRIPTOR_VARIABLE = "QUEUESITE_READY_FD"
"""`descriptor:inode` of the pipe's writing end."""

_NONE = -1
_adopted = [_NONE]
"""The descriptor that this process may write to; one at most."""


def name_pipe(writing: int) -> str:
    """Return what a supervisor puts into the variable for this descriptor."""
    return f"{writing}:{os.fstat(writing).st_ino}"


def adopt_ready_pipe(environ: MutableMapping[str, str]) -> None:
    """Take the pipe that the environment names, if it is one, and its name out of there.

    Comes first in a process: later the number may be that of any file.

    Args:
        environ: `os.environ`.
    """
    descriptor, _, inode = environ.pop(READY_DESCRIPTOR_VARIABLE, "").partition(":")
    if descriptor.isdecimal() and inode.isdecimal() and _is_pipe(int(descriptor), int(inode)):
        os.set_inheritable(int(descriptor), False)
        _adopted[0] = int(descriptor)


def tell_supervisor(facts: dict[str, str]) -> bool:
    """Send facts as one line to the supervisor that started this process, once.

    Returns:
        False when no supervisor waits for them.
    """
    descriptor, _adopted[0] = _adopted[0], _NONE
    if descriptor == _NONE:
        return False
    try:
        with os.fdopen(descriptor, "w") as pipe:
            pipe.write(json.dumps(facts) + "\n")
    except OSError as error:
        logger.warning("The supervisor does not listen: %s", error.strerror)
        return False
    return True


def _is_pipe(descriptor: int, inode: int) -> bool:
    """Tell whether a descriptor is the writing end of the pipe with this inode."""
    try:
        status = os.fstat(descriptor)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    except (OSError, OverflowError):  # it is closed, or too large to be one
        return False
    writes = flags & os.O_ACCMODE == os.O_WRONLY
    return stat.S_ISFIFO(status.st_mode) and status.st_ino == inode and writes
