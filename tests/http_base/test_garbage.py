"""The search for garbage stands still, and never for good."""

from __future__ import annotations

import gc

import pytest

from http_base.garbage import collection_paused


def fail_within() -> None:
    """Look inside, and once more inside of that, then fail."""
    with collection_paused():
        assert not gc.isenabled()
        with collection_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise KeyError


def test_nothing_is_searched_meanwhile_and_all_is_as_before_after_an_error():
    assert gc.isenabled()
    with pytest.raises(KeyError):
        fail_within()
    assert gc.isenabled()


def test_who_has_it_off_keeps_it_off():
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
