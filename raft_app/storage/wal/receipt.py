"""How far the WAL was when the last transaction was acknowledged, noted beside it.

A WAL that is cut at a commit, or damaged within its last transaction, looks as if the power had
gone a little earlier. So after each commit the storage thread overwrites one small record, without
a sync. While the machine runs, the operating system keeps that record whatever becomes of the
process: it then says exactly what must be there. After a power cut it may be older than the WAL,
never newer, as it is written after the commit's sync: it still says what must be there at least.

Two files of SQLite are looked into, whose layout is fixed: the WAL's index (`-shm`), which says
how many frames are committed, and the WAL itself. SQLite locks ranges of the former, and closing
any descriptor of a file drops all locks that the process has on it: those used here are
closed only after every connection. The index is mapped, as SQLite itself maps it, so that looking
into it takes no system call.

Noting may not change the times of the WAL: some file systems write them with the next sync, a
second write to the disk, one after the other.

Source: SQLite's documentation, "WAL-mode File Format", section 2.1.
"""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from mmap import PROT_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from raft_app.failpoints import reach
from raft_app.storage.sqlite.database import FILE_NAME, INDEX_NAME, WAL_NAME
from raft_app.storage.wal.checksum import FRAME_HEADER_BYTES
from raft_app.storage.wal.scan import VERSION, WAL_HEADER_BYTES, WalVerdict

if TYPE_CHECKING:
    from raft_app.storage.wal.scan import Salt

RECEIPT_NAME = "wal-receipt"
_RECORD = struct.Struct(">16s6I")
_CRC = struct.Struct(">I")
_INDEX = struct.Struct("=I8xBxHI12x8s")
"""Version, whether it is filled, bytes of a page (1 for 65,536), committed frames, salt."""
_INDEX_SALT = struct.Struct(">2I")
_NO_ACCESS_TIME = getattr(os, "O_NOATIME", 0)
"""Reading leaves the time of the last access as it is; Linux alone has that."""
_FRAME_PAGE = struct.Struct(">I")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class WalReceipt(NamedTuple):
    """What a WAL held when a transaction was acknowledged."""

    boot: bytes
    """16 bytes that differ with every start of the machine."""
    salt: Salt
    """The WAL's generation."""
    frames: int
    page_bytes: int
    page: int
    """Number of the page in the last of the frames, from 1."""
    page_crc: int
    """Its CRC-32."""

    def encode(self) -> bytes:
        """Return the record in the file."""
        record = _RECORD.pack(
            self.boot, *self.salt, self.frames, self.page_bytes, self.page, self.page_crc
        )
        return record + _CRC.pack(zlib.crc32(record))

    @classmethod
    def decode(cls, content: bytes) -> WalReceipt | None:
        """Return what a record says; `None` when it says nothing or is damaged."""
        if len(content) != _RECORD.size + _CRC.size:
            return None
        record = content[: _RECORD.size]
        if _CRC.unpack_from(content, _RECORD.size) != (zlib.crc32(record),):
            return None
        boot, first, second, frames, page_bytes, page, page_crc = _RECORD.unpack(record)
        if frames == 0:
            return None
        return cls(boot, (first, second), frames, page_bytes, page, page_crc)


