"""What a directory holds, beside its database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from raft_app.storage.protocol import BrokerIdentity, GroupSpec
from raft_app.storage.sqlite.manifest import (
    APPENDED_BYTES_MIN,
    MANIFEST_NAME,
    DamagedManifest,
    Manifest,
    ManifestChange,
    ManifestFile,
)

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = BrokerIdentity("ab" * 16, broker_id=3, cluster_id="c1")
ORDERS = GroupSpec(1, 11, "orders", 0)
EVENTS = GroupSpec(2, 21, "événements", 7)
BOTH = ManifestChange(listed=(ORDERS, EVENTS))
CHANGES = (
    ManifestChange(dropped=(1, 99)),
    ManifestChange(listed=(GroupSpec(1, 12, "orders\n", 0),)),
    ManifestChange(identity=replace(IDENTITY, epoch=8)),
)


def manifest_of(*changes: ManifestChange) -> Manifest:
    """Return what a directory holds after some changes."""
    manifest = Manifest(IDENTITY)
    for change in changes:
        manifest.follow(change)
    return manifest


def test_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    assert file.read() is None
    for manifest in (Manifest(IDENTITY), manifest_of(BOTH), manifest_of(BOTH, CHANGES[0])):
        file.write(manifest)
        assert ManifestFile(tmp_path).read() == manifest
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_NAME]


def test_changes_are_added_and_read_in_their_order(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    file.write(manifest_of(BOTH))
    before = file.path.stat()
    file.append(CHANGES[:2])
    file.append(CHANGES[2:])
    assert file.path.stat().st_ino == before.st_ino
    found = ManifestFile(tmp_path)
    assert found.read() == manifest_of(BOTH, *CHANGES)
    assert found.has_changes
    file.write(manifest_of(BOTH, *CHANGES))
    file.append([ManifestChange(dropped=(2,))])
    assert found.read() == manifest_of(BOTH, *CHANGES, ManifestChange(dropped=(2,)))
    file.close()


def test_file_is_due_when_what_was_added_has_doubled_it(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    specs = tuple(GroupSpec(one, one, "t" * 200, 0) for one in range(1, 500))
    file.write(manifest_of(ManifestChange(listed=specs)))
    size = file.path.stat().st_size
    assert size > APPENDED_BYTES_MIN
    while not file.is_due:
        file.append([ManifestChange(listed=specs[:10])])
    assert 2 * size <= file.path.stat().st_size < 2.1 * size
    file.write(Manifest(IDENTITY))
    assert not (file.is_due)
    assert not (file.has_changes)


def test_ids_stay_used_when_their_replica_goes() -> None:
    again = manifest_of(BOTH, CHANGES[0], CHANGES[1])
    assert again.replicas[1].replica_id == 12
    assert again.used(1) == {11, 12}
    again.follow(ManifestChange(dropped=(1, 2)))
    assert again.replicas == {}
    assert again.used(2) == {21}
    assert again.used(99) == frozenset()


def test_replica_whose_id_is_not_used_is_impossible() -> None:
    with pytest.raises(ValueError, match="not listed"):
        Manifest(IDENTITY, {1: ORDERS})
    with pytest.raises(ValueError, match="not listed"):
        Manifest(IDENTITY, {2: ORDERS}, {2: frozenset({11})})


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    file.write(manifest_of(BOTH))
    for changes in ((), CHANGES[:2], CHANGES[2:]):
        file.append(changes)
        content, before = file.path.read_bytes(), file.read()
        for position in range(len(content)):
            for bit in range(8):
                damaged = bytearray(content)
                damaged[position] ^= 1 << bit
                file.path.write_bytes(damaged)
                try:
                    found = file.read()
                except DamagedManifest:
                    continue
                assert found == before, (position, bit)  # The case of a digit of the checksum.
        file.path.write_bytes(content)
    file.close()


def test_change_that_was_cut_off_is_no_change(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    file.write(manifest_of(BOTH))
    begin = file.path.stat().st_size
    file.append(CHANGES)
    file.close()
    content = file.path.read_bytes()
    ends = [
        place + 1 for place in range(begin, len(content)) if content[place : place + 1] == b"\n"
    ]
    for size in range(begin, len(content)):
        file.path.write_bytes(content[:size])
        done = sum(end <= size for end in ends)
        assert file.read() == manifest_of(BOTH, *CHANGES[:done])
        assert file.has_changes == (size > begin)
    for size in range(begin):
        file.path.write_bytes(content[:size])
        with pytest.raises(DamagedManifest):
            file.read()


@pytest.mark.parametrize("content", [b"", b"\n", b"zz\n{}", b"2144df1c\n", b"a3fc2fb9\n{}"])
def test_other_content_is_damage(tmp_path: Path, content: bytes) -> None:
    file = ManifestFile(tmp_path)
    file.path.write_bytes(content)
    with pytest.raises(DamagedManifest):
        file.read()


def test_writing_that_is_cut_off_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ManifestFile(tmp_path)
    file.write(manifest_of(BOTH))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.write(Manifest(IDENTITY))
    assert file.read() == manifest_of(BOTH)
