"""What a directory holds, written down beside the database: whose it is, and which replicas.

When the database is in doubt this alone still says which replicas the broker had, so that they
come back as faulty and none of their ids is ever used again. It changes only when a replica is
made or dropped, and it never claims more than the database has:

- a replica is added after the transaction that made it, before anyone is told that it exists;
- it is taken out before the transaction that drops it; its id stays among the used ones.

So a replica that is listed here and missing from the database was lost.

The file begins with everything as it was at one moment. What changed since is appended, so that a
replica costs the same however many there are; the file is written anew when that has doubled it,
and when the storage is closed. Programs before 0.4 read only a file without appended changes. To
them any other is damaged, and they make it again of the database, as this one does.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from raft_app.failpoints import reach
from raft_app.storage.protocol import BrokerIdentity, GroupSpec, StorageError
from raft_app.storage.sqlite.directory import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST_NAME = "manifest"
APPENDED_BYTES_MIN = 64 << 10
"""So much is appended at least before the file is written anew."""


class DamagedManifest(StorageError):
    """The file does not match its checksums or says something impossible."""


class ManifestChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a directory with one step: only one of these is set."""

    listed: tuple[GroupSpec, ...] = ()
    """Replicas that were made, in the place of any other of their groups."""
    dropped: tuple[int, ...] = ()
    """Groups whose replicas went; their ids stay used."""
    identity: BrokerIdentity | None = None


@dataclass(slots=True)
class Manifest:
    """The identity and the replicas of a directory."""

    identity: BrokerIdentity
    replicas: dict[int, GroupSpec] = field(default_factory=dict)
    """By group id."""
    used_replica_ids: dict[int, frozenset[int]] = field(default_factory=dict)
    """By group id: all that were ever here, those of `replicas` included."""

    def __post_init__(self) -> None:
        for group_id, spec in self.replicas.items():
            if spec.group_id != group_id or spec.replica_id not in self.used(group_id):
                raise ValueError(f"{spec} is not listed as it should be")

    def used(self, group_id: int) -> frozenset[int]:
        """Return the ids that replicas of a group ever had here."""
        return self.used_replica_ids.get(group_id, frozenset())

    def follow(self, change: ManifestChange) -> None:
        """Take in a change."""
        for spec in change.listed:
            self.replicas[spec.group_id] = spec
            self.used_replica_ids[spec.group_id] = self.used(spec.group_id) | {spec.replica_id}
        for group_id in change.dropped:
            self.replicas.pop(group_id, None)
        if change.identity is not None:
            self.identity = change.identity


class ManifestFile:
    """The file `directory/manifest`: a line with a CRC-32, a line of JSON, lines of both.

    The JSON is a `Manifest`, then on each line a `ManifestChange`. A last line without an end was
    cut off before anyone counted on it, and is passed over.
    """

    def __init__(self, directory: Path) -> None:
        """Remember the directory; nothing is touched yet."""
        self.path = directory / MANIFEST_NAME
        self._descriptor = -1
        self._whole_bytes = 0
        self._appended_bytes = 0

    @property
    def has_changes(self) -> bool:
        """Whether anything follows the manifest in the file, as it was read or written here."""
        return self._appended_bytes > 0

    @property
    def is_due(self) -> bool:
        """Whether it is worth it to write the file anew."""
        return self._appended_bytes >= max(APPENDED_BYTES_MIN, self._whole_bytes)

    def read(self) -> Manifest | None:
        """Return what is written; `None` when there is no file.

        Raises:
            DamagedManifest: it cannot be believed.
            OSError: it cannot be read.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            manifest, self._whole_bytes = _parse(content)
        except (ValueError, msgspec.MsgspecError) as error:
            raise DamagedManifest(f"{self.path} is damaged: {error}") from error
        self._appended_bytes = len(content) - self._whole_bytes
        return manifest

    def write(self, manifest: Manifest) -> None:
        """Replace the file; durable when this returns, and whole at any moment.

        Raises:
            OSError: the disk refused; the old content is still there.
        """
        text = msgspec.json.encode(manifest) + b"\n"
        content = b"%08x\n" % zlib.crc32(text) + text
        new = self.path.with_name(MANIFEST_NAME + ".new")
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        reach("manifest.written")
        new.replace(self.path)
        reach("manifest.renamed")
        sync_directory(self.path.parent)
        self.close()
        self._whole_bytes, self._appended_bytes = len(content), 0

    def append(self, changes: Iterable[ManifestChange]) -> None:
        """Add changes to the file, which ends as it was written here; durable when this returns.

        Raises:
            OSError: the disk refused; a part may be there, and nothing may be added to it.
        """
        texts = (msgspec.json.encode(change) + b"\n" for change in changes)
        content = b"".join(b"%08x %b" % (zlib.crc32(text), text) for text in texts)
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        view = memoryview(content)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)
        self._appended_bytes += len(content)
        reach("manifest.appended")

    def close(self) -> None:
        """Close the file; adding to it opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _parse(content: bytes) -> tuple[Manifest, int]:
    """Return what a file says, and the length of the manifest that it begins with.

    Raises:
        ValueError | MsgspecError: it cannot be believed.
    """
    crc, text, *changes, cut_off = content.split(b"\n")
    manifest = msgspec.json.decode(_checked(crc, text), type=Manifest)
    for line in changes:
        manifest.follow(_change_in(line))
    with suppress(ValueError, msgspec.MsgspecError):
        manifest.follow(_change_in(cut_off[:-1]))  # Nothing is cut off: its end is damaged.
    return manifest, len(crc) + len(text) + 2


def _change_in(line: bytes) -> ManifestChange:
    crc, _, text = line.partition(b" ")
    return msgspec.json.decode(_checked(crc, text), type=ManifestChange)


def _checked(crc: bytes, text: bytes) -> bytes:
    """Return the text of a line that matches its checksum, which covers the end of the line.

    Raises:
        ValueError: it does not.
    """
    if int(crc, 16) != zlib.crc32(text + b"\n"):
        raise ValueError("a line does not match its checksum")
    return text
