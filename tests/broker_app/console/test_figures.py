from __future__ import annotations

import pytest

from broker_app.console.figures import number, size


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1536, "1.5 KiB"),
        (150 << 20, "150 MiB"),
        (1 << 62, "4,096 PiB"),
    ],
)
def test_sizes_have_a_unit_that_fits(value: int, shown: str) -> None:
    assert size(value) == shown


def test_numbers_have_separators() -> None:
    assert number(12_345_678) == "12,345,678"
