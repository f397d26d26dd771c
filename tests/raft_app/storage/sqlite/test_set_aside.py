"""Keeping what is in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.storage.sqlite.set_aside import set_aside

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("broker.sqlite3", "broker.sqlite3-shm", "broker.sqlite3-wal")


def fill(directory: Path, content: str) -> None:
    for name in NAMES:
        (directory / name).write_text(f"{name} {content}")
    (directory / "manifest").write_text("stays")


def test_files_are_moved_as_they_are_with_the_reason(tmp_path: Path) -> None:
    fill(tmp_path, "first")
    assert set_aside(tmp_path, "the WAL is corrupt") == tmp_path / "damaged-1"
    for name in NAMES:
        assert (tmp_path / "damaged-1" / name).read_text() == f"{name} first"
    assert (tmp_path / "damaged-1" / "reason.txt").read_text() == "the WAL is corrupt\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged-1", "manifest"]


def test_each_time_has_a_place_of_its_own(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        fill(tmp_path, str(number))
        assert set_aside(tmp_path, "again") == tmp_path / f"damaged-{number}"
    assert (tmp_path / "damaged-1" / NAMES[0]).read_text() == f"{NAMES[0]} 1"


def test_nothing_to_move_makes_no_place(tmp_path: Path) -> None:
    assert set_aside(tmp_path, "no reason") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_moving_that_was_cut_off_goes_on_in_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    fill(tmp_path, "first")
    left = moves
    rename = type(tmp_path).rename

    def cut_off(path: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "rename", cut_off)
        with pytest.raises(KeyboardInterrupt):
            set_aside(tmp_path, "first reason")
    assert set_aside(tmp_path, "the reason") == tmp_path / "damaged-1"
    for name in NAMES:
        assert (tmp_path / "damaged-1" / name).read_text() == f"{name} first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged-1", "manifest"]
