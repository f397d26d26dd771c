from __future__ import annotations

import pytest

from myqueue.transport.skipped_messages import SkippedMessages


def test_what_is_skipped_is_counted_by_partition_and_told_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    skipped = SkippedMessages("%d messages of %s/%d are gone, %s")
    skipped.add(("logs", 1), 0, "none")
    assert (skipped.by_partition(), caplog.messages) == ({}, [])
    skipped.add(("logs", 1), 2, "first")
    skipped.add(("logs", 1), 3, "second")
    skipped.add(("logs", 0), 1, "third")
    assert skipped.by_partition() == {("logs", 1): 5, ("logs", 0): 1}
    assert caplog.messages == [
        "2 messages of logs/1 are gone, first",
        "3 messages of logs/1 are gone, second",
        "1 messages of logs/0 are gone, third",
    ]
