from __future__ import annotations

import mmap
import sys

from queuesite import large_pages
from queuesite.large_pages import areas_of, gather_memory

PAGE = 2 << 20
MAPS = """\
00400000-00a00000 r-xp 00000000 fe:00 1 /usr/bin/python3.11
01000000-01500000 rw-p 00000000 00:00 0 [heap]
7f0000100000-7f0000700000 rw-p 00000000 00:00 0
7f0000800000-7f0000900000 rw-p 00000000 00:00 0
7f0000a00000-7f0000e00000 rw-p 00000000 fe:00 2 /a file
7f0001000000-7f0001800000 rw-s 00000000 00:01 3
7f0002000000-7f0002800000 ---p 00000000 00:00 0
7ffd00000000-7ffd00800000 rw-p 00000000 00:00 0 [stack]
"""


def test_the_whole_large_pages_of_own_memory_are_gathered():
    assert list(areas_of(MAPS, PAGE)) == [
        (0x01000000, 0x01400000),
        (0x7F0000200000, 0x7F0000600000),
    ]


def test_gathering_changes_nothing_but_the_pages():
    with mmap.mmap(-1, 8 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for place in range(0, len(memory), 4096):
            memory[place] = place // 4096 % 251
        gathered = gather_memory()
        assert all(memory[place] == place // 4096 % 251 for place in range(0, len(memory), 4096))
    is_new = sys.platform == "linux" and large_pages.SIZE_PATH.exists()
    assert gathered % PAGE == 0
    assert gathered == 0 or is_new


def test_a_system_without_large_pages_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(large_pages, "SIZE_PATH", tmp_path / "hpage_pmd_size")
    assert gather_memory() == 0


def test_a_system_that_knows_them_and_gives_none_is_left_alone(monkeypatch, tmp_path):
    (tmp_path / "hpage_pmd_size").write_text("2097152\n")
    monkeypatch.setattr(large_pages, "SIZE_PATH", tmp_path / "hpage_pmd_size")
    monkeypatch.setattr(large_pages, "MADV_COLLAPSE", 255)  # no system knows it
    assert gather_memory() == 0