class WalReceipts:
    """The receipt of one directory; `note` belongs to the thread that writes."""

    def __init__(self, directory: Path) -> None:
        """Remember the directory; nothing is touched yet."""
        self._directory = directory
        self._boot = boot_id()
        self._receipt = self._index = self._wal = -1
        self._mapped: mmap | None = None
        self._connection: object = None
        """Which committed last: as long as it is open, the WAL and its index are the same files."""

    def read(self) -> WalReceipt | None:
        """Return the last receipt; `None` when there is none to believe.

        Raises:
            OSError: it cannot be read.
        """
        try:
            return WalReceipt.decode((self._directory / RECEIPT_NAME).read_bytes())
        except FileNotFoundError:
            return None

    def clear(self) -> None:
        """Forget the WAL, which was written back into the database and is empty or gone.

        Raises:
            OSError: the disk refused.
        """
        if self._receipt < 0:
            path = self._directory / RECEIPT_NAME
            self._receipt = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(self._receipt, bytes(_RECORD.size + _CRC.size), 0)

    def note(self, connection: object) -> None:
        """Write down how far the WAL is, after a commit and before it is acknowledged.

        Args:
            connection: that committed, and is open.

        Raises:
            OSError: the disk refused.
        """
        reach("write.committed")
        if connection is not self._connection:
            self._follow(connection)
        receipt = self._take()
        if receipt is not None:
            os.pwrite(self._receipt, receipt.encode(), 0)
        reach("write.noted")

    def lengthen_wal(self, size_bytes: int) -> None:
        """Put zeros behind what the WAL has, up to a size; the next commit syncs them.

        SQLite ends a WAL before the first frame without its salt, and overwrites what follows. To
        be called after `note`, before the next transaction. Nothing is opened: a process without a
        descriptor to spare writes on.

        Raises:
            OSError: the disk refused.
        """
        end = os.lseek(self._wal, 0, os.SEEK_END)
        os.pwrite(self._wal, bytes(max(0, size_bytes - end)), end)

    def close(self) -> None:
        """Close the files; all connections to the database must be closed before."""
        self._unmap()
        for descriptor in (self._receipt, self._index, self._wal):
            if descriptor >= 0:
                os.close(descriptor)
        self._receipt = self._index = self._wal = -1
        self._connection = None

    def _follow(self, connection: object) -> None:
        """Open the files that a connection uses, unless they are the ones used already."""
        # The WAL comes and goes with its index. It is not asked itself: its times would be read,
        # and Linux gives a file whose times somebody has read new ones with the next write.
        if self._index < 0 or not os.fstat(self._index).st_nlink:
            self._unmap()
            self._index = self._open(self._index, INDEX_NAME, os.O_RDONLY)
            self._wal = self._open(self._wal, WAL_NAME, os.O_RDWR)
        if self._mapped is None and os.fstat(self._index).st_size >= _INDEX.size:
            self._mapped = mmap(self._index, _INDEX.size, prot=PROT_READ)
        self._connection = connection

    def _unmap(self) -> None:
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None

    def _open(self, descriptor: int, name: str, access: int) -> int:
        """Return a descriptor of the file that has the name now in place of one without a name.

        The file goes when the last connection is closed; the old one has no locks then.
        """
        if descriptor >= 0:
            os.close(descriptor)
        path = self._directory / name
        try:
            return os.open(path, access | _NO_ACCESS_TIME)
        except PermissionError:  # only the owner of a file may ask for that
            return os.open(path, access)

    def _take(self) -> WalReceipt | None:
        """Return the receipt of what is committed; `None` from an index of another layout."""
        if self._mapped is None:
            return None
        version, filled, page_bytes, frames, salt = _INDEX.unpack_from(self._mapped)
        if version != VERSION or not filled or not frames:
            return None
        page_bytes = 65_536 if page_bytes == 1 else page_bytes
        frame_bytes = FRAME_HEADER_BYTES + page_bytes
        at = WAL_HEADER_BYTES + (frames - 1) * frame_bytes
        frame = os.pread(self._wal, frame_bytes, at)
        (page,) = _FRAME_PAGE.unpack_from(frame)
        page_crc = zlib.crc32(memoryview(frame)[FRAME_HEADER_BYTES:])
        return WalReceipt(self._boot, _INDEX_SALT.unpack(salt), frames, page_bytes, page, page_crc)


def boot_id() -> bytes:
    """Return 16 bytes that stay while the machine runs; where none are known, ever new ones."""
    try:
        return uuid.UUID(_BOOT_ID.read_text().strip()).bytes
    except (OSError, ValueError):
        return uuid.uuid4().bytes


def missing_of(receipt: WalReceipt, verdict: WalVerdict, directory: Path) -> str:
    """Return what is missing of what a receipt names; empty when nothing is.

    A WAL of another generation, or none, is fine when the database holds what it held: another
    program may have written it back. After a power cut the receipt is too old to tell.

    Args:
        receipt: the last one of the directory.
        verdict: what a scan of its WAL found.
        directory: the broker's; no connection to its database is open.

    Raises:
        OSError: the database cannot be read.
    """
    if verdict.salt == receipt.salt:
        if verdict.frames >= receipt.frames:
            return ""
        return (
            f"the WAL ends with frame {verdict.frames}, though {receipt.frames} frames were"
            " acknowledged"
        )
    if receipt.boot != boot_id() or _is_written_back(receipt, directory / FILE_NAME):
        return ""
    return f"the WAL with {receipt.frames} acknowledged frames is gone"


def _is_written_back(receipt: WalReceipt, database: Path) -> bool:
    try:
        with database.open("rb") as file:
            file.seek((receipt.page - 1) * receipt.page_bytes)
            return zlib.crc32(file.read(receipt.page_bytes)) == receipt.page_crc
    except FileNotFoundError:
        return False
