"""What a WAL must hold, by the note that the last acknowledgement left."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from raft_app.storage.wal import receipt as wal_receipt
from raft_app.storage.wal.receipt import RECEIPT_NAME, WalReceipt, WalReceipts, missing_of
from raft_app.storage.wal.scan import WalState, WalVerdict
from tests.raft_app.storage.wal_harness import scan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOOT = bytes(range(16))
OTHER_BOOT = bytes(16)
RECEIPT = WalReceipt(BOOT, salt=(1, 2), frames=9, page_bytes=4096, page=3, page_crc=77)


def verdict_of(directory: Path) -> WalVerdict:
    path = directory / "broker.sqlite3-wal"
    return scan(path.read_bytes() if path.exists() else b"")


def missing_in(directory: Path, receipts: WalReceipts | None = None) -> str:
    receipt = (receipts or WalReceipts(directory)).read()
    assert receipt is not None
    return missing_of(receipt, verdict_of(directory), directory)


class Writer:
    """A database as a broker writes it, with a receipt after each commit."""

    def __init__(self, directory: Path, *, page_bytes: int = 4096) -> None:
        self.directory = directory
        self.path = directory / "broker.sqlite3"
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in (
            f"PRAGMA page_size={page_bytes}",
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=OFF",
            "PRAGMA wal_autocheckpoint=0",
        ):
            self.connection.execute(statement)
        self.receipts = WalReceipts(directory)
        self.receipts.clear()

    def write(self, statement: str) -> WalReceipt:
        self.connection.execute(statement)
        self.receipts.note(self.connection)
        receipt = self.receipts.read()
        assert receipt is not None
        return receipt

    def missing(self) -> str:
        return missing_in(self.directory, self.receipts)

    def killed(self, directory: Path) -> Path:
        """Return a directory as a killed process leaves it."""
        shutil.copytree(self.directory, directory, ignore=shutil.ignore_patterns("*-shm"))
        return directory

    def close(self) -> None:
        self.connection.close()
        self.receipts.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    (tmp_path / "live").mkdir()
    writer = Writer(tmp_path / "live")
    writer.write("CREATE TABLE t (data BLOB)")
    yield writer
    writer.close()


def test_receipt_is_read_as_it_was_written() -> None:
    assert WalReceipt.decode(RECEIPT.encode()) == RECEIPT


@pytest.mark.parametrize("content", [b"", bytes(44), RECEIPT.encode()[:-1], b"x" * 44])
def test_record_that_says_nothing_is_none(content: bytes) -> None:
    assert WalReceipt.decode(content) is None


def test_damaged_record_is_not_believed() -> None:
    record = RECEIPT.encode()
    for position in range(len(record)):
        damaged = bytearray(record)
        damaged[position] ^= 4
        assert WalReceipt.decode(bytes(damaged)) is None


@pytest.mark.parametrize("page_bytes", [512, 4096, 65_536])
def test_receipt_names_the_last_committed_frame(tmp_path: Path, page_bytes: int) -> None:
    writer = Writer(tmp_path, page_bytes=page_bytes)
    before = writer.write("CREATE TABLE t (data BLOB)")
    after = writer.write("INSERT INTO t VALUES (zeroblob(100000))")
    verdict = verdict_of(tmp_path)
    assert after.frames == verdict.frames > before.frames
    assert after.salt == before.salt == verdict.salt
    assert after.page_bytes == page_bytes
    assert writer.missing() == ""
    writer.close()


def test_receipt_follows_the_wal_into_its_next_generation(writer: Writer) -> None:
    before = writer.write("INSERT INTO t VALUES (zeroblob(50000))")
    writer.connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    assert writer.missing() == ""
    after = writer.write("INSERT INTO t VALUES (1)")
    assert after.salt != before.salt
    assert after.frames < before.frames
    assert writer.missing() == ""


def test_receipt_follows_the_database_through_its_last_connection(writer: Writer) -> None:
    writer.connection.close()
    assert not (writer.directory / "broker.sqlite3-shm").exists()
    writer.connection = sqlite3.connect(writer.path, isolation_level=None)
    assert writer.write("INSERT INTO t VALUES (1)").frames == 1


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="Linux alone can read without a trace")
def test_noting_gives_the_next_sync_nothing_more_to_write(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = writer.directory / "broker.sqlite3-wal"
    asked: list[int] = []
    fstat = os.fstat

    def note_asked(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        asked.append(found.st_ino)
        return found

    monkeypatch.setattr(os, "fstat", note_asked)
    writer.write("INSERT INTO t VALUES (1)")
    os.utime(wal, (0, 0))  # a file that was not read for long has its times changed by reading
    writer.receipts.note(writer.connection)
    writer.receipts.note("another connection")  # whose files have to be found
    assert wal.stat().st_atime == 0
    assert asked
    assert wal.stat().st_ino not in asked  # who asks for times has the next write change them


def test_wal_that_was_made_longer_is_written_over(writer: Writer) -> None:
    wal = writer.directory / "broker.sqlite3-wal"
    writer.receipts.lengthen_wal(100_000)
    assert wal.stat().st_size == 100_000
    writer.write("INSERT INTO t VALUES (1)")
    assert wal.stat().st_size == 100_000
    writer.receipts.lengthen_wal(50_000)
    assert wal.stat().st_size == 100_000
    assert writer.connection.execute("SELECT data FROM t").fetchall() == [(1,)]
    assert writer.missing() == ""


def test_noting_drops_no_lock_of_sqlite(writer: Writer) -> None:
    with closing(sqlite3.connect(writer.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchone()
        writer.write("INSERT INTO t VALUES (1)")
        child = os.fork()
        if child == 0:  # Locks of a process do not stop itself, so another one asks.
            status = 2
            try:
                with closing(sqlite3.connect(writer.path, isolation_level=None)) as other:
                    other.execute("PRAGMA busy_timeout=0")
                    status = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_wal_that_ends_below_the_receipt_has_lost_something(writer: Writer, tmp_path: Path) -> None:
    writer.write("INSERT INTO t VALUES (1)")
    writer.write("INSERT INTO t VALUES (2)")
    left = writer.killed(tmp_path / "left")
    assert missing_in(left) == ""
    wal = left / "broker.sqlite3-wal"
    content = wal.read_bytes()
    for length in range(len(content) - 1, 32, -97):
        wal.write_bytes(content[:length])
        assert "acknowledged" in missing_in(left), length


def test_wal_that_is_gone_is_missed_unless_it_was_written_back(
    writer: Writer, tmp_path: Path
) -> None:
    writer.write("INSERT INTO t VALUES (1)")
    left = writer.killed(tmp_path / "left")
    wal = left / "broker.sqlite3-wal"
    for content in (b"", wal.read_bytes()[:31], bytes(1_000)):
        wal.write_bytes(content)
        assert "is gone" in missing_in(left)
    wal.unlink()
    assert "is gone" in missing_in(left)
    other = writer.killed(tmp_path / "other")
    with closing(sqlite3.connect(other / "broker.sqlite3")) as shell:
        assert shell.execute("SELECT count(*) FROM t").fetchone() == (1,)
    assert not (other / "broker.sqlite3-wal").exists()
    assert missing_in(other) == ""


def test_receipt_of_before_a_power_cut_is_a_lower_bound(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.write("INSERT INTO t VALUES (1)")
    left = writer.killed(tmp_path / "left")
    monkeypatch.setattr(wal_receipt, "boot_id", lambda: OTHER_BOOT)
    wal = left / "broker.sqlite3-wal"
    content = wal.read_bytes()
    wal.write_bytes(content[:-1])
    assert "acknowledged" in missing_in(left)
    wal.unlink()
    assert missing_in(left) == ""


def test_same_boot_has_the_same_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = wal_receipt.boot_id()
    assert len(first) == 16
    if wal_receipt._BOOT_ID.exists():
        assert wal_receipt.boot_id() == first
    monkeypatch.setattr(wal_receipt, "_BOOT_ID", tmp_path / "nothing")
    assert wal_receipt.boot_id() != wal_receipt.boot_id()


def test_index_of_another_layout_gives_no_receipt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path)
    monkeypatch.setattr(wal_receipt, "VERSION", 1)
    writer.connection.execute("CREATE TABLE t (data BLOB)")
    writer.receipts.note(writer.connection)
    assert writer.receipts.read() is None
    writer.close()


def test_directory_without_a_receipt_has_none(tmp_path: Path) -> None:
    receipts = WalReceipts(tmp_path)
    assert receipts.read() is None
    receipts.close()
    receipts.clear()
    assert receipts.read() is None
    assert (tmp_path / RECEIPT_NAME).stat().st_size == 44
    receipts.close()


def test_empty_wal_of_the_receipts_generation_has_lost_everything(tmp_path: Path) -> None:
    verdict = WalVerdict(WalState.EMPTY, RECEIPT.salt)
    assert "frame 0" in missing_of(RECEIPT, verdict, tmp_path)
