"""What a failed write says about what was written before it.

Some errors leave no doubt. SQLite writes a transaction behind the committed ones and rolls it
back when there is no room for it; whatever was synced stays synced. When space is back the broker
goes on where it was. So a full disk, a quota or a limit on the size of a file makes it stop and
makes no replica faulty.

After any other error of a write or a sync, the operating system may have dropped pages and may
still show them: what is read back after a restart is then no proof that it is on the disk, and a
sync that succeeds the second time is none either. The same goes for pages that SQLite finds
damaged while it writes. Then everything the broker stored is in doubt.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING

from django.db import DatabaseError

from raft_app.storage.sqlite.database import FILE_NAME, error_code

if TYPE_CHECKING:
    from pathlib import Path

NO_ROOM_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
PROBE_NAME = ".room"
PROBE_BYTES = 64 << 10
_IOERR_WITHOUT_ROOM = frozenset({sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
"""SQLite says FULL for ENOSPC in a write alone; these may stand for a quota or a limit."""
_IOERR_HARMLESS = frozenset({sqlite3.SQLITE_IOERR_NOMEM})
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY = 0xFF


def casts_doubt(error: DatabaseError | OSError, directory: Path) -> bool:
    """Whether an error of a write leaves in doubt what was stored before it.

    Args:
        error: what SQLite, through Django, or the operating system said.
        directory: the broker's; a file is written there to find out whether there is room.
    """
    if isinstance(error, OSError):
        return error.errno == errno.EIO
    code = error_code(error)
    primary = code & _PRIMARY
    if primary in _DAMAGE:
        return True
    if primary != sqlite3.SQLITE_IOERR or code in _IOERR_HARMLESS:
        return False
    return code not in _IOERR_WITHOUT_ROOM or has_room(directory)


def has_room(directory: Path) -> bool:
    """Whether the larger file of the database could grow; only its lack is told for certain."""
    sizes = [path.stat().st_size for path in directory.glob(FILE_NAME + "*")]
    probe = directory / PROBE_NAME
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            written = os.pwrite(descriptor, bytes(PROBE_BYTES), max(sizes, default=0))
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        return error.errno not in NO_ROOM_ERRNOS
    return written == PROBE_BYTES
