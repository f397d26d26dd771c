"""Files and folders that are their owner's alone, also those that were made open to others before.

A server makes nothing that others may read: its umask sees to that. This looks at what was there,
made by an operator or by an earlier version.
"""

from __future__ import annotations

import logging
import re
import stat
from typing import TYPE_CHECKING

from broker_app.secret_proof import PROOF_NAME
from queuesite.cluster_directory import OWN_NAMES as CLUSTER_NAMES
from queuesite.conf import DATA_ROOT, SECRET_FILE
from queuesite.dumps import DUMP_NAME
from queuesite.dumps import LOCK_NAME as PROCESS_LOCK_NAME
from raft_app.storage.sqlite.database import FILE_NAME
from raft_app.storage.sqlite.directory import LOCK_NAME
from raft_app.storage.sqlite.manifest import MANIFEST_NAME
from raft_app.storage.wal.disk_errors import PROBE_NAME
from raft_app.storage.wal.fault_marker import MARKER_NAME
from raft_app.storage.wal.receipt import RECEIPT_NAME

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

OTHERS = 0o077
"""The rights that nobody but the owner has."""
MANAGER_DATABASE = "manager.sqlite3"
_SQLITE = "(-wal|-shm|-journal)?"
_EVERYWHERE = (
    rf"{re.escape(LOCK_NAME)}|{re.escape(SECRET_FILE)}(\.\w+\.new)?|{re.escape(PROBE_NAME)}"
    rf"|lost[+]found|{DUMP_NAME.pattern}|{PROCESS_LOCK_NAME.pattern}"
)
BROKER_NAMES = re.compile(
    rf"{_EVERYWHERE}|{re.escape(FILE_NAME)}{_SQLITE}|{MANIFEST_NAME}(\.new)?|{MARKER_NAME}"
    rf"|{RECEIPT_NAME}|{re.escape(PROOF_NAME)}(\.new)?|damaged-[0-9]+(\.unfinished)?"
)
"""What a broker makes in its folder."""
MANAGER_NAMES = re.compile(rf"{_EVERYWHERE}|{re.escape(MANAGER_DATABASE)}{_SQLITE}")
"""What a manager makes in its folder."""


def keep_all_private(data_dir: Path, own_names: re.Pattern[str]) -> None:
    """Do `keep_private` for the folder of a process, and for `data` when it lies there."""
    keep_private(data_dir, own_names)
    if data_dir.parent == DATA_ROOT:
        keep_private(DATA_ROOT, CLUSTER_NAMES)


def keep_private(directory: Path, own_names: re.Pattern[str]) -> None:
    """Take the rights of all others from what a server made in a directory, and from the directory.

    A directory that also holds something else is no data directory of ours alone: it stays as it
    is. What stays open is warned of. Links are not followed.

    Args:
        directory: where a process keeps its data; need not exist.
        own_names: what that process makes there; in a folder among them everything is its own.
    """
    if not directory.is_dir():
        return
    foreign = ""
    for entry in sorted(directory.iterdir()):
        if not own_names.fullmatch(entry.name):
            foreign = foreign or entry.name
            continue
        close_to_others(entry)
        if entry.is_dir() and not entry.is_symlink() and entry.name != "lost+found":
            for inner in entry.iterdir():
                close_to_others(inner)
    mode = directory.stat().st_mode
    if not (foreign or mode & stat.S_ISVTX):
        close_to_others(directory)
    elif mode & OTHERS:
        logger.warning(
            "%s stays open to others (mode %o): it holds %s, too",
            *(directory, stat.S_IMODE(mode), foreign or "what anybody puts there"),
        )


def close_to_others(path: Path) -> None:
    """Take the rights of all others from a file or folder, or warn that this is impossible."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode) or not mode & OTHERS:
        return
    try:
        path.chmod(stat.S_IMODE(mode) & ~OTHERS)
    except OSError as error:
        logger.warning(
            "%s stays open to others (mode %o): %s", path, stat.S_IMODE(mode), error.strerror
        )
