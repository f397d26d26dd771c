"""What a directory holds, beside its database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.storage.protocol import BrokerIdentity, GroupSpec
from raft_app.storage.sqlite.manifest import MANIFEST_NAME, DamagedManifest, Manifest, ManifestFile

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = BrokerIdentity("ab" * 16, broker_id=3, cluster_id="c1")
ORDERS = GroupSpec(1, 11, "orders", 0)
EVENTS = GroupSpec(2, 21, "événements", 7)
MANIFEST = Manifest(IDENTITY).with_replicas([ORDERS, EVENTS])


def test_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    assert file.read() is None
    for manifest in (Manifest(IDENTITY), MANIFEST, MANIFEST.without_groups([1])):
        file.write(manifest)
        assert ManifestFile(tmp_path).read() == manifest
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_NAME]


def test_ids_stay_used_when_their_replica_goes() -> None:
    again = MANIFEST.without_groups([1]).with_replicas([GroupSpec(1, 12, "orders", 0)])
    assert again.replicas[1].replica_id == 12
    assert again.used(1) == {11, 12}
    assert again.without_groups([1, 2]).replicas == {}
    assert again.without_groups([1, 2]).used(2) == {21}
    assert again.used(99) == frozenset()


def test_replica_whose_id_is_not_used_is_impossible() -> None:
    with pytest.raises(ValueError, match="not listed"):
        Manifest(IDENTITY, {1: ORDERS})
    with pytest.raises(ValueError, match="not listed"):
        Manifest(IDENTITY, {2: ORDERS}, {2: frozenset({11})})


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    file.write(MANIFEST)
    content = file.path.read_bytes()
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            file.path.write_bytes(damaged)
            try:
                found = file.read()
            except DamagedManifest:
                continue
            assert found == MANIFEST, (position, bit)  # The case of a digit of the checksum.


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
    file.write(MANIFEST)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.write(Manifest(IDENTITY))
    assert file.read() == MANIFEST
