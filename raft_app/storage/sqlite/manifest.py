"""What a directory holds, written down beside the database: whose it is, and which replicas.

When the database is in doubt this alone still says which replicas the broker had, so that they
come back as faulty and none of their ids is ever used again. It changes only when a replica is
made or dropped, and it never claims more than the database has:

- a replica is added after the transaction that made it, before anyone is told that it exists;
- it is taken out before the transaction that drops it; its id stays among the used ones.

So a replica that is listed here and missing from the database was lost.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from raft_app.failpoints import reach
from raft_app.storage.protocol import BrokerIdentity, GroupSpec, StorageError
from raft_app.storage.sqlite.directory import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST_NAME = "manifest"


class DamagedManifest(StorageError):
    """The file does not match its checksum or says something impossible."""


@dataclass(frozen=True, slots=True)
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

    def with_replicas(self, specs: Iterable[GroupSpec]) -> Manifest:
        """Return the manifest with replicas added, in the place of any other of their groups."""
        replicas, used = dict(self.replicas), dict(self.used_replica_ids)
        for spec in specs:
            replicas[spec.group_id] = spec
            used[spec.group_id] = used.get(spec.group_id, frozenset()) | {spec.replica_id}
        return replace(self, replicas=replicas, used_replica_ids=used)

    def without_groups(self, group_ids: Iterable[int]) -> Manifest:
        """Return the manifest without the replicas of some groups; their ids stay used."""
        gone = frozenset(group_ids)
        kept = {one: spec for one, spec in self.replicas.items() if one not in gone}
        return replace(self, replicas=kept)


class ManifestFile:
    """The file `directory/manifest`: a line with a CRC-32, a line of JSON."""

    def __init__(self, directory: Path) -> None:
        """Remember the directory; nothing is touched yet."""
        self.path = directory / MANIFEST_NAME

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
        crc, _, text = content.partition(b"\n")
        try:
            if int(crc, 16) != zlib.crc32(text):
                raise DamagedManifest(f"{self.path} does not match its checksum")
            return msgspec.json.decode(text, type=Manifest)
        except (ValueError, msgspec.MsgspecError) as error:
            raise DamagedManifest(f"{self.path} is damaged: {error}") from error

    def write(self, manifest: Manifest) -> None:
        """Replace the file; durable when this returns, and whole at any moment.

        Raises:
            OSError: the disk refused; the old content is still there.
        """
        text = msgspec.json.encode(manifest) + b"\n"
        new = self.path.with_name(MANIFEST_NAME + ".new")
        with new.open("wb") as file:
            file.write(b"%08x\n" % zlib.crc32(text) + text)
            file.flush()
            os.fsync(file.fileno())
        reach("manifest.written")
        new.replace(self.path)
        reach("manifest.renamed")
        sync_directory(self.path.parent)
