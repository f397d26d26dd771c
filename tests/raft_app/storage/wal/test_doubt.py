"""What a start makes of a directory whose WAL is torn, corrupt or gone."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from raft_app.storage.protocol import DeleteGroup, StorageRefusal
from raft_app.storage.sqlite.database import FILE_NAME
from raft_app.storage.sqlite.manifest import ManifestFile
from raft_app.storage.sqlite.storage import SqliteStorage
from raft_app.storage.wal.doubt import doubt_about
from raft_app.storage.wal.receipt import WalReceipts
from raft_app.storage.wal.scan import WAL_HEADER_BYTES
from tests.raft_app.storage.storage_harness import append, create, data_entry
from tests.raft_app.storage.storage_lives import (
    FRAME_BYTES,
    GROUP_IDS,
    RECEIPT,
    WAL,
    WRITES,
    Files,
    Life,
    make_life,
    write_of,
)
from tests.raft_app.storage.wal_harness import flipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
SEED = 20_240_517


@pytest.fixture(autouse=True)
def _with_databases(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, django_db_blocker) -> Life:
    with django_db_blocker.unblock():
        return make_life(tmp_path_factory.mktemp("life") / "broker")


def doubt(directory: Path) -> str:
    manifest = ManifestFile(directory).read()
    return doubt_about(directory, manifest, WalReceipts(directory).read())


def cut_by_power(life: Life, length: int) -> Files:
    """The last transaction is in the WAL up to a byte, and was never acknowledged."""
    return life.before.changed(wal=life.last.wal[:length])


def assert_sound(directory: Path, entries: int) -> None:
    """Everything up to an entry is there, and the next one can be stored."""
    storage = SqliteStorage(directory)
    storage.open()
    try:
        for group in storage.load_groups():
            assert group.faulty == ""
            assert group.initial.last_index == entries
            stored = storage.read_entries(group.spec.group_id, 1, entries, MIB)
            expected = [write_of(index)[group.spec.group_id - 1] for index in range(1, entries + 1)]
            assert [(entry,) for entry in stored] == [one.entries for one in expected]
        storage.write(write_of(entries + 1))
    finally:
        storage.close()
    assert not any(directory.glob("damaged-*"))


def assert_all_faulty(directory: Path, files: Files, life: Life) -> None:
    """No replica takes part any more, and everything is kept as it was found."""
    storage = SqliteStorage(directory)
    assert storage.open() == life.identity
    groups = storage.load_groups()
    assert [group.spec.group_id for group in groups] == list(GROUP_IDS)
    assert all(group.faulty for group in groups)
    for group_id in GROUP_IDS:
        assert storage.used_replica_ids(group_id) == {1}
    kept = Files.of(directory / "damaged-1").content
    for name in (FILE_NAME, WAL):
        assert kept.get(name) == files.content.get(name)
    assert groups[0].faulty in kept["reason.txt"].decode()
    storage.close()


# --- torn ---------------------------------------------------------------------------------------


def test_cut_of_a_transaction_under_way_casts_no_doubt(life: Life, tmp_path: Path) -> None:
    """Each byte of the frames' headers, some of the pages; `test_wal_scan` does every byte."""
    directory = life.last.placed(tmp_path / "broker")
    (directory / RECEIPT).write_bytes(life.before.content[RECEIPT])
    start, end = len(life.before.wal), len(life.last.wal)
    for length in range(end, start - 1, -1):
        if (length - start) % FRAME_BYTES <= 24 or length % 37 == 0:
            os.truncate(directory / WAL, length)
            assert doubt(directory) == "", length


def test_nothing_acknowledged_is_lost_with_a_transaction_under_way(
    life: Life, tmp_path: Path
) -> None:
    start, end = len(life.before.wal), len(life.last.wal)
    edges = [at for frame in range(start, end, FRAME_BYTES) for at in (frame, frame + 24)]
    lengths = [*edges, end - 1, *random.Random(SEED).sample(range(start, end), 12)]
    for length in lengths:
        directory = cut_by_power(life, length).placed(tmp_path / str(length))
        assert_sound(directory, WRITES - 1)


def test_transaction_that_was_written_whole_but_not_acknowledged_is_kept(
    life: Life, tmp_path: Path
) -> None:
    assert_sound(cut_by_power(life, len(life.last.wal)).placed(tmp_path / "broker"), WRITES)


def test_killed_process_leaves_no_doubt(life: Life, tmp_path: Path) -> None:
    for number, files in enumerate(life.moments):
        assert_sound(files.placed(tmp_path / str(number)), number)


def test_start_empties_the_wal_so_that_no_torn_remains_stay(life: Life, tmp_path: Path) -> None:
    directory = cut_by_power(life, len(life.last.wal) - 1).placed(tmp_path / "broker")
    storage = SqliteStorage(directory)
    storage.open()
    assert (directory / WAL).stat().st_size == 0
    storage.write([append(data_entry(WRITES))])
    killed = Files.of(directory)
    storage.close()
    assert doubt(killed.placed(tmp_path / "killed")) == ""


def test_clean_end_leaves_nothing_to_scan(life: Life, tmp_path: Path) -> None:
    directory = life.last.placed(tmp_path / "broker")
    storage = SqliteStorage(directory)
    storage.open()
    storage.write(write_of(WRITES + 1))
    storage.close()
    assert not (directory / WAL).exists()
    assert WalReceipts(directory).read() is None
    assert_sound(directory, WRITES + 1)


# --- corrupt ------------------------------------------------------------------------------------


