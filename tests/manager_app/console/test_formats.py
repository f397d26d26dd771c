from __future__ import annotations

import pytest

from manager_app.console import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "unknown"), (0, "0"), (1234567, "1,234,567"), (2.5, "2.5"), (12.5, "12"), (3.0, "3")],
)
def test_numbers_have_thousands_separators(value, text):
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1,023 B"),
        (1536, "1.5 KiB"),
        (200 << 20, "200 MiB"),
        (82_633_494_528, "77.0 GiB"),
        (2000 << 50, "2,000 PiB"),
    ],
)
def test_sizes_are_in_the_unit_that_people_read(value, text):
    assert formats.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0.0042, "4.2 ms"),
        (0.25, "250 ms"),
        (59.9, "59 s"),
        (60, "1 min"),
        (7_199, "1 h"),
        (172_800, "2 d"),
        (864_000_000, "10,000 d"),
    ],
)
def test_durations_are_in_the_largest_unit_that_fits(seconds, text):
    assert formats.duration(seconds) == text


def test_ages_and_plurals_are_words():
    assert formats.age(None) == "never"
    assert formats.age(0.5) == "just now"
    assert formats.age(200) == "3 min ago"
    assert formats.plural(1, "replica") == "1 replica"
    assert formats.plural(1200, "replica") == "1,200 replicas"
    assert formats.plural(2, "leadership is", "leaderships are") == "2 leaderships are"
