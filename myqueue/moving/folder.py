"""The folder of an export: what it is to have, how far each file is, and the files.

    export.json             what was asked for, the topics with their settings, the groups' offsets;
                            once `complete`, length, checksum and messages of each file
    TOPIC/00000.jsonl       the messages of a partition, one a line (.jsonl.gz when compressed)
    TOPIC/00000.state       while it grows: how much of that file counts

A file is synced before its state says so, and whatever is behind that is cut off when the export
goes on. So no message is in it twice and none is missing, however it was interrupted.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeVar

import msgspec

from myqueue.contract.errors import DamagedExport, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN_NAME = "export.json"
LOCK_NAME = ".lock"
FORMAT = 1
"""Of everything in such a folder."""
GZIP_LEVEL = 4
"""Twice as fast as the usual one, for files a twentieth larger."""
READ_BYTES = 1 << 20

Kind = Literal["consumers", "workers"]
S = TypeVar("S", bound=msgspec.Struct)


class Span(msgspec.Struct, frozen=True):
    """Offsets of a partition that are exported."""

    start: int
    end: int
    """The one after the last."""


class TopicPlan(msgspec.Struct, frozen=True):
    """A topic, as it was when the export began."""

    topic: str
    number_of_partitions: int
    replication_factor: int
    retention_ms: int | None
    retention_bytes: int | None
    created_at: int | None
    """Milliseconds since 1970; tells it from a later one of the same name."""
    partitions: dict[int, Span]


class GroupPlace(msgspec.Struct, frozen=True):
    """Where a group was in a partition: everything below the offset was read."""

    group: str
    kind: Kind
    topic: str
    partition: int
    offset: int


class FileState(msgspec.Struct, kw_only=True):
    """How much of a file counts."""

    next_offset: int
    bytes: int = 0
    crc32: int = 0
    """Of so many bytes."""
    messages: int = 0
    corrupt: int = 0
    """Messages that nobody can decode and that are therefore left out."""
    missed: int = 0
    """Messages that retention deleted before they were read."""


class Plan(msgspec.Struct, kw_only=True):
    """The file `export.json`."""

    format: int = FORMAT
    name: str
    """Of this export alone; marks what is imported of it."""
    made_at: int
    """Milliseconds since 1970."""
    asked: list[str]
    """What was asked for, so that nothing else goes on with it."""
    compressed: bool
    topics: list[TopicPlan]
    groups: list[GroupPlace]
    complete: bool = False
    files: dict[str, FileState] = {}
    """By their names; of a complete export alone."""


class Folder:
    """The folder of one export.

    Args:
        path: where it is, or is to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other export and import away from it.

        Raises:
            InvalidRequest: somebody has it.
            OSError: it cannot be made or locked.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise InvalidRequest(
                f"another export or import works in {self.path}", field="folder"
            ) from None
        finally:
            os.close(descriptor)

    def plan(self) -> Plan | None:
        """Return what is exported here; None in an empty or new folder.

        Raises:
            DamagedExport: the file is damaged, of a later version, or the folder has other files.
        """
        path = self.path / PLAN_NAME
        try:
            plan = _read(path, Plan)
        except FileNotFoundError:
            if self.path.is_dir() and {one.name for one in self.path.iterdir()} - {LOCK_NAME}:
                raise DamagedExport(f"{self.path} has files, and no {PLAN_NAME}") from None
            return None
        if plan.format != FORMAT:
            raise DamagedExport(f"{path} has format {plan.format}; this version reads {FORMAT}")
        return plan

    def store(self, plan: Plan) -> None:
        """Write the plan; durable, and whole at any moment."""
        _write(self.path / PLAN_NAME, plan)

    def file_of(self, topic: str, partition: int, *, compressed: bool) -> Path:
        """Return where the messages of a partition are."""
        return self.path / topic / f"{partition:05}.jsonl{'.gz' if compressed else ''}"

    def name_of(self, file: Path) -> str:
        """Return how the plan calls a file."""
        return str(file.relative_to(self.path))


class Appended:
    """The file of a partition that grows, from where its state says.

    Args:
        path: of the file.
        start: the first offset of the partition that belongs in it.
        compressed: what is appended becomes a gzip member of its own.
    """

    def __init__(self, path: Path, start: int, *, compressed: bool) -> None:
        self._compressed = compressed
        self._state_path = path.parent / f"{path.name.partition('.')[0]}.state"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.state = _read(self._state_path, FileState)
        except FileNotFoundError:
            self.state = FileState(next_offset=start)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        size = os.fstat(self._file).st_size
        if size < self.state.bytes:
            self.close()
            raise DamagedExport(
                f"{path} has {size} bytes, and {self.state.bytes} were written: begin anew"
            )
        os.ftruncate(self._file, self.state.bytes)

    def append(self, lines: bytes, state: FileState) -> None:
        """Write lines, and make them and how far they go durable.

        Args:
            lines: whole ones; may be empty.
            state: as it is with them, but for the length and the checksum.
        """
        data = gzip.compress(lines, GZIP_LEVEL) if lines and self._compressed else lines
        at = self.state.bytes
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, at)
            at, view = at + written, view[written:]
        os.fsync(self._file)
        state.bytes, state.crc32 = at, zlib.crc32(data, self.state.crc32)
        _write(self._state_path, state)
        self.state = state

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def forget_states(folder: Folder) -> None:
    """Remove what is only needed while files grow."""
    for path in folder.path.glob("*/*.state"):
        path.unlink()


def require_whole(path: Path, said: FileState) -> None:
    """Check length and checksum of an exported file.

    Raises:
        DamagedExport: it is not what was exported.
    """
    try:
        size = path.stat().st_size
        if size != said.bytes:
            raise DamagedExport(f"{path} has {size} bytes, and {said.bytes} were exported")
        crc = 0
        with path.open("rb") as file:
            while data := file.read(READ_BYTES):
                crc = zlib.crc32(data, crc)
    except FileNotFoundError:
        raise DamagedExport(f"{path} is missing") from None
    if crc != said.crc32:
        raise DamagedExport(f"{path} does not match its checksum")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open the lines of a file."""
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as lines:
            yield lines  # type: ignore[misc]
    else:
        with path.open("rb", buffering=READ_BYTES) as file:
            yield file


def _read(path: Path, kind: type[S]) -> S:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise DamagedExport(f"{path} is damaged: {error}") from error


def _write(path: Path, content: msgspec.Struct) -> None:
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
