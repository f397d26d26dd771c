"""The note of a disk fault that the next start finds."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from raft_app.storage.protocol import StorageRefusal
from raft_app.storage.wal.fault_marker import MARKER_BYTES, MARKER_NAME, FaultMarker

if TYPE_CHECKING:
    from pathlib import Path


def reopened(directory: Path) -> str:
    marker = FaultMarker(directory)
    reason = marker.open()
    marker.close()
    return reason


def test_marker_is_blank_until_it_is_set_and_stays_set(tmp_path: Path) -> None:
    marker = FaultMarker(tmp_path)
    assert marker.open() == ""
    assert (tmp_path / MARKER_NAME).stat().st_size == MARKER_BYTES
    marker.mark("the disk\nfailed: Ein-/Ausgabefehler")
    marker.close()
    assert reopened(tmp_path) == reopened(tmp_path) == "the disk failed: Ein-/Ausgabefehler"


def test_marker_can_be_taken_back(tmp_path: Path) -> None:
    marker = FaultMarker(tmp_path)
    marker.open()
    marker.mark("the disk failed")
    marker.clear()
    marker.close()
    assert reopened(tmp_path) == ""


def test_long_reason_is_cut_to_its_place(tmp_path: Path) -> None:
    marker = FaultMarker(tmp_path)
    marker.open()
    marker.mark("ä" * MARKER_BYTES)
    marker.close()
    assert (tmp_path / MARKER_NAME).stat().st_size == MARKER_BYTES
    assert reopened(tmp_path).startswith("ä" * (MARKER_BYTES // 2 - 1))


def test_marking_needs_no_room(tmp_path: Path) -> None:
    """No file may grow in the child: what is not there yet cannot be written."""
    marker = FaultMarker(tmp_path)
    marker.open()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (MARKER_BYTES, MARKER_BYTES))
            marker.mark("no room")
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    marker.close()
    assert reopened(tmp_path) == "no room"


def test_reason_that_a_person_wrote_counts(tmp_path: Path) -> None:
    (tmp_path / MARKER_NAME).write_text("do not trust this disk\n")
    assert reopened(tmp_path) == "do not trust this disk"


def test_marker_that_cannot_be_made_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / MARKER_NAME).mkdir()
    with pytest.raises(StorageRefusal, match="cannot be used"):
        FaultMarker(tmp_path).open()
    with pytest.raises(StorageRefusal, match="cannot be used"):
        FaultMarker(tmp_path / "nowhere").open()


def test_closed_marker_may_be_closed_again(tmp_path: Path) -> None:
    marker = FaultMarker(tmp_path)
    marker.close()
    marker.open()
    marker.close()
    marker.close()
