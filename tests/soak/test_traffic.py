"""How a soak knows what was lost."""

from __future__ import annotations

from tests.soak.traffic import Numbers


def test_what_one_has_and_the_other_lacks_is_counted() -> None:
    acknowledged, read = Numbers(), Numbers()
    for number in (0, 1, 70_000, 200_000):
        acknowledged.add(number)
    for number in (1, 1, 2, 70_000):
        read.add(number)
    assert acknowledged.without(read) == 2
    assert read.without(acknowledged) == 1
    assert acknowledged.without(acknowledged) == 0
    assert read.count == 4
