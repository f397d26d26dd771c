from __future__ import annotations

from http_base.histogram import Histogram


def test_what_is_added_is_in_the_first_bucket_that_holds_it():
    sizes = Histogram((1, 10, 4 << 20))
    for size in (0, 1, 2, 10, 4 << 20, 5 << 20):
        sizes.add(size)
    assert sizes.cumulated() == [2, 4, 5, 6]
    assert sizes.sum == 13 + (9 << 20)
    assert sizes.buckets() == [("1.0", 2), ("10.0", 4), ("4194304.0", 5), ("+Inf", 6)]
