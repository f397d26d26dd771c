from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from myqueue import DamagedExport, InvalidRequest
from myqueue.moving.folder import (
    PLAN_NAME,
    Appended,
    FileState,
    Folder,
    Plan,
    opened,
    require_whole,
)


def state(next_offset: int) -> FileState:
    return FileState(next_offset=next_offset, messages=next_offset)


@pytest.mark.parametrize("compressed", [False, True])
def test_what_no_state_speaks_of_is_cut_off(tmp_path: Path, *, compressed: bool) -> None:
    path = tmp_path / "orders" / f"00000.jsonl{'.gz' if compressed else ''}"
    file = Appended(path, 0, compressed=compressed)
    file.append(b"one\n", state(1))
    file.append(b"two\n", state(2))
    file.close()
    with path.open("ab") as torn:
        torn.write(b"thr")
    again = Appended(path, 0, compressed=compressed)
    assert (again.state.next_offset, again.state.messages) == (2, 2)
    again.append(b"three\n", state(3))
    again.append(b"", state(4))
    again.close()
    with opened(path) as lines:
        assert lines.read() == b"one\ntwo\nthree\n"
    assert again.state.next_offset == 4
    require_whole(path, again.state)


def test_a_file_that_lost_its_end_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "orders" / "00000.jsonl"
    file = Appended(path, 0, compressed=False)
    file.append(b"one\ntwo\n", state(2))
    file.close()
    path.write_bytes(b"one\n")
    with pytest.raises(DamagedExport, match="has 4 bytes, and 8 were written"):
        Appended(path, 0, compressed=False)


def test_a_changed_cut_or_missing_file_is_no_export(tmp_path: Path) -> None:
    path = tmp_path / "orders" / "00000.jsonl"
    file = Appended(path, 0, compressed=False)
    file.append(b"one\ntwo\n", state(2))
    file.close()
    for content, why in ((b"one\ntwX\n", "checksum"), (b"one\n", "4 bytes")):
        path.write_bytes(content)
        with pytest.raises(DamagedExport, match=why):
            require_whole(path, file.state)
    path.unlink()
    with pytest.raises(DamagedExport, match="missing"):
        require_whole(path, file.state)


def test_a_folder_is_of_one_run_at_a_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.locked(), pytest.raises(InvalidRequest, match="another"), folder.locked():
        pytest.fail("locked twice")
    with folder.locked():
        pass


def test_a_plan_comes_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.plan() is None
    plan = Plan(name="export-1", made_at=1, asked=["x"], compressed=True, topics=[], groups=[])
    folder.store(plan)
    assert folder.plan() == plan


@pytest.mark.parametrize(
    ("content", "why"),
    [("{", "damaged"), ('{"format": 1}', "damaged")],
)
def test_a_damaged_plan_is_refused(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / PLAN_NAME).write_text(content)
    with pytest.raises(DamagedExport, match=why):
        Folder(tmp_path).plan()


def test_a_plan_of_a_later_version_is_refused(tmp_path: Path) -> None:
    later = Plan(
        format=9, name="export-1", made_at=1, asked=[], compressed=False, topics=[], groups=[]
    )
    Folder(tmp_path).store(later)
    with pytest.raises(DamagedExport, match="format 9"):
        Folder(tmp_path).plan()


def test_files_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("x")
    with pytest.raises(DamagedExport, match="has files"):
        Folder(tmp_path).plan()


def test_members_of_gzip_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "00000.jsonl.gz"
    path.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    with opened(path) as lines:
        assert lines.readlines() == [b"a\n", b"b\n"]
