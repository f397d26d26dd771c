"""The write-ahead log in the directory of a killed broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.storage.wal.checksum import FRAME_HEADER_BYTES
from raft_app.storage.wal.receipt import RECEIPT_NAME, WalReceipt
from raft_app.storage.wal.scan import WAL_HEADER_BYTES
from tests.raft_app.storage.storage_lives import without_zeros

if TYPE_CHECKING:
    from pathlib import Path

WAL = "broker.sqlite3-wal"


def receipt_in(directory: Path) -> WalReceipt:
    """Return what the last acknowledged transaction left beside the log."""
    receipt = WalReceipt.decode((directory / RECEIPT_NAME).read_bytes())
    assert receipt is not None
    return receipt


def synced_bytes(directory: Path) -> int:
    """Return the length of the log up to the end of what was acknowledged."""
    receipt = receipt_in(directory)
    return WAL_HEADER_BYTES + receipt.frames * (FRAME_HEADER_BYTES + receipt.page_bytes)


def written_bytes(directory: Path) -> int:
    """Return the length of the log up to the end of what was written; zeros follow."""
    return len(without_zeros((directory / WAL).read_bytes()))
