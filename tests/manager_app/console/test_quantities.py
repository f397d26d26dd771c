from __future__ import annotations

import pytest

from manager_app.console.quantities import (
    read_bytes,
    read_duration_ms,
    write_bytes,
    write_duration_ms,
)
from myqueue.contract.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("7 days", 604_800_000),
        ("36h", 129_600_000),
        (" 90 min ", 5_400_000),
        ("1.5 h", 5_400_000),
        ("0,5 s", 500),
        ("250 ms", 250),
        ("", None),
        ("  ", None),
    ],
)
def test_lengths_of_time_are_read_as_people_write_them(text, milliseconds):
    assert read_duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("10 GiB", 10 << 30), ("500 mib", 500 << 20), ("1 KB", 1024), ("7 B", 7), ("", None)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert read_bytes(text) == size


@pytest.mark.parametrize("text", ["7", "days", "-1 h", "1 fortnight", "0 s", "1 h 2 min", "9" * 13])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(InvalidRequest):
        read_duration_ms(text)
    with pytest.raises(InvalidRequest):
        read_bytes(text)


@pytest.mark.parametrize("milliseconds", [None, 1, 999, 1_000, 90_000, 5_400_000, 86_400_000])
def test_what_is_written_reads_as_the_same(milliseconds):
    assert read_duration_ms(write_duration_ms(milliseconds)) == milliseconds
    assert read_bytes(write_bytes(milliseconds)) == milliseconds


def test_the_largest_unit_that_fits_is_written():
    assert write_duration_ms(172_800_000) == "2 d"
    assert write_duration_ms(5_400_000) == "90 min"
    assert write_bytes(3 << 20) == "3 MiB"
