"""Backups of brokers and of managers with an SQLite file: made, verified, restored.

A backup is a folder with a database and `backup.json`, which says what it is and its checksum. It
is made beside the process that serves the database, without its help.

A restored broker forgets what it acknowledged after its backup, and nothing in its files shows
that. So each replica of it is marked faulty before its folder can be started: it votes and
acknowledges nothing. Where the other replicas live they take its place and fill a new one. Where no
majority lives, a person says that what is left is all there is (`accept-loss`), and the partition
goes on above everything that may have been told before. No loss is silent.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

import queuesite
from queuesite.conf import MANAGER, ROLE_VARIABLE, without_settings
from queuesite.private_files import MANAGER_DATABASE
from raft_app.storage.protocol import CorruptEntry, SetFaulty, StorageRefusal
from raft_app.storage.sqlite.database import FILE_NAME, WAL_NAME
from raft_app.storage.sqlite.directory import LOCK_NAME, make_durable_directory, sync_directory
from raft_app.storage.sqlite.entry_table import entry_of
from raft_app.storage.sqlite.group_table import is_intact, read_groups
from raft_app.storage.sqlite.live_copy import copy_database
from raft_app.storage.sqlite.storage import SqliteStorage

SAID_NAME = "backup.json"
FORMAT = 1
DATABASES = {FILE_NAME: "broker", MANAGER_DATABASE: "manager"}
"""File -> whose it is."""
READ_BYTES = 1 << 20
MARKED_AT_ONCE = 1_000
RESTORED_TIMEOUT_S = 120.0
UNFINISHED = ".unfinished"

Kind = Literal["broker", "manager"]


class BackupRefused(Exception):
    """It cannot be made, is damaged or must not be restored there; the text says why."""


class Backup(msgspec.Struct, frozen=True):
    """The file `backup.json`."""

    format: int
    kind: Kind
    file: str
    """Name of the database beside it."""
    made_at: float
    """Seconds since 1970, when it began."""
    version: str
    """Of the program that made it."""
    bytes: int
    sha256: str
    replicas: int = 0
    """Of a broker."""


def folders_in(folder: Path) -> list[Path]:
    """Return the data folders in a folder: itself, or those right below it.

    Raises:
        BackupRefused: there is none.
    """
    candidates = [folder, *sorted(one for one in folder.glob("*") if one.is_dir())]
    found = [one for one in candidates if any((one / name).is_file() for name in DATABASES)]
    if not found:
        raise BackupRefused(
            f"{folder} has neither {FILE_NAME} nor {MANAGER_DATABASE}, nor a folder with one"
        )
    return found


def back_up(folder: Path, target: Path, *, bytes_per_second: int) -> Backup:
    """Back up the data folder of a broker or manager, which may run; durable when it returns.

    Args:
        folder: `QUEUE_DATA_DIR` of the process.
        target: a folder that is not there yet; it has its name once it is complete.
        bytes_per_second: how fast messages are read at most.

    Raises:
        BackupRefused: it cannot be backed up, or the target is there.
        OSError: the disk refused.
    """
    if target.exists():
        raise BackupRefused(f"{target} is there already")
    name = next((one for one in DATABASES if (folder / one).is_file()), None)
    if name is None:
        raise BackupRefused(f"{folder} has neither {FILE_NAME} nor {MANAGER_DATABASE}")
    unfinished = target.with_name(target.name + UNFINISHED)
    if unfinished.exists():
        shutil.rmtree(unfinished)
    make_durable_directory(unfinished)
    began, replicas = time.time(), 0
    try:
        if name == FILE_NAME:
            with _left_in_order(folder):
                pause = _throttle(bytes_per_second)
                replicas = len(copy_database(folder / name, unfinished / name, pause=pause))
        else:
            _copy_manager(folder / name, unfinished / name)
    except (sqlite3.Error, StorageRefusal) as error:
        raise BackupRefused(f"{folder / name} cannot be copied: {error}") from error
    size, digest = _synced(unfinished / name)
    kind: Kind = "broker" if name == FILE_NAME else "manager"
    said = Backup(FORMAT, kind, name, began, queuesite.__version__, size, digest, replicas)
    (unfinished / SAID_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(said)) + b"\n")
    _synced(unfinished / SAID_NAME)
    verify(unfinished)
    sync_directory(unfinished)
    unfinished.rename(target)
    sync_directory(target.parent)
    return said


@contextmanager
def _left_in_order(folder: Path) -> Iterator[None]:
    """Hold the folder of a broker that does not run; refuse one that was not stopped in order.

    Only a broker looks whether its WAL has what it must have.

    Raises:
        BackupRefused: it was killed and has not started since.
    """
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # it runs, and has looked
            pass
        else:
            wal = folder / WAL_NAME
            if wal.exists() and wal.stat().st_size:
                raise BackupRefused(
                    f"the broker of {folder} does not run and was not stopped in order: start it,"
                    " it then looks whether its disk has everything"
                )
        yield
    finally:
        os.close(descriptor)


def _throttle(bytes_per_second: int) -> Callable[[int], None]:
    due = time.monotonic()

    def pause(size: int) -> None:
        nonlocal due
        due = max(due, time.monotonic()) + size / bytes_per_second
        time.sleep(max(0.0, due - time.monotonic()))

    return pause


def _copy_manager(source: Path, target: Path) -> None:
    """Copy a manager's database in one read transaction: it is small, and none waits for it."""
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as reader, closing(sqlite3.connect(target)) as to:
        reader.backup(to)
        to.execute("PRAGMA journal_mode=DELETE")