def test_flipped_bit_before_the_last_transaction_makes_all_replicas_faulty(
    life: Life, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    end = len(life.before.wal)
    for position in [3, 17, WAL_HEADER_BYTES + 10, *chance.sample(range(end), 12)]:
        files = life.last.changed(wal=flipped(life.last.wal, position, chance.randrange(8)))
        # Without a receipt, as from before a power cut: the WAL itself must show it.
        files = files.changed(receipt=None)
        assert_all_faulty(files.placed(tmp_path / str(position)), files, life)


def test_damage_of_the_last_acknowledged_transaction_makes_all_replicas_faulty(
    life: Life, tmp_path: Path
) -> None:
    start, end = len(life.before.wal), len(life.last.wal)
    for position in random.Random(SEED).sample(range(start, end), 4):
        for number, wal in enumerate((flipped(life.last.wal, position), life.last.wal[:position])):
            files = life.last.changed(wal=wal)
            assert_all_faulty(files.placed(tmp_path / f"{position}-{number}"), files, life)


def test_wal_cut_anywhere_before_the_last_acknowledgement_is_noticed(
    life: Life, tmp_path: Path
) -> None:
    directory = life.last.placed(tmp_path / "broker")
    lengths = [*range(40), *random.Random(SEED).sample(range(len(life.last.wal)), 200)]
    for length in lengths:
        (directory / WAL).write_bytes(life.last.wal[:length])
        assert doubt(directory) != "", length
    (directory / WAL).unlink()
    assert "gone" in doubt(directory)


def test_wal_or_database_that_is_gone_makes_all_replicas_faulty(life: Life, tmp_path: Path) -> None:
    for name in ("wal", "database"):
        files = life.last.changed(**{name: None})
        assert_all_faulty(files.placed(tmp_path / name), files, life)


def test_wal_of_an_earlier_generation_is_no_reason_for_doubt(life: Life, tmp_path: Path) -> None:
    directory = life.last.placed(tmp_path / "broker")
    storage = SqliteStorage(directory, wal_limit_bytes=64 << 10)
    storage.open()
    for index in range(WRITES + 1, WRITES + 30):
        storage.write(write_of(index))
        killed = Files.of(directory)
        assert doubt(killed.placed(tmp_path / str(index))) == ""
    assert storage.wal_checkpoints > 2
    storage.close()


# --- afterwards ---------------------------------------------------------------------------------


@pytest.fixture
def doubted(life: Life, tmp_path: Path) -> Path:
    damaged = flipped(life.last.wal, 5_000)
    return life.last.changed(wal=damaged).placed(tmp_path / "broker")


def test_faulty_replicas_are_refilled_under_new_ids(doubted: Path) -> None:
    storage = SqliteStorage(doubted)
    storage.open()
    storage.write([DeleteGroup(1), create(1, replica_id=9), append(data_entry(1))])
    storage.close()
    storage.open()
    refilled, *others = storage.load_groups()
    assert (refilled.faulty, refilled.spec.replica_id) == ("", 9)
    assert refilled.initial.last_index == 1
    assert all(group.faulty for group in others)
    assert storage.used_replica_ids(1) == {1, 9}
    with pytest.raises(Exception, match="never reused"):
        storage.write([DeleteGroup(1), create(1, replica_id=1)])
    storage.close()
    assert [path.name for path in doubted.glob("damaged-*")] == ["damaged-1"]


@pytest.mark.parametrize("step", ["mark", "set_aside", "start_over", "clear"])
def test_start_that_was_cut_off_is_taken_up_by_the_next(
    doubted: Path, life: Life, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    target = {
        "mark": "raft_app.storage.sqlite.storage.FaultMarker.mark",
        "set_aside": "raft_app.storage.sqlite.set_aside.sync_directory",
        "start_over": "raft_app.storage.sqlite.inventory.Inventory._store",
        "clear": "raft_app.storage.sqlite.storage.FaultMarker.clear",
    }[step]

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    files = Files.of(doubted)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(target, killed)
            storage = SqliteStorage(doubted)
            with pytest.raises(KeyboardInterrupt):
                storage.open()
    assert_all_faulty(doubted, files, life)


def test_doubt_without_a_manifest_is_refused_and_nothing_is_touched(
    life: Life, tmp_path: Path
) -> None:
    files = life.last.changed(wal=flipped(life.last.wal, 5_000), manifest=None)
    directory = files.placed(tmp_path / "broker")
    for _ in range(2):
        with pytest.raises(StorageRefusal, match=r"WAL is corrupt.*no manifest") as refused:
            SqliteStorage(directory).open()
        assert "\n" not in str(refused.value)
    assert {path.name for path in directory.iterdir() if path.is_dir()} == set()
    left = Files.of(directory).content
    assert left[WAL] == files.wal
    assert left[FILE_NAME] == files.content[FILE_NAME]


def test_second_doubt_is_kept_beside_the_first(doubted: Path, life: Life) -> None:
    storage = SqliteStorage(doubted)
    storage.open()
    storage.write([DeleteGroup(1), create(1, replica_id=9)])
    storage.write([append(data_entry(1))])
    storage.write([append(data_entry(2))])
    killed = Files.of(doubted)
    storage.close()
    for name, content in killed.content.items():
        (doubted / name).write_bytes(content)
    (doubted / WAL).write_bytes(flipped(killed.wal, 5_000))
    assert storage.open() == life.identity
    assert [group.spec.replica_id for group in storage.load_groups()] == [9, 1, 1]
    assert all(group.faulty for group in storage.load_groups())
    storage.close()
    assert sorted(path.name for path in doubted.glob("damaged-*")) == ["damaged-1", "damaged-2"]
