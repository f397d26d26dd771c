from __future__ import annotations

import json
from pathlib import Path

import pytest

from queuesite.cluster_directory import ClusterDirectory, broker_directory, directory_by_hand
from queuesite.conf import ConfigError
from raft_app.storage.protocol import StorageRefusal
from raft_app.storage.sqlite.directory import DirectoryLock


@pytest.fixture
def directory(tmp_path):
    directory = ClusterDirectory(tmp_path / "data")
    directory.acquire()
    yield directory
    directory.release()


def fill(directory):
    for name in ("manager", "broker-1", "broker-12"):
        (directory.path / name).mkdir()
        (directory.path / name / "file").write_text("data")
    (directory.path / "cluster.secret").write_text("secret")
    directory.write({"port": 1})


def test_new_directory_is_made_with_a_place_for_logs(directory):
    assert (directory.path / "logs").is_dir()
    assert directory.read() == {}


def test_second_process_is_refused(directory):
    with pytest.raises(StorageRefusal, match="in use by process"):
        ClusterDirectory(directory.path).acquire()


def test_data_is_found_again(directory):
    fill(directory)
    directory.release()
    again = ClusterDirectory(directory.path)
    again.acquire()
    assert again.read()["port"] == 1
    again.release()
    directory.acquire()


def test_reset_deletes_what_a_cluster_made(directory):
    fill(directory)
    directory.reset()
    assert {entry.name for entry in directory.path.iterdir()} == {".lock", "logs"}


def test_reset_deletes_nothing_under_a_process_that_was_started_by_hand(directory):
    fill(directory)
    lock = DirectoryLock(directory.path / "broker-12")
    lock.acquire()
    before = sorted(directory.path.iterdir())
    with pytest.raises(StorageRefusal, match=r"broker-12 is in use by process"):
        directory.reset()
    assert sorted(directory.path.iterdir()) == before
    lock.release()
    directory.reset()
    assert not (directory.path / "broker-12").exists()


def test_broker_finds_its_folder_whoever_started_it_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = Path("data")
    assert directory_by_hand(8002) == root / "broker-8002"
    assert broker_directory(root, "broker-2", 8002) == root / "broker-2"
    (root / "broker-2").mkdir(parents=True)
    ClusterDirectory(root).write({"brokers": [{"name": "broker-2", "address": "http://h:8002"}]})
    assert directory_by_hand(8002) == root / "broker-2"
    assert directory_by_hand(8003) == root / "broker-8003"
    (root / "broker-8003").mkdir()
    assert broker_directory(root, "broker-3", 8003) == root / "broker-8003"
    (root / "broker-8002").mkdir()
    assert directory_by_hand(8002) == root / "broker-8002"
    assert broker_directory(root, "broker-2", 8002) == root / "broker-2"


def test_reset_follows_no_link_out_of_the_directory(directory, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (directory.path / "broker-1").symlink_to(outside)
    directory.reset()
    assert (outside / "precious").exists()
    assert not (directory.path / "broker-1").exists()


def test_what_a_process_left_of_a_secret_is_its_own(directory):
    (directory.path / "cluster.secret.a1b_2c3d.new").touch()
    assert directory.foreign_names() == []
    directory.reset()
    assert {entry.name for entry in directory.path.iterdir()} == {".lock", "logs"}


@pytest.mark.parametrize("name", ["thesis.tex", "broker-x", ".git", "brokers"])
def test_directory_of_somebody_else_is_neither_used_nor_touched(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="no data directory"):
        ClusterDirectory(tmp_path).acquire()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_file_is_no_directory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is no directory"):
        ClusterDirectory(tmp_path / "file").acquire()


def test_description_is_replaced_as_a_whole(directory):
    directory.write({"port": 1, "long": "x" * 1000})
    directory.write({"port": 2})
    assert json.loads(directory.file.read_text()) == {"version": 1, "port": 2}
    assert not directory.file.with_name("cluster.json.new").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "\0"])
def test_broken_description_counts_as_none(directory, content):
    directory.file.write_text(content)
    assert directory.read() == {}
