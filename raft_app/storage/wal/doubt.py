"""Whether the files of a directory may be opened as they are; asked before SQLite sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.storage.sqlite.database import FILE_NAME, WAL_NAME
from raft_app.storage.wal.receipt import missing_of
from raft_app.storage.wal.scan import WalState, WalVerdict, scan_wal

if TYPE_CHECKING:
    from pathlib import Path

    from raft_app.storage.sqlite.manifest import Manifest
    from raft_app.storage.wal.receipt import WalReceipt


def doubt_about(directory: Path, manifest: Manifest | None, receipt: WalReceipt | None) -> str:
    """Return why what is stored cannot be trusted; empty when nothing speaks against it.

    Args:
        directory: the broker's; no connection to its database is open.
        manifest: what is written down beside the database; `None` when nothing is.
        receipt: what the WAL must hold; `None` when nothing is known.

    Raises:
        OSError: a file cannot be read.
    """
    path = directory / FILE_NAME
    size = path.stat().st_size if path.exists() else 0
    if size == 0 and manifest is not None:
        return f"{path} is missing"
    verdict = _scan(directory / WAL_NAME)
    if verdict.state is WalState.CORRUPT:
        return verdict.reason
    return missing_of(receipt, verdict, directory) if receipt is not None else ""


def _scan(path: Path) -> WalVerdict:
    try:
        with path.open("rb") as file:
            return scan_wal(file)
    except FileNotFoundError:
        return WalVerdict(WalState.EMPTY)