def _synced(path: Path) -> tuple[int, str]:
    """Make a file durable; return its length and checksum."""
    digest, size = hashlib.sha256(), 0
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        while data := file.read(READ_BYTES):
            digest.update(data)
            size += len(data)
    return size, digest.hexdigest()


def verify(backup: Path) -> Backup:
    """Check that a backup is what was made: format, length, checksum, and all that it has.

    Raises:
        BackupRefused: it is not.
    """
    try:
        said = msgspec.json.decode((backup / SAID_NAME).read_bytes(), type=Backup)
    except FileNotFoundError:
        raise BackupRefused(f"{backup} has no {SAID_NAME}: it is no backup") from None
    except msgspec.MsgspecError as error:
        raise BackupRefused(f"{backup / SAID_NAME} is damaged: {error}") from error
    if said.format != FORMAT:
        raise BackupRefused(f"{backup} has format {said.format}; this program knows {FORMAT}")
    if DATABASES.get(said.file) != said.kind:
        raise BackupRefused(f"{backup / SAID_NAME} names {said.file!r} as that of a {said.kind}")
    path = backup / said.file
    if not path.is_file() or path.stat().st_size != said.bytes:
        raise BackupRefused(f"{path} has not the {said.bytes} bytes that it had")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            digest.update(data)
    if digest.hexdigest() != said.sha256:
        raise BackupRefused(f"{path} does not match its checksum")
    try:
        _look_into(path, said)
    except sqlite3.Error as error:
        raise BackupRefused(f"{path} is damaged: {error}") from error
    return said


def _look_into(path: Path, said: Backup) -> None:
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        found = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise BackupRefused(f"{path} is damaged: {'; '.join(found)}")
        if said.kind == "manager":
            return
        groups = read_groups(database.cursor())  # type: ignore[arg-type]
        damaged = [str(one.group_id) for one in groups if not is_intact(one)]
        if damaged or len(groups) != said.replicas:
            raise BackupRefused(f"{path} has damaged rows of groups {', '.join(damaged)}")
        rows = database.execute(
            "SELECT id, group_id, term, kind, base_offset, record_count, append_timestamp, crc,"
            " data FROM raft_app_raftentry"
        )
        for row in rows:
            try:
                entry_of(row[1], row)
            except CorruptEntry as error:
                raise BackupRefused(f"{path}: {error}") from error


def restore(backup: Path, folder: Path) -> Backup:
    """Make a data folder of a backup; it is there whole or not at all.

    Args:
        backup: of a broker or manager.
        folder: to be `QUEUE_DATA_DIR` of the process; must not be there, or be empty.

    Raises:
        BackupRefused: the backup is damaged, or the folder has something.
        OSError: the disk refused.
    """
    said = verify(backup)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupRefused(f"{folder} is not empty: nothing is overwritten")
    unfinished = folder.with_name(folder.name + UNFINISHED)
    if unfinished.exists():
        shutil.rmtree(unfinished)
    make_durable_directory(unfinished)
    shutil.copyfile(backup / said.file, unfinished / said.file)
    (unfinished / said.file).chmod(0o600)
    if said.kind == "broker":
        _distrust(unfinished, said)
    else:
        _skip_what_was_given_out(unfinished)
    _synced(unfinished / said.file)
    sync_directory(unfinished)
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)
    sync_directory(folder.parent)
    return said


def _distrust(folder: Path, said: Backup) -> None:
    """Mark every replica as faulty, before anybody can start the folder."""
    made = datetime.fromtimestamp(said.made_at, UTC)
    reason = f"it was restored from a backup of {made:%Y-%m-%d %H:%M:%S} UTC"
    storage = SqliteStorage(folder)
    try:
        storage.open()
        stored = storage.load_groups()
        marks = [SetFaulty(one.spec.group_id, reason) for one in stored if not one.faulty]
        for begin in range(0, len(marks), MARKED_AT_ONCE):
            storage.write(marks[begin : begin + MARKED_AT_ONCE])
        sound = [one.spec for one in storage.load_groups() if not one.faulty]
    except StorageRefusal as error:
        raise BackupRefused(f"{folder} cannot be made of it: {error}") from error
    finally:
        storage.close()
    if sound or len(stored) != said.replicas:
        raise BackupRefused(f"not all replicas in {folder} are marked as restored")


def _skip_what_was_given_out(folder: Path) -> None:
    """Run `manage.py restored` on a manager's database, before anybody can start the folder."""
    command = [sys.executable, "-c", "from queuesite.command_line import main; main()", "restored"]
    own = {ROLE_VARIABLE: MANAGER, "QUEUE_DATA_DIR": str(folder.absolute())}
    environment = {**without_settings(os.environ, {*own, "QUEUE_DATABASE_URL"}), **own}
    done = subprocess.run(  # noqa: S603 - our own program, without a shell
        command,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=RESTORED_TIMEOUT_S,
    )
    if done.returncode:
        raise BackupRefused(f"manage.py restored failed: {done.stderr.strip()}")
