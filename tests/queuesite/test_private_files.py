from __future__ import annotations

import stat

import pytest

from queuesite.private_files import BROKER_NAMES, MANAGER_NAMES, close_to_others, keep_private


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path):
    """Return a broker's folder as an earlier version left it, made by an operator."""
    folder = tmp_path / "broker"
    (folder / "damaged-1").mkdir(parents=True)
    names = ("broker.sqlite3", "broker.sqlite3-wal", "broker.sqlite3-shm", "manifest", "fault")
    for name in (*names, ".lock", "wal-receipt", "cluster.secret", "damaged-1/broker.sqlite3"):
        (folder / name).touch()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_what_was_open_to_others_is_closed(folder, caplog):
    keep_private(folder, BROKER_NAMES)
    assert {mode(path) for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert mode(folder) == mode(folder / "damaged-1") == 0o700
    assert not caplog.records


def test_folder_that_holds_something_else_stays_open_and_is_warned_of(folder, caplog):
    (folder / "letter.txt").touch(mode=0o644)
    (folder / "letter.txt").chmod(0o644)
    keep_private(folder, BROKER_NAMES)
    assert mode(folder) == 0o755
    assert mode(folder / "letter.txt") == 0o644
    assert mode(folder / "broker.sqlite3") == 0o600
    (record,) = caplog.records
    assert str(folder) in record.getMessage()
    assert "letter.txt" in record.getMessage()


def test_folder_where_anybody_writes_stays_so(tmp_path, caplog):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    keep_private(shared, MANAGER_NAMES)
    assert mode(shared) == 0o1777
    assert "stays open" in caplog.text


def test_link_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.touch()
    outside.chmod(0o644)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "manager.sqlite3").symlink_to(outside)
    keep_private(inside, MANAGER_NAMES)
    assert mode(outside) == 0o644


def test_file_that_cannot_be_closed_is_warned_of(tmp_path, caplog, monkeypatch):
    path = tmp_path / "manager.sqlite3"
    path.touch()
    path.chmod(0o640)

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(type(path), "chmod", refuse)
    close_to_others(path)
    assert "mode 640" in caplog.text
    assert "Operation not permitted" in caplog.text


def test_missing_folder_is_nothing_to_close(tmp_path):
    keep_private(tmp_path / "none", MANAGER_NAMES)
