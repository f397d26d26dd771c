"""The lock of a data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raft_app.storage.protocol import StorageRefusal
from raft_app.storage.sqlite.directory import LOCK_NAME, DirectoryLock, sync_directory

WAIT_SECONDS = 60
HOLDER = """
import sys
from pathlib import Path
from raft_app.storage.sqlite.directory import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
lock.acquire()
print("locked", flush=True)
sys.stdin.read()
"""


def test_lock_makes_the_directory_and_names_its_process(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "deep" / "broker")
    lock.acquire()
    assert lock.held
    assert (lock.directory / LOCK_NAME).read_text().lstrip() == f"{os.getpid()}\n"
    lock.release()
    assert not lock.held


def test_second_holder_is_refused_until_the_first_releases(tmp_path: Path) -> None:
    first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    first.acquire()
    with pytest.raises(StorageRefusal, match=f"in use by process {os.getpid()}$"):
        second.acquire()
    assert not second.held
    first.release()
    second.acquire()
    second.release()


def test_lock_of_another_process_ends_with_it(tmp_path: Path) -> None:
    root = Path(__file__).parents[4]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    lock = DirectoryLock(tmp_path)
    try:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(StorageRefusal, match=f"in use by process {holder.pid}$"):
            lock.acquire()
    finally:
        holder.kill()
        holder.wait(WAIT_SECONDS)
        holder.stdin.close()
        holder.stdout.close()
    lock.acquire()
    lock.release()


def test_releasing_an_unheld_lock_does_nothing(tmp_path: Path) -> None:
    DirectoryLock(tmp_path).release()


def test_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageRefusal, match="cannot be used"):
        DirectoryLock(tmp_path / "file").acquire()
    with pytest.raises(StorageRefusal, match="cannot be used"):
        DirectoryLock(tmp_path / "file" / "broker").acquire()


def test_directory_that_vanished_cannot_be_synced(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "nowhere")
